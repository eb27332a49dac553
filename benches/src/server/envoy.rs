//! Envoy, from a Python package that carries its binary.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use idtoken_emulator::Emulator;
use serde_json::{Value, json};
use tower::BoxError;

use super::process::{Process, SERVERS, on_core};
use crate::fixtures::AUDIENCE;

/// A running Envoy. It asks the kernel to end it with the thread that started it, so that must be
/// the main one.
pub struct Envoy {
    pub process: Process,
}

/// The binary: what `ENVOY` names, or the one that `envoy.sh` installs into an environment of its
/// own.
pub fn program() -> Result<PathBuf, BoxError> {
    if let Some(program) = std::env::var_os("ENVOY") {
        return Ok(program.into());
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/envoy.sh");
    let output = Command::new(script).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{script}: {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().into())
}

impl Envoy {
    pub fn start(program: &Path, folder: &Path, config: &Value) -> Result<Self, BoxError> {
        let folder = tempfile::tempdir_in(folder)?.keep();
        let (file, address) = (folder.join("envoy.json"), folder.join("admin"));
        fs::write(&file, serde_json::to_vec_pretty(config)?)?;
        let child = on_core(SERVERS, program)
            .args([
                "--use-dynamic-base-id",
                "--concurrency",
                "1",
                "--log-level",
                "error",
                "-c",
            ])
            .arg(&file)
            .arg("--admin-address-path")
            .arg(&address)
            .stdin(Stdio::null())
            .spawn()?;
        let mut process = Process::new(child, 0);
        let admin = wait_for(|| {
            let address = fs::read_to_string(&address).ok()?;
            (!address.trim().is_empty()).then(|| address.trim().to_owned())
        })?;
        process.port = wait_for(|| listening_port(&admin))?;
        Ok(Self { process })
    }
}

fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> io::Result<T> {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(20) {
        if let Some(found) = look() {
            return Ok(found);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(io::Error::other("Envoy did not start within 20 s"))
}

/// The port of the one listener, once it listens.
fn listening_port(admin: &str) -> Option<u16> {
    let get = |path: &str| {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(admin).ok()?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n"
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    };
    if !get("/ready")?.contains("LIVE") {
        return None;
    }
    // `main::127.0.0.1:41017`
    get("/listeners")?.lines().find_map(|line| {
        line.strip_prefix("main::")?
            .rsplit(':')
            .next()?
            .trim()
            .parse()
            .ok()
    })
}

/// Nothing but the proxy: what Envoy itself costs.
pub fn no_filter(upstream: u16) -> Value {
    config(&[], &[cluster("upstream", upstream, Value::Null)])
}

/// Tokens verified in front of the server.
pub fn jwt_authn(emulator: &Emulator, upstream: u16, cached: bool) -> Value {
    let mut provider = json!({
        "issuer": "https://accounts.google.com",
        "audiences": [AUDIENCE],
        "forward": true,
        "remote_jwks": {
            "http_uri": {"uri": emulator.jwks_url(), "cluster": "google", "timeout": "5s"},
            "cache_duration": "600s",
        },
    });
    if cached {
        provider["jwt_cache_config"] = json!({"jwt_cache_size": 4096});
    }
    let filter = json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"google": provider},
            "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "google"}}],
        },
    });
    let clusters = [
        cluster("upstream", upstream, Value::Null),
        cluster("google", port_of(emulator), Value::Null),
    ];
    config(&[filter], &clusters)
}

/// Tokens attached behind the client.
pub fn gcp_authn(emulator: &Emulator, upstream: u16) -> Value {
    let filter = json!({
        "name": "envoy.filters.http.gcp_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.gcp_authn.v3.GcpAuthnFilterConfig",
            "cluster": "google",
            "timeout": "5s",
            "cache_config": {"cache_size": 100},
        },
    });
    let audience = json!({"typed_filter_metadata": {"envoy.filters.http.gcp_authn": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.gcp_authn.v3.Audience",
        "url": AUDIENCE,
    }}});
    let clusters = [
        cluster("upstream", upstream, audience),
        cluster("google", port_of(emulator), Value::Null),
    ];
    config(&[filter], &clusters)
}

fn port_of(emulator: &Emulator) -> u16 {
    let port = emulator.host().rsplit(':').next();
    port.and_then(|port| port.parse().ok()).expect("host:port")
}

fn cluster(name: &str, port: u16, metadata: Value) -> Value {
    let address = json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let endpoint = json!({"endpoint": {"address": address}});
    let mut cluster = json!({
        "name": name,
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
        // The defaults refuse what a benchmark keeps open.
        "circuit_breakers": {"thresholds": [
            {"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096},
        ]},
    });
    if !metadata.is_null() {
        cluster["metadata"] = metadata;
    }
    cluster
}

fn config(filters: &[Value], clusters: &[Value]) -> Value {
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        },
    });
    let filters: Vec<_> = filters.iter().cloned().chain([router]).collect();
    let route = json!({"match": {"prefix": "/"}, "route": {"cluster": "upstream"}});
    let manager = json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "main",
            "http_filters": filters,
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        },
    });
    let any_port = json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}});
    json!({
        "admin": {"address": any_port},
        "static_resources": {
            "listeners": [{
                "name": "main",
                "address": any_port,
                "filter_chains": [{"filters": [manager]}],
            }],
            "clusters": clusters,
        },
    })
}
