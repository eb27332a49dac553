//! Tokens that something else made: given, in a file, in a variable, or from a closure.

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::TokenSource;
use super::adc::Environment;
use super::file::read_text;
use crate::audience::Audience;
use crate::clock::{Clock, SharedClock};
use crate::error::{SourceError, SourceErrorKind};
use crate::token::{IdToken, InvalidToken};

/// One token, given. It serves its own audience until it expires, and is not renewed: from then on
/// there is an error that says so.
///
/// ```
/// use idtoken::source::StaticToken;
///
/// // {"alg":"none"} . {"aud":"me","exp":4000000000} . sig
/// let source = StaticToken::new("eyJhbGciOiJub25lIn0.eyJhdWQiOiJtZSIsImV4cCI6NDAwMDAwMDAwMH0.c2ln")?;
/// # Ok::<(), idtoken::InvalidToken>(())
/// ```
#[derive(Clone, Debug)]
pub struct StaticToken {
    token: IdToken,
    clock: SharedClock,
}

impl StaticToken {
    /// Takes the compact form of a token.
    ///
    /// # Errors
    ///
    /// As [`IdToken::new`].
    pub fn new(jwt: &str) -> Result<Self, InvalidToken> {
        let token = IdToken::new(jwt)?;
        let clock = SharedClock::default();
        Ok(Self { token, clock })
    }

    /// Reads the time from `clock`, to tell whether the token has ended.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = SharedClock::new(clock);
        self
    }
}

impl TokenSource for StaticToken {
    async fn fetch(&self, _: &Audience) -> Result<IdToken, SourceError> {
        let fail = |problem: &str| {
            let message = format!("the token {problem}");
            SourceError::new(SourceErrorKind::Misconfigured, "given token", message)
        };
        unless_ended(self.token.clone(), &self.clock, fail).map_err(|error| {
            error.with_advice("give a new one, or take a source that makes tokens")
        })
    }
}

/// A token in a file that something else keeps fresh, such as a sidecar or a projected volume. The
/// file is read at each fetch.
///
/// ```
/// use idtoken::source::TokenFile;
///
/// let source = TokenFile::new("/var/run/secrets/tokens/hello");
/// ```
#[derive(Clone, Debug)]
pub struct TokenFile {
    path: PathBuf,
    clock: SharedClock,
}

impl TokenFile {
    /// The token in the file at `path`; white space around it is ignored.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self {
            path: path.as_ref().to_owned(),
            clock: SharedClock::default(),
        }
    }

    /// Reads the time from `clock`, to tell whether the token has ended.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = SharedClock::new(clock);
        self
    }
}

impl TokenSource for TokenFile {
    async fn fetch(&self, _: &Audience) -> Result<IdToken, SourceError> {
        let fail = |problem: &str| {
            let message = format!("{} {problem}", self.path.display());
            SourceError::new(SourceErrorKind::Misconfigured, "token file", message)
        };
        let text = read_text(&self.path, fail)?;
        let token = IdToken::new(text.trim())
            .map_err(|error| fail("holds no ID token").with_cause(error))?;
        unless_ended(token, &self.clock, |problem| {
            fail(&format!("holds a token that {problem}"))
        })
        .map_err(|error| error.with_advice("whatever keeps the file fresh has stopped doing so"))
    }
}

/// A token in an environment variable, for scripts and tests.
///
/// ```
/// use idtoken::source::TokenVariable;
///
/// let source = TokenVariable::new("HELLO_ID_TOKEN");
/// ```
#[derive(Clone, Debug)]
pub struct TokenVariable {
    name: String,
    clock: SharedClock,
}

impl TokenVariable {
    /// The token in the variable `name`, read at each fetch.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            clock: SharedClock::default(),
        }
    }

    /// Reads the time from `clock`, to tell whether the token has ended.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = SharedClock::new(clock);
        self
    }
}

impl TokenSource for TokenVariable {
    async fn fetch(&self, _: &Audience) -> Result<IdToken, SourceError> {
        let fail = |problem: &str| {
            let message = format!("{} {problem}", self.name);
            SourceError::new(SourceErrorKind::Misconfigured, "token variable", message)
        };
        let text = Environment::variable_of_process(&self.name).map(Zeroizing::new);
        let text = text.ok_or_else(|| {
            fail("is not set").with_advice("export it in the environment of this very process")
        })?;
        let token = IdToken::new(text.trim())
            .map_err(|error| fail("holds no ID token").with_cause(error))?;
        unless_ended(token, &self.clock, |problem| {
            fail(&format!("holds a token that {problem}"))
        })
        .map_err(|error| error.with_advice("set it to a new one and start again"))
    }
}

/// A token that has ended is an error of its own here: nobody renews it, and no clock is wrong.
fn unless_ended(
    token: IdToken,
    clock: &SharedClock,
    fail: impl FnOnce(&str) -> SourceError,
) -> Result<IdToken, SourceError> {
    match clock.0.now().duration_since(token.expires_at()) {
        Err(_) => Ok(token),
        Ok(ago) => {
            let problem = format!("expired {} s ago and is not renewed", ago.as_secs());
            Err(fail(&problem))
        }
    }
}

/// Makes a source of a function.
///
/// The function takes the audience by value, so that its future can be kept.
///
/// ```
/// use idtoken::{IdToken, TokenCache, source};
///
/// # async fn ask_vault(_: &str) -> String { String::new() }
/// let tokens = TokenCache::new(source::from_fn(|audience| async move {
///     Ok(IdToken::new(&ask_vault(audience.as_str()).await)?)
/// }));
/// ```
pub fn from_fn<F, R>(fetch: F) -> FromFn<F>
where
    F: Fn(Audience) -> R + Send + Sync + 'static,
    R: Future<Output = Result<IdToken, SourceError>> + Send,
{
    FromFn { fetch }
}

/// The source made by [`from_fn`].
#[derive(Clone)]
pub struct FromFn<F> {
    fetch: F,
}

impl<F, R> TokenSource for FromFn<F>
where
    F: Fn(Audience) -> R + Send + Sync + 'static,
    R: Future<Output = Result<IdToken, SourceError>> + Send,
{
    fn fetch(
        &self,
        audience: &Audience,
    ) -> impl Future<Output = Result<IdToken, SourceError>> + Send {
        (self.fetch)(audience.clone())
    }
}

impl<F> fmt::Debug for FromFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromFn").finish_non_exhaustive()
    }
}
