//! AWS: a signed `GetCallerIdentity` request stands in for a token (Google's AIP-4117).
//!
//! The request is not sent by us. Google's token service sends it, and learns from AWS who signed
//! it.

use std::fmt;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SigningParams, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use bytes::Bytes;
use http::{Method, Request, Response, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::NAME;
use super::subject::{Options, SubjectContext, SubjectFields, misconfigured};
use crate::error::{SourceError, SourceErrorKind};
use crate::exchange::status_error;
use crate::source::adc::Environment;
use crate::source::endpoint;
use crate::source::file::CredentialsFile;
use crate::source::wire::Wire;

/// Where region and credentials come from: the environment first, then the instance's metadata.
pub(super) struct Aws {
    environment: Environment,
    verification_url: String,
    region_url: Option<Uri>,
    credentials_url: Option<Uri>,
    session_url: Option<Uri>,
}

impl Aws {
    pub(super) fn new(
        file: &CredentialsFile,
        environment_id: &str,
        fields: &SubjectFields,
        options: &Options<'_>,
    ) -> Result<Self, SourceError> {
        if environment_id != "aws1" {
            return Err(file.fail(&format!("has the unknown environment {environment_id:?}")));
        }
        let template = fields.regional_cred_verification_url.as_deref();
        let verification_url = template.unwrap_or(VERIFICATION_URL).to_owned();
        if !is_aws_sts(&verification_url.replace("{region}", "region")) {
            return Err(file.fail(
                "has a \"regional_cred_verification_url\" that does not lead to AWS's own service",
            ));
        }
        let metadata = |field: &str, url: Option<&str>| {
            let checked = |url: &str| {
                instance_metadata(url).ok_or_else(|| {
                    file.fail(&format!(
                        "has a \"{field}\" that is not instance metadata's"
                    ))
                })
            };
            url.map(checked).transpose()
        };
        Ok(Self {
            environment: options.environment.clone(),
            verification_url,
            region_url: metadata("region_url", fields.region_url.as_deref())?,
            credentials_url: metadata("url", fields.url())?,
            session_url: metadata(
                "imdsv2_session_token_url",
                fields.imdsv2_session_token_url.as_deref(),
            )?,
        })
    }

    pub(super) async fn token(
        &self,
        context: &SubjectContext,
        wire: &Wire,
    ) -> Result<Zeroizing<String>, SourceError> {
        let mut metadata = Metadata {
            wire,
            session_url: self.session_url.as_ref(),
            session: None,
        };
        let region = self.region(&mut metadata).await?;
        let credentials = self.credentials(&mut metadata).await?;
        let url = self.verification_url.replace("{region}", &region);
        let request = signed(&url, &region, credentials, context.audience(), wire)?;
        let json = Zeroizing::new(serde_json::to_string(&request).map_err(|error| {
            misconfigured("the signed request cannot be written").with_cause(error)
        })?);
        Ok(Zeroizing::new(
            utf8_percent_encode(&json, NON_ALPHANUMERIC).to_string(),
        ))
    }

    async fn region(&self, metadata: &mut Metadata<'_>) -> Result<String, SourceError> {
        let named = self.environment.get("AWS_REGION");
        if let Some(region) = named.or_else(|| self.environment.get("AWS_DEFAULT_REGION")) {
            return checked_region(region);
        }
        let url = self.region_url.as_ref().ok_or_else(|| {
            misconfigured("no AWS region: AWS_REGION is not set and the file has no \"region_url\"")
        })?;
        // What is there is a zone: the region and one letter more.
        let zone = metadata.get(url).await?;
        let mut region = zone.trim().to_owned();
        region.pop();
        checked_region(&region)
    }

    async fn credentials(&self, metadata: &mut Metadata<'_>) -> Result<Credentials, SourceError> {
        let variable = |name| self.environment.get(name).map(str::to_owned);
        if let (Some(id), Some(secret)) = (
            variable("AWS_ACCESS_KEY_ID"),
            variable("AWS_SECRET_ACCESS_KEY"),
        ) {
            let session = variable("AWS_SESSION_TOKEN");
            return Ok(Credentials::new(id, secret, session, None, NAME));
        }
        let url = self.credentials_url.as_ref().ok_or_else(|| {
            misconfigured(
                "no AWS credentials: AWS_ACCESS_KEY_ID is not set and the file has no \"url\"",
            )
        })?;
        let role = metadata.get(url).await?;
        let url = format!("{}/{}", url.to_string().trim_end_matches('/'), role.trim());
        let url = instance_metadata(&url)
            .ok_or_else(|| invalid("instance metadata names a role that makes no URL"))?;
        let answer: RoleCredentials = serde_json::from_str(&metadata.get(&url).await?)
            .map_err(|_| invalid("instance metadata gave no credentials"))?;
        let RoleCredentials {
            access_key_id,
            secret_access_key,
            token,
        } = answer;
        let token = token.map(|token| token.to_string());
        Ok(Credentials::new(
            access_key_id,
            secret_access_key.to_string(),
            token,
            None,
            NAME,
        ))
    }
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aws")
            .field("verification_url", &self.verification_url)
            .finish_non_exhaustive()
    }
}

/// The instance metadata service, in its second version where the file says how.
struct Metadata<'a> {
    wire: &'a Wire,
    session_url: Option<&'a Uri>,
    session: Option<Zeroizing<String>>,
}

impl Metadata<'_> {
    async fn get(&mut self, url: &Uri) -> Result<Zeroizing<String>, SourceError> {
        if let (None, Some(session_url)) = (&self.session, self.session_url) {
            let header = Some(("x-aws-ec2-metadata-token-ttl-seconds", "300"));
            self.session = Some(self.ask(Method::PUT, session_url, header).await?);
        }
        let session = self.session.clone();
        let header = session
            .as_ref()
            .map(|token| ("x-aws-ec2-metadata-token", token.as_str()));
        self.ask(Method::GET, url, header).await
    }

    async fn ask(
        &self,
        method: Method,
        url: &Uri,
        header: Option<(&str, &str)>,
    ) -> Result<Zeroizing<String>, SourceError> {
        let request = || {
            let mut request = Request::builder().method(method.clone()).uri(url.clone());
            if let Some((name, value)) = header {
                request = request.header(name, value);
            }
            request.body(Bytes::new()).map_err(|error| {
                misconfigured("instance metadata cannot be asked").with_cause(error)
            })
        };
        let read = |response: &Response<Bytes>| {
            if response.status().is_success() {
                Ok(Zeroizing::new(
                    String::from_utf8_lossy(response.body()).into_owned(),
                ))
            } else {
                Err(status_error(
                    NAME,
                    response,
                    "AWS instance metadata answered with an error",
                ))
            }
        };
        self.wire.exchange_direct(NAME, request, read).await
    }
}

/// The request in the form that Google's token service takes.
#[derive(Serialize)]
struct SignedRequest {
    url: String,
    method: &'static str,
    headers: Vec<SignedHeader>,
}

#[derive(Serialize)]
struct SignedHeader {
    key: String,
    value: String,
}

fn signed(
    url: &str,
    region: &str,
    credentials: Credentials,
    audience: &str,
    wire: &Wire,
) -> Result<SignedRequest, SourceError> {
    let cannot = || misconfigured("the request to AWS cannot be signed");
    let host = url
        .parse::<Uri>()
        .ok()
        .and_then(|uri| uri.host().map(str::to_owned));
    let host = host.ok_or_else(cannot)?;
    let unsigned = [
        ("host", host.as_str()),
        ("x-goog-cloud-target-resource", audience),
    ];
    let identity = Identity::from(credentials);
    let params: SigningParams<'_> = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("sts")
        .time(wire.now())
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| cannot().with_cause(error))?
        .into();
    let body = SignableBody::Bytes(&[]);
    let request = SignableRequest::new("POST", url, unsigned.into_iter(), body)
        .map_err(|error| cannot().with_cause(error))?;
    let (instructions, _) = sign(request, &params)
        .map_err(|error| cannot().with_cause(error))?
        .into_parts();
    let headers = unsigned
        .into_iter()
        .chain(instructions.headers())
        .map(|(key, value)| SignedHeader {
            key: key.to_owned(),
            value: value.to_owned(),
        })
        .collect();
    Ok(SignedRequest {
        url: url.to_owned(),
        method: "POST",
        headers,
    })
}

/// A region becomes part of a host, so it must be nothing more than a label.
fn checked_region(region: &str) -> Result<String, SourceError> {
    let is_label = !region.is_empty()
        && region.len() <= 32
        && region
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_label {
        Ok(region.to_owned())
    } else {
        Err(invalid("the AWS region is not the name of one"))
    }
}

/// AWS's token service, which the signed request must be for.
fn is_aws_sts(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else {
        return false;
    };
    let host = uri.host().unwrap_or_default();
    let aws = host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn");
    uri.scheme_str() == Some("https") && host.starts_with("sts.") && aws
}

/// A URL of the instance metadata service, or of what plays its part on this machine.
fn instance_metadata(text: &str) -> Option<Uri> {
    endpoint::instance_metadata(text).or_else(|| {
        let uri = endpoint::https_or_local(text)?;
        (uri.scheme_str() == Some("http")).then_some(uri)
    })
}

fn invalid(message: &str) -> SourceError {
    SourceError::new(SourceErrorKind::InvalidAnswer, NAME, message)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RoleCredentials {
    access_key_id: String,
    secret_access_key: Zeroizing<String>,
    token: Option<Zeroizing<String>>,
}

const VERIFICATION_URL: &str =
    "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15";
