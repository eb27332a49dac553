//! Assertions of Identity-Aware Proxy, before Google's verifier and ours.

use idtoken::{Issuer, Principal, Verifier};
use idtoken_emulator::{Emulator, Shape, SigningKey, TokenRequest};

use crate::counterpart::Counterpart;
use crate::verdicts::{Verdict, judged};

#[tokio::test]
async fn google_auth_and_we_accept_and_refuse_the_same_assertions() {
    let client = Counterpart::Python;
    let google = Emulator::start().await.unwrap();
    let order = || TokenRequest::new(AUDIENCE).shape(Shape::Iap).account(EMAIL);
    let good = google.mint(&order());
    let foreign = google.mint(&TokenRequest::new("/projects/1/apps/x").shape(Shape::Iap));
    let id_token = google.mint(&TokenRequest::new(AUDIENCE).account(EMAIL));
    let unknown = google.mint(&order().key(SigningKey::Unknown));
    let mut changed = good.clone().into_bytes();
    let at = changed.len() - 10;
    changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).unwrap();
    let tokens = [&*good, &foreign, &id_token, &unknown, &changed];
    let expected = [true, false, false, false, false];

    let verifier = Verifier::builder()
        .audience(AUDIENCE)
        .issuer(Issuer::iap().with_jwks_url(google.iap_jwks_url()))
        .allow(Principal::anyone_of(&Issuer::iap()))
        .build()
        .unwrap();
    for (token, expected) in tokens.iter().zip(expected) {
        assert_eq!(verifier.verify(token).await.is_ok(), expected, "{token}");
    }
    for (form, url) in [
        ("JWKS", google.iap_jwks_url()),
        ("PEM", google.iap_pem_url()),
    ] {
        let Some(mut command) = client.command("verdicts") else {
            return;
        };
        command.arg("verify_token").env("INTEROP_PEM_URL", url);
        let theirs = judged(command, &google, AUDIENCE, &tokens).await.remove(0);
        let theirs: Vec<_> = theirs
            .iter()
            .map(|verdict| *verdict == Verdict::Accepts)
            .collect();
        assert_eq!(theirs, expected, "{form}");
        let (tokens, name) = (tokens.len(), client.name());
        println!(
            "\n| {name} | IAP, keys as {form} | the same verdicts as ours on {tokens} tokens |"
        );
    }
}

const AUDIENCE: &str = "/projects/123/apps/shop";
const EMAIL: &str = "me@example.com";
