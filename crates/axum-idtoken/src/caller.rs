//! The extractor.

use std::ops::Deref;

use axum_core::extract::{FromRef, FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;
use idtoken::verify::ClaimError;
use idtoken::{Claims, Verifier};
use serde::de::DeserializeOwned;

use crate::rejection::CallerRejection;

/// Who is calling, verified and allowed. Gives all of [`Claims`].
///
/// `Caller<T>` reads the claims into a type of yours as well:
///
/// ```
/// use axum_idtoken::Caller;
///
/// #[derive(serde::Deserialize)]
/// struct Tenant {
///     tenant_id: u32,
/// }
///
/// async fn handler(caller: Caller<Tenant>) -> String {
///     format!("{} of tenant {}", caller.sub(), caller.extra().tenant_id)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Caller<T = NoExtra> {
    claims: Claims,
    extra: T,
}

impl<T> Caller<T> {
    /// The claims of the token.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The claims of the token as your type.
    #[must_use]
    pub fn extra(&self) -> &T {
        &self.extra
    }

    /// Both, by value.
    #[must_use]
    pub fn into_parts(self) -> (Claims, T) {
        (self.claims, self.extra)
    }
}

impl<T: FromClaims> Caller<T> {
    fn new(claims: Claims) -> Result<Self, CallerRejection> {
        match T::from_claims(&claims) {
            Ok(extra) => Ok(Self { claims, extra }),
            Err(error) => Err(CallerRejection::claims(error)),
        }
    }
}

impl<T> Deref for Caller<T> {
    type Target = Claims;

    fn deref(&self) -> &Claims {
        &self.claims
    }
}

impl<S, T> FromRequestParts<S> for Caller<T>
where
    S: Send + Sync,
    T: FromClaims,
    Verifier: FromRef<S>,
{
    type Rejection = CallerRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let verifier = Verifier::from_ref(state);
        match verifier.verify_headers(&parts.headers).await {
            Ok(claims) => Self::new(claims),
            Err(rejection) => Err(CallerRejection::token(rejection)),
        }
    }
}

impl<S, T> OptionalFromRequestParts<S> for Caller<T>
where
    S: Send + Sync,
    T: FromClaims,
    Verifier: FromRef<S>,
{
    type Rejection = CallerRejection;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &S,
    ) -> Result<Option<Self>, Self::Rejection> {
        let verifier = Verifier::from_ref(state);
        match verifier.verify_headers(&parts.headers).await {
            Ok(claims) => Self::new(claims).map(Some),
            Err(rejection) if rejection.is_missing() => Ok(None),
            Err(rejection) => Err(CallerRejection::token(rejection)),
        }
    }
}

/// A type that [`Caller`] can read the claims into: any that implements `serde::Deserialize`.
pub trait FromClaims: Sized {
    /// Reads `claims`.
    ///
    /// # Errors
    ///
    /// When they are not as the type wants them.
    fn from_claims(claims: &Claims) -> Result<Self, ClaimError>;
}

impl<T: DeserializeOwned> FromClaims for T {
    fn from_claims(claims: &Claims) -> Result<Self, ClaimError> {
        claims.deserialize()
    }
}

/// Nothing beyond [`Claims`] is wanted; what `Caller` without a parameter stands for.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoExtra(());

impl FromClaims for NoExtra {
    fn from_claims(_: &Claims) -> Result<Self, ClaimError> {
        Ok(Self(()))
    }
}
