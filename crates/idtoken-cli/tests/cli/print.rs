use idtoken_emulator::Role;

use crate::support::{SERVICE, World};

#[tokio::test]
async fn the_token_and_nothing_else() {
    let world = World::new().await;
    let ended = world
        .idtoken(&format!("print --audience {SERVICE}"))
        .end()
        .await
        .ok();
    assert_eq!(ended.stderr, "");
    let token = ended.stdout.strip_suffix('\n').unwrap();
    assert_eq!(token.split('.').count(), 3);
    assert!(!token.contains(char::is_whitespace));
}

#[tokio::test]
async fn a_whole_header() {
    let world = World::new().await;
    let ended = world
        .idtoken(&format!("print --header -a {SERVICE}"))
        .end()
        .await
        .ok();
    assert!(ended.stdout.starts_with("Authorization: Bearer eyJ"));
    assert_eq!(ended.stdout.lines().count(), 1);
}

#[tokio::test]
async fn json_for_programs() {
    let world = World::new().await;
    let ended = world
        .idtoken(&format!("--json print -a {SERVICE}"))
        .end()
        .await
        .ok();
    let json = ended.json();
    assert_eq!(json["audience"], SERVICE);
    let token = json["token"].as_str().unwrap();
    assert_eq!(json["header"], format!("Authorization: Bearer {token}"));
    assert!(json["expires_at"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn an_impersonated_account() {
    let world = World::new().await;
    let target = "caller@shop.iam.gserviceaccount.com";
    let attached = world.google.default_account();
    world
        .google
        .grant(attached.email(), Role::OpenIdTokenCreator, target);
    let line = format!(
        "print -a {SERVICE} --source metadata --impersonate {target} --iam-endpoint {}",
        world.google.url()
    );
    let token = world.idtoken(&line).end().await.ok().stdout;
    let seen = world
        .idtoken("inspect --json")
        .stdin(token)
        .end()
        .await
        .ok()
        .json();
    assert_eq!(seen["claims"]["email"], target);
}

#[tokio::test]
async fn each_kind_of_source() {
    let world = World::new().await;
    let key_file = world.google.key_file("batch@shop.iam.gserviceaccount.com");
    world.home.write("key.json", &key_file).unwrap();
    let token = world.idtoken(&format!("print -a {SERVICE} --source file:key.json"));
    let token = token.end().await.ok().stdout;
    let seen = world
        .idtoken("inspect --json")
        .stdin(&token)
        .end()
        .await
        .ok()
        .json();
    assert_eq!(
        seen["claims"]["email"],
        "batch@shop.iam.gserviceaccount.com"
    );

    world.home.write("token", &token).unwrap();
    let same = world.idtoken(&format!("print -a {SERVICE} --source token-file:token"));
    assert_eq!(same.end().await.ok().stdout.trim(), token.trim());
    world
        .idtoken(&format!("print -a {SERVICE} --source metadata"))
        .end()
        .await
        .ok();
}
