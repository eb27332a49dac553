//! Connections that stop being HTTP: WebSockets, mostly.

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tower_idtoken::error::BoxError;

use super::headers;
use super::server::Slot;

/// Lets both sides speak to each other once the answer has gone out. The token was checked when
/// the connection was made; the connection may outlive it, and keeps its slot.
pub(super) fn switch<B>(
    answer: &mut Response<B>,
    wanted: Option<&HeaderValue>,
    (client_side, upstream_side): (OnUpgrade, OnUpgrade),
    slot: Slot,
) -> Result<(), BoxError> {
    if wanted.is_none() {
        return Err("the service switched protocols without being asked to".into());
    }
    let protocol = answer
        .headers()
        .get(UPGRADE)
        .cloned()
        .ok_or("the service switched protocols and did not say to which")?;
    headers::prepare_answer(answer.headers_mut(), "");
    answer
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("upgrade"));
    answer.headers_mut().insert(UPGRADE, protocol);
    tokio::spawn(async move {
        // Either side may be gone by now, and there is nobody left to tell.
        if let (Ok(client), Ok(upstream)) = tokio::join!(client_side, upstream_side) {
            let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
            let _ = copy_bidirectional(&mut client, &mut upstream).await;
        }
        drop(slot);
    });
    Ok(())
}
