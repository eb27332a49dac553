//! Tokens with a claim that is missing, of another type or of another value.

use idtoken::VerifyErrorKind as Kind;
use serde_json::{Value, json};

use super::{AUDIENCE, List};

impl List {
    pub(super) fn claims(&mut self) {
        for name in ["iss", "aud", "sub", "exp", "iat"] {
            let jwt = self.mint(|order| order.without_claim(name));
            self.add(format!("no {name}"), Kind::MissingClaim(name), jwt);
            for value in [json!(null), json!({}), json!([]), json!(true), json!("")] {
                let jwt = self.mint(|order| order.claim(name, value.clone()));
                let kind = mistyped(name, &value);
                self.add(format!("{name} is {value}"), kind, jwt);
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
            self.add(format!("iss {iss}"), Kind::WrongIssuer, jwt);
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
            self.add(format!("aud {aud}"), Kind::WrongAudience, jwt);
        }
        for (aud, kind) in [
            (json!(["https://x.example"]), Kind::WrongAudience),
            (json!([[AUDIENCE]]), Kind::MistypedClaim("aud")),
            (json!([7]), Kind::MistypedClaim("aud")),
            (json!(7), Kind::MistypedClaim("aud")),
        ] {
            let jwt = self.mint(|order| order.claim("aud", aud.clone()));
            self.add(format!("aud {aud}"), kind, jwt);
        }
    }

    pub(super) fn times(&mut self) {
        let now = self.now;
        let mistyped = |name| Kind::MistypedClaim(name);
        let hour = 3600;
        self.timed(
            "expired an hour ago",
            Kind::Expired,
            now - 2 * hour,
            now - hour,
        );
        self.timed(
            "expired two minutes ago",
            Kind::Expired,
            now - hour,
            now - 120,
        );
        let ahead = Kind::IssuedInFuture;
        self.timed("issued an hour ahead", ahead, now + hour, now + 2 * hour);
        self.timed("issued ten minutes ahead", ahead, now + 600, now + 4200);
        // Both lie so far ahead that no judge comes too late for the first.
        self.timed(
            "the end before the beginning",
            ahead,
            now + 1200,
            now + 1100,
        );
        let long = Kind::LifetimeTooLong;
        self.timed("good for two days", long, now, now + 48 * hour);
        self.timed("good for a hundred years", long, now, now + 876_000 * hour);
        let text = (now + 600).to_string();
        self.timed("exp as text", mistyped("exp"), now, text);
        self.timed("iat as text", mistyped("iat"), now.to_string(), now + 600);
        self.timed(
            "exp with a fraction",
            mistyped("exp"),
            now,
            now as f64 + 600.5,
        );
        self.timed("exp negative", mistyped("exp"), now, -1);
        self.timed("exp zero", Kind::Expired, now, 0);
        self.timed("exp 2^64", mistyped("exp"), now, 1.844_674_407_370_955_2e19);
        self.timed("exp 1e300", mistyped("exp"), now, 1e300);
        self.timed("iat negative", mistyped("iat"), -5, now + 600);
        for (what, kind, nbf) in [
            ("nbf an hour ahead", Kind::NotYetValid, json!(now + 3600)),
            ("nbf as text", mistyped("nbf"), json!("soon")),
            ("nbf is null", mistyped("nbf"), json!(null)),
        ] {
            let jwt = self.mint(|order| order.claim("nbf", nbf));
            self.add(what, kind, jwt);
        }
    }

    fn timed(&mut self, what: &str, kind: Kind, iat: impl Into<Value>, exp: impl Into<Value>) {
        let jwt = self.mint(|order| order.claim("iat", iat).claim("exp", exp));
        self.add(what, kind, jwt);
    }
}

/// What we say to a value that no such claim can have.
fn mistyped(name: &'static str, value: &Value) -> Kind {
    match (name, value) {
        ("iss", Value::String(_)) => Kind::WrongIssuer,
        ("sub", Value::String(_)) => Kind::MissingClaim(name),
        ("aud", Value::String(_) | Value::Array(_)) => Kind::WrongAudience,
        _ => Kind::MistypedClaim(name),
    }
}
