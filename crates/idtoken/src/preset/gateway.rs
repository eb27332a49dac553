//! What API Gateway and ESPv2 say of their own callers.
//!
//! Anyone who reaches the backend directly can write these headers. So a [`Gateway`] wants the
//! [`Claims`] of the caller, which only a verifier gives, and believes the headers only of the
//! gateway's own account: a verifier may let in others beside it.
//!
//! ```
//! use http::HeaderMap;
//! use idtoken::Verifier;
//! use idtoken::preset::gateway::{Gateway, Product};
//!
//! # async fn handler(verifier: &Verifier, headers: &HeaderMap)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! let gateway = Gateway::new(Product::ApiGateway, "gateway@project.iam.gserviceaccount.com");
//! let caller = verifier.verify_headers(headers).await?;
//! if let Some(user) = gateway.user_info(&caller, headers)? {
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

use crate::verify::jws::STRICT_BASE64URL;
use crate::verify::{Claims, is_google};

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

/// A gateway before this service, by the account that it calls with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    product: Product,
    service_account: String,
}

impl Gateway {
    /// The gateway that calls as `service_account`.
    pub fn new(product: Product, service_account: impl Into<String>) -> Self {
        Self {
            product,
            service_account: service_account.into(),
        }
    }

    /// The claims of the gateway's caller, as the gateway verified them; `None` when it had none, or
    /// when `caller` is not the gateway, whatever the headers say.
    ///
    /// # Errors
    ///
    /// When the header is there twice, or is no base64url JSON object, or longer than 16 KiB.
    pub fn user_info(
        &self,
        caller: &Claims,
        headers: &HeaderMap,
    ) -> Result<Option<Map<String, Value>>, UserInfoError> {
        let name = self.product.user_info_header();
        let Some(value) = self.header(caller, &name, headers)? else {
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

    /// The `Authorization` that the gateway's caller sent, which the gateway moved out of its own
    /// way; `None` when `caller` is not the gateway.
    ///
    /// It is a credential: for sending on, not for logging. The gateway has verified it only if its
    /// configuration demands a token.
    ///
    /// # Errors
    ///
    /// When the header is there twice.
    pub fn forwarded_authorization<'h>(
        &self,
        caller: &Claims,
        headers: &'h HeaderMap,
    ) -> Result<Option<&'h HeaderValue>, UserInfoError> {
        let name = HeaderName::from_static("x-forwarded-authorization");
        self.header(caller, &name, headers)
    }

    fn header<'h>(
        &self,
        caller: &Claims,
        name: &HeaderName,
        headers: &'h HeaderMap,
    ) -> Result<Option<&'h HeaderValue>, UserInfoError> {
        if !self.is(caller) {
            return Ok(None);
        }
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(UserInfoError {
                problem: "is there more than once",
            }),
            (value, None) => Ok(value),
        }
    }

    /// By Google's word: another issuer of the same verifier may write the same address.
    fn is(&self, caller: &Claims) -> bool {
        let account = caller.email().filter(|_| caller.email_verified());
        is_google(caller.iss())
            && account.is_some_and(|email| email.eq_ignore_ascii_case(&self.service_account))
    }
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

const MAX_USER_INFO_BYTES: usize = 16 * 1024;
