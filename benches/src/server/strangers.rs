//! Who is let in, and who is not, before anything is measured.

use http::StatusCode;
use tower::BoxError;

use super::{Candidate, World};

impl Candidate<'_> {
    /// What lets everyone in is quick, and no competitor.
    pub(super) async fn turns_strangers_away(&self, world: &World<'_>) -> Result<(), BoxError> {
        let refused = |status| matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let strangers = [None, Some(world.elsewhere.as_str())];
        for token in strangers.into_iter().filter(|_| self.checks) {
            let status = status(self.port, token).await?;
            if !refused(status) {
                return Err(format!("{}: {status} to a stranger", self.name).into());
            }
        }
        let status = status(self.port, Some(&world.good)).await?;
        if status != StatusCode::OK {
            return Err(format!("{}: {status} to a good token", self.name).into());
        }
        Ok(())
    }
}

/// What a server on `port` says to a request with this token.
pub(super) async fn status(port: u16, token: Option<&str>) -> Result<StatusCode, BoxError> {
    let request = reqwest::Client::new().get(format!("http://127.0.0.1:{port}/"));
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    Ok(request.send().await?.status())
}
