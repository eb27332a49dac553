//! The emulator's page in a real browser, which `.ci/run page` installs.

#![allow(clippy::unwrap_used, reason = "a failed test is what it is for")]

mod driver;

use std::path::Path;

use idtoken_emulator::{Account, Emulator, Endpoint, Fault, Role, User};
use tokio::net::TcpListener;

use crate::driver::Browser;

#[tokio::test]
#[ignore = "needs chromium and chromedriver; run by `.ci/run page`"]
async fn the_page_works_in_a_browser() {
    let google = Emulator::start().await.unwrap();
    let browser = Browser::start().await;
    browser.open(google.url()).await;
    assert_eq!(
        browser.text("h1").await,
        "A local Google",
        "led there from the root"
    );

    // Buttons.
    let old = google.key_id();
    browser.press("form[action$=rotate] button").await;
    let new = google.key_id();
    assert_ne!(new, old);
    let keys = browser.text("#keys").await;
    assert!(keys.starts_with(&format!("{new} signs")), "{keys}");
    browser.press("form[action$=retire] button").await;
    assert!(!browser.text("#keys").await.contains(&old));
    browser.press("button[value='3600']").await;
    assert!(browser.text("#clock").await.ends_with("3600 s ahead"));
    browser.press("button[value='0']").await;
    assert!(browser.text("#clock").await.ends_with("as this machine's"));
    browser.press("form[action$=fault] button").await;
    assert_eq!(browser.text("#faults").await, "identity: Status(503), once");

    // It renews itself while it is looked at.
    ask_for_token(&google).await;
    ask_for_token(&google).await;
    assert_eq!(
        browser.text("#requests tbody tr:nth-child(2) .bad").await,
        "503"
    );
    assert_eq!(browser.text("#faults").await, "none");
    assert!(
        !browser.source().await.contains("eyJ"),
        "a token that nobody asked for"
    );

    // The token, if somebody asks.
    browser.click("#token-1 summary").await;
    browser.press("#token-1 button").await;
    assert!(browser.text("#token-1 .token").await.starts_with("eyJ"));

    // Another site's page tries the same.
    let attack = format!(
        "data:text/html,<form method=post action={}/rotate><button>free prizes</button></form>",
        google.page_url()
    );
    browser.open(&attack).await;
    browser.press("button").await;
    assert!(
        browser
            .text("body")
            .await
            .contains("Only this page's own buttons")
    );
    assert_eq!(google.key_id(), new);
    browser.complaints(&["403 (Forbidden)"]).await;
    browser.end().await;
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver; run by `.ci/run page`"]
async fn it_can_be_read_on_a_desk_and_on_a_phone() {
    let google = Emulator::start().await.unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let container = nobody.local_addr().unwrap();
    let caller = "frontend@shop.iam.gserviceaccount.com";
    google.attach(caller);
    google.grant(
        caller,
        Role::OpenIdTokenCreator,
        "batch@shop.iam.gserviceaccount.com",
    );
    google.add_account(Account::new("ann@shop.example"));
    let _ = google.user_file(&User::new("ann@shop.example"));
    let service = google
        .cloud_run("hello")
        .invoker(caller)
        .start(container)
        .await
        .unwrap();
    drop(nobody);
    google.fail_times(Endpoint::Identity, 1, Fault::Status(503));
    ask_for_token(&google).await;
    ask_for_token(&google).await;
    google.publish_next();
    google.fail(Endpoint::Token, Fault::Hang);
    google.set_clock_offset(-300);
    reqwest::get(format!("{}/orders", service.url()))
        .await
        .unwrap();

    let browser = Browser::start().await;
    browser.open(&google.page_url()).await;
    browser.click("#token-1 summary").await;
    for (name, width, height) in [("wide", 1280, 1400), ("narrow", 400, 2150)] {
        browser.resize(width, height).await;
        assert_eq!(
            browser.overflow().await,
            0,
            "wider than its window at {width} pixels"
        );
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("page-{name}.png"));
        std::fs::write(&path, browser.screenshot().await).unwrap();
        println!("{}", path.display());
    }
    browser.complaints(&[]).await;
    browser.end().await;
}

async fn ask_for_token(google: &Emulator) {
    let url = format!(
        "{}/computeMetadata/v1/instance/service-accounts/default/identity?audience=https://hello-abc-uc.a.run.app",
        google.url()
    );
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.get(url).header("metadata-flavor", "Google");
    request.send().await.unwrap();
}
