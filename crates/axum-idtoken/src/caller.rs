//! The extractor.

use std::marker::PhantomData;
use std::ops::Deref;

use axum_core::extract::{FromRef, FromRequestParts, OptionalFromRequestParts};
use http::HeaderMap;
use http::request::Parts;
use idtoken::inbound::{Rejection, Verification};
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
///
/// # Several verifiers in one app
///
/// Give each a type of its own, and name it as the second parameter:
///
/// ```
/// use axum::{Router, extract::FromRef, routing::get};
/// use axum_idtoken::{Caller, NoExtra};
/// use idtoken::Verifier;
///
/// #[derive(Clone)]
/// struct Admins(Verifier);
///
/// impl AsRef<Verifier> for Admins {
///     fn as_ref(&self) -> &Verifier {
///         &self.0
///     }
/// }
///
/// #[derive(Clone)]
/// struct App {
///     callers: Verifier,
///     admins: Admins,
/// }
///
/// impl FromRef<App> for Verifier {
///     fn from_ref(app: &App) -> Self {
///         app.callers.clone()
///     }
/// }
///
/// impl FromRef<App> for Admins {
///     fn from_ref(app: &App) -> Self {
///         app.admins.clone()
///     }
/// }
///
/// async fn hello(caller: Caller) {}
/// async fn reset(admin: Caller<NoExtra, Admins>) {}
///
/// fn app(state: App) -> Router {
///     Router::new().route("/", get(hello)).route("/reset", get(reset)).with_state(state)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Caller<T = NoExtra, V = Verifier> {
    claims: Claims,
    extra: T,
    verifier: PhantomData<fn() -> V>,
}

impl<T, V> Caller<T, V> {
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

impl<T: FromClaims, V> Caller<T, V> {
    async fn extract<S>(parts: &Parts, state: &S) -> Result<Self, CallerRejection>
    where
        V: VerifierOf<S>,
    {
        // Nearly always done at once; and a future that kept the verifier would be the larger.
        let claims = match V::start(state, &parts.headers) {
            Verification::Done(verdict) => verdict?,
            Verification::Waiting(waiting) => waiting.await?,
        };
        let extra = T::from_claims(&claims).map_err(Rejection::from)?;
        Ok(Self {
            claims,
            extra,
            verifier: PhantomData,
        })
    }
}

impl<T, V> Deref for Caller<T, V> {
    type Target = Claims;

    fn deref(&self) -> &Claims {
        &self.claims
    }
}

impl<S, T, V> FromRequestParts<S> for Caller<T, V>
where
    S: Send + Sync,
    T: FromClaims,
    V: VerifierOf<S>,
{
    type Rejection = CallerRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        Self::extract(parts, state).await
    }
}

impl<S, T, V> OptionalFromRequestParts<S> for Caller<T, V>
where
    S: Send + Sync,
    T: FromClaims,
    V: VerifierOf<S>,
{
    type Rejection = CallerRejection;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &S,
    ) -> Result<Option<Self>, Self::Rejection> {
        match Self::extract(parts, state).await {
            Ok(caller) => Ok(Some(caller)),
            Err(rejection) if rejection.rejection().is_missing() => Ok(None),
            Err(rejection) => Err(rejection),
        }
    }
}

/// A verifier that lies in a router's state `S`.
///
/// Implemented for whatever can be taken out of the state with [`FromRef`] and is a [`Verifier`] by
/// [`AsRef`]; not to be implemented by hand.
#[diagnostic::on_unimplemented(
    message = "the state `{S}` holds no `{Self}` to verify callers with",
    label = "`Caller` needs a verifier in the router's state",
    note = "use the verifier itself as state: `Router::with_state(verifier)`",
    note = "or implement `FromRef<{S}>` for `{Self}`, or derive `FromRef` for the state",
    note = "a type of your own in `Caller<_, YourType>` must implement `AsRef<Verifier>` as well"
)]
pub trait VerifierOf<S>: Send + Sync {
    /// Starts to verify the token in `headers` with the verifier in `state`.
    fn start(state: &S, headers: &HeaderMap) -> Verification;
}

// Or the compiler would speak of what this implementation wants, and not of what is wrong.
#[diagnostic::do_not_recommend]
impl<S, V> VerifierOf<S> for V
where
    V: FromRef<S> + AsRef<Verifier> + Send + Sync,
{
    fn start(state: &S, headers: &HeaderMap) -> Verification {
        V::from_ref(state).as_ref().start(headers)
    }
}

/// A type that [`Caller`] can read the claims into: any that implements `serde::Deserialize`
/// without borrowing.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be read from a token's claims",
    note = "derive `serde::Deserialize` for it; it must own what it holds"
)]
pub trait FromClaims: Sized {
    /// Reads `claims`.
    ///
    /// # Errors
    ///
    /// When they are not as the type wants them.
    fn from_claims(claims: &Claims) -> Result<Self, ClaimError>;
}

#[diagnostic::do_not_recommend]
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
