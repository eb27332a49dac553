//! The IAM Credentials API: one identity on behalf of another.

mod caller;
mod policy;

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode};
use serde_json::{Value, json};

pub use self::policy::Role;
pub(crate) use self::policy::{Permission, Policy};
use crate::account::Account;
use crate::answer::{self, Answer, ApiError};
use crate::claims::Shape;
use crate::endpoint::{Endpoint, SERVICE_ACCOUNTS, decode_segment};
use crate::jose::{self, Object};
use crate::mint;
use crate::world::{Call, World, rfc3339};

/// Answers all methods on service accounts.
pub(crate) fn respond(world: &mut World, endpoint: Endpoint, call: Call<'_>) -> Answer {
    let body = match endpoint {
        Endpoint::AllowedLocations => Ok(json!({ "encodedLocations": "0x0", "locations": [] })),
        _ => method(world, endpoint, call),
    };
    match body {
        Ok(body) => answer::json(StatusCode::OK, &body),
        Err(error) => error.into_answer(),
    }
}

fn method(world: &mut World, endpoint: Endpoint, call: Call<'_>) -> Result<Value, ApiError> {
    if call.request.method() != Method::POST {
        return Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "NOT_FOUND",
            "Method not found.",
        ));
    }
    let caller = caller::authenticate(world, call.now, call.request.headers())?;
    let body = Body::parse(call.request.body())?;
    let (permission, fields): (_, &[&str]) = match endpoint {
        Endpoint::GenerateAccessToken => (Permission::GetAccessToken, &["lifetime", "scope"]),
        Endpoint::GenerateIdToken => (
            Permission::GetOpenIdToken,
            &[
                "audience",
                "includeEmail",
                "organizationNumberIncluded",
                "useEmailAzp",
            ],
        ),
        Endpoint::SignBlob => (Permission::SignBlob, &["payload"]),
        _ => (Permission::SignJwt, &["payload"]),
    };
    body.allow_only(fields)?;
    let target = target(world, call.request.uri().path())?;
    let mut chain = body.delegates()?;
    chain.push(target.email().to_owned());
    world
        .policy
        .check(&caller, &chain, permission)
        .map_err(denied)?;
    match endpoint {
        Endpoint::GenerateAccessToken => generate_access_token(world, call, &target, &body),
        Endpoint::GenerateIdToken => generate_id_token(world, call, &target, &body),
        Endpoint::SignBlob => sign_blob(world, call, &target, &body),
        _ => sign_jwt(world, call, &target, &body),
    }
}

fn generate_id_token(
    world: &mut World,
    call: Call<'_>,
    target: &Account,
    body: &Body,
) -> Result<Value, ApiError> {
    let audience = body.text("audience")?;
    let mut claims = mint::claims_for(call, Shape::Service, target, audience);
    if !body.flag("includeEmail")? {
        claims.remove("email");
        claims.remove("email_verified");
    }
    if body.flag("useEmailAzp")? {
        claims.insert("azp".to_owned(), target.email().into());
    }
    if body.flag("organizationNumberIncluded")? {
        claims.insert(
            "google".to_owned(),
            json!({ "organization_number": ORGANIZATION }),
        );
    }
    Ok(json!({ "token": mint::sign_claims(world, claims) }))
}

fn generate_access_token(
    world: &mut World,
    call: Call<'_>,
    target: &Account,
    body: &Body,
) -> Result<Value, ApiError> {
    let scopes = body.texts("scope")?;
    if scopes.is_empty() {
        return Err(invalid("scope is required"));
    }
    let lifetime_s = match body.object.get("lifetime") {
        None => 3_600,
        Some(lifetime) => lifetime
            .as_str()
            .and_then(|text| text.strip_suffix('s')?.parse().ok())
            .filter(|seconds| (1..=43_200_u64).contains(seconds))
            .ok_or_else(|| invalid("lifetime must be a duration of at most 43200s"))?,
    };
    let expires_at = call.now.saturating_add(lifetime_s);
    let token = world
        .access_tokens
        .issue(target.email(), &scopes.join(" "), expires_at);
    Ok(json!({ "accessToken": token.secret(), "expireTime": rfc3339(expires_at) }))
}

fn sign_jwt(
    world: &mut World,
    call: Call<'_>,
    target: &Account,
    body: &Body,
) -> Result<Value, ApiError> {
    let payload = body.text("payload")?;
    serde_json::from_str::<Object>(payload)
        .map_err(|_| invalid("payload must be a JSON object, as text"))?;
    let key = world.signing_key_of(target.email(), call.now);
    let header = json!({ "alg": "RS256", "kid": key.id(), "typ": "JWT" }).to_string();
    let signed = jose::compact(header.as_bytes(), payload.as_bytes(), |message| {
        key.sign("RS256", message)
    });
    Ok(json!({ "keyId": key.id(), "signedJwt": signed }))
}

fn sign_blob(
    world: &mut World,
    call: Call<'_>,
    target: &Account,
    body: &Body,
) -> Result<Value, ApiError> {
    let blob = STANDARD
        .decode(body.text("payload")?)
        .map_err(|_| invalid("payload must be base64"))?;
    let key = world.signing_key_of(target.email(), call.now);
    let signature = STANDARD.encode(key.sign("RS256", &blob));
    Ok(json!({ "keyId": key.id(), "signedBlob": signature }))
}

/// The account in `…/serviceAccounts/NAME:method`, by address or by unique id.
fn target(world: &World, path: &str) -> Result<Account, ApiError> {
    let name = path
        .strip_prefix(SERVICE_ACCOUNTS)
        .and_then(|rest| rest.rsplit_once(':'))
        .and_then(|(name, _)| decode_segment(name))
        .unwrap_or_default();
    world.account(&name).cloned().ok_or_else(|| {
        let message = format!("Not found; Gaia id not found for email {name}");
        ApiError::new(StatusCode::NOT_FOUND, "NOT_FOUND", message)
    })
}

/// The JSON body of a call, strict about types and names as Google's parser is: but null is the
/// same as absent, and some clients send it.
struct Body {
    object: Object,
}

impl Body {
    fn parse(bytes: &[u8]) -> Result<Self, ApiError> {
        let mut object: Object =
            serde_json::from_slice(bytes).map_err(|_| invalid("Invalid JSON payload received."))?;
        object.retain(|_, value| !value.is_null());
        Ok(Self { object })
    }

    fn allow_only(&self, fields: &[&str]) -> Result<(), ApiError> {
        match self
            .object
            .keys()
            .find(|name| *name != "delegates" && !fields.contains(&&***name))
        {
            None => Ok(()),
            Some(name) => Err(invalid(format!(
                "Invalid JSON payload received. Unknown name \"{name}\": Cannot find field."
            ))),
        }
    }

    fn text(&self, name: &str) -> Result<&str, ApiError> {
        self.object
            .get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
            .ok_or_else(|| invalid(format!("{name} is required")))
    }

    fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.object.get(name) {
            None => Ok(false),
            Some(value) => value
                .as_bool()
                .ok_or_else(|| invalid(format!("{name} must be a boolean"))),
        }
    }

    fn texts(&self, name: &str) -> Result<Vec<String>, ApiError> {
        let Some(list) = self.object.get(name) else {
            return Ok(Vec::new());
        };
        let texts = list.as_array().and_then(|items| {
            items
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect()
        });
        texts.ok_or_else(|| invalid(format!("{name} must be a list of strings")))
    }

    /// The e-mail addresses of the chain between caller and target.
    fn delegates(&self) -> Result<Vec<String>, ApiError> {
        self.texts("delegates")?
            .iter()
            .map(|name| {
                name.strip_prefix("projects/-/serviceAccounts/")
                    .map(str::to_owned)
            })
            .collect::<Option<_>>()
            .ok_or_else(|| invalid("delegates must be named projects/-/serviceAccounts/ACCOUNT"))
    }
}

fn denied(permission: Permission) -> ApiError {
    let name = permission.name();
    let message = format!("Permission '{name}' denied on resource (or it may not exist).");
    ApiError::new(StatusCode::FORBIDDEN, "PERMISSION_DENIED", message).with_detail(json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "domain": "iam.googleapis.com",
        "metadata": { "permission": name },
        "reason": "IAM_PERMISSION_DENIED",
    }))
}

fn invalid(message: impl Into<Cow<'static, str>>) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", message)
}

/// The number of the organization that every account belongs to.
const ORGANIZATION: u64 = 123_456_789_012;
