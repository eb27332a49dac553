//! Where the tokens of `print`, `doctor` and `proxy` come from.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use idtoken::source::{DefaultSource, Gcloud, Impersonated, MetadataServer, TokenFile};
use idtoken::{Audience, IdToken, SourceError, TokenCache, TokenSource};

use crate::exit::{Exit, Failure};

#[derive(Args, Debug)]
#[command(next_help_heading = "Identity")]
pub(crate) struct SourceArgs {
    /// Where tokens come from: `default` (application default credentials), `gcloud` (its command
    /// line), `metadata` (the metadata server), `file:PATH` (a credentials file), or
    /// `token-file:PATH` (a file in which something else keeps a token)
    #[arg(long, value_name = "SOURCE", default_value = "default", value_parser = Kind::parse)]
    source: Kind,

    /// Ask for tokens of this service account, on the authority of the source
    #[arg(long, value_name = "EMAIL")]
    impersonate: Option<String>,

    /// A service account between the source and the one to impersonate; may be repeated, in order
    #[arg(long, value_name = "EMAIL", requires = "impersonate")]
    delegate: Vec<String>,

    /// Where the IAM Credentials API is, if not at Google: an emulator's URL
    #[arg(long, value_name = "URL", requires = "impersonate")]
    iam_endpoint: Option<String>,

    /// Take a person's own token although it names an OAuth client and not the audience asked for.
    /// Whoever gets such a token can use it wherever that client is accepted
    #[arg(long)]
    danger_accept_client_audience: bool,

    /// How long one token may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
}

impl SourceArgs {
    /// Finds the credentials.
    pub(crate) async fn open(&self) -> Result<Opened, Failure> {
        let (source, description) = match (&self.source, &self.impersonate) {
            (Kind::Gcloud, target) => self.gcloud(target.as_deref()),
            (Kind::TokenFile(path), None) => (
                Source::TokenFile(TokenFile::new(path)),
                format!("the token in {}", path.display()),
            ),
            (Kind::TokenFile(_), Some(_)) => {
                return Err(Failure::new(
                    Exit::Usage,
                    "a token from a file cannot impersonate anybody",
                ));
            }
            (Kind::Default, target) => {
                let found = DefaultSource::builder().build().await?;
                self.found(found, target.as_deref())?
            }
            (Kind::File(path), target) => {
                let found = DefaultSource::builder()
                    .from_file(path)
                    .map_err(unreadable)?;
                self.found(found, target.as_deref())?
            }
            (Kind::Metadata, target) => self.metadata(target.as_deref())?,
        };
        Ok(Opened {
            source,
            description,
            timeout: Duration::from_secs(self.timeout),
        })
    }

    fn gcloud(&self, target: Option<&str>) -> (Source, String) {
        let mut gcloud = Gcloud::new().timeout(Duration::from_secs(self.timeout));
        if self.danger_accept_client_audience {
            gcloud = gcloud.danger_accept_client_audience();
        }
        match target {
            None => (
                Source::Gcloud(gcloud),
                "the account that gcloud uses".to_owned(),
            ),
            Some(target) => (
                Source::Gcloud(gcloud.impersonate(target)),
                format!("gcloud, impersonating {target}"),
            ),
        }
    }

    fn found(
        &self,
        found: DefaultSource,
        target: Option<&str>,
    ) -> Result<(Source, String), Failure> {
        let description = found.describe();
        let Some(target) = target else {
            let found = if self.danger_accept_client_audience {
                found.danger_accept_client_audience()
            } else {
                found
            };
            return Ok((Source::Default(found), description));
        };
        let description = format!("impersonation of {target} by {description}");
        let source = self.impersonation(target, found.into_base())?;
        Ok((source, description))
    }

    fn metadata(&self, target: Option<&str>) -> Result<(Source, String), Failure> {
        let server = MetadataServer::new().map_err(|error| {
            Failure::new(Exit::Internal, "the HTTP client cannot be set up").with_source(error)
        })?;
        let description = format!("metadata server at {}", server.host());
        match target {
            None => Ok((Source::Metadata(server), description)),
            Some(target) => Ok((
                self.impersonation(target, server)?,
                format!("impersonation of {target} by {description}"),
            )),
        }
    }

    fn impersonation(
        &self,
        target: &str,
        base: impl Into<idtoken::source::Base>,
    ) -> Result<Source, Failure> {
        let mut builder = Impersonated::builder(target, base).delegates(&self.delegate);
        if let Some(origin) = &self.iam_endpoint {
            builder = builder.endpoint(origin);
        }
        Ok(Source::Impersonated(builder.build()?))
    }
}

/// Credentials that were found.
#[derive(Debug)]
pub(crate) struct Opened {
    source: Source,
    description: String,
    timeout: Duration,
}

impl Opened {
    /// Whose they are and why they were chosen. Holds no secret.
    pub(crate) fn description(&self) -> &str {
        &self.description
    }

    pub(crate) fn into_tokens(self) -> TokenCache {
        TokenCache::builder(self.source)
            .fetch_timeout(self.timeout)
            .build()
    }
}

#[derive(Clone, Debug)]
enum Kind {
    Default,
    File(PathBuf),
    Gcloud,
    Metadata,
    TokenFile(PathBuf),
}

impl Kind {
    fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("token-file", path)) if !path.is_empty() => Ok(Self::TokenFile(path.into())),
            None if text == "default" => Ok(Self::Default),
            None if text == "gcloud" => Ok(Self::Gcloud),
            None if text == "metadata" => Ok(Self::Metadata),
            _ => Err("it is default, gcloud, metadata, file:PATH or token-file:PATH".to_owned()),
        }
    }
}

#[derive(Debug)]
enum Source {
    Default(DefaultSource),
    Gcloud(Gcloud),
    Impersonated(Impersonated),
    Metadata(MetadataServer),
    TokenFile(TokenFile),
}

impl TokenSource for Source {
    async fn fetch(&self, audience: &Audience) -> Result<IdToken, SourceError> {
        match self {
            Self::Default(source) => source.fetch(audience).await,
            Self::Gcloud(source) => source.fetch(audience).await,
            Self::Impersonated(source) => source.fetch(audience).await,
            Self::Metadata(source) => source.fetch(audience).await,
            Self::TokenFile(source) => source.fetch(audience).await,
        }
    }
}

/// A file that is not there is told from one that holds no usable credentials.
fn unreadable(error: SourceError) -> Failure {
    let is_io = error.source().is_some_and(|cause| cause.is::<io::Error>());
    if is_io {
        Failure::new(Exit::File, "").with_source(error)
    } else {
        error.into()
    }
}
