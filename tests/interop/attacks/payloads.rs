//! Tokens whose payload is not one JSON object with each name once.

use idtoken::VerifyErrorKind as Kind;
use idtoken::verify::Malformed;

use super::List;

impl List {
    pub(super) fn payloads(&mut self) {
        let base = self.base().to_string();
        let open = &base[..base.len() - 1];
        let deep = format!("{open},\"x\":{}{}}}", "[".repeat(300), "]".repeat(300));
        let long = format!("{open},\"x\":\"{}\"}}", "y".repeat(20_000));
        for (what, payload) in [
            (
                "aud twice, ours last",
                format!("{{\"aud\":\"https://x\",{}", &base[1..]),
            ),
            (
                "aud twice, ours first",
                format!("{open},\"aud\":\"https://x\"}}"),
            ),
            ("exp twice", format!("{{\"exp\":1,{}", &base[1..])),
            (
                "e-mail twice",
                format!("{open},\"email\":\"evil@x.example\"}}"),
            ),
            (
                "aud twice, once escaped",
                format!("{{\"\\u0061ud\":\"https://x\",{}", &base[1..]),
            ),
            ("a payload that is a list", format!("[{base}]")),
            ("a payload that is text", "\"claims\"".to_owned()),
            ("a payload that is null", "null".to_owned()),
            ("an empty payload", String::new()),
            ("an empty object", "{}".to_owned()),
            ("a payload that is cut", open.to_owned()),
            ("two payloads", format!("{base}{base}")),
            ("a payload with a comma too many", format!("{open},}}")),
            ("a payload with a comment", format!("{base}/**/")),
            ("a payload with NaN", format!("{open},\"x\":NaN}}")),
            ("a payload 300 lists deep", deep),
            ("a payload of 20 kB", long),
        ] {
            let jwt = self.mint(|order| order.raw_payload(payload));
            let kind = match what {
                "an empty object" => Kind::MissingClaim("iss"),
                "a payload of 20 kB" => Kind::Malformed(Malformed::TooLong),
                _ => Kind::Malformed(Malformed::PayloadNotObject),
            };
            self.add(what, kind, jwt);
        }
        let in_latin_1 = [open.as_bytes(), b",\"x\":\"\xff\"}"].concat();
        let marked = [b"\xef\xbb\xbf", base.as_bytes()].concat();
        let in_utf_16 = base.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (what, payload) in [
            ("a payload that is not UTF-8", in_latin_1),
            ("a byte order mark before the payload", marked),
            ("a payload in UTF-16", in_utf_16),
        ] {
            let jwt = self.mint(|order| order.raw_payload(payload));
            self.add(what, Kind::Malformed(Malformed::PayloadNotObject), jwt);
        }
    }
}
