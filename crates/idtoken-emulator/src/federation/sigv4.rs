//! Checks AWS Signature Version 4 on a request without a body.

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use http::Uri;

use crate::encode::{hex, sha256};
use crate::keys::certificate::moment;

/// A request that somebody signed.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) method: String,
    pub(super) url: Uri,
    /// Names in lower case, values trimmed.
    pub(super) headers: Vec<(String, String)>,
}

impl Signed {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    fn authorization(&self) -> Option<Authorization<'_>> {
        let text = self
            .header("authorization")?
            .strip_prefix("AWS4-HMAC-SHA256 ")?;
        let part = |name: &str| {
            text.split(',')
                .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
        };
        let (access_key_id, scope) = part("Credential")?.split_once('/')?;
        Some(Authorization {
            access_key_id,
            scope,
            signed_headers: part("SignedHeaders")?,
            signature: part("Signature")?,
        })
    }

    /// The form of the request that is signed, in which everything has one order and spelling.
    fn canonical(&self, signed_headers: &str) -> Option<String> {
        let mut query: Vec<&str> = self
            .url
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
            .collect();
        query.sort_unstable();
        let mut text = format!(
            "{}\n{}\n{}\n",
            self.method,
            self.url.path(),
            query.join("&")
        );
        for name in signed_headers.split(';') {
            text.push_str(&format!("{name}:{}\n", self.header(name)?));
        }
        Some(format!("{text}\n{signed_headers}\n{}", hex(&sha256(""))))
    }
}

struct Authorization<'a> {
    access_key_id: &'a str,
    /// Day, region, service and a constant, slashes between them.
    scope: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

/// Whether the request was signed with this key, for the security token service, just now.
pub(super) fn is_good(request: &Signed, access_key_id: &str, secret: &str, now: u64) -> bool {
    let Some(authorization) = request.authorization() else {
        return false;
    };
    let Some(date) = request.header("x-amz-date") else {
        return false;
    };
    let timely = [now.saturating_sub(SKEW_S), now.saturating_add(SKEW_S)].map(basic_format);
    let [earliest, latest] = timely;
    authorization.access_key_id == access_key_id
        // The format sorts as the times do.
        && (earliest.as_str()..=latest.as_str()).contains(&date)
        && authorization.scope.ends_with("/sts/aws4_request")
        && signature(request, &authorization, date, secret).as_deref()
            == Some(authorization.signature)
}

fn signature(
    request: &Signed,
    authorization: &Authorization<'_>,
    date: &str,
    secret: &str,
) -> Option<String> {
    let scope = authorization.scope;
    let canonical = request.canonical(authorization.signed_headers)?;
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{date}\n{scope}\n{}",
        hex(&sha256(canonical))
    );
    let key = scope
        .split('/')
        .fold(format!("AWS4{secret}").into_bytes(), |key, part| {
            mac(&key, part.as_bytes())
        });
    Some(hex(&mac(&key, to_sign.as_bytes())))
}

fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    sign(&Key::new(HMAC_SHA256, key), message).as_ref().to_vec()
}

/// `20150830T123600Z`, the format of `x-amz-date`.
fn basic_format(seconds: u64) -> String {
    let at = moment(seconds);
    let (hour, minute, second) = at.time().as_hms();
    let (year, month, day) = at.to_calendar_date();
    format!(
        "{year:04}{:02}{day:02}T{hour:02}{minute:02}{second:02}Z",
        u8::from(month)
    )
}

/// How far the client's clock may be off.
const SKEW_S: u64 = 900;

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of AWS's own documentation.
    #[test]
    fn computes_the_documented_signature() {
        let headers = [
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
            ),
            (
                "content-type",
                "application/x-www-form-urlencoded; charset=utf-8",
            ),
            ("host", "iam.amazonaws.com"),
            ("x-amz-date", "20150830T123600Z"),
        ];
        let request = Signed {
            method: "GET".to_owned(),
            url: "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08"
                .parse()
                .unwrap(),
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        };
        let authorization = request.authorization().unwrap();
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let computed = signature(&request, &authorization, "20150830T123600Z", secret).unwrap();
        assert_eq!(computed, authorization.signature);
        // Good in itself, but for another service.
        assert!(!is_good(&request, "AKIDEXAMPLE", secret, 1_440_938_160));
    }

    #[test]
    fn writes_dates_in_the_basic_format() {
        assert_eq!(basic_format(1_440_938_160), "20150830T123600Z");
    }
}
