use http::{HeaderMap, HeaderValue};

use super::*;
use crate::verify::VerifyError;

fn map(headers: &[(&'static str, &[u8])]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_bytes(value).unwrap());
    }
    map
}

fn find(headers: &[(&'static str, &[u8])]) -> Result<Option<String>, HeaderFault> {
    TokenHeader::default()
        .find(&map(headers))
        .map(|found| found.map(str::to_owned))
}

#[test]
fn a_missing_header_is_no_token() {
    assert_eq!(find(&[]), Ok(None));
    assert_eq!(find(&[("cookie", b"token=a.b.c")]), Ok(None));
}

#[test]
fn the_scheme_matches_in_any_case_and_before_any_number_of_spaces() {
    for value in [
        "Bearer a.b.c",
        "bearer a.b.c",
        "BEARER a.b.c",
        "Bearer  a.b.c",
    ] {
        assert_eq!(
            find(&[("authorization", value.as_bytes())]),
            Ok(Some("a.b.c".into())),
            "{value}"
        );
    }
}

#[test]
fn what_is_no_token_is_told_apart() {
    let long = format!("Bearer {}", "a".repeat(8 * 1024 + 10));
    for (value, fault) in [
        (&b""[..], HeaderFault::Empty),
        (b"Bearer", HeaderFault::Empty),
        (b"Bearer ", HeaderFault::Empty),
        (b"Basic dTpw", HeaderFault::WrongScheme),
        (b"a.b.c", HeaderFault::WrongScheme),
        (b"Bearera.b.c", HeaderFault::WrongScheme),
        (b"Bearer\ta.b.c", HeaderFault::WrongScheme),
        (b"Bearer a.b .c", HeaderFault::NotAToken),
        (b"Bearer a.b.c, Bearer a.b.c", HeaderFault::NotAToken),
        (b"Bearer a\tb", HeaderFault::NotAToken),
        (b"Bearer \xff\xfe", HeaderFault::NotAToken),
        ("Bearer tökén".as_bytes(), HeaderFault::NotAToken),
        (b"Bearer \"a.b.c\"", HeaderFault::NotAToken),
        (long.as_bytes(), HeaderFault::TooLong),
    ] {
        assert_eq!(
            find(&[("authorization", value)]),
            Err(fault),
            "{:?}",
            value.get(..20)
        );
        assert_eq!(find(&[("x-serverless-authorization", value)]), Err(fault));
    }
}

#[test]
fn two_of_one_header_are_refused_even_when_equal() {
    let value = b"Bearer a.b.c";
    assert_eq!(
        find(&[("authorization", value), ("authorization", value)]),
        Err(HeaderFault::Repeated)
    );
}

#[test]
fn token_in_authorization_and_x_serverless_authorization_disagree() {
    let both = |serverless: &'static [u8], authorization: &'static [u8]| {
        find(&[
            ("authorization", authorization),
            ("x-serverless-authorization", serverless),
        ])
    };
    assert_eq!(
        both(b"Bearer s.s.s", b"Bearer a.a.a"),
        Ok(Some("s.s.s".into()))
    );
    // The application's own header may hold anything.
    assert_eq!(
        both(b"Bearer s.s.s", b"Basic dTpw"),
        Ok(Some("s.s.s".into()))
    );
    // A broken first header does not let the second in.
    assert_eq!(
        both(b"Basic dTpw", b"Bearer a.a.a"),
        Err(HeaderFault::WrongScheme)
    );
}

#[test]
fn the_whole_token_is_judged_when_the_other_lost_its_signature() {
    const GONE: &[u8] = b"Bearer s.s.SIGNATURE_REMOVED_BY_GOOGLE";
    let find = |serverless: &'static [u8], authorization: &'static [u8]| {
        find(&[
            ("authorization", authorization),
            ("x-serverless-authorization", serverless),
        ])
    };
    assert_eq!(find(GONE, b"Bearer a.a.a"), Ok(Some("a.a.a".into())));
    assert_eq!(
        find(b"Bearer s.s.s", b"Bearer a.a.SIGNATURE_REMOVED_BY_GOOGLE"),
        Ok(Some("s.s.s".into()))
    );
    let gone = Ok(Some("s.s.SIGNATURE_REMOVED_BY_GOOGLE".to_owned()));
    assert_eq!(find(GONE, b"Bearer a.a.SIGNATURE_REMOVED_BY_GOOGLE"), gone);
    // What is no whole token does not hide what happened to the first.
    for other in [
        &b"Basic dTpw"[..],
        b"Bearer opaque",
        b"Bearer a.b",
        b"Bearer a.b.",
        b"Bearer a..c",
        b"Bearer a.b.c.d",
    ] {
        assert_eq!(find(GONE, other), gone, "{other:?}");
    }
    assert_eq!(
        find(GONE, b"Bearer a.b.\xff"),
        gone,
        "what is no token at all"
    );
    assert_eq!(
        find(
            b"Bearer \xff.s.SIGNATURE_REMOVED_BY_GOOGLE",
            b"Bearer a.a.a"
        ),
        Err(HeaderFault::NotAToken)
    );
    assert_eq!(
        super::tests::find(&[("x-serverless-authorization", GONE)]),
        gone
    );
}

#[test]
fn a_token_sent_in_both_headers_is_stripped_from_both() {
    for (serverless, authorization, left) in [
        (&b"Bearer a.b.c"[..], &b"bearer  a.b.c"[..], None),
        // The application's own.
        (b"Bearer a.b.c", b"Bearer x.y.z", Some("Bearer x.y.z")),
        (b"Bearer a.b.c", b"Basic dTpw", Some("Basic dTpw")),
    ] {
        let mut headers = map(&[
            ("x-serverless-authorization", serverless),
            ("authorization", authorization),
            ("cookie", b"a.b.c"),
        ]);
        TokenHeader::cloud_run().strip(&mut headers);
        assert!(!headers.contains_key("x-serverless-authorization"));
        let found = headers.get("authorization");
        assert_eq!(found.map(|value| value.to_str().unwrap()), left);
        assert!(headers.contains_key("cookie"));
    }
    // Whichever of them it is looked for in, and however often it is there.
    let mut headers = map(&[
        ("authorization", b"Bearer a.b.c"),
        ("x-serverless-authorization", b"Bearer a.b.c"),
    ]);
    TokenHeader::authorization().strip(&mut headers);
    assert!(headers.is_empty(), "{headers:?}");
    let mut headers = map(&[("x-serverless-authorization", b"Bearer a.b.c")]);
    for _ in 0..2 {
        headers.append("authorization", HeaderValue::from_static("Bearer a.b.c"));
    }
    TokenHeader::cloud_run().strip(&mut headers);
    assert!(headers.is_empty(), "{headers:?}");
    // One of these is no copy of a token that is not there.
    let mut headers = map(&[("authorization", b"Bearer a.b.c")]);
    TokenHeader::iap().strip(&mut headers);
    assert!(headers.contains_key("authorization"));
}

#[test]
fn iap_sends_its_assertion_bare() {
    let headers = map(&[
        ("x-goog-iap-jwt-assertion", b"a.b.c"),
        ("authorization", b"Bearer x.y.z"),
    ]);
    assert_eq!(TokenHeader::iap().find(&headers), Ok(Some("a.b.c")));
    let with_scheme = map(&[("x-goog-iap-jwt-assertion", b"Bearer a.b.c")]);
    assert_eq!(
        TokenHeader::iap().find(&with_scheme),
        Err(HeaderFault::NotAToken)
    );
}

#[test]
fn each_rejection_has_its_status_and_challenge() {
    use crate::verify::VerifyErrorKind as Kind;
    let of_kind = |kind: Kind| Rejection::from(VerifyError::from(kind));
    for (rejection, status, challenge) in [
        (Rejection::missing(), 401, Some("Bearer")),
        (HeaderFault::WrongScheme.into(), 401, Some("Bearer")),
        (
            HeaderFault::Repeated.into(),
            400,
            Some(r#"Bearer error="invalid_request""#),
        ),
        (
            HeaderFault::Empty.into(),
            400,
            Some(r#"Bearer error="invalid_request""#),
        ),
        (
            of_kind(Kind::Expired),
            401,
            Some(r#"Bearer error="invalid_token""#),
        ),
        (
            of_kind(Kind::NotAllowed),
            403,
            Some(r#"Bearer error="insufficient_scope""#),
        ),
        (of_kind(Kind::KeysUnavailable), 503, None),
    ] {
        assert_eq!(rejection.status().as_u16(), status, "{rejection:?}");
        let found = rejection.challenge();
        assert_eq!(
            found.as_ref().and_then(|value| value.to_str().ok()),
            challenge
        );
    }
}
