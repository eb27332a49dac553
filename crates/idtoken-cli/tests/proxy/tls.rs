//! As in production: the service is behind TLS, and both ends settle on a version of HTTP.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt as _, StreamExt as _};
use rcgen::CertifiedKey;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Proxy, World, http1, http2};
use crate::websocket;

/// The end of TLS in front of a service: passes on what it takes out, byte by byte.
struct Tls {
    url: String,
    folder: TempDir,
    /// The protocol of each connection.
    settled: Arc<Mutex<Vec<String>>>,
}

impl Tls {
    async fn before(world: &World, protocols: &[&str]) -> Self {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![cert.der().clone()], key.into())
                .unwrap();
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "https://localhost:{}",
            listener.local_addr().unwrap().port()
        );
        let service = world
            .service
            .url()
            .strip_prefix("http://")
            .unwrap()
            .to_owned();
        let settled = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&settled);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut tls) = acceptor.accept(stream).await else {
                    continue;
                };
                let protocol = tls.get_ref().1.alpn_protocol().unwrap_or_default();
                let protocol = String::from_utf8(protocol.to_vec()).unwrap();
                told.lock().unwrap().push(protocol);
                let mut plain = TcpStream::connect(&service).await.unwrap();
                tokio::spawn(async move {
                    let _ = tokio::io::copy_bidirectional(&mut tls, &mut plain).await;
                });
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let encoded = STANDARD.encode(cert.der());
        let lines: Vec<_> = encoded.as_bytes().chunks(64).collect();
        let pem = [
            b"-----BEGIN CERTIFICATE-----".as_slice(),
            &lines.join(&b'\n'),
            b"-----END CERTIFICATE-----\n",
        ];
        std::fs::write(folder.path().join("certificate.pem"), pem.join(&b'\n')).unwrap();
        Self {
            url,
            folder,
            settled,
        }
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    async fn proxy(&self, world: &World) -> Proxy {
        let flags = format!("--audience {}", world.service.audience());
        Proxy::trusting(&world.google, &self.url, &flags, Some(&self.certificate())).await
    }

    fn settled(&self) -> Vec<String> {
        self.settled.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn https_upstreams_over_both_versions() {
    let world = World::new().await;
    for (offered, settled) in [(&["h2", "http/1.1"][..], "h2"), (&["http/1.1"], "http/1.1")] {
        let tls = Tls::before(&world, offered).await;
        let proxy = tls.proxy(&world).await;
        for (client, via) in [(http1(), "1.1"), (http2(), "2")] {
            let request = client.post(format!("{}/a?b", proxy.url)).body("hello");
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            let told = answer.text().await.unwrap();
            for part in [
                " POST ",
                "/a?b\n",
                "authorization: Bearer eyJ",
                &format!("via: {via} idtoken\n"),
                "\n\nhello",
            ] {
                assert!(told.contains(part), "{part}: {told}");
            }
        }
        proxy.end().await;
        let seen = tls.settled();
        assert!(
            !seen.is_empty() && seen.iter().all(|one| one == settled),
            "{seen:?}"
        );
    }
}

#[tokio::test]
async fn a_websocket_over_tls() {
    let world = World::around(websocket::echo(), "").await;
    let tls = Tls::before(&world, &["h2", "http/1.1"]).await;
    let proxy = tls.proxy(&world).await;
    let mut socket = websocket::connect(&proxy).await;
    socket.send(Message::text("one")).await.unwrap();
    let answer = socket.next().await.unwrap().unwrap();
    assert_eq!(answer.to_text().unwrap(), "one");
    // HTTP/2 has no upgrades, so the proxy does not offer it here.
    assert_ne!(tls.settled(), ["h2"]);
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
    proxy.end().await;
}

#[tokio::test]
async fn a_foreign_certificate_is_a_bad_gateway() {
    let world = World::new().await;
    let (genuine, foreign) = (
        Tls::before(&world, &["h2", "http/1.1"]).await,
        Tls::before(&world, &["h2", "http/1.1"]).await,
    );
    let flags = format!("--audience {}", world.service.audience());
    let trusted = genuine.certificate();
    let proxy = Proxy::trusting(&world.google, &foreign.url, &flags, Some(&trusted)).await;
    for client in [http1(), http2()] {
        let answer = client.get(&proxy.url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
        let text = answer.text().await.unwrap();
        assert!(text.contains("certificate"), "{text}");
    }
    assert_eq!(world.service.visits(), []);
    proxy.end().await;
}
