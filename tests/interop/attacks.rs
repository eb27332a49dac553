//! One list of tokens, with what is wrong with each.

use std::time::UNIX_EPOCH;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use idtoken_emulator::{Emulator, Shape, SigningKey, TokenRequest};
use serde_json::{Value, json};

/// A token, what is wrong with it, and whether it is good all the same.
pub(crate) struct Entry {
    pub(crate) what: String,
    pub(crate) jwt: String,
    pub(crate) good: bool,
}

pub(crate) struct List {
    pub(crate) google: Emulator,
    pub(crate) entries: Vec<Entry>,
    now: u64,
}

impl List {
    pub(crate) async fn new() -> Self {
        let google = Emulator::start().await.unwrap();
        let now = google.clock().now().duration_since(UNIX_EPOCH).unwrap();
        let mut list = Self {
            google,
            entries: Vec::new(),
            now: now.as_secs(),
        };
        list.good_ones();
        list.headers();
        list.claims();
        list.times();
        list.payloads();
        list.spellings();
        list.signatures();
        list
    }

    pub(crate) fn jwts(&self) -> Vec<&str> {
        self.entries
            .iter()
            .map(|entry| entry.jwt.as_str())
            .collect()
    }

    fn add(&mut self, what: impl Into<String>, jwt: String) {
        let (what, good) = (what.into(), false);
        self.entries.push(Entry { what, jwt, good });
    }

    fn add_good(&mut self, what: &str, jwt: String) {
        let (what, good) = (format!("nothing: {what}"), true);
        self.entries.push(Entry { what, jwt, good });
    }

    fn order() -> TokenRequest {
        TokenRequest::new(AUDIENCE).account(EMAIL)
    }

    fn mint(&self, change: impl FnOnce(TokenRequest) -> TokenRequest) -> String {
        self.google.mint(&change(Self::order()))
    }

    /// The claims of a good token.
    fn base(&self) -> Value {
        let jwt = self.mint(|order| order);
        let payload = jwt.split('.').nth(1).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
    }

    fn good_ones(&mut self) {
        let jwt = self.mint(|order| order);
        self.add_good("a token as Google makes them", jwt);
        let jwt = self.mint(|order| order.claim("iss", "accounts.google.com"));
        self.add_good("the issuer without its scheme", jwt);
        let jwt = self.mint(|order| order.claim("aud", json!(["https://x.example", AUDIENCE])));
        self.add_good("ours is one of two audiences", jwt);
        let jwt = self.mint(|order| order.without_header("typ"));
        self.add_good("no typ", jwt);
        let jwt = self.mint(|order| order.claim("extra", json!({"a": [1, null]})));
        self.add_good("a claim that nobody knows", jwt);
        let jwt = self.mint(|order| order.without_claim("email"));
        self.add_good("no e-mail address", jwt);
        let (iat, exp) = (self.now as f64, (self.now + 600) as f64);
        let jwt = self.mint(|order| order.claim("iat", iat).claim("exp", exp));
        self.add_good("times written as 1.0", jwt);
        for name in ["jwk", "jku", "x5u", "x5c"] {
            let jwt = self.mint(|order| order.header(name, "https://evil.example"));
            self.add_good(&format!("a {name} that is ignored"), jwt);
        }
    }

    fn headers(&mut self) {
        for alg in ALGORITHMS {
            let jwt = self.mint(|order| order.header("alg", alg));
            self.add(format!("alg {alg:?} over an RS256 signature"), jwt);
        }
        for alg in [json!(null), json!(0), json!(["RS256"]), json!({})] {
            let jwt = self.mint(|order| order.header("alg", alg.clone()));
            self.add(format!("alg {alg}"), jwt);
        }
        let jwt = self.mint(|order| order.without_header("alg"));
        self.add("no alg", jwt);
        for kid in ["", "unknown", "../../etc/passwd", "' OR 1=1", "*"] {
            let jwt = self.mint(|order| order.header("kid", kid));
            self.add(format!("kid {kid:?}"), jwt);
        }
        for kid in [json!(null), json!(0), json!(true), json!(["k"])] {
            let jwt = self.mint(|order| order.header("kid", kid.clone()));
            self.add(format!("kid {kid}"), jwt);
        }
        let jwt = self.mint(|order| order.without_header("kid"));
        self.add("no kid", jwt);
        for typ in ["at+jwt", "JWS", "JOSE", "secevent+jwt", ""] {
            let jwt = self.mint(|order| order.header("typ", typ));
            self.add(format!("typ {typ:?}"), jwt);
        }
        for crit in [json!(["b64"]), json!(["exp"]), json!([]), json!(null)] {
            let jwt = self.mint(|order| order.header("crit", crit.clone()));
            self.add(format!("crit {crit}"), jwt);
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
            self.add(what, jwt);
        }
    }

    fn claims(&mut self) {
        for name in ["iss", "aud", "sub", "exp", "iat"] {
            let jwt = self.mint(|order| order.without_claim(name));
            self.add(format!("no {name}"), jwt);
            for value in [json!(null), json!({}), json!([]), json!(true), json!("")] {
                let jwt = self.mint(|order| order.claim(name, value.clone()));
                self.add(format!("{name} is {value}"), jwt);
            }
        }
        for iss in [
            "https://accounts.google.com/",
            "http://accounts.google.com",
            "https://accounts.google.com.evil.example",
            "https://evil.example",
            "ACCOUNTS.GOOGLE.COM",
            "https://cloud.google.com/iap",
            "https://securetoken.google.com/shop",
        ] {
            let jwt = self.mint(|order| order.claim("iss", iss));
            self.add(format!("iss {iss}"), jwt);
        }
        let slash = format!("{AUDIENCE}/");
        let path = format!("{AUDIENCE}/orders");
        for aud in [
            "https://other.example",
            &slash,
            &path,
            "http://hello-abc.a.run.app",
            "hello-abc.a.run.app",
            "HTTPS://HELLO-ABC.A.RUN.APP",
            "https://hello-abc.a.run.app.evil.example",
            "*",
        ] {
            let jwt = self.mint(|order| order.claim("aud", aud));
            self.add(format!("aud {aud}"), jwt);
        }
        for aud in [
            json!(["https://x.example"]),
            json!([[AUDIENCE]]),
            json!([7]),
            json!(7),
        ] {
            let jwt = self.mint(|order| order.claim("aud", aud.clone()));
            self.add(format!("aud {aud}"), jwt);
        }
    }

    fn times(&mut self) {
        let now = self.now;
        for (what, iat, exp) in [
            ("expired an hour ago", json!(now - 7200), json!(now - 3600)),
            (
                "expired two minutes ago",
                json!(now - 3000),
                json!(now - 120),
            ),
            ("issued an hour ahead", json!(now + 3600), json!(now + 7200)),
            (
                "issued ten minutes ahead",
                json!(now + 600),
                json!(now + 4200),
            ),
            ("good for two days", json!(now), json!(now + 172_800)),
            (
                "good for a hundred years",
                json!(now),
                json!(now + 3_155_760_000),
            ),
            ("exp before iat", json!(now + 5), json!(now + 1)),
            ("exp as text", json!(now), json!((now + 600).to_string())),
            ("iat as text", json!(now.to_string()), json!(now + 600)),
            ("exp with a fraction", json!(now), json!(now as f64 + 600.5)),
            ("exp negative", json!(now), json!(-1)),
            ("exp zero", json!(now), json!(0)),
            ("exp 2^64", json!(now), json!(1.844_674_407_370_955_2e19)),
            ("exp 1e300", json!(now), json!(1e300)),
            ("iat negative", json!(-5), json!(now + 600)),
        ] {
            let jwt = self.mint(|order| order.claim("iat", iat).claim("exp", exp));
            self.add(what, jwt);
        }
        for (what, nbf) in [
            ("nbf an hour ahead", json!(now + 3600)),
            ("nbf as text", json!("soon")),
            ("nbf is null", json!(null)),
        ] {
            let jwt = self.mint(|order| order.claim("nbf", nbf));
            self.add(what, jwt);
        }
    }

    fn payloads(&mut self) {
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
            self.add(what, jwt);
        }
        for (what, bytes) in [
            ("a payload that is not UTF-8", &b"{\"sub\":\"\xff\"}"[..]),
            ("a byte order mark before the payload", b"\xef\xbb\xbf{}"),
            ("a payload in UTF-16", b"{\0}\0"),
        ] {
            let jwt = self.mint(|order| order.raw_payload(bytes));
            self.add(what, jwt);
        }
    }

    fn spellings(&mut self) {
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
            self.add(what, jwt);
        }
        let plain = |text: &str| text.replace('-', "+").replace('_', "/");
        let signature = URL_SAFE_NO_PAD.decode(s).unwrap();
        if plain(s) != s {
            self.add("the other base64 alphabet", format!("{h}.{p}.{}", plain(s)));
        }
        // Four bits of the last letter of 256 bytes say nothing: A, Q, g or w, and what follows it.
        let (most, last) = good.split_at(good.len() - 1);
        let stray = char::from(last.as_bytes()[0] + 1);
        self.add("stray bits at the end", format!("{most}{stray}"));
        let half = URL_SAFE_NO_PAD.encode(&signature[..128]);
        self.add("half a signature", format!("{h}.{p}.{half}"));
        let removed = "SIGNATURE_REMOVED_BY_GOOGLE";
        self.add(
            "the signature removed by Cloud Run",
            format!("{h}.{p}.{removed}"),
        );
    }

    fn signatures(&mut self) {
        let good = self.mint(|order| order);
        let other = self.mint(|order| order.account("other@shop.iam.gserviceaccount.com"));
        let (input, signature) = good.rsplit_once('.').unwrap();
        let (_, foreign) = other.rsplit_once('.').unwrap();
        self.add("another token's signature", format!("{input}.{foreign}"));
        let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        for at in [0, 1, 127, 254, 255] {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let text = URL_SAFE_NO_PAD.encode(changed);
            self.add(
                format!("byte {at} of the signature changed"),
                format!("{input}.{text}"),
            );
        }
        for length in [0, 1, 64, 255, 257, 512] {
            let text = URL_SAFE_NO_PAD.encode(vec![1; length]);
            self.add(
                format!("a signature of {length} bytes"),
                format!("{input}.{text}"),
            );
        }
        for (what, key) in [
            ("an unknown key", SigningKey::Unknown),
            (
                "an unknown key under a known id",
                SigningKey::UnknownUnderCurrentId,
            ),
            ("no key", SigningKey::None),
        ] {
            let jwt = self.mint(|order| order.key(key));
            self.add(format!("signed by {what}"), jwt);
        }
        let jwt = self.mint(|order| order.shape(Shape::Iap));
        self.add("Identity-Aware Proxy's assertion", jwt);
        let (header, payload) = input.split_once('.').unwrap();
        let mut claims: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
        claims["email"] = "evil@x.example".into();
        let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
        self.add(
            "the e-mail changed after signing",
            format!("{header}.{claims}.{signature}"),
        );
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        self.add("alg none and no signature", format!("{none}.{payload}."));
        self.add(
            "alg none and a signature",
            format!("{none}.{payload}.{signature}"),
        );
    }
}

pub(crate) const AUDIENCE: &str = "https://hello-abc.a.run.app";
const EMAIL: &str = "caller@shop.iam.gserviceaccount.com";
const ALGORITHMS: [&str; 13] = [
    "none", "None", "NONE", "", "HS256", "HS512", "RS384", "RS512", "PS256", "ES256", "EdDSA",
    "rs256", "RS256 ",
];
