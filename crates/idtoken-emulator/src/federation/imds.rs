//! AWS's instance metadata service, version 2: where a workload on AWS gets its region and keys.

use http::{Method, StatusCode};
use serde_json::json;

use crate::answer::{self, Answer};
use crate::world::Call;

/// Answers everything below `/latest/`.
pub(crate) fn respond(call: Call<'_>) -> Answer {
    let headers = call.request.headers();
    let path = call.request.uri().path();
    if path == SESSION_PATH {
        return match *call.request.method() {
            Method::PUT if headers.contains_key("x-aws-ec2-metadata-token-ttl-seconds") => {
                answer::with_type(StatusCode::OK, "text/plain", SESSION)
            }
            Method::PUT => answer::html(StatusCode::BAD_REQUEST, "Bad Request"),
            _ => answer::html(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"),
        };
    }
    if headers
        .get("x-aws-ec2-metadata-token")
        .is_none_or(|token| token != SESSION)
    {
        return answer::html(StatusCode::UNAUTHORIZED, "Unauthorized");
    }
    match path.trim_end_matches('/') {
        REGION_PATH => answer::with_type(StatusCode::OK, "text/plain", format!("{REGION}a")),
        ROLES_PATH => answer::with_type(StatusCode::OK, "text/plain", ROLE),
        path if path.strip_prefix(ROLES_PATH) == Some("/emulated-role") => answer::json(
            StatusCode::OK,
            &json!({
                "AccessKeyId": ACCESS_KEY_ID,
                "Code": "Success",
                "Expiration": crate::world::rfc3339(call.now.saturating_add(6 * 3_600)),
                "LastUpdated": crate::world::rfc3339(call.now),
                "SecretAccessKey": SECRET_ACCESS_KEY,
                "Token": SESSION_TOKEN,
                "Type": "AWS-HMAC",
            }),
        ),
        _ => answer::html(StatusCode::NOT_FOUND, "Not Found"),
    }
}

pub(crate) const SESSION_PATH: &str = "/latest/api/token";
pub(crate) const REGION_PATH: &str = "/latest/meta-data/placement/availability-zone";
pub(crate) const ROLES_PATH: &str = "/latest/meta-data/iam/security-credentials";
pub(super) const ROLE_ARN: &str =
    "arn:aws:sts::123456789012:assumed-role/emulated-role/i-0123456789abcdef0";
pub(super) const ACCESS_KEY_ID: &str = "ASIAEMULATEDACCESSKEY";
pub(super) const SECRET_ACCESS_KEY: &str = "emulated+secret/access+key/worth/nothing";
pub(super) const SESSION_TOKEN: &str = "emulated-session-token-of-the-role";
const REGION: &str = "us-east-2";
const ROLE: &str = "emulated-role";
const SESSION: &str = "emulated-imds-session";
