use std::time::Duration;

use idtoken::clock::ManualClock;
use idtoken_emulator::{Account, Emulator, Endpoint, Platform};
use serde_json::Value;

use crate::support::{Claims, client, get, identity, metadata, now, verified};

const CALLER: &str = "caller@shop.iam.gserviceaccount.com";

#[tokio::test]
async fn standard_format_on_a_virtual_machine_has_no_email() {
    let google = Emulator::start().await.unwrap();
    let account = google.add_account(Account::new(CALLER).with_unique_id("100000000000000000001"));
    google.attach(CALLER);
    let answer = identity(
        &google,
        "audience=https%3A%2F%2Fhello.a.run.app%2Fpath%3Fq%3D1",
    )
    .await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["metadata-flavor"], "Google");
    assert_eq!(answer.headers()["server"], "Metadata Server for VM");
    let claims = verified(&google, &answer.text().await.unwrap()).await;
    assert_eq!(claims["iss"], "https://accounts.google.com");
    assert_eq!(claims["aud"], "https://hello.a.run.app/path?q=1");
    assert_eq!(claims["sub"], account.unique_id());
    assert_eq!(claims["azp"], account.unique_id());
    assert_eq!(
        claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
        3_600
    );
    assert!(now().abs_diff(claims["iat"].as_u64().unwrap()) < 60);
    assert!(
        !claims.contains_key("email") && !claims.contains_key("google"),
        "{claims:?}"
    );
}

#[tokio::test]
async fn full_format_adds_email_and_machine_and_licences_on_request() {
    let google = Emulator::start().await.unwrap();
    let claims = claims(&google, "audience=a&format=full").await;
    assert_eq!(claims["email"], google.default_account().email());
    assert_eq!(claims["email_verified"], true);
    let machine = &claims["google"]["compute_engine"];
    assert_eq!(machine["project_id"], "emulated-project");
    assert!(machine["project_number"].is_u64() && machine["instance_id"].is_string());
    assert!(machine.get("license_id").is_none());

    let claims = self::claims(&google, "audience=a&format=full&licenses=TRUE").await;
    assert!(claims["google"]["compute_engine"]["license_id"].is_array());
    let claims = self::claims(&google, "audience=a&licenses=TRUE").await;
    assert!(
        !claims.contains_key("google"),
        "licences without the full format are ignored"
    );
}

#[tokio::test]
async fn serverless_platforms_always_give_the_email_and_no_machine() {
    let google = Emulator::start().await.unwrap();
    for platform in [
        Platform::AppEngine,
        Platform::CloudFunctions,
        Platform::CloudRun,
    ] {
        google.set_platform(platform);
        for query in ["audience=a", "audience=a&format=full"] {
            let claims = claims(&google, query).await;
            assert_eq!(
                claims["email"],
                google.default_account().email(),
                "{platform:?}"
            );
            assert!(!claims.contains_key("google"), "{platform:?}");
        }
    }
}

#[tokio::test]
async fn refuses_what_the_metadata_server_refuses() {
    let google = Emulator::start().await.unwrap();
    let url = format!(
        "{}/computeMetadata/v1/instance/service-accounts/default/identity?audience=a",
        google.url()
    );
    let ask = |flavor: Option<&'static str>, forwarded: bool| {
        let mut request = client().get(&url);
        if let Some(flavor) = flavor {
            request = request.header("Metadata-Flavor", flavor);
        }
        if forwarded {
            request = request.header("X-Forwarded-For", "10.0.0.1");
        }
        async { request.send().await.unwrap() }
    };
    let answer = ask(None, false).await;
    assert_eq!(answer.status(), 403);
    assert!(
        answer.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/html")
    );
    assert!(answer.text().await.unwrap().contains("Metadata-Flavor"));
    assert_eq!(ask(Some("Other"), false).await.status(), 404);
    assert_eq!(ask(Some("Google"), true).await.status(), 403);
    assert_eq!(ask(Some("Google"), false).await.status(), 200);

    for query in ["", "audience="] {
        let answer = identity(&google, query).await;
        assert_eq!(answer.status(), 400);
        assert!(
            answer
                .text()
                .await
                .unwrap()
                .contains("non-empty audience parameter required")
        );
    }
}

#[tokio::test]
async fn knows_the_attached_account_by_alias_and_address_and_nobody_else() {
    let google = Emulator::start().await.unwrap();
    google.attach(CALLER);
    for (name, status) in [
        ("default", 200),
        (CALLER, 200),
        ("caller%40shop.iam.gserviceaccount.com", 200),
        ("x", 404),
    ] {
        let path = format!("instance/service-accounts/{name}/identity?audience=a");
        assert_eq!(metadata(&google, &path).await.status(), status, "{name}");
    }
    google.detach();
    let answer = identity(&google, "audience=a").await;
    assert_eq!(answer.status(), 404);
    assert!(answer.text().await.unwrap().contains("<html"));
}

#[tokio::test]
async fn kubernetes_says_what_annotation_is_missing() {
    let google = Emulator::start().await.unwrap();
    google.set_platform(Platform::Gke);
    google.detach();
    let answer = identity(&google, "audience=a").await;
    assert_eq!(answer.status(), 404);
    assert!(
        answer
            .text()
            .await
            .unwrap()
            .starts_with("Your Kubernetes service account")
    );
}

#[tokio::test]
async fn serves_the_other_keys() {
    let google = Emulator::start().await.unwrap();
    google.attach(CALLER);
    for (path, body) in [
        ("instance/service-accounts/default/email", CALLER),
        ("instance/service-accounts/default/aliases", "default\n"),
        ("project/project-id", "shop"),
        ("universe/universe-domain", "googleapis.com"),
    ] {
        let answer = metadata(&google, path).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.text().await.unwrap(), body, "{path}");
    }
    let number = metadata(&google, "project/numeric-project-id")
        .await
        .text()
        .await
        .unwrap();
    assert_eq!(
        number,
        google
            .add_account(Account::new(CALLER))
            .project_number()
            .to_string()
    );
    assert_eq!(metadata(&google, "project/nothing").await.status(), 404);
}

#[tokio::test]
async fn a_directory_wants_its_slash_and_can_be_read_whole() {
    let google = Emulator::start().await.unwrap();
    let answer = metadata(&google, "instance/service-accounts/default").await;
    assert_eq!(answer.status(), 301);
    assert_eq!(
        answer.headers()["location"],
        "/computeMetadata/v1/instance/service-accounts/default/"
    );
    let listing = metadata(&google, "instance/service-accounts/default/").await;
    assert_eq!(
        listing.text().await.unwrap(),
        "aliases\nemail\nidentity\nscopes\ntoken\n"
    );

    let path = "instance/service-accounts/default/?recursive=true";
    let answer = metadata(&google, path).await;
    assert_eq!(answer.headers()["content-type"], "application/json");
    let whole: Value = answer.json().await.unwrap();
    assert_eq!(whole["email"], google.default_account().email());
    assert_eq!(whole["aliases"][0], "default");
    assert!(whole["scopes"].is_array() && whole.get("token").is_none());
    let project: Value = metadata(&google, "project/?recursive=true")
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(project["projectId"], "emulated-project");
}

#[tokio::test]
async fn answers_the_ping_with_its_flavour_and_without_asking_for_one() {
    let google = Emulator::start().await.unwrap();
    let answer = get(google.url()).await;
    assert_eq!(
        (
            answer.status().as_u16(),
            answer.headers()["metadata-flavor"].as_bytes()
        ),
        (200, &b"Google"[..])
    );
    assert_eq!(google.hits(Endpoint::Ping), 1);
}

#[tokio::test]
async fn hands_out_the_same_token_until_it_nears_its_end() {
    for (platform, rollover) in [(Platform::Gce, 300), (Platform::CloudRun, 240)] {
        let clock = ManualClock::starting_now();
        let google = Emulator::builder()
            .clock(clock.clone())
            .start()
            .await
            .unwrap();
        google.set_platform(platform);
        let first = token(&google, "audience=a").await;
        assert_ne!(token(&google, "audience=b").await, first);
        clock.advance(Duration::from_secs(3_600 - rollover - 1));
        assert_eq!(token(&google, "audience=a").await, first, "{platform:?}");
        clock.advance(Duration::from_secs(1));
        assert_ne!(token(&google, "audience=a").await, first, "{platform:?}");
    }
}

#[tokio::test]
async fn makes_a_new_token_each_time_when_it_may_not_cache() {
    let clock = ManualClock::starting_now();
    let google = Emulator::builder()
        .clock(clock.clone())
        .start()
        .await
        .unwrap();
    google.set_metadata_cache(false);
    let first = token(&google, "audience=a").await;
    clock.advance(Duration::from_secs(1));
    assert_ne!(token(&google, "audience=a").await, first);
}

#[tokio::test]
async fn gives_access_tokens_that_grow_old() {
    let clock = ManualClock::starting_now();
    let google = Emulator::builder()
        .clock(clock.clone())
        .start()
        .await
        .unwrap();
    let path = "instance/service-accounts/default/token?scopes=a,b";
    let first: Value = metadata(&google, path).await.json().await.unwrap();
    assert_eq!(
        (&first["token_type"], &first["expires_in"]),
        (&"Bearer".into(), &3_599.into())
    );
    clock.advance(Duration::from_secs(100));
    let again: Value = metadata(&google, path).await.json().await.unwrap();
    assert_eq!(again["access_token"], first["access_token"]);
    assert_eq!(again["expires_in"], 3_499);
    assert_eq!(google.hits(Endpoint::MetadataToken), 2);
}

#[tokio::test]
async fn dates_its_answers_by_its_own_clock() {
    let clock = ManualClock::new(std::time::UNIX_EPOCH + Duration::from_secs(784_111_777));
    let google = Emulator::builder().clock(clock).start().await.unwrap();
    assert_eq!(
        get(google.url()).await.headers()["date"],
        "Sun, 06 Nov 1994 08:49:37 GMT"
    );
}

async fn token(google: &Emulator, query: &str) -> String {
    identity(google, query).await.text().await.unwrap()
}

async fn claims(google: &Emulator, query: &str) -> Claims {
    verified(google, &token(google, query).await).await
}
