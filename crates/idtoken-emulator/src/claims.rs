//! What stands in a token: the anatomy that depends on who asked for it, and how.

use std::time::Duration;

use serde_json::{Value, json};

use crate::account::Account;
use crate::jose::Object;

/// How a token came about, which decides what Google writes into it.
///
/// | shape | `azp` | `email` | lives | signed as |
/// |---|---|---|---|---|
/// | `Iap` | none | yes | 10 min | ES256 |
/// | `MetadataFull` | unique id | yes, and `google.compute_engine` | 1 h | RS256 |
/// | `MetadataStandard` | unique id | no | 1 h | RS256 |
/// | `Service` | unique id | yes | 1 h | RS256 |
/// | `ServiceAccountKey` | e-mail address | yes | 1 h | RS256 |
/// | `User` | the OAuth client, which is the audience too | yes, and `hd` | 1 h | RS256 |
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Shape {
    /// An assertion of Identity-Aware Proxy.
    Iap,
    /// The metadata server of a virtual machine, asked with `format=full`.
    MetadataFull,
    /// The metadata server of a virtual machine, asked for the standard format.
    MetadataStandard,
    /// What Cloud Run's metadata server, impersonation with the e-mail included, and Google's push
    /// senders (Pub/Sub, Cloud Scheduler, Cloud Tasks, Eventarc) all give.
    #[default]
    Service,
    /// A key file exchanged at the token endpoint.
    ServiceAccountKey,
    /// A person's sign-in, through an OAuth client.
    User,
}

impl Shape {
    pub(crate) fn lifetime(self) -> Duration {
        match self {
            Self::Iap => Duration::from_secs(600),
            _ => Duration::from_secs(3_600),
        }
    }
}

/// The claims of a token for `account` that `audience` shall accept.
pub(crate) fn claims(shape: Shape, account: &Account, audience: &str, issued_at: u64) -> Object {
    let mut claims = Object::new();
    let mut set = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    set("aud", audience.into());
    set("iat", issued_at.into());
    set(
        "exp",
        issued_at.saturating_add(shape.lifetime().as_secs()).into(),
    );
    if shape == Shape::Iap {
        set("iss", "https://cloud.google.com/iap".into());
        set(
            "sub",
            format!("accounts.google.com:{}", account.unique_id()).into(),
        );
        set("google", json!({ "access_levels": [] }));
    } else {
        set("iss", ISSUER.into());
        set("sub", account.unique_id().into());
        set("azp", authorized_party(shape, account, audience).into());
    }
    if shape == Shape::MetadataFull {
        set(
            "google",
            json!({ "compute_engine": compute_engine(account) }),
        );
    }
    if shape != Shape::MetadataStandard {
        set("email", account.email().into());
    }
    if !matches!(shape, Shape::Iap | Shape::MetadataStandard) {
        set("email_verified", true.into());
    }
    if let (Shape::Iap | Shape::User, Some(domain)) = (shape, account.hosted_domain()) {
        set("hd", domain.into());
    }
    claims
}

/// The licences of the image that the machine was made from, which `licenses=TRUE` asks for.
pub(crate) fn add_licenses(claims: &mut Object) {
    if let Some(instance) = claims
        .get_mut("google")
        .and_then(|google| google.get_mut("compute_engine"))
    {
        instance["license_id"] = json!(["1000010", "1000205"]);
    }
}

fn authorized_party<'a>(shape: Shape, account: &'a Account, audience: &'a str) -> &'a str {
    match shape {
        Shape::ServiceAccountKey => account.email(),
        Shape::User => audience,
        _ => account.unique_id(),
    }
}

fn compute_engine(account: &Account) -> Value {
    json!({
        "instance_creation_timestamp": INSTANCE_CREATED_AT,
        "instance_id": INSTANCE_ID.to_string(),
        "instance_name": INSTANCE_NAME,
        "project_id": account.project(),
        "project_number": account.project_number(),
        "zone": ZONE,
    })
}

pub(crate) const ISSUER: &str = "https://accounts.google.com";
pub(crate) const INSTANCE_ID: u64 = 4_520_031_799_277_581_759;
pub(crate) const INSTANCE_NAME: &str = "emulated-instance";
pub(crate) const ZONE: &str = "us-central1-a";
const INSTANCE_CREATED_AT: u64 = 1_704_067_200;
