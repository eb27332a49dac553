//! Access tokens: what the sources that call IAM Credentials authenticate with themselves.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use tokio::time::Instant;

use super::authorized_user::AuthorizedUser;
use super::external_account::ExternalAccount;
use super::iam::IamAccount;
use super::metadata::MetadataServer;
use super::service_account::ServiceAccountKey;
use super::universe::Universe;
use super::wire::secret_header;
use crate::clock::Clock;
use crate::error::{SourceError, SourceErrorKind};
use crate::flight::{Boarding, Flight, FlightError};

/// An access token, ready to be sent.
pub(crate) struct AccessToken {
    pub(crate) bearer: HeaderValue,
    expires_at: SystemTime,
}

impl AccessToken {
    /// Takes the text of a token that lives for `lifetime` from `now` on.
    pub(crate) fn new(
        source_name: &'static str,
        text: &str,
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<Self, SourceError> {
        let bearer = secret_header(format!("Bearer {text}")).map_err(|_| {
            SourceError::new(
                SourceErrorKind::InvalidAnswer,
                source_name,
                "the access token has characters that no header holds",
            )
        })?;
        Ok(Self {
            bearer,
            expires_at: now + lifetime.min(LONGEST_LIFE),
        })
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// Who an access token is for.
#[derive(Clone, Debug)]
pub(crate) enum Identity {
    ExternalAccount(Arc<ExternalAccount>),
    Impersonated(Arc<IamAccount>),
    Metadata(MetadataServer),
    ServiceAccount(ServiceAccountKey),
    User(AuthorizedUser),
}

impl Identity {
    /// A token that is there by `deadline`, or an error that says what took so long. Boxed, since an
    /// identity may stand on another.
    fn fetch(
        &self,
        deadline: Instant,
    ) -> Pin<Box<dyn Future<Output = Result<AccessToken, SourceError>> + Send + '_>> {
        Box::pin(async move {
            match self {
                Self::ExternalAccount(source) => source.federated_token(deadline).await,
                Self::Impersonated(account) => account.access_token(deadline).await,
                Self::Metadata(source) => source.access_token(deadline).await,
                Self::ServiceAccount(source) => source.self_signed_token(),
                Self::User(source) => source.access_token(deadline).await,
            }
        })
    }

    /// How much longer than its exchanges it may take, since it runs what is not ours.
    pub(crate) fn patience(&self) -> Duration {
        match self {
            Self::ExternalAccount(source) => source.patience(),
            Self::Impersonated(account) => account.base.identity().patience(),
            Self::Metadata(_) | Self::ServiceAccount(_) | Self::User(_) => Duration::ZERO,
        }
    }

    /// Where to ask for other accounts on this identity's authority, unless told.
    pub(crate) fn iam_origin(&self) -> Result<String, SourceError> {
        match self {
            Self::ExternalAccount(source) => source.iam_origin(),
            Self::Impersonated(account) => account.origin(),
            Self::ServiceAccount(source) => source.iam_origin(),
            Self::Metadata(_) | Self::User(_) => Universe::default().iam_origin("impersonation"),
        }
    }

    /// The project that pays for calls, where the credential names one.
    pub(crate) fn quota_project(&self) -> Option<&HeaderValue> {
        match self {
            Self::ExternalAccount(source) => source.quota_project(),
            Self::User(source) => source.quota_project(),
            Self::Impersonated(_) | Self::Metadata(_) | Self::ServiceAccount(_) => None,
        }
    }
}

/// One access token, kept until shortly before its end, fetched once for all who want it.
#[derive(Clone)]
pub(crate) struct AccessTokens {
    identity: Identity,
    clock: Arc<dyn Clock>,
    held: Arc<Mutex<Option<Arc<AccessToken>>>>,
    flight: Arc<Flight<Result<Arc<AccessToken>, SourceError>>>,
}

impl AccessTokens {
    pub(crate) fn new(identity: Identity, clock: Arc<dyn Clock>) -> Self {
        Self {
            identity,
            clock,
            held: Arc::default(),
            flight: Arc::new(Flight::new(LONGEST_FETCH)),
        }
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The token, which is there by `deadline` or not at all. Those who join a fetch under way have
    /// a later one than whoever began it.
    pub(crate) async fn get(&self, deadline: Instant) -> Result<Arc<AccessToken>, SourceError> {
        if let Some(token) = self.usable() {
            return Ok(token);
        }
        let boarding = self.flight.enter(
            || self.usable().map(Ok),
            || {
                let (identity, held) = (self.identity.clone(), Arc::clone(&self.held));
                async move {
                    let token = Arc::new(identity.fetch(deadline).await?);
                    *held.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&token));
                    Ok(token)
                }
            },
        );
        match boarding {
            Ok(Boarding::Landed(outcome)) => outcome,
            Ok(Boarding::Wait(waiter)) => waiter.wait().await.unwrap_or_else(|e| Err(lost(e))),
            Err(error) => Err(lost(error)),
        }
    }

    /// Drops `token`, which was refused with 401, so that the next call fetches another.
    pub(crate) fn distrust(&self, token: &Arc<AccessToken>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.as_ref().is_some_and(|held| Arc::ptr_eq(held, token)) {
            *held = None;
        }
    }

    fn usable(&self) -> Option<Arc<AccessToken>> {
        let soon = self.clock.now() + MARGIN;
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.as_ref()
            .filter(|token| soon < token.expires_at)
            .map(Arc::clone)
    }
}

impl fmt::Debug for AccessTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessTokens")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

fn lost(error: FlightError) -> SourceError {
    let message = match error {
        FlightError::Lost => "the access token fetch was interrupted",
        FlightError::NoRuntime => "an access token fetch takes a tokio runtime",
    };
    SourceError::new(SourceErrorKind::Transient, "access token", message)
}

/// As for ID tokens: after the metadata server has rolled over to its next token.
const MARGIN: Duration = Duration::from_secs(225);

/// The longest that Google's access tokens live, so that no answer can claim more.
const LONGEST_LIFE: Duration = Duration::from_secs(12 * 3_600);

/// Longer than any source may take, executables of external accounts included.
const LONGEST_FETCH: Duration = Duration::from_secs(150);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_without_measure_is_cut() {
        let now = SystemTime::UNIX_EPOCH;
        let token = AccessToken::new("test", "text", now, Duration::from_secs(u64::MAX)).unwrap();
        assert_eq!(token.expires_at, now + LONGEST_LIFE);
        assert!(token.bearer.is_sensitive());
    }

    #[test]
    fn a_token_that_no_header_holds_is_invalid_and_not_shown() {
        let error = AccessToken::new("test", "SECRET\n", SystemTime::UNIX_EPOCH, LONGEST_LIFE);
        let error = error.unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::InvalidAnswer);
        assert!(!format!("{error:?}").contains("SECRET"), "{error:?}");
    }
}
