//! A proxy, what is before it, and what is behind it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use idtoken_emulator::{CloudRun, Emulator};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdout, Command};

/// Google, a service whose container tells what it saw, and the proxy in front of it.
pub(crate) struct World {
    pub(crate) google: Emulator,
    pub(crate) service: CloudRun,
    pub(crate) proxy: Proxy,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::around(Router::new().fallback(tell), "").await
    }

    pub(crate) async fn around(container: Router, flags: &str) -> Self {
        let google = Emulator::start().await.unwrap();
        let service = google
            .cloud_run("hello")
            .h2c()
            .invoker(google.default_account().email())
            .start(serve(container).await)
            .await
            .unwrap();
        let proxy = Proxy::start(&google, service.url(), flags).await;
        Self {
            google,
            service,
            proxy,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.proxy.url)
    }
}

/// What a container saw of a request: its version, its target, its headers, its body.
async fn tell(request: Request) -> String {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let mut told = format!("{:?} {} {}\n", parts.version, parts.method, parts.uri);
    for (name, value) in &parts.headers {
        told.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
    }
    told + "\n" + std::str::from_utf8(&body).unwrap()
}

pub(crate) async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

pub(crate) struct Proxy {
    pub(crate) url: String,
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Proxy {
    pub(crate) async fn start(google: &Emulator, upstream: &str, flags: &str) -> Self {
        Self::trusting(google, upstream, flags, None).await
    }

    /// One that takes upstreams for genuine whose certificates are in this file.
    pub(crate) async fn trusting(
        google: &Emulator,
        upstream: &str,
        flags: &str,
        certificates: Option<&Path>,
    ) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_idtoken"))
            .args(["proxy", "--json", "--verbose", "--listen", "127.0.0.1:0"])
            .args(["--upstream", upstream])
            .args(flags.split_whitespace())
            .env_clear()
            .env("HOME", "/nonexistent")
            .envs(certificates.map(|file| ("SSL_CERT_FILE", file)))
            .envs(google.env())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).await.unwrap();
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event["event"], "listening");
        let url = event["listening"].as_str().unwrap().to_owned();
        Self { url, child, stdout }
    }

    pub(crate) fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    /// Tells it to stop; gives all that it wrote, after a look for tokens in it.
    pub(crate) async fn end(mut self) -> String {
        let pid = Pid::from_raw(self.child.id().unwrap().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        let mut told = String::new();
        self.stdout.read_to_string(&mut told).await.unwrap();
        let mut complaints = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut complaints).await.unwrap();
        for line in complaints.lines() {
            serde_json::from_str::<serde_json::Value>(line).expect("no JSON on standard error");
        }
        told.push_str(&complaints);
        assert!(self.child.wait().await.unwrap().success());
        assert!(!told.contains("eyJ"), "a token: {told}");
        told
    }
}

pub(crate) fn http1() -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy().http1_only();
    client
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

pub(crate) fn http2() -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy();
    client.http2_prior_knowledge().build().unwrap()
}

/// A body that is still being sent: what is sent into the channel, until it is closed.
pub(crate) fn channel_body() -> (tokio::sync::mpsc::Sender<&'static str>, Body) {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let stream = futures_util::StreamExt::map(stream, Ok::<_, std::io::Error>);
    (sender, Body::from_stream(stream))
}
