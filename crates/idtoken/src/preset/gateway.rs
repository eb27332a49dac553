//! What API Gateway and ESPv2 say of their own callers.
//!
//! Anyone who reaches the backend directly can write these headers. So each function wants the
//! [`Claims`] of the gateway's own token, which only a verifier gives: verify first, then read.
//!
//! ```
//! use http::HeaderMap;
//! use idtoken::{Claims, Verifier};
//! use idtoken::preset::gateway::{self, Product};
//!
//! # async fn handler(verifier: &Verifier, headers: &HeaderMap)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! let gateway = verifier.verify_headers(headers).await?;
//! if let Some(user) = gateway::user_info(&gateway, Product::ApiGateway, headers)? {
//!     println!("called for {:?}", user.get("sub"));
//! }
//! # Ok(())
//! # }
//! ```

use std::error::Error;
use std::fmt;

use base64::Engine as _;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use crate::verify::Claims;
use crate::verify::jws::STRICT_BASE64URL;

/// Which of the two stands in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Product {
    /// API Gateway.
    ApiGateway,
    /// The Extensible Service Proxy, version 2.
    Espv2,
}

impl Product {
    /// The header in which it hands on the verified payload of its caller's token.
    #[must_use]
    pub fn user_info_header(self) -> HeaderName {
        HeaderName::from_static(match self {
            Self::ApiGateway => "x-apigateway-api-userinfo",
            Self::Espv2 => "x-endpoint-api-userinfo",
        })
    }
}

/// The claims of the gateway's caller, as the gateway verified them; `None` when it had none.
///
/// # Errors
///
/// When the header is there twice, or is no base64url JSON object, or longer than 16 KiB.
pub fn user_info(
    gateway: &Claims,
    product: Product,
    headers: &HeaderMap,
) -> Result<Option<Map<String, Value>>, UserInfoError> {
    let Some(value) = single(gateway, &product.user_info_header(), headers)? else {
        return Ok(None);
    };
    if value.len() > MAX_USER_INFO_BYTES {
        return Err(UserInfoError {
            problem: "is longer than 16 KiB",
        });
    }
    // Both spellings are in use, with padding and without.
    let text = value.to_str().unwrap_or("!").trim_end_matches('=');
    let json = STRICT_BASE64URL.decode(text).map_err(|_| UserInfoError {
        problem: "is not base64url",
    })?;
    serde_json::from_slice(&json)
        .map(Some)
        .map_err(|_| UserInfoError {
            problem: "holds no JSON object",
        })
}

/// The `Authorization` that the gateway's caller sent, which the gateway moved out of its own way.
///
/// It is a credential: for sending on, not for logging. The gateway has verified it only if its
/// configuration demands a token.
///
/// # Errors
///
/// When the header is there twice.
pub fn forwarded_authorization<'h>(
    gateway: &Claims,
    headers: &'h HeaderMap,
) -> Result<Option<&'h HeaderValue>, UserInfoError> {
    single(
        gateway,
        &HeaderName::from_static("x-forwarded-authorization"),
        headers,
    )
}

/// A gateway's header cannot be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserInfoError {
    problem: &'static str,
}

impl fmt::Display for UserInfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the gateway's header {}", self.problem)
    }
}

impl Error for UserInfoError {}

/// The claims are the proof that a verifier was asked; nothing is read from them.
fn single<'h>(
    _gateway: &Claims,
    name: &HeaderName,
    headers: &'h HeaderMap,
) -> Result<Option<&'h HeaderValue>, UserInfoError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(UserInfoError {
            problem: "is there more than once",
        }),
        (value, None) => Ok(value),
    }
}

const MAX_USER_INFO_BYTES: usize = 16 * 1024;
