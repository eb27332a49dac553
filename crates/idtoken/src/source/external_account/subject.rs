//! Where a workload's own token comes from.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use serde::Deserialize;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::NAME;
use super::format::{Format, FormatFields};
use crate::error::{SourceError, SourceErrorKind};
use crate::exchange::status_error;
use crate::source::adc::Environment;
use crate::source::answer;
use crate::source::endpoint::{self, AllowedHosts};
use crate::source::file::{CredentialsFile, read_text};
use crate::source::wire::Wire;
use crate::transport::BoxError;

/// Gives a workload's own token, in a program's own way.
///
/// ```
/// use idtoken::source::{SubjectContext, SubjectTokenSupplier};
/// use idtoken::transport::BoxError;
///
/// struct FromMyPlatform;
///
/// impl SubjectTokenSupplier for FromMyPlatform {
///     async fn subject_token(&self, context: &SubjectContext) -> Result<String, BoxError> {
///         Ok(ask_my_platform(context.audience()).await)
///     }
/// }
/// # async fn ask_my_platform(_: &str) -> String { String::new() }
/// ```
pub trait SubjectTokenSupplier: Send + Sync + 'static {
    /// The token, of the type that the credentials file names. After 30 s it is given up on.
    ///
    /// # Errors
    ///
    /// Any error, whose text must hold no secret.
    fn subject_token(
        &self,
        context: &SubjectContext,
    ) -> impl Future<Output = Result<String, BoxError>> + Send;
}

/// What a subject token is for.
#[derive(Clone, Debug)]
pub struct SubjectContext {
    audience: String,
    subject_token_type: String,
    impersonated_email: Option<String>,
}

impl SubjectContext {
    pub(super) fn new(
        audience: String,
        subject_token_type: String,
        impersonated_email: Option<String>,
    ) -> Self {
        Self {
            audience,
            subject_token_type,
            impersonated_email,
        }
    }

    /// The workload identity provider, as the file names it.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// The type of the token, a URN of RFC 8693 §3.
    #[must_use]
    pub fn subject_token_type(&self) -> &str {
        &self.subject_token_type
    }

    /// The service account to be impersonated afterwards, if any.
    #[must_use]
    pub fn impersonated_email(&self) -> Option<&str> {
        self.impersonated_email.as_deref()
    }
}

/// One of the sources that a credentials file can name.
pub(super) enum Subject {
    #[cfg(feature = "aws")]
    Aws(super::aws::Aws),
    #[cfg(feature = "process")]
    Executable(super::executable::Executable),
    File {
        path: PathBuf,
        format: Format,
    },
    Supplied(Arc<dyn DynSupplier>),
    Url {
        url: Uri,
        headers: BTreeMap<String, Zeroizing<String>>,
        format: Format,
    },
}

/// What a file may do.
pub(super) struct Options<'a> {
    pub(super) allowed: &'a AllowedHosts,
    #[cfg_attr(
        not(feature = "process"),
        allow(dead_code, reason = "programs need the feature")
    )]
    pub(super) executables: bool,
    #[cfg_attr(
        not(feature = "aws"),
        allow(dead_code, reason = "only AWS reads variables")
    )]
    pub(super) environment: &'a Environment,
}

impl Subject {
    pub(super) fn new(
        file: &CredentialsFile,
        fields: SubjectFields,
        options: &Options<'_>,
    ) -> Result<Self, SourceError> {
        if let Some(environment_id) = &fields.environment_id {
            return aws(file, environment_id, &fields, options);
        }
        let format = Format::new(file, fields.format.unwrap_or_default())?;
        match (fields.file, fields.url, fields.executable) {
            (Some(path), None, None) => Ok(Self::File { path, format }),
            (None, Some(url), None) => {
                const FIELD: &str = "credential_source.url";
                let url = match endpoint::instance_metadata(&url) {
                    Some(url) => url,
                    None => endpoint::checked(file, FIELD, &url, options.allowed)?,
                };
                Ok(Self::Url {
                    url,
                    headers: fields.headers.unwrap_or_default(),
                    format,
                })
            }
            (None, None, Some(program)) => executable(file, program, options),
            _ => Err(file.fail(
                "must have exactly one of \"file\", \"url\", \"executable\" and \
                 \"environment_id\" in \"credential_source\"",
            )),
        }
    }

    /// How long what is not ours may take.
    pub(super) fn patience(&self) -> Duration {
        match self {
            #[cfg(feature = "process")]
            Self::Executable(program) => program.timeout(),
            Self::Supplied(_) => SUPPLIER_TIMEOUT,
            _ => Duration::ZERO,
        }
    }

    pub(super) async fn token(
        &self,
        context: &SubjectContext,
        wire: &Wire,
    ) -> Result<Zeroizing<String>, SourceError> {
        match self {
            #[cfg(feature = "aws")]
            Self::Aws(aws) => aws.token(context, wire).await,
            #[cfg(feature = "process")]
            Self::Executable(program) => program.token(context, wire).await,
            Self::File { path, format } => {
                let fail = |problem: &str| {
                    misconfigured(format!("subject token file {} {problem}", path.display()))
                };
                format.token_in(&read_text(path, fail)?)
            }
            Self::Supplied(supplier) => {
                let fail = |message| SourceError::new(SourceErrorKind::Transient, NAME, message);
                timeout(SUPPLIER_TIMEOUT, supplier.supply(context))
                    .await
                    .map_err(|_| fail("the subject token supplier gave none within 30 s"))?
                    .map_err(|error| {
                        fail("the subject token supplier has no token").with_cause(error)
                    })
            }
            Self::Url {
                url,
                headers,
                format,
            } => {
                let request = || get(url, headers);
                let read = |response: &Response<Bytes>| {
                    if answer::is_page(response) {
                        return Err(answer::not_json(NAME, response));
                    }
                    if !response.status().is_success() {
                        let message = "the subject token URL answered with an error";
                        return Err(status_error(NAME, response, message));
                    }
                    format.token_in(&String::from_utf8_lossy(response.body()))
                };
                if url.scheme_str() == Some("http") {
                    wire.exchange_direct(NAME, request, read).await
                } else {
                    wire.exchange(NAME, request, read).await
                }
            }
        }
    }
}

fn get(
    url: &Uri,
    headers: &BTreeMap<String, Zeroizing<String>>,
) -> Result<Request<Bytes>, SourceError> {
    let mut request = Request::get(url.clone());
    for (name, value) in headers {
        request = request.header(name, value.as_str());
    }
    request.body(Bytes::new()).map_err(|error| {
        misconfigured("\"credential_source.headers\" are no headers").with_cause(error)
    })
}

#[cfg(feature = "aws")]
fn aws(
    file: &CredentialsFile,
    environment_id: &str,
    fields: &SubjectFields,
    options: &Options<'_>,
) -> Result<Subject, SourceError> {
    super::aws::Aws::new(file, environment_id, fields, options).map(Subject::Aws)
}

#[cfg(not(feature = "aws"))]
fn aws(
    file: &CredentialsFile,
    environment_id: &str,
    _: &SubjectFields,
    _: &Options<'_>,
) -> Result<Subject, SourceError> {
    Err(file
        .fail(&format!(
            "takes its subject token from the environment {environment_id:?}"
        ))
        .with_advice("build idtoken with its feature \"aws\""))
}

#[cfg(feature = "process")]
fn executable(
    file: &CredentialsFile,
    program: ExecutableFields,
    options: &Options<'_>,
) -> Result<Subject, SourceError> {
    if !options.executables {
        return Err(file.fail("wants a program to be run").with_advice(
            "if you trust whoever wrote the file, set \
             GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES=1",
        ));
    }
    super::executable::Executable::new(file, program).map(Subject::Executable)
}

#[cfg(not(feature = "process"))]
fn executable(
    file: &CredentialsFile,
    _: ExecutableFields,
    _: &Options<'_>,
) -> Result<Subject, SourceError> {
    Err(file
        .fail("wants a program to be run")
        .with_advice("build idtoken with its feature \"process\""))
}

/// The file's `credential_source`.
#[derive(Deserialize)]
pub(super) struct SubjectFields {
    file: Option<PathBuf>,
    url: Option<String>,
    headers: Option<BTreeMap<String, Zeroizing<String>>>,
    format: Option<FormatFields>,
    executable: Option<ExecutableFields>,
    environment_id: Option<String>,
    #[cfg(feature = "aws")]
    pub(super) region_url: Option<String>,
    #[cfg(feature = "aws")]
    pub(super) regional_cred_verification_url: Option<String>,
    #[cfg(feature = "aws")]
    pub(super) imdsv2_session_token_url: Option<String>,
}

impl SubjectFields {
    #[cfg(feature = "aws")]
    pub(super) fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }
}

#[derive(Deserialize)]
#[cfg_attr(
    not(feature = "process"),
    allow(dead_code, reason = "programs need the feature")
)]
pub(super) struct ExecutableFields {
    pub(super) command: String,
    pub(super) timeout_millis: Option<u64>,
    pub(super) output_file: Option<PathBuf>,
}

/// The object-safe twin of [`SubjectTokenSupplier`].
pub(super) trait DynSupplier: Send + Sync {
    fn supply<'a>(&'a self, context: &'a SubjectContext) -> BoxedSupply<'a>;
}

impl<S: SubjectTokenSupplier> DynSupplier for S {
    fn supply<'a>(&'a self, context: &'a SubjectContext) -> BoxedSupply<'a> {
        Box::pin(async { self.subject_token(context).await.map(Zeroizing::new) })
    }
}

type BoxedSupply<'a> =
    Pin<Box<dyn Future<Output = Result<Zeroizing<String>, BoxError>> + Send + 'a>>;

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            #[cfg(feature = "aws")]
            Self::Aws(_) => "Aws",
            #[cfg(feature = "process")]
            Self::Executable(_) => "Executable",
            Self::File { .. } => "File",
            Self::Supplied(_) => "Supplied",
            Self::Url { .. } => "Url",
        })
    }
}

/// As long as a program has unless its file says otherwise.
const SUPPLIER_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) fn misconfigured(message: impl AsRef<str>) -> SourceError {
    SourceError::new(SourceErrorKind::Misconfigured, NAME, message)
}
