//! What the front end says instead of the container.

use http::StatusCode;
use http::header::{SERVER, WWW_AUTHENTICATE};

use super::Verdict;
use crate::answer::{self, Answer};
use crate::page::html::Text;

/// The answer to a caller who is not let in.
pub(super) fn refusal(verdict: Verdict, path: &str) -> Option<Answer> {
    let no_permission = format!(
        "Your client does not have permission to get URL <code>{}</code> from this server.",
        Text(path)
    );
    let (status, heading, text, challenge) = match verdict {
        Verdict::Allowed | Verdict::Public => return None,
        Verdict::Anonymous => (StatusCode::FORBIDDEN, "Forbidden", &*no_permission, None),
        Verdict::ForeignClient => (
            StatusCode::NOT_FOUND,
            "Page not found",
            "The requested URL was not found on this server.",
            None,
        ),
        Verdict::NotAllowed => (
            StatusCode::FORBIDDEN,
            "Forbidden",
            &*no_permission,
            Some("Bearer error=\"insufficient_scope\""),
        ),
        Verdict::Unverifiable => (
            StatusCode::UNAUTHORIZED,
            "Unauthorized",
            "Your client does not have permission to the requested URL.",
            Some(
                "Bearer error=\"invalid_token\" \
                 error_description=\"The access token could not be verified\"",
            ),
        ),
    };
    let answer = page(status, heading, text);
    Some(match challenge {
        Some(challenge) => answer::with_header(answer, WWW_AUTHENTICATE, challenge),
        None => answer,
    })
}

pub(super) fn too_large() -> Answer {
    page(
        StatusCode::PAYLOAD_TOO_LARGE,
        "Request Entity Too Large",
        "Your client issued a request that was too large.",
    )
}

/// The container does not listen, or broke off before its answer.
pub(super) fn unavailable() -> Answer {
    page(
        StatusCode::SERVICE_UNAVAILABLE,
        "Server Error",
        "The service you requested is not available yet.",
    )
}

fn page(status: StatusCode, heading: &str, text: &str) -> Answer {
    let (code, reason) = (
        status.as_u16(),
        status.canonical_reason().unwrap_or("Error"),
    );
    let page = format!(
        "<html><head>\n<meta http-equiv=\"content-type\" content=\"text/html;charset=utf-8\">\n\
         <title>{code} {reason}</title>\n</head>\n<body text=#000000 bgcolor=#ffffff>\n\
         <h1>Error: {heading}</h1>\n<h2>{text}</h2>\n<h2></h2>\n</body></html>\n"
    );
    let answer = answer::with_type(status, "text/html; charset=UTF-8", page);
    answer::with_header(answer, SERVER, "Google Frontend")
}
