//! What a caller who is turned away gets to see.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use idtoken::inbound::Rejection;

use super::is_grpc;

/// The protocol that a refusal is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// gRPC over HTTP/2: the status goes where its clients look for it, and nowhere else.
    Grpc,
    /// Plain HTTP.
    Http,
}

impl Protocol {
    /// The protocol of `request`, by its content type.
    pub fn of<B>(request: &Request<B>) -> Self {
        if is_grpc(request.headers()) {
            Self::Grpc
        } else {
            Self::Http
        }
    }

    /// The answer that says `rejection`, without any detail.
    pub fn answer<B: Default>(self, rejection: &Rejection) -> Response<B> {
        let mut response = Response::new(B::default());
        match self {
            Self::Grpc => {
                // Headers only and no body: what gRPC calls "Trailers-Only".
                let headers = response.headers_mut();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
                headers.insert(
                    "grpc-status",
                    HeaderValue::from_static(grpc_status(rejection)),
                );
                headers.insert("grpc-message", HeaderValue::from_static(rejection.body()));
            }
            Self::Http => {
                *response.status_mut() = rejection.status();
                rejection.write_headers(response.headers_mut());
            }
        }
        response
    }
}

/// `UNAUTHENTICATED`, `PERMISSION_DENIED` or `UNAVAILABLE`.
fn grpc_status(rejection: &Rejection) -> &'static str {
    match rejection.status() {
        StatusCode::FORBIDDEN => "7",
        StatusCode::SERVICE_UNAVAILABLE => "14",
        _ => "16",
    }
}
