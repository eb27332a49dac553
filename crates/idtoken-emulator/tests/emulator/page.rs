//! The page for people, as a client sees it that is not one of them.

use std::time::Duration;

use idtoken_emulator::{Emulator, Endpoint};
use reqwest::{Client, RequestBuilder, StatusCode};

fn client() -> Client {
    let client = Client::builder().no_proxy();
    client
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

/// A button of the page, pressed on the page.
fn press(google: &Emulator, action: &str, form: &[(&str, &str)]) -> RequestBuilder {
    client()
        .post(format!("{}/{action}", google.page_url()))
        .header("origin", google.url())
        .header("sec-fetch-site", "same-origin")
        .form(form)
}

async fn ask_for_token(google: &Emulator, audience: &str) -> String {
    let url = format!(
        "{}/computeMetadata/v1/instance/service-accounts/default/identity?audience={audience}",
        google.url()
    );
    let request = client().get(url).header("metadata-flavor", "Google");
    request.send().await.unwrap().text().await.unwrap()
}

async fn page(google: &Emulator) -> String {
    let answer = client().get(google.page_url()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.text().await.unwrap()
}

#[tokio::test]
async fn it_shows_claims_and_no_token_unless_asked() {
    let google = Emulator::start().await.unwrap();
    let token = ask_for_token(&google, "my-api").await;
    let text = page(&google).await;
    for part in [
        "my-api",
        "default@emulated-project",
        &google.key_id(),
        "identity",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("eyJ"), "{text}");
    let shown = press(&google, "reveal", &[("number", "1")])
        .send()
        .await
        .unwrap();
    assert!(shown.text().await.unwrap().contains(&token));
    // And it was not remembered that it was asked for.
    assert!(!page(&google).await.contains("eyJ"));
}

#[tokio::test]
async fn its_buttons_do_what_they_say() {
    let google = Emulator::start().await.unwrap();
    let key = google.key_id();
    let pressed = press(&google, "rotate", &[]).send().await.unwrap();
    assert_eq!(pressed.status(), StatusCode::SEE_OTHER);
    assert_ne!(google.key_id(), key);
    assert!(page(&google).await.contains(&key));
    press(&google, "retire", &[]).send().await.unwrap();
    assert!(!page(&google).await.contains(&key));

    let before = google.clock().now();
    press(&google, "clock", &[("step_s", "3600")])
        .send()
        .await
        .unwrap();
    let after = google.clock().now();
    assert!(after >= before + Duration::from_secs(3_600));
    assert!(page(&google).await.contains("3600 s ahead"));
    press(&google, "clock", &[("step_s", "0")])
        .send()
        .await
        .unwrap();
    assert!(google.clock().now() < after);

    let fault = [
        ("endpoint", "identity"),
        ("fault", "status 503"),
        ("times", ""),
    ];
    press(&google, "fault", &fault).send().await.unwrap();
    assert!(ask_for_token(&google, "x").await.contains("503"));
    assert!(
        page(&google)
            .await
            .contains("identity: Status(503), until healed")
    );
    press(&google, "heal", &[]).send().await.unwrap();

    // What gets no answer is shown as well.
    let reset = [("endpoint", "jwks"), ("fault", "reset"), ("times", "1")];
    press(&google, "fault", &reset).send().await.unwrap();
    assert!(client().get(google.jwks_url()).send().await.is_err());
    assert!(
        page(&google)
            .await
            .contains("<td class=\"bad\">none<td>fault: Reset")
    );

    assert!(ask_for_token(&google, "x").await.starts_with("eyJ"));
    for (action, form) in [
        ("fault", [("endpoint", "door")]),
        ("clock", [("step_s", "soon")]),
        ("reveal", [("number", "x")]),
        ("explode", [("a", "b")]),
    ] {
        let answer = press(&google, action, &form).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{action}");
    }
}

#[tokio::test]
async fn other_sites_can_neither_press_nor_read_nor_frame() {
    let google = Emulator::start().await.unwrap();
    let key = google.key_id();
    let url = || client().post(format!("{}/rotate", google.page_url()));
    for (what, request) in [
        ("no origin", url()),
        ("another", url().header("origin", "http://evil.example")),
        ("null", url().header("origin", "null")),
        ("another port", url().header("origin", "http://127.0.0.1:1")),
        (
            "said to be across sites",
            url()
                .header("origin", google.url())
                .header("sec-fetch-site", "cross-site"),
        ),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{what}");
    }
    let rebound = url()
        .header("host", "evil.example")
        .header("origin", "http://evil.example");
    assert_eq!(
        rebound.send().await.unwrap().status(),
        StatusCode::MISDIRECTED_REQUEST
    );
    let read = client()
        .get(google.page_url())
        .header("host", "evil.example:80");
    assert_eq!(
        read.send().await.unwrap().status(),
        StatusCode::MISDIRECTED_REQUEST
    );
    assert_eq!(google.key_id(), key, "nothing was pressed");

    let answer = client().get(google.page_url()).send().await.unwrap();
    let headers = answer.headers();
    assert_eq!(headers["x-frame-options"], "DENY");
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"));
    assert!(!headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn nothing_from_outside_becomes_markup() {
    let google = Emulator::start().await.unwrap();
    google.attach("<b>@shop.example");
    ask_for_token(&google, "%3Cscript%3Ealert(1)%3C/script%3E").await;
    let path = format!("{}/%3Ci%3E?x=<script>", google.url());
    client().get(path).send().await.unwrap();
    let text = page(&google).await;
    assert!(
        !text.contains("<script>") && !text.contains("<b>"),
        "{text}"
    );
    assert!(text.contains("&lt;script&gt;alert(1)"), "{text}");
}

#[tokio::test]
async fn people_are_led_there_from_the_root_and_clients_are_not() {
    let google = Emulator::start().await.unwrap();
    let root = |accept: &str| client().get(google.url()).header("accept", accept);
    let person = root("text/html,*/*").send().await.unwrap();
    assert_eq!(person.status(), StatusCode::FOUND);
    assert_eq!(person.headers()["location"], "/emulator");
    let machine = root("*/*").send().await.unwrap();
    assert_eq!(machine.headers()["metadata-flavor"], "Google");
    let flavored = root("text/html").header("metadata-flavor", "Google");
    assert_eq!(flavored.send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(google.hits(Endpoint::Ping), 2);
}
