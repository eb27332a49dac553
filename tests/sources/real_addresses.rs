//! What a process does in Google's own surroundings: its addresses, TLS, and proxies.

use std::path::Path;

use idtoken::TokenSource;
use idtoken::source::{self, DefaultSource, ExternalAccount, Impersonated, MetadataServer};
use idtoken_emulator::{Emulator, Endpoint, Home, Role, SubjectSource, User};

use crate::child;
use crate::support::{CALLER, HELLO, TARGET, assert_names, audience, google, google_with_grant};

const ME: &str = "me@example.com";

/// The file as Google's tools write it: with Google's own addresses.
fn at_google(google: &Emulator, file: &str) -> String {
    file.replace(
        &format!("{}/v1/projects", google.url()),
        "https://iamcredentials.googleapis.com/v1/projects",
    )
    .replace(&google.sts_url(), "https://sts.googleapis.com/v1/token")
    .replace(&google.token_url(), "https://oauth2.googleapis.com/token")
}

/// Runs a child that takes the emulator for all of Google, and finds `file` as the default.
async fn run_at_google(name: &str, google: &Emulator, home: &Home, file: &str) {
    let file = at_google(google, file);
    assert!(file.contains("googleapis.com"), "{file}");
    home.write_default_credentials(&file).unwrap();
    child::run(name, |child| {
        child
            .envs(home.env())
            .envs(google.proxy_env(home.ca_file()));
        child.env_remove("GOOGLE_APPLICATION_CREDENTIALS");
    })
    .await;
}

/// The hosts that were asked for, each over a tunnel of its own and in TLS.
fn tunnels(google: &Emulator) -> Vec<String> {
    let requests = google.requests(Endpoint::Connect);
    let hosts = requests
        .iter()
        .map(|request| request.uri().host().unwrap().to_owned());
    hosts.collect()
}

/// Not a test of its own: what children of the tests below do.
#[tokio::test]
#[ignore = "run by the tests below, in a process with a home and a proxy"]
async fn child_that_impersonates() {
    let source = source::impersonating(TARGET).await.unwrap();
    let token = source.fetch(&audience(HELLO)).await.unwrap();
    assert_names(&token, HELLO, TARGET);
}

/// Not a test of its own: what a child of the test below does.
#[tokio::test]
#[ignore = "run by the test below, in a process with a home and a proxy"]
async fn child_with_the_default() {
    let source = source::default().await.unwrap();
    let token = source.fetch(&audience(HELLO)).await.unwrap();
    assert_eq!(token.claims().aud().collect::<Vec<_>>(), [HELLO]);
}

#[tokio::test]
async fn impersonating_on_top_of_a_login_over_tls() {
    let google = google().await;
    google.grant(ME, Role::OpenIdTokenCreator, TARGET);
    let home = google.home().unwrap();
    // As gcloud writes it, without a token_uri: the default is Google's.
    let mut file: serde_json::Value =
        serde_json::from_str(&google.user_file(&User::new(ME).gcloud_login())).unwrap();
    file.as_object_mut().unwrap().remove("token_uri");
    let name = "real_addresses::child_that_impersonates";
    run_at_google(name, &google, &home, &file.to_string()).await;
    assert_eq!(
        tunnels(&google),
        ["oauth2.googleapis.com", "iamcredentials.googleapis.com"]
    );
    assert_eq!(google.hits(Endpoint::GenerateIdToken), 1);

    // What impersonates that very account already is taken as it is.
    google.forget_requests();
    google.grant(CALLER, Role::OpenIdTokenCreator, TARGET);
    let file = google.impersonated_file(&google.key_file(CALLER), &[], TARGET);
    run_at_google(name, &google, &home, &file).await;
    assert_eq!(tunnels(&google), ["iamcredentials.googleapis.com"]);
    assert_eq!(google.hits(Endpoint::GenerateAccessToken), 0);
}

#[tokio::test]
async fn each_file_type_at_googles_own_addresses_over_tls() {
    let google = google_with_grant().await;
    let home = google.home().unwrap();
    let subject = home.write("subject-token", "SECRET-subject-token").unwrap();
    let provider = google.provider("pool", "provider");
    let principal = google.trust(&provider, "SECRET-subject-token", "workload");
    google.grant(&principal, Role::WorkloadIdentityUser, TARGET);
    let path = subject.to_str().unwrap().to_owned();
    let external =
        google.external_account_file(&provider, &SubjectSource::File { path }, Some(TARGET));
    let key = google.key_file(CALLER);
    for (file, hosts) in [
        (key.clone(), vec!["oauth2.googleapis.com"]),
        (
            google.impersonated_file(&key, &[], TARGET),
            vec!["iamcredentials.googleapis.com"],
        ),
        (
            external,
            vec!["sts.googleapis.com", "iamcredentials.googleapis.com"],
        ),
    ] {
        google.forget_requests();
        run_at_google(
            "real_addresses::child_with_the_default",
            &google,
            &home,
            &file,
        )
        .await;
        assert_eq!(tunnels(&google), hosts, "{file}");
    }
}

/// Not a test of its own: what the child below does.
#[tokio::test]
#[ignore = "run by the test below, in a process with proxy variables"]
async fn child_by_every_way_in() {
    let path = Path::new("aws.json");
    let text = std::fs::read_to_string(path).unwrap();
    let base = ExternalAccount::builder().from_file(path).unwrap();
    let metadata = MetadataServer::new().unwrap();
    let iam = format!("http://{}", metadata.host());
    source::default()
        .await
        .unwrap()
        .fetch(&audience("default"))
        .await
        .unwrap();
    for source in [
        DefaultSource::builder().from_file(path).unwrap(),
        DefaultSource::builder().from_json(&text).unwrap(),
    ] {
        source.fetch(&audience("given")).await.unwrap();
    }
    base.fetch(&audience("external")).await.unwrap();
    let source = Impersonated::builder(TARGET, base)
        .endpoint(iam)
        .build()
        .unwrap();
    source.fetch(&audience("base")).await.unwrap();
}

#[tokio::test]
async fn an_instances_metadata_is_asked_past_the_proxy_by_every_way_in() {
    let google = google().await;
    let provider = google.provider("pool", "provider");
    let principal = google.trust_aws(&provider);
    google.grant(&principal, Role::WorkloadIdentityUser, TARGET);
    google.grant(TARGET, Role::TokenCreator, TARGET);
    let file = google.external_account_file(&provider, &SubjectSource::Aws, Some(TARGET));
    let home = google.home().unwrap();
    let path = home.write("aws.json", &file).unwrap();
    child::run("real_addresses::child_by_every_way_in", |child| {
        child.envs(home.env()).envs(child::http_proxy(google.url()));
        child.env("GOOGLE_APPLICATION_CREDENTIALS", &path);
        child.env("GCE_METADATA_HOST", google.host());
        child.current_dir(home.path());
    })
    .await;
    // Who asks a proxy writes the whole URL (RFC 9112 §3.2.2).
    let asks_proxy = |endpoint| {
        let requests = google.requests(endpoint);
        assert!(requests.len() >= 4, "{endpoint:?}: {}", requests.len());
        requests
            .iter()
            .map(|request| request.uri().host().is_some())
            .collect::<Vec<_>>()
    };
    assert!(!asks_proxy(Endpoint::Imds).contains(&true));
    assert!(
        !asks_proxy(Endpoint::Sts).contains(&false),
        "the variables are real"
    );
}
