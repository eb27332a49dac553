//! A headless Chromium, driven as WebDriver (W3C) says.

use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

pub(crate) struct Browser {
    client: Client,
    session: String,
    driver: Child,
    _profile: TempDir,
}

impl Browser {
    pub(crate) async fn start() -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("chromedriver is there");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = loop {
            let line = lines.next_line().await.unwrap().expect("it says its port");
            if let Some((_, port)) = line.split_once("successfully on port ") {
                break port.trim_end_matches('.').to_owned();
            }
        };
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let profile = TempDir::with_prefix("idtoken-browser-").unwrap();
        let client = Client::builder().no_proxy().build().unwrap();
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": args(&profile) },
            "goog:loggingPrefs": { "browser": "ALL" },
            "timeouts": { "implicit": 15_000, "pageLoad": 60_000 },
        }}});
        let answer = client
            .post(format!("http://127.0.0.1:{port}/session"))
            .json(&wanted);
        let answer: Value = answer.send().await.unwrap().json().await.unwrap();
        let id = answer["value"]["sessionId"].as_str();
        let id = id.unwrap_or_else(|| panic!("no session: {answer}"));
        Self {
            client,
            session: format!("http://127.0.0.1:{port}/session/{id}"),
            driver,
            _profile: profile,
        }
    }

    pub(crate) async fn open(&self, url: &str) {
        self.command("url", &json!({ "url": url })).await;
    }

    /// Again if the page has renewed itself between looking and clicking.
    pub(crate) async fn click(&self, selector: &str) {
        loop {
            let element = self.find(selector).await;
            let path = format!("element/{element}/click");
            let answer = self.send(&path, &json!({})).await;
            if answer["error"] != "stale element reference" {
                assert!(answer["error"].is_null(), "{selector}: {answer:#}");
                return;
            }
        }
    }

    /// Clicks what leads to another page, and waits for that: a click does not wait by itself.
    pub(crate) async fn press(&self, selector: &str) {
        self.run("window.isLeft = true").await;
        self.click(selector).await;
        let arrived = async {
            let asked = "return !window.isLeft && document.readyState === 'complete'";
            let asked = json!({ "script": asked, "args": [] });
            // While one page makes way for the other the answer may be an error.
            while self.send("execute/sync", &asked).await != true {}
        };
        let patience = Duration::from_secs(60);
        let arrived = timeout(patience, arrived).await;
        arrived.unwrap_or_else(|_| panic!("{selector} leads nowhere"));
    }

    /// Waits until it is there.
    pub(crate) async fn text(&self, selector: &str) -> String {
        self.find(selector).await;
        let script = "return document.querySelector(arguments[0]).innerText";
        let script = json!({ "script": script, "args": [selector] });
        let text = self.command("execute/sync", &script).await;
        text.as_str().unwrap().to_owned()
    }

    pub(crate) async fn source(&self) -> String {
        self.query("source").await.as_str().unwrap().to_owned()
    }

    pub(crate) async fn resize(&self, width: u32, height: u32) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        let command = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": size });
        self.command("goog/cdp/execute", &command).await;
        self.run("scrollTo(0, 0)").await;
    }

    /// By how many pixels the page is wider than the window.
    pub(crate) async fn overflow(&self) -> i64 {
        let wider = "return document.documentElement.scrollWidth - innerWidth";
        self.run(wider).await.as_i64().unwrap().max(0)
    }

    pub(crate) async fn screenshot(&self) -> Vec<u8> {
        let png = self.query("screenshot").await;
        STANDARD.decode(png.as_str().unwrap()).unwrap()
    }

    /// Fails if the browser has complained, of a policy broken or a script that failed, but for
    /// what was to be expected.
    pub(crate) async fn complaints(&self, expected: &[&str]) {
        let log = self.command("se/log", &json!({ "type": "browser" })).await;
        for entry in log.as_array().unwrap() {
            let message = entry["message"].as_str().unwrap();
            assert!(
                expected.iter().any(|known| message.contains(known)),
                "{message}"
            );
        }
    }

    pub(crate) async fn end(mut self) {
        let answer = self.client.delete(&self.session).send().await.unwrap();
        assert!(answer.status().is_success());
        self.driver.kill().await.unwrap();
    }

    async fn run(&self, script: &str) -> Value {
        let script = json!({ "script": script, "args": [] });
        self.command("execute/sync", &script).await
    }

    async fn find(&self, selector: &str) -> String {
        let by = json!({ "using": "css selector", "value": selector });
        let found = self.command("element", &by).await;
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    async fn command(&self, path: &str, body: &Value) -> Value {
        let value = self.send(path, body).await;
        assert!(value["error"].is_null(), "{path}: {value:#}");
        value
    }

    async fn send(&self, path: &str, body: &Value) -> Value {
        let request = self.client.post(format!("{}/{path}", self.session));
        value(request.json(body)).await
    }

    async fn query(&self, path: &str) -> Value {
        value(self.client.get(format!("{}/{path}", self.session))).await
    }
}

async fn value(request: reqwest::RequestBuilder) -> Value {
    let mut answer: Value = request.send().await.unwrap().json().await.unwrap();
    answer["value"].take()
}

fn args(profile: &TempDir) -> Vec<String> {
    let mut args: Vec<_> = [
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--disable-quic",
        "--disable-sync",
        "--headless",
        "--no-first-run",
        // Its own sandbox needs rights that a container may lack, and only our page is shown.
        "--no-sandbox",
    ]
    .map(str::to_owned)
    .into();
    args.push(format!("--user-data-dir={}", profile.path().display()));
    args
}

/// What WebDriver calls an element in JSON (W3C WebDriver §6.2).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
