//! Envoy as the one who attaches tokens, and as the one who verifies them.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use idtoken_emulator::{Account, Emulator, Endpoint};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tower::{Service, ServiceBuilder, ServiceExt};

use crate::attacks::AUDIENCE;
use crate::counterpart::told;
use crate::receiver;
use crate::world::ATTACHED;

/// A running Envoy. It ends with the thread that started it: that of the test.
pub(crate) struct Envoy {
    pub(crate) url: String,
    _process: Child,
    _folder: TempDir,
}

impl Envoy {
    /// Where there is one: with this filter between its listener and a port.
    pub(crate) async fn start(google: &Emulator, filter: Value, upstream: u16) -> Option<Self> {
        let program = told("IDTOKEN_ENVOY")?;
        let folder = tempfile::tempdir().unwrap();
        let (config, admin) = (
            folder.path().join("envoy.json"),
            folder.path().join("admin"),
        );
        std::fs::write(
            &config,
            configuration(google, &filter, upstream).to_string(),
        )
        .unwrap();
        let process = Command::new(program)
            .args([
                "--use-dynamic-base-id",
                "--concurrency",
                "1",
                "--log-level",
                "error",
                "-c",
            ])
            .arg(&config)
            .arg("--admin-address-path")
            .arg(&admin)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let listening = async {
            loop {
                if let Some(address) = listener(&admin).await {
                    return address;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let address = tokio::time::timeout(Duration::from_secs(30), listening).await;
        Some(Self {
            url: format!("http://{}/", address.expect("it does not start")),
            _process: process,
            _folder: folder,
        })
    }
}

/// The address of its one listener, once it is ready.
async fn listener(admin: &Path) -> Option<String> {
    let admin = std::fs::read_to_string(admin).ok()?;
    let ask = async |path: &str| {
        let answer = client().get(format!("http://{admin}{path}")).send().await;
        answer.ok()?.text().await.ok()
    };
    if !ask("/ready").await?.contains("LIVE") {
        return None;
    }
    let listeners = ask("/listeners").await?;
    let address = listeners.trim().strip_prefix("main::")?;
    Some(address.to_owned())
}

/// A listener, the filter, the emulator as `google`, and what is behind as `upstream`.
fn configuration(google: &Emulator, filter: &Value, upstream: u16) -> Value {
    let extensions = "type.googleapis.com/envoy.extensions.filters";
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": format!("{extensions}.http.router.v3.Router")},
    });
    let address =
        |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let cluster = |name: &str, port: u16| {
        let endpoint = json!({"endpoint": {"address": address(port)}});
        json!({
            "name": name,
            "type": "STATIC",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        })
    };
    let mut behind = cluster("upstream", upstream);
    behind["metadata"] = json!({"typed_filter_metadata": {"envoy.filters.http.gcp_authn": {
        "@type": format!("{extensions}.http.gcp_authn.v3.Audience"),
        "url": AUDIENCE,
    }}});
    let google = google.host().rsplit(':').next().unwrap().parse().unwrap();
    let route = json!({"match": {"prefix": "/"}, "route": {"cluster": "upstream"}});
    let host = json!({"name": "all", "domains": ["*"], "routes": [route]});
    let manager = json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": format!(
                "{extensions}.network.http_connection_manager.v3.HttpConnectionManager"
            ),
            "stat_prefix": "main",
            "http_filters": [filter, router],
            "route_config": {"virtual_hosts": [host]},
        },
    });
    json!({
        "admin": {"address": address(0)},
        "static_resources": {
            "listeners": [{
                "name": "main",
                "address": address(0),
                "filter_chains": [{"filters": [manager]}],
            }],
            "clusters": [behind, cluster("google", google)],
        },
    })
}

/// Attaches tokens of the metadata server.
pub(crate) fn gcp_authn() -> Value {
    json!({
        "name": "envoy.filters.http.gcp_authn",
        "typed_config": {
            "@type": "type.googleapis.com/\
                      envoy.extensions.filters.http.gcp_authn.v3.GcpAuthnFilterConfig",
            "cluster": "google",
            "timeout": "5s",
            "cache_config": {"cache_size": 10},
        },
    })
}

/// Verifies tokens as its documentation has it for Google's, and remembers which were good.
pub(crate) fn jwt_authn(google: &Emulator) -> Value {
    let provider = json!({
        "issuer": "https://accounts.google.com",
        "audiences": [AUDIENCE],
        "forward": true,
        "remote_jwks": {
            "http_uri": {"uri": google.jwks_url(), "cluster": "google", "timeout": "5s"},
            "cache_duration": "600s",
        },
        "jwt_cache_config": {"jwt_cache_size": 100},
    });
    json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/\
                      envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"google": provider},
            "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "google"}}],
        },
    })
}

pub(crate) fn client() -> Client {
    receiver::client().build().unwrap()
}

#[tokio::test]
async fn a_caller_accepts_what_envoy_attaches() {
    let google = Emulator::start().await.unwrap();
    google.attach(ATTACHED);
    let function = receiver::function(&google).await;
    let Some(envoy) = Envoy::start(&google, gcp_authn(), function).await else {
        return;
    };
    let ask = async |url: &str| client().get(url).send().await.unwrap();
    let subject = Account::new(ATTACHED).unique_id().to_owned();
    let direct = ask(&format!("http://127.0.0.1:{function}/")).await;
    assert_eq!(direct.status(), StatusCode::UNAUTHORIZED);
    for _ in 0..2 {
        let answer = ask(&envoy.url).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let greeting = answer.text().await.unwrap();
        assert_eq!(greeting, format!("{subject} by authorization"));
    }
    assert_eq!(google.hits(Endpoint::Identity), 1, "it keeps the token");
    println!(
        "\n| Envoy | gcp_authn before `Caller` | the function lets the account in by its number: the tokens hold no e-mail address |"
    );
}

#[tokio::test]
async fn envoy_accepts_what_the_layer_sends() {
    let google = Emulator::start().await.unwrap();
    google.attach(ATTACHED);
    let function = receiver::function(&google).await;
    let Some(envoy) = Envoy::start(&google, jwt_authn(&google), function).await else {
        return;
    };
    let bare = client().get(&envoy.url).send().await.unwrap();
    assert_eq!(bare.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(bare.text().await.unwrap(), "Jwt is missing");

    let mut service = ServiceBuilder::new()
        .layer(receiver::layer(&google))
        .service(client());
    for _ in 0..2 {
        let request = client().get(&envoy.url).build().unwrap();
        let service = service.ready().await.unwrap();
        let answer: Response = service.call(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let greeting = answer.text().await.unwrap();
        assert_eq!(greeting, format!("{ATTACHED} by authorization"));
    }
    println!("\n| Envoy | `AddIdTokenLayer` before jwt_authn before `Caller` | both let it in |");
}
