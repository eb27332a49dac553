//! Tokens with another signature than that of Google's key.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use idtoken::VerifyErrorKind as Kind;
use idtoken::verify::Malformed;
use idtoken_emulator::{Shape, SigningKey};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::List;

impl List {
    pub(super) fn signatures(&mut self) {
        let good = self.mint(|order| order);
        let other = self.mint(|order| order.account("other@shop.iam.gserviceaccount.com"));
        let (input, signature) = good.rsplit_once('.').unwrap();
        let (_, foreign) = other.rsplit_once('.').unwrap();
        let mut bad = |what: String, signature: &str| {
            self.add(what, Kind::BadSignature, format!("{input}.{signature}"));
        };
        bad("another token's signature".to_owned(), foreign);
        let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        for at in [0, 1, 127, 254, 255] {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let changed = URL_SAFE_NO_PAD.encode(changed);
            bad(format!("byte {at} of the signature changed"), &changed);
        }
        for length in [1, 64, 255, 257, 512] {
            let text = URL_SAFE_NO_PAD.encode(vec![1; length]);
            bad(format!("a signature of {length} bytes"), &text);
        }
        let (header, payload) = input.split_once('.').unwrap();
        let mut claims: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
        claims["email"] = "evil@x.example".into();
        let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
        let jwt = format!("{header}.{claims}.{signature}");
        self.add("the e-mail changed after signing", Kind::BadSignature, jwt);
        for (what, kind, key) in [
            ("an unknown key", Kind::UnknownKey, SigningKey::Unknown),
            (
                "an unknown key under a known id",
                Kind::BadSignature,
                SigningKey::UnknownUnderCurrentId,
            ),
        ] {
            let jwt = self.mint(|order| order.key(key));
            self.add(format!("signed by {what}"), kind, jwt);
        }
        let jwt = self.mint(|order| order.shape(Shape::Iap));
        self.add(
            "Identity-Aware Proxy's assertion",
            Kind::AlgorithmNotAllowed,
            jwt,
        );
        self.unsigned(input, signature);
    }

    /// `alg` says that there is no signature.
    fn unsigned(&mut self, input: &str, signature: &str) {
        let (_, payload) = input.split_once('.').unwrap();
        let kid = self.google.key_id();
        for (what, header) in [
            ("alg none", json!({"alg": "none", "typ": "JWT"})),
            ("alg none with a kid", json!({"alg": "none", "kid": kid})),
        ] {
            let header = URL_SAFE_NO_PAD.encode(header.to_string());
            let jwt = format!("{header}.{payload}.");
            self.add(
                format!("{what} and no signature"),
                Kind::Malformed(Malformed::NotThreeParts),
                jwt,
            );
            let jwt = format!("{header}.{payload}.{signature}");
            self.add(
                format!("{what} and a signature"),
                Kind::AlgorithmNotAllowed,
                jwt,
            );
        }
    }

    /// What an attacker can sign with what is public.
    pub(super) async fn forgeries(&mut self) {
        let kid = self.google.key_id();
        let certificates = fetch(self.google.pem_url()).await;
        let certificate = certificates[&kid].as_str().unwrap();
        let jwks = fetch(self.google.jwks_url()).await;
        let mut keys = jwks["keys"].as_array().unwrap().iter();
        let jwk = keys.find(|jwk| jwk["kid"] == *kid).unwrap();
        let n = jwk["n"].as_str().unwrap();
        for (what, secret) in [
            ("certificate", certificate.into()),
            ("certificate, trimmed", certificate.trim_end().into()),
            ("modulus", URL_SAFE_NO_PAD.decode(n).unwrap()),
            ("modulus as text", n.into()),
            ("JWK", jwk.to_string().into()),
        ] {
            let what = format!("HS256 with the public key as the secret: {what}");
            let jwt = self.mint(|order| order.key(SigningKey::Hmac(secret)));
            self.add(what, Kind::AlgorithmNotAllowed, jwt);
        }
        let jwt = self.mint(|order| order.key(SigningKey::Hmac(Vec::new())));
        self.add("HS256 with no secret", Kind::AlgorithmNotAllowed, jwt);
    }

    /// What an attacker can sign with a key of their own that the header brings along.
    pub(super) async fn keys_in_headers(&mut self) {
        let file: Value = serde_json::from_str(&self.google.key_file(ATTACKER)).unwrap();
        let pem = file["private_key"].as_str().unwrap();
        let key = EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
        let url = self.google.url();
        let jku = format!("{url}/service_accounts/v1/jwk/{ATTACKER}");
        let x5u = format!("{url}/robot/v1/metadata/x509/{ATTACKER}");
        let jwk = fetch(jku.clone()).await["keys"][0].take();
        let (google, own) = (
            self.google.key_id(),
            jwk["kid"].as_str().unwrap().to_owned(),
        );
        let certificates = fetch(x5u.clone()).await;
        let pem = certificates[&own].as_str().unwrap().lines();
        let x5c: String = pem.filter(|line| !line.starts_with('-')).collect();
        let claims = URL_SAFE_NO_PAD.encode(self.base().to_string());
        for (name, value) in [
            ("jwk", jwk),
            ("jku", jku.into()),
            ("x5u", x5u.into()),
            ("x5c", json!([x5c])),
        ] {
            for (id, kind, whose) in [
                (&google, Kind::BadSignature, "Google's"),
                (&own, Kind::UnknownKey, "its own"),
            ] {
                let header = json!({"alg": "RS256", "typ": "JWT", "kid": id, name: value});
                let header = URL_SAFE_NO_PAD.encode(header.to_string());
                let input = format!("{header}.{claims}");
                let signature =
                    jsonwebtoken::crypto::sign(input.as_bytes(), &key, Algorithm::RS256).unwrap();
                let what = format!("an attacker's key in {name}, under {whose} id");
                self.add(what, kind, format!("{input}.{signature}"));
            }
        }
    }
}

async fn fetch(url: String) -> Value {
    let answer = reqwest::get(url).await.unwrap().bytes().await.unwrap();
    serde_json::from_slice(&answer).unwrap()
}

const ATTACKER: &str = "attacker@evil.iam.gserviceaccount.com";
