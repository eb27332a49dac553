//! Why what we send differs from what Google's clients send.

/// The reason for one field of one request; there is none for a difference that is new.
pub(super) fn why(client: &str, exchange: &str, endpoint: &str, field: &str) -> &'static str {
    match (client, endpoint, field) {
        (_, _, "header user-agent" | "header x-goog-api-client") => {
            "each names itself in its own way; ours says nothing of the runtime and the credentials"
        }
        (_, _, "header accept-encoding") => {
            "short answers gain nothing by compression, and what is not unpacked cannot swell"
        }
        (_, _, "header connection") => {
            "connections are kept unless told otherwise (RFC 9112 §9.3); there is nothing to say"
        }
        (_, _, "header host") => {
            "its address is built in: it came through a tunnel of the proxy, over HTTPS"
        }
        ("google-auth", "ping" | "metadata", "more requests") => {
            "it asks first whether there is a metadata server and who is attached; the answer with \
             the token says both"
        }
        ("google-auth-library", "metadata", "more requests") => {
            "it asks first whether there is a metadata server, twice; the answer with the token \
             says so too"
        }
        ("google-auth" | "google-auth-library", "token", "more requests") => {
            "it exchanges the key for an access token first; ours is a JWT signed on the spot, \
             which costs no request"
        }
        ("google-auth-library", "token" | "sts", "header content-type") => {
            "a form's media type has no parameter `charset`"
        }
        ("google-auth-library", "token" | "sts", "header accept") => {
            "the answer is judged by what it holds"
        }
        (_, "token", "assertion's claim aud") => {
            "theirs is a constant; ours is the file's `token_uri`, which is the same in Google's \
             files"
        }
        (_, "token", "assertion's claim sub") => {
            "a subject is demanded (RFC 7523 §3), and google-cloud-auth sends it too"
        }
        ("google-auth-library", "token", "assertion's header kid" | "assertion's header typ") => {
            "the others say which of the account's keys it is, and so do we"
        }
        ("google-cloud-auth", "token", "assertion's claim exp") => {
            "it adds ten seconds at either end; an hour is what the documentation allows"
        }
        ("google-cloud-auth", "token", _) if exchange == "user" => {
            "it sends JSON; a refresh is a form (RFC 6749 §6)"
        }
        (_, "generate-id-token", "json delegates") => "an empty list, or null, says nothing",
        ("google-auth-library", "generate-id-token", "json useEmailAzp") => {
            "it makes `azp` the account's name instead of its number; no public description of the \
             method has it, and the other clients do not send it"
        }
        ("google-auth", "sts", "form scope") => {
            "IAM Credentials takes either scope, and google-auth-library's is ours"
        }
        _ => panic!("{client}: {exchange}: {endpoint}: {field} differs from ours, and why?"),
    }
}
