//! One list of tokens before every verifier: who accepts what.
//!
//! Ours is always asked, and so is jsonwebtoken; `IDTOKEN_PYTHON` and `IDTOKEN_NODE` bring in Google's
//! clients and jose. The rows that are printed make up a table of docs/interop.md.

#![allow(clippy::unwrap_used, reason = "a failed test is what it is for")]

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use idtoken::Verifier;
use idtoken_emulator::{Emulator, Shape, SigningKey, TokenRequest};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use tokio::process::Command;

/// A token, what is wrong with it, and whether it is good all the same.
struct Entry {
    what: String,
    jwt: String,
    good: bool,
}

struct List {
    google: Emulator,
    entries: Vec<Entry>,
    now: u64,
}

impl List {
    async fn new() -> Self {
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
        // The last letter of 256 bytes carries bits that say nothing.
        let last = char::from(*s.as_bytes().last().unwrap());
        let stray = ('A'..='Z').find(|letter| *letter != last && "BCDEF".contains(*letter));
        let cut = &good[..good.len() - 1];
        self.add("stray bits at the end", format!("{cut}{}", stray.unwrap()));
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

#[tokio::test]
async fn we_accept_nothing_that_breaks_a_rule_and_refuse_nothing_that_breaks_none() {
    let list = List::new().await;
    assert!(list.entries.len() >= 150, "{}", list.entries.len());
    let mut judges = vec![
        ("idtoken", ours(&list).await),
        ("jsonwebtoken", jsonwebtoken(&list).await),
    ];
    if let Some(python) = told("IDTOKEN_PYTHON") {
        let mut command = Command::new(python);
        command.arg(script("verdicts.py"));
        let lines = theirs(&list, command).await;
        judges.push(("google-auth", lines[0].clone()));
    }
    if let Some(modules) = told("IDTOKEN_NODE") {
        let beside = PathBuf::from(modules).join("verdicts.mjs");
        std::fs::copy(script("verdicts.mjs"), &beside).unwrap();
        let mut command = Command::new("node");
        command.arg(beside);
        let lines = theirs(&list, command).await;
        judges.push(("google-auth-library", lines[0].clone()));
        judges.push(("jose", lines[1].clone()));
    }
    for (index, entry) in list.entries.iter().enumerate() {
        let yes = judges.iter().filter(|(_, verdicts)| verdicts[index]);
        let names: Vec<_> = yes.map(|(name, _)| *name).collect();
        let names = match names.len() {
            0 => "nobody".to_owned(),
            all if all == judges.len() => "all".to_owned(),
            _ => names.join(", "),
        };
        println!("| token | {:03} | {} | {names} |", index + 1, entry.what);
        assert_eq!(judges[0].1[index], entry.good, "{}: {names}", entry.what);
    }
}

async fn ours(list: &List) -> Vec<bool> {
    let verifier = Verifier::builder()
        .audience(AUDIENCE)
        .danger_any_google_identity()
        .jwks_url(list.google.jwks_url())
        .build()
        .unwrap();
    let mut verdicts = Vec::new();
    for entry in &list.entries {
        verdicts.push(verifier.verify(&entry.jwt).await.is_ok());
    }
    verdicts
}

/// As its documentation shows it, with audience and issuer set.
async fn jsonwebtoken(list: &List) -> Vec<bool> {
    let keys = reqwest::get(list.google.jwks_url()).await.unwrap();
    let keys: JwkSet = serde_json::from_slice(&keys.bytes().await.unwrap()).unwrap();
    let mut rules = Validation::new(Algorithm::RS256);
    rules.set_audience(&[AUDIENCE]);
    rules.set_issuer(&["https://accounts.google.com", "accounts.google.com"]);
    let judge = |jwt: &str| -> Option<()> {
        let header = jsonwebtoken::decode_header(jwt).ok()?;
        let key = DecodingKey::from_jwk(keys.find(&header.kid?)?).ok()?;
        jsonwebtoken::decode::<Value>(jwt, &key, &rules)
            .ok()
            .map(drop)
    };
    list.entries
        .iter()
        .map(|entry| judge(&entry.jwt).is_some())
        .collect()
}

/// What a script prints: for each of its judges a line with a verdict for each token.
async fn theirs(list: &List, mut command: Command) -> Vec<Vec<bool>> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let tokens: Vec<&str> = list
        .entries
        .iter()
        .map(|entry| entry.jwt.as_str())
        .collect();
    std::fs::write(file.path(), serde_json::to_vec(&tokens).unwrap()).unwrap();
    command
        .env("INTEROP_TOKENS", file.path())
        .env("INTEROP_AUDIENCE", AUDIENCE)
        .env("INTEROP_JWKS_URL", list.google.jwks_url())
        .env("INTEROP_PEM_URL", list.google.pem_url())
        .kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, command.output())
        .await
        .unwrap()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let verdicts = |line: &str| {
        line.chars()
            .map(|verdict| verdict == '1')
            .collect::<Vec<_>>()
    };
    let lines: Vec<_> = text.lines().map(verdicts).collect();
    assert!(
        lines.iter().all(|line| line.len() == tokens.len()),
        "a verdict for each"
    );
    lines
}

fn script(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop")).join(name)
}

#[allow(
    clippy::disallowed_methods,
    reason = "says whether and with what to run"
)]
fn told(variable: &str) -> Option<OsString> {
    std::env::var_os(variable).filter(|value| !value.is_empty())
}

const AUDIENCE: &str = "https://hello-abc.a.run.app";
const EMAIL: &str = "caller@shop.iam.gserviceaccount.com";
const LIMIT: Duration = Duration::from_secs(60);
const ALGORITHMS: [&str; 13] = [
    "none", "None", "NONE", "", "HS256", "HS512", "RS384", "RS512", "PS256", "ES256", "EdDSA",
    "rs256", "RS256 ",
];
