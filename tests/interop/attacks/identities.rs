//! Good tokens whose bearer is, or is not, the account that was meant.

use idtoken::VerifyErrorKind as Kind;
use serde_json::json;

use super::{EMAIL, Entry, Expected, List};

impl List {
    pub(super) fn bearers(&mut self) {
        let jwt = self.mint(|order| order);
        self.add_bearer("the account", Expected::Good(&[]), jwt);
        let jwt = self.mint(|order| order.without_claim("email_verified"));
        self.add_bearer(
            "nobody says whether the e-mail address was verified",
            REFUSED,
            jwt,
        );
        for verified in [json!(false), json!("true"), json!(1), json!(null)] {
            let jwt = self.mint(|order| order.claim("email_verified", verified.clone()));
            self.add_bearer(&format!("email_verified is {verified}"), REFUSED, jwt);
        }
        let jwt = self.mint(|order| order.without_claim("email"));
        self.add_bearer("no e-mail address", REFUSED, jwt);
        let mistyped = Expected::Bad(Kind::MistypedClaim("email"));
        for email in [json!([EMAIL]), json!(null)] {
            let jwt = self.mint(|order| order.claim("email", email.clone()));
            self.add_bearer(&format!("email is {email}"), mistyped, jwt);
        }
        let upper = EMAIL.to_uppercase();
        let jwt = self.mint(|order| order.claim("email", upper));
        self.add_bearer(
            "the e-mail address in capitals",
            Expected::Good(&[(
                "google-cloud-auth",
                "it compares addresses letter by letter",
            )]),
            jwt,
        );
        for (what, email) in [
            ("another account", "other@shop.iam.gserviceaccount.com"),
            (
                "the same name elsewhere",
                "caller@evil.iam.gserviceaccount.com",
            ),
            (
                "a host that goes on",
                "caller@shop.iam.gserviceaccount.com.evil.example",
            ),
            (
                "a letter that looks alike",
                "c\u{430}ller@shop.iam.gserviceaccount.com",
            ),
            (
                "a zero byte behind",
                "caller@shop.iam.gserviceaccount.com\0",
            ),
            ("a blank behind", "caller@shop.iam.gserviceaccount.com "),
        ] {
            let jwt = self.mint(|order| order.account(email));
            self.add_bearer(what, REFUSED, jwt);
        }
    }

    fn add_bearer(&mut self, what: &str, expected: Expected, jwt: String) {
        let what = what.to_owned();
        self.identities.push(Entry {
            what,
            jwt,
            expected,
        });
    }
}

const REFUSED: Expected = Expected::Bad(Kind::NotAllowed);
