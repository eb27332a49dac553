use idtoken_emulator::{Emulator, Reauth, Role, User};
use serde_json::{Value, json};

use crate::support::{client, verified};

const ANN: &str = "ann@shop.example";

#[tokio::test]
async fn a_refresh_token_gives_both_kinds_of_token() {
    let google = Emulator::start().await.unwrap();
    let file = file(&google, &User::new(ANN));
    let (status, body) = refresh(&google, &file, |_| {}).await;
    assert_eq!(
        (status, &body["token_type"], &body["expires_in"]),
        (200, &"Bearer".into(), &3_599.into())
    );
    assert!(body["scope"].as_str().unwrap().contains("openid"));
    let claims = verified(&google, body["id_token"].as_str().unwrap()).await;
    assert_eq!(
        (&claims["aud"], &claims["azp"]),
        (&file["client_id"], &file["client_id"])
    );
    assert_eq!(
        (&claims["email"], &claims["hd"]),
        (&ANN.into(), &"shop.example".into())
    );
    assert_eq!(claims["at_hash"].as_str().unwrap().len(), 22);

    google.grant(
        ANN,
        Role::OpenIdTokenCreator,
        "sa@shop.iam.gserviceaccount.com",
    );
    let url = google.iam_url("sa@shop.iam.gserviceaccount.com", "generateIdToken");
    let request = client()
        .post(url)
        .bearer_auth(body["access_token"].as_str().unwrap());
    let answer = request
        .json(&json!({ "audience": "a" }))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
}

/// As Google's client for Rust asks.
#[tokio::test]
async fn a_refresh_may_be_asked_for_in_json() {
    let google = Emulator::start().await.unwrap();
    let file = file(&google, &User::new(ANN));
    let body = json!({
        "grant_type": "refresh_token",
        "client_id": file["client_id"],
        "client_secret": file["client_secret"],
        "refresh_token": file["refresh_token"],
        "scopes": null,
    });
    let request = client().post(google.token_url()).json(&body);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let answer: Value = answer.json().await.unwrap();
    let claims = verified(&google, answer["id_token"].as_str().unwrap()).await;
    assert_eq!(claims["email"], ANN);
}

#[tokio::test]
async fn scopes_decide_what_an_answer_holds() {
    let google = Emulator::start().await.unwrap();
    let narrow = file(
        &google,
        &User::new(ANN).scopes("https://www.googleapis.com/auth/cloud-platform"),
    );
    let (status, body) = refresh(&google, &narrow, |_| {}).await;
    assert!(status == 200 && body.get("id_token").is_none(), "{body}");

    let anonymous = file(&google, &User::new(ANN).scopes("openid").gcloud_login());
    let (_, body) = refresh(&google, &anonymous, |_| {}).await;
    let claims = verified(&google, body["id_token"].as_str().unwrap()).await;
    assert_eq!(claims["aud"], "32555940559.apps.googleusercontent.com");
    assert!(!claims.contains_key("email"));
}

#[tokio::test]
async fn refuses_what_google_refuses() {
    let google = Emulator::start().await.unwrap();
    let good = file(&google, &User::new(ANN));
    let other = file(
        &google,
        &User::new("bob@shop.example").client("another-client"),
    );
    for (name, status, error, change) in [
        (
            "unknown token",
            400,
            "invalid_grant",
            ("refresh_token", json!("1//x")),
        ),
        (
            "unknown client",
            401,
            "invalid_client",
            ("client_id", json!("x")),
        ),
        (
            "wrong secret",
            401,
            "invalid_client",
            ("client_secret", json!("x")),
        ),
        (
            "another's token",
            400,
            "invalid_grant",
            ("refresh_token", other["refresh_token"].clone()),
        ),
        (
            "no token",
            400,
            "invalid_request",
            ("refresh_token", json!("")),
        ),
    ] {
        let (got, body) = refresh(&google, &good, |form| form[change.0] = change.1.clone()).await;
        assert_eq!(
            (got, &body["error"]),
            (status, &error.into()),
            "{name}: {body}"
        );
    }
}

#[tokio::test]
async fn a_person_may_have_to_sign_in_again() {
    let google = Emulator::start().await.unwrap();
    let file = file(&google, &User::new(ANN));
    for (reauth, subtype) in [
        (Reauth::InvalidRapt, "invalid_rapt"),
        (Reauth::RaptRequired, "rapt_required"),
    ] {
        google.set_reauth(ANN, Some(reauth));
        let (status, body) = refresh(&google, &file, |_| {}).await;
        assert_eq!((status, &body["error"]), (400, &"invalid_grant".into()));
        assert_eq!(body["error_subtype"], subtype);
    }
    google.set_reauth(ANN, None);
    assert_eq!(refresh(&google, &file, |_| {}).await.0, 200);
    google.sign_out(ANN);
    assert_ne!(refresh(&google, &file, |_| {}).await.0, 200);
}

fn file(google: &Emulator, user: &User) -> Value {
    let file: Value = serde_json::from_str(&google.user_file(user)).unwrap();
    assert_eq!(file["type"], "authorized_user");
    file
}

async fn refresh(google: &Emulator, file: &Value, change: impl FnOnce(&mut Value)) -> (u16, Value) {
    let mut form = json!({
        "grant_type": "refresh_token",
        "client_id": file["client_id"],
        "client_secret": file["client_secret"],
        "refresh_token": file["refresh_token"],
    });
    change(&mut form);
    let answer = client()
        .post(google.token_url())
        .form(&form)
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}
