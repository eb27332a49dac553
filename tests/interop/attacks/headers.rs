//! Tokens whose header says what it must not.

use idtoken::VerifyErrorKind as Kind;
use idtoken::verify::Malformed;
use serde_json::json;

use super::List;

impl List {
    pub(super) fn headers(&mut self) {
        self.algorithms();
        self.key_ids();
        for typ in ["at+jwt", "JWS", "JOSE", "secevent+jwt", ""] {
            let jwt = self.mint(|order| order.header("typ", typ));
            self.add(format!("typ {typ:?}"), Kind::WrongType, jwt);
        }
        for crit in [json!(["b64"]), json!(["exp"]), json!([]), json!(null)] {
            let jwt = self.mint(|order| order.header("crit", crit.clone()));
            self.add(format!("crit {crit}"), Kind::CriticalHeader, jwt);
        }
        let kid = self.google.key_id();
        for (what, header) in [
            (
                "alg twice, none first",
                format!(r#"{{"alg":"none","alg":"RS256","kid":"{kid}"}}"#),
            ),
            (
                "alg twice, none last",
                format!(r#"{{"alg":"RS256","alg":"none","kid":"{kid}"}}"#),
            ),
            (
                "kid twice",
                format!(r#"{{"alg":"RS256","kid":"x","kid":"{kid}"}}"#),
            ),
            ("a header that is a list", "[]".to_owned()),
            ("a header that is a number", "7".to_owned()),
            ("a header that is cut", "{\"alg\":".to_owned()),
            (
                "a header with a comment",
                format!(r#"{{"alg":"RS256","kid":"{kid}"}}//"#),
            ),
        ] {
            let jwt = self.mint(|order| order.raw_header(header));
            self.add(what, Kind::Malformed(Malformed::HeaderNotObject), jwt);
        }
    }

    fn algorithms(&mut self) {
        let kid = self.google.key_id();
        let header = |alg: &str| json!({"alg": alg, "kid": kid, "typ": "JWT"}).to_string();
        for alg in ALGORITHMS {
            // The header as it stands has no say in how it is signed: by RS256.
            let jwt = self.mint(|order| order.raw_header(header(alg)));
            let what = format!("alg {alg:?} over an RS256 signature");
            self.add(what, Kind::AlgorithmNotAllowed, jwt);
        }
        for alg in ["RS384", "RS512", "PS256"] {
            let jwt = self.mint(|order| order.header("alg", alg));
            let what = format!("signed with {alg} by the right key");
            self.add(what, Kind::AlgorithmNotAllowed, jwt);
            let jwt = self.mint(|order| order.header("alg", alg).raw_header(header("RS256")));
            let what = format!("alg \"RS256\" over an {alg} signature");
            self.add(what, Kind::BadSignature, jwt);
        }
        for alg in [json!(null), json!(0), json!(["RS256"]), json!({})] {
            let jwt = self.mint(|order| order.header("alg", alg.clone()));
            self.add(format!("alg {alg}"), Kind::AlgorithmNotAllowed, jwt);
        }
        let jwt = self.mint(|order| order.without_header("alg"));
        self.add("no alg", Kind::AlgorithmNotAllowed, jwt);
    }

    fn key_ids(&mut self) {
        for kid in ["", "unknown", "../../etc/passwd", "' OR 1=1", "*"] {
            let jwt = self.mint(|order| order.header("kid", kid));
            let kind = match kid {
                "" => Kind::MissingKeyId,
                _ => Kind::UnknownKey,
            };
            self.add(format!("kid {kid:?}"), kind, jwt);
        }
        for kid in [json!(null), json!(0), json!(true), json!(["k"])] {
            let jwt = self.mint(|order| order.header("kid", kid.clone()));
            self.add(format!("kid {kid}"), Kind::MissingKeyId, jwt);
        }
        let jwt = self.mint(|order| order.without_header("kid"));
        self.add("no kid", Kind::MissingKeyId, jwt);
    }
}

const ALGORITHMS: [&str; 13] = [
    "none", "None", "NONE", "", "HS256", "HS512", "RS384", "RS512", "PS256", "ES256", "EdDSA",
    "rs256", "RS256 ",
];
