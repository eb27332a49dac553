//! Bodies of answers, among them one that promises more than it sends.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// A body in one piece, and how much of it never comes.
pub(crate) struct AnswerBody {
    data: Option<Bytes>,
    missing: u64,
    flushed: bool,
}

impl AnswerBody {
    pub(crate) fn of(body: Bytes) -> Self {
        Self {
            data: Some(body).filter(|body| !body.is_empty()),
            missing: 0,
            flushed: false,
        }
    }

    /// The first half of `body`, announced as the whole.
    pub(crate) fn half_of(body: &Bytes) -> Self {
        let half = body.slice(..body.len() / 2);
        // At least one byte is missing, even from an empty body.
        let missing = u64::try_from(body.len() - half.len())
            .unwrap_or(u64::MAX)
            .max(1);
        Self {
            missing,
            ..Self::of(half)
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(data) = self.data.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if self.missing == 0 {
            return Poll::Ready(None);
        }
        // One turn in between lets the server write what it has, head included.
        if !std::mem::replace(&mut self.flushed, true) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(io::Error::other("the rest never comes"))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.missing == 0
    }

    fn size_hint(&self) -> SizeHint {
        let data = self.data.as_ref().map_or(0, Bytes::len);
        SizeHint::with_exact(
            u64::try_from(data)
                .unwrap_or(u64::MAX)
                .saturating_add(self.missing),
        )
    }
}
