//! Workload identity federation: somebody else's token for one of ours.

pub(crate) mod imds;
mod sigv4;
mod subject;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use self::subject::Subject;
use crate::answer::{self, Answer, OAuthError};
use crate::token::Form;
use crate::world::{Call, World};

/// Which subjects of which identity providers are trusted.
#[derive(Debug, Default)]
pub(crate) struct Federation {
    trusted: Vec<Trusted>,
    /// What the subject-token endpoint serves.
    pub(crate) served: String,
}

#[derive(Debug)]
struct Trusted {
    audience: String,
    proof: Proof,
}

/// What a subject shows in order to be believed.
#[derive(Debug)]
enum Proof {
    /// A request that only the emulated AWS role can have signed.
    Aws,
    /// This very token.
    Token { token: String, subject: String },
}

impl Federation {
    /// Trusts a token; gives the principal it stands for.
    pub(crate) fn trust(&mut self, audience: &str, token: &str, subject: &str) -> String {
        let proof = Proof::Token {
            token: token.to_owned(),
            subject: subject.to_owned(),
        };
        self.trusted.push(Trusted {
            audience: audience.to_owned(),
            proof,
        });
        principal(audience, subject)
    }

    /// Trusts the role that the emulated AWS hands out; gives the principal it stands for.
    pub(crate) fn trust_aws(&mut self, audience: &str) -> String {
        self.trusted.push(Trusted {
            audience: audience.to_owned(),
            proof: Proof::Aws,
        });
        principal(audience, imds::ROLE_ARN)
    }

    fn of<'a>(&'a self, audience: &'a str) -> impl Iterator<Item = &'a Proof> {
        self.trusted
            .iter()
            .filter(move |trusted| trusted.audience == audience)
            .map(|trusted| &trusted.proof)
    }
}

/// Answers the Security Token Service (RFC 8693).
pub(crate) fn exchange(world: &mut World, call: Call<'_>) -> Answer {
    if call.request.method() != Method::POST {
        return answer::html(StatusCode::NOT_FOUND, "The requested URL was not found.");
    }
    match grant(world, call) {
        Ok(body) => answer::json(StatusCode::OK, &body),
        Err(refusal) => refusal.into_answer(),
    }
}

fn grant(world: &mut World, call: Call<'_>) -> Result<Value, OAuthError> {
    let form = Form::parse(call.request)?;
    if form.get("grant_type") != Some(TOKEN_EXCHANGE) {
        return Err(OAuthError::bad_request(
            "unsupported_grant_type",
            "Invalid grant_type.",
        ));
    }
    if form.required("requested_token_type")? != ACCESS_TOKEN {
        return Err(invalid_request(
            "requested_token_type must be that of access tokens.",
        ));
    }
    let audience = form.required("audience")?;
    let scope = form.required("scope")?;
    let token = form.required("subject_token")?;
    let subject = Subject::parse(form.required("subject_token_type")?, token)
        .ok_or_else(|| invalid_request("The subject token is not of the type that it claims."))?;
    if world.federation.of(audience).next().is_none() {
        return Err(OAuthError::bad_request(
            "invalid_target",
            "The target service indicated by the \"audience\" parameters is invalid.",
        ));
    }
    let name = world
        .federation
        .of(audience)
        .find_map(|proof| subject.believed(proof, audience, call.now))
        .ok_or_else(|| {
            OAuthError::bad_request("invalid_grant", "The subject token is not accepted.")
        })?;
    let expires_at = call.now.saturating_add(LIFETIME_S);
    let bearer = principal(audience, &name);
    let mut body = world
        .access_tokens
        .issue(&bearer, scope, expires_at)
        .answer(call.now);
    body["issued_token_type"] = json!(ACCESS_TOKEN);
    Ok(body)
}

/// The endpoint that hands a workload the token of its own platform, as text or, with
/// `?format=json`, as a field of a JSON object. It wants the header that cloud platforms want.
pub(crate) fn subject_token(world: &World, call: Call<'_>) -> Answer {
    if call
        .request
        .headers()
        .get("metadata")
        .is_none_or(|value| value != "True")
    {
        return answer::text(
            StatusCode::BAD_REQUEST,
            "the header Metadata: True is required",
        );
    }
    let token = world.federation.served.clone();
    match call.request.uri().query() {
        Some("format=json") => answer::json(StatusCode::OK, &json!({ SUBJECT_TOKEN_FIELD: token })),
        _ => answer::text(StatusCode::OK, token),
    }
}

/// A federated identity as IAM names it.
fn principal(audience: &str, subject: &str) -> String {
    let pool = audience
        .strip_prefix("//iam.googleapis.com/")
        .unwrap_or(audience);
    let pool = pool
        .rsplit_once("/providers/")
        .map_or(pool, |(pool, _)| pool);
    format!("principal://iam.googleapis.com/{pool}/subject/{subject}")
}

fn invalid_request(description: &'static str) -> OAuthError {
    OAuthError::bad_request("invalid_request", description)
}

/// The field of the subject-token endpoint's JSON.
pub(crate) const SUBJECT_TOKEN_FIELD: &str = "access_token";

const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const LIFETIME_S: u64 = 3_600;
