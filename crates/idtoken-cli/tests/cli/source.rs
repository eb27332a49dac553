//! Where tokens come from, seen from outside.

use idtoken_emulator::{Endpoint, Role, SubjectSource, User};

use crate::support::{SERVICE, World};

#[tokio::test]
async fn an_instances_metadata_is_asked_past_the_proxy_by_the_command_too() {
    let world = World::new().await;
    let google = &world.google;
    let target = "target@shop.iam.gserviceaccount.com";
    google.add_account(idtoken_emulator::Account::new(target));
    let provider = google.provider("pool", "provider");
    let principal = google.trust_aws(&provider);
    google.grant(&principal, Role::WorkloadIdentityUser, target);
    let file = google.external_account_file(&provider, &SubjectSource::Aws, Some(target));
    world.home.write("aws.json", &file).unwrap();
    let run = world.idtoken(&format!("print -a {SERVICE} --source file:aws.json"));
    let run = run.env_remove("NO_PROXY").env("http_proxy", google.url());
    run.env("HTTP_PROXY", google.url()).end().await.ok();
    // Who asks a proxy writes the whole URL.
    let imds = google.requests(Endpoint::Imds);
    assert_eq!(imds.len(), 4);
    assert!(imds.iter().all(|request| request.uri().host().is_none()));
    let sts = google.requests(Endpoint::Sts);
    assert!(sts[0].uri().host().is_some(), "the variables are real");
}

#[tokio::test]
async fn a_file_that_never_ends_is_refused_within_bounds() {
    let world = World::new().await;
    let run = world.idtoken(&format!("print -a {SERVICE} --source file:/dev/zero"));
    let ended = run.end().await.failed(10);
    assert!(
        ended.stderr.contains("longer than 64 KiB"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_file_that_was_named_is_not_put_down_to_a_variable() {
    let world = World::new().await;
    let run = world.idtoken(&format!("print -a {SERVICE} --source file:absent.json"));
    let ended = run.end().await.failed(3);
    assert!(
        ended.stderr.contains("absent.json cannot be read"),
        "{}",
        ended.stderr
    );
    assert!(
        !ended.stderr.contains("GOOGLE_APPLICATION_CREDENTIALS"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn a_persons_token_is_taken_only_where_that_is_accepted() {
    let world = World::new().await;
    let login = world
        .google
        .user_file(&User::new("ann@shop.example").gcloud_login());
    world.home.write("ann.json", &login).unwrap();
    let line = format!("print -a {SERVICE} --source file:ann.json");
    let ended = world.idtoken(&line).end().await.failed(10);
    assert!(ended.stderr.contains("impersonate"), "{}", ended.stderr);
    let ended = world.idtoken(&format!("{line} --danger-accept-client-audience"));
    assert_eq!(ended.end().await.ok().stdout.trim().split('.').count(), 3);
}
