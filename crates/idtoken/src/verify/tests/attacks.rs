//! A list of attacks, each of which must be refused. Re-signed by the right key wherever the point
//! is not the signature, so that nothing but the rule in question stands in its way.

use super::*;

struct List {
    verifier: Verifier,
    refused: u32,
    wrong: Vec<String>,
}

impl List {
    fn new() -> Self {
        Self {
            verifier: verifier(),
            refused: 0,
            wrong: Vec::new(),
        }
    }

    fn attack(&mut self, name: &str, jwt: &str) {
        let verifier = self.verifier.clone();
        self.attack_on(&verifier, name, jwt);
    }

    fn attack_on(&mut self, verifier: &Verifier, name: &str, jwt: &str) {
        let (verdict, checks) = signature_checks(|| judge(verifier, jwt));
        match verdict {
            Ok(_) => self.wrong.push(name.to_owned()),
            Err(kind) => {
                self.refused += 1;
                // One at most, and none for what is bad whatever the key.
                let most = u32::from(!is_found_before_the_key(kind));
                assert_eq!(checks, most, "signature checks for {name}: {kind:?}");
            }
        }
        // Whatever explains it must not fall over either.
        assert!(!verifier.explain(jwt, at(NOW)).is_accepted(), "{name}");
    }

    /// A header and a payload as they stand, signed.
    fn signed(&mut self, name: &str, header: &str, payload: &str) {
        self.attack(name, &Signer::rsa(0).compact(header, payload));
    }

    fn header(&mut self, name: &str, header: &str) {
        self.signed(name, header, &good_claims().to_string());
    }

    fn payload(&mut self, name: &str, payload: &str) {
        self.signed(name, HEADER, payload);
    }

    /// One claim written as `text` in an else good payload.
    fn claim(&mut self, claim: &str, text: &str) {
        let mut claims = good_claims();
        claims.as_object_mut().unwrap().remove(claim);
        let rest = claims.to_string();
        let payload = format!(r#"{{"{claim}":{text},{}"#, &rest[1..]);
        self.payload(&format!("{claim} is {text}"), &payload);
    }
}

fn is_found_before_the_key(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::AlgorithmNotAllowed
            | Kind::CriticalHeader
            | Kind::Malformed(_)
            | Kind::MissingKeyId
            | Kind::SignatureRemoved
            | Kind::UnknownKey
            | Kind::WrongType
    )
}

const HEADER: &str = r#"{"alg":"RS256","kid":"k0","typ":"JWT"}"#;

#[test]
fn every_attack_of_the_list_is_refused() {
    let mut list = List::new();
    // The base that all others change is good.
    assert!(
        judge(
            &list.verifier,
            &Signer::rsa(0).compact(HEADER, &good_claims().to_string())
        )
        .is_ok()
    );
    algorithms(&mut list);
    keys_and_headers(&mut list);
    repeated_names(&mut list);
    encodings(&mut list);
    sizes(&mut list);
    signatures(&mut list);
    numbers_and_types(&mut list);
    unicode(&mut list);
    println!(
        "attacks: 0 accepted, {} refused, {} wrong",
        list.refused,
        list.wrong.len()
    );
    assert!(list.wrong.is_empty(), "{:#?}", list.wrong);
    assert!(list.refused > 180, "{}", list.refused);
}

fn algorithms(list: &mut List) {
    let payload = b64(good_claims().to_string());
    for alg in [
        "none",
        "None",
        "NONE",
        "nOnE",
        "",
        "HS256",
        "HS512",
        "RS384",
        "RS512",
        "PS256",
        "ES256",
        "ES256K",
        "EdDSA",
        "rs256",
        " RS256",
        "RS256\\u0000",
    ] {
        let header = format!(r#"{{"alg":"{alg}","kid":"k0"}}"#);
        list.header(&format!("alg {alg}"), &header);
        for signature in ["", "AA", "c2ln"] {
            let jwt = format!("{}.{payload}.{signature}", b64(&header));
            list.attack(&format!("alg {alg}, signature {signature:?}"), &jwt);
        }
    }
    // The public key, as anyone can have it, for a shared secret.
    let jwk = Signer::rsa(0).jwk("k0");
    let secrets = [
        unb64(jwk["n"].as_str().unwrap()),
        jwk["n"].as_str().unwrap().as_bytes().to_vec(),
        jwk.to_string().into_bytes(),
        jwks(std::slice::from_ref(&jwk)).into_bytes(),
        Vec::new(),
    ];
    for (index, secret) in secrets.iter().enumerate() {
        use aws_lc_rs::hmac;
        let input = format!("{}.{payload}", b64(r#"{"alg":"HS256","kid":"k0"}"#));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input.as_bytes());
        list.attack(
            &format!("HS256 with public secret {index}"),
            &format!("{input}.{}", b64(tag)),
        );
    }
}

fn keys_and_headers(list: &mut List) {
    for kid in [
        "../../k0",
        "k0\\u0000",
        "k0 ",
        " k0",
        "K0",
        "k0' OR '1'='1",
        "k\\u00300",
        "",
        "k0,k1",
        "https://evil.example/k0",
        "\\u043a0",
        "ec",
        "*",
        "k1",
    ] {
        list.header(
            &format!("kid {kid}"),
            &format!(r#"{{"alg":"RS256","kid":"{kid}"}}"#),
        );
    }
    for kid in ["null", "0", "[\"k0\"]", "{\"k0\":1}", "true"] {
        list.header(
            &format!("kid {kid}"),
            &format!(r#"{{"alg":"RS256","kid":{kid}}}"#),
        );
    }
    let long = "k".repeat(129);
    list.header(
        "kid too long",
        &format!(r#"{{"alg":"RS256","kid":"{long}"}}"#),
    );
    let own = Signer::rsa(2).jwk("k0");
    for (name, value) in [
        ("jwk", own),
        ("jku", json!("https://evil.example/keys")),
        ("x5u", json!("https://evil.example/cert")),
        ("x5c", json!(["AAAA"])),
        ("x5t", json!("AAAA")),
    ] {
        let header = json!({"alg": "RS256", "kid": "k0", name: value}).to_string();
        let forged = Signer::rsa(2).compact(&header, &good_claims().to_string());
        list.attack(&format!("brings {name}"), &forged);
    }
    for typ in [
        "at+jwt",
        "secevent+jwt",
        "JOSE",
        "JWS",
        "",
        "JWT ",
        "application/at+jwt",
    ] {
        list.header(
            &format!("typ {typ}"),
            &format!(r#"{{"alg":"RS256","kid":"k0","typ":"{typ}"}}"#),
        );
    }
    for crit in [r#"["b64"]"#, r#"["exp"]"#, "[]", "null", r#""b64""#] {
        let header = format!(r#"{{"alg":"RS256","kid":"k0","crit":{crit},"b64":false}}"#);
        list.header(&format!("crit {crit}"), &header);
    }
}

fn repeated_names(list: &mut List) {
    for header in [
        r#"{"alg":"none","alg":"RS256","kid":"k0"}"#,
        r#"{"alg":"RS256","alg":"RS256","kid":"k0"}"#,
        r#"{"alg":"RS256","kid":"k1","kid":"k0"}"#,
        r#"{"alg":"RS256","kid":"k0","\u0061lg":"RS256"}"#,
        r#"{"alg":"RS256","kid":"k0","x":{"a":1,"a":2}}"#,
    ] {
        list.header(header, header);
    }
    let good = good_claims().to_string();
    for (name, value) in [
        ("aud", r#""https://x""#),
        ("exp", "1"),
        ("email", r#""x@y""#),
        ("sub", r#""2""#),
        ("iss", r#""https://x""#),
        ("\\u0061ud", r#""https://x""#),
        ("email_verified", "false"),
    ] {
        list.payload(
            &format!("{name} first"),
            &format!(r#"{{"{name}":{value},{}"#, &good[1..]),
        );
        let open = &good[..good.len() - 1];
        list.payload(
            &format!("{name} last"),
            &format!(r#"{open},"{name}":{value}}}"#),
        );
    }
    let nested = format!(r#"{{"google":{{"a":1,"a":2}},{}"#, &good[1..]);
    list.payload("nested", &nested);
    let in_list = format!(r#"{{"x":[[{{"a":1,"\u0061":2}}]],{}"#, &good[1..]);
    list.payload("nested in a list", &in_list);
}

fn encodings(list: &mut List) {
    let good = good_token();
    let parts: Vec<&str> = good.split('.').collect();
    let (h, p, s) = (parts[0], parts[1], parts[2]);
    for (name, jwt) in [
        ("padding", format!("{h}=.{p}.{s}")),
        ("padded signature", format!("{good}==")),
        ("white space before", format!(" {good}")),
        ("white space after", format!("{good} ")),
        ("new line", format!("{good}\n")),
        ("new line within", format!("{h}.{p}\n.{s}")),
        ("zero byte", format!("{good}\0")),
        ("byte order mark", format!("\u{feff}{good}")),
        ("scheme", format!("Bearer {good}")),
        ("quotes", format!("\"{good}\"")),
        ("percent", good.replace('.', "%2E")),
        ("other dots", good.replace('.', "\u{2024}")),
        ("four parts", format!("{good}.")),
        ("five parts", format!("{h}.{p}.{s}.{p}.{s}")),
        ("two parts", format!("{h}.{p}")),
        ("no signature", format!("{h}.{p}.")),
        ("no header", format!(".{p}.{s}")),
        ("no payload", format!("{h}..{s}")),
        ("swapped", format!("{p}.{h}.{s}")),
        (
            "JSON form",
            format!(r#"{{"protected":"{h}","payload":"{p}","signature":"{s}"}}"#),
        ),
        ("two tokens", format!("{good},{good}")),
    ] {
        list.attack(name, &jwt);
    }
    // The last character of an RSA-2048 signature carries four bits that say nothing.
    let stray =
        (b'A'..=b'Z').map(|last| format!("{}{}", &good[..good.len() - 1], char::from(last)));
    for jwt in stray.filter(|jwt| *jwt != good) {
        list.attack("stray bits", &jwt);
    }
    for (name, bytes) in [
        ("invalid UTF-8", &b"{\"sub\":\"\xff\"}"[..]),
        ("overlong UTF-8", b"{\"sub\":\"\xc0\xaf\"}"),
        ("surrogates in UTF-8", b"{\"sub\":\"\xed\xa0\x80\"}"),
        ("UTF-16", b"{\0}\0"),
        ("byte order mark in payload", b"\xef\xbb\xbf{}"),
    ] {
        let input = format!("{}.{}", b64(HEADER), b64(bytes));
        let signature = b64(Signer::rsa(0).sign(input.as_bytes()));
        list.attack(name, &format!("{input}.{signature}"));
    }
    for payload in [
        "[]",
        "null",
        "7",
        "\"x\"",
        "{",
        "{}{}",
        "{},",
        "{'sub':'1'}",
        "{sub:1}",
        "// {}",
    ] {
        list.payload(payload, payload);
    }
    let comment = format!("{} // x", good_claims());
    list.payload("comment", &comment);
}

fn sizes(list: &mut List) {
    let padded = |bytes: usize| claims_with(&json!({"x": "y".repeat(bytes)})).to_string();
    list.payload("9 KiB", &padded(6_000));
    list.payload("1 MiB", &padded(1 << 20));
    let deep = format!(
        r#"{{"x":{}{},{}"#,
        "[".repeat(200),
        "]".repeat(200),
        &good_claims().to_string()[1..]
    );
    list.payload("deep", &deep);
    let members: Vec<_> = (0..130).map(|i| format!("\"c{i}\":0")).collect();
    list.payload(
        "members",
        &format!(
            "{{{},{}",
            members.join(","),
            &good_claims().to_string()[1..]
        ),
    );
    let members: Vec<_> = (0..33).map(|i| format!("\"c{i}\":0")).collect();
    list.header(
        "header members",
        &format!(r#"{{"alg":"RS256","kid":"k0",{}}}"#, members.join(",")),
    );
    list.attack("dots", &".".repeat(8_000));
    list.attack("letters", &"A".repeat(8_192));
}

fn signatures(list: &mut List) {
    let good = good_token();
    let (input, signature) = good.rsplit_once('.').unwrap();
    let bytes = unb64(signature);
    for (name, forged) in [
        ("empty", Vec::new()),
        ("zeros", vec![0; 256]),
        ("ones", vec![0xff; 256]),
        ("zero before", [&[0][..], &bytes].concat()),
        ("zero after", [&bytes[..], &[0]].concat()),
        ("first half", bytes[..128].to_vec()),
        ("reversed", bytes.iter().rev().copied().collect()),
        ("one", [&[0; 255][..], &[1]].concat()),
    ] {
        list.attack(
            &format!("signature {name}"),
            &format!("{input}.{}", b64(forged)),
        );
    }
    // Over a part of what it should be over.
    let header = input.split('.').next().unwrap();
    list.attack(
        "over the header",
        &format!("{input}.{}", b64(Signer::rsa(0).sign(header.as_bytes()))),
    );
    list.attack(
        "by another key",
        &Signer::rsa(1).compact(HEADER, &good_claims().to_string()),
    );

    // ECDSA as it has been got wrong before.
    let es256 = builder()
        .issuer(
            Issuer::google()
                .with_algorithm(Algorithm::Es256)
                .with_keys(keys()),
        )
        .build()
        .unwrap();
    let header = r#"{"alg":"ES256","kid":"ec"}"#;
    let good = Signer::p256().compact(header, &good_claims().to_string());
    assert!(judge(&es256, &good).is_ok());
    let (input, signature) = good.rsplit_once('.').unwrap();
    let (r, s) = unb64(signature).split_at(32).into_owned_pair();
    let order = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let der = [&[0x30, 68, 2, 32][..], &r, &[2, 32], &s].concat();
    for (name, forged) in [
        ("psychic", vec![0; 64]),
        ("r is 0", [&[0; 32][..], &s].concat()),
        ("s is 0", [&r[..], &[0; 32]].concat()),
        ("r and s are the order", [order, order].concat()),
        ("r is the order", [&order[..], &s].concat()),
        ("swapped", [&s[..], &r].concat()),
        ("r only", r.clone()),
        ("longer", [&[0][..], &r, &[0], &s].concat()),
        ("DER", der),
    ] {
        let jwt = format!("{input}.{}", b64(forged));
        list.attack_on(&es256, &format!("ES256 signature {name}"), &jwt);
    }
}

trait IntoOwnedPair {
    fn into_owned_pair(self) -> (Vec<u8>, Vec<u8>);
}

impl IntoOwnedPair for (&[u8], &[u8]) {
    fn into_owned_pair(self) -> (Vec<u8>, Vec<u8>) {
        (self.0.to_vec(), self.1.to_vec())
    }
}

#[allow(clippy::too_many_lines, reason = "a table")]
fn numbers_and_types(list: &mut List) {
    for text in [
        "1e400",
        "NaN",
        "Infinity",
        "-1",
        "-0",
        "0x7fffffff",
        "01700003540",
        "+1700003540",
        "1700003540.5",
        "18446744073709551616",
        "9223372036854775808",
        "1e18",
        "null",
        "true",
        "[]",
        "{}",
        r#""1700003540""#,
        r#""""#,
        "[1700003540]",
        "253402300800",
        "1_700_003_540",
        "",
    ] {
        list.claim("exp", text);
    }
    for text in [
        "1e400",
        "-1",
        "null",
        r#""1""#,
        "1700003540.5",
        "[]",
        "true",
        "99999999999",
    ] {
        list.claim("iat", text);
        list.claim("nbf", text);
    }
    for text in [
        "null",
        "7",
        "[]",
        "{}",
        "true",
        r#"["110169484474386276334"]"#,
        r#""""#,
    ] {
        list.claim("sub", text);
    }
    for text in [
        "null",
        "7",
        "[]",
        "{}",
        "true",
        r#"["https://accounts.google.com"]"#,
    ] {
        list.claim("iss", text);
    }
    for text in [
        "null",
        "7",
        "[]",
        "{}",
        "true",
        "[7]",
        "[null]",
        r#"[["https://f.a.run.app"]]"#,
        r#""https://f.a.run.app ""#,
        r#""https://f.a.run.app\u0000""#,
        r#""https://f.a.run.app,x""#,
    ] {
        list.claim("aud", text);
    }
    for text in [
        "null",
        "false",
        "1",
        r#""true""#,
        r#""TRUE""#,
        "[true]",
        "{}",
    ] {
        list.claim("email_verified", text);
    }
    for text in [
        "null",
        "7",
        r#"["caller@p.iam.gserviceaccount.com"]"#,
        r#"{"0":"x"}"#,
    ] {
        list.claim("email", text);
    }
}

fn unicode(list: &mut List) {
    for email in [
        "c\u{0430}ller@p.iam.gserviceaccount.com",
        "caller@p.iam.gserviceaccount.com\\u0000",
        "caller\u{200b}@p.iam.gserviceaccount.com",
        "caller\u{ff20}p.iam.gserviceaccount.com",
        "caller@p.iam.gserviceaccount.com.",
        "caller@p.iam.gserviceaccount\u{3002}com",
        "\u{202e}caller@p.iam.gserviceaccount.com",
        "caller+x@p.iam.gserviceaccount.com",
        "ca.ller@p.iam.gserviceaccount.com",
        "caller@p.iam.gserviceaccount.com@evil.example",
        "caller@p.iam.gserviceaccount.com,x@evil.example",
        "caller@p.iam.gserviceaccount.com\\nx@evil.example",
        "\\\"caller@p.iam.gserviceaccount.com\\\"@evil.example",
        "CALLER@P.\u{0130}AM.GSERVICEACCOUNT.COM",
        "\u{212a}aller@p.iam.gserviceaccount.com",
        "caller@p.\u{0131}am.gserviceaccount.com",
    ] {
        list.claim("email", &format!("\"{email}\""));
    }
    for iss in [
        "https://accounts.google.com/",
        "https://accounts.google.com.",
        "HTTPS://accounts.google.com",
        "https://accounts.g\u{043e}ogle.com",
        "https://accounts.google.com\\u0000",
        "https://accounts.google.com@evil",
        "accounts.google.com ",
        "https://accounts.google.com.evil.example",
    ] {
        list.claim("iss", &format!("\"{iss}\""));
    }
    for lone in [
        r#""\ud800""#,
        r#""\udc00\ud800""#,
        r#""\u00""#,
        "\"\u{1}\"",
        "\"\n\"",
    ] {
        list.claim("sub", lone);
    }
}
