//! Good tokens that are written otherwise, and texts that are none.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use idtoken::VerifyErrorKind as Kind;
use idtoken::verify::Malformed;

use super::List;

impl List {
    pub(super) fn spellings(&mut self) {
        let good = self.mint(|order| order);
        let parts: Vec<&str> = good.split('.').collect();
        let (h, p, s) = (parts[0], parts[1], parts[2]);
        for (what, jwt) in [
            ("an empty text", String::new()),
            ("one part", h.to_owned()),
            ("two parts", format!("{h}.{p}")),
            ("no signature", format!("{h}.{p}.")),
            ("four parts", format!("{good}.{s}")),
            ("a dot too many", format!("{good}.")),
            ("parts swapped", format!("{p}.{h}.{s}")),
            ("a space before", format!(" {good}")),
            ("a space after", format!("{good} ")),
            ("a new line after", format!("{good}\n")),
            ("a zero byte after", format!("{good}\0")),
            ("the scheme before", format!("Bearer {good}")),
            ("quotes around", format!("\"{good}\"")),
            ("padding behind the signature", format!("{good}==")),
            ("padding behind the header", format!("{h}==.{p}.{s}")),
            (
                "a new line within",
                format!("{h}.{}\n{}.{s}", &p[..8], &p[8..]),
            ),
            ("a star within the signature", format!("{h}.{p}.*{s}")),
            ("dots escaped", good.replace('.', "%2E")),
            ("8 kB of letters", "A".repeat(8_192)),
            ("8 kB of dots", ".".repeat(8_192)),
            (
                "the JSON form",
                format!(r#"{{"protected":"{h}","payload":"{p}","signature":"{s}"}}"#),
            ),
        ] {
            let kind = match what {
                "an empty text" | "one part" | "two parts" | "no signature" | "four parts"
                | "a dot too many" | "dots escaped" | "8 kB of letters" | "8 kB of dots"
                | "the JSON form" => Kind::Malformed(Malformed::NotThreeParts),
                // Claims make a header, but one without `alg`.
                "parts swapped" => Kind::AlgorithmNotAllowed,
                _ => Kind::Malformed(Malformed::NotBase64Url),
            };
            self.add(what, kind, jwt);
        }
        self.letters(&good);
    }

    /// The signature written otherwise.
    fn letters(&mut self, good: &str) {
        let (input, s) = good.rsplit_once('.').unwrap();
        let plain = |text: &str| text.replace('-', "+").replace('_', "/");
        let signature = URL_SAFE_NO_PAD.decode(s).unwrap();
        if plain(s) != s {
            let jwt = format!("{input}.{}", plain(s));
            self.add(
                "the other base64 alphabet",
                Kind::Malformed(Malformed::NotBase64Url),
                jwt,
            );
        }
        // Four bits of the last letter of 256 bytes say nothing: A, Q, g or w, and what follows it.
        let (most, last) = good.split_at(good.len() - 1);
        let stray = char::from(last.as_bytes()[0] + 1);
        let jwt = format!("{most}{stray}");
        self.add(
            "stray bits at the end",
            Kind::Malformed(Malformed::NotBase64Url),
            jwt,
        );
        let half = URL_SAFE_NO_PAD.encode(&signature[..128]);
        self.add(
            "half a signature",
            Kind::BadSignature,
            format!("{input}.{half}"),
        );
        let removed = "SIGNATURE_REMOVED_BY_GOOGLE";
        self.add(
            "the signature removed by Cloud Run",
            Kind::SignatureRemoved,
            format!("{input}.{removed}"),
        );
    }
}
