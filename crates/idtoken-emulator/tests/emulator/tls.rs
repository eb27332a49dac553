use idtoken_emulator::{Emulator, Endpoint, Fault, TokenRequest};
use reqwest::{Certificate, Client, Proxy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[tokio::test]
async fn serves_https_on_the_same_port_for_those_who_trust_it() {
    let google = Emulator::start().await.unwrap();
    let client = trusting(&google).build().unwrap();
    let url = format!("{}/oauth2/v3/certs", google.https_url());
    assert_eq!(client.get(&url).send().await.unwrap().status(), 200);
    let by_name = url.replace("127.0.0.1", "localhost");
    assert_eq!(client.get(&by_name).send().await.unwrap().status(), 200);
    assert_eq!(
        client.get(google.jwks_url()).send().await.unwrap().status(),
        200
    );
    assert_eq!(google.hits(Endpoint::Jwks), 3);

    let stranger = Emulator::start().await.unwrap();
    let distrusting = trusting(&stranger).build().unwrap();
    assert!(distrusting.get(&url).send().await.is_err());
    assert_eq!(google.hits(Endpoint::Jwks), 3);
}

#[tokio::test]
async fn plays_every_host_for_those_who_take_it_for_their_proxy() {
    let google = Emulator::start().await.unwrap();
    let proxy = Proxy::all(google.url()).unwrap();
    let client = trusting(&google).proxy(proxy).build().unwrap();
    for url in [
        "https://www.googleapis.com/oauth2/v3/certs",
        "https://oauth2.googleapis.com/tokeninfo?id_token=x",
        "http://metadata.google.internal/",
    ] {
        let status = client.get(url).send().await.unwrap().status();
        assert!(status == 200 || status == 400, "{url}: {status}");
    }
    let tunnels = google.requests(Endpoint::Connect);
    assert_eq!(tunnels.len(), 2);
    assert_eq!(
        tunnels[0].uri().authority().unwrap(),
        "www.googleapis.com:443"
    );
    assert_eq!(google.hits(Endpoint::Jwks), 1);
    let ping = &google.requests(Endpoint::Ping)[0];
    assert_eq!(ping.uri().host(), Some("metadata.google.internal"));
}

#[tokio::test]
async fn a_proxy_may_refuse_too() {
    let google = Emulator::start().await.unwrap();
    google.fail_times(Endpoint::Connect, 1, Fault::Status(407));
    google.fail_times(Endpoint::Connect, 1, Fault::Reset);
    let proxy = Proxy::all(google.url()).unwrap();
    let client = trusting(&google).proxy(proxy).build().unwrap();
    let ask = || {
        client
            .get("https://www.googleapis.com/oauth2/v3/certs")
            .send()
    };
    assert!(ask().await.is_err());
    assert!(ask().await.is_err());
    assert_eq!(ask().await.unwrap().status(), 200);
}

#[tokio::test]
async fn faults_strike_through_tls() {
    let google = Emulator::start().await.unwrap();
    let client = trusting(&google).build().unwrap();
    let url = format!("{}/oauth2/v3/certs", google.https_url());
    for fault in [Fault::Reset, Fault::Truncated] {
        google.fail_times(Endpoint::Jwks, 1, fault.clone());
        let whole = async { client.get(&url).send().await?.bytes().await };
        assert!(whole.await.is_err(), "{fault:?}");
    }
    assert_eq!(client.get(&url).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn survives_what_is_neither_http_nor_tls() {
    let google = Emulator::start().await.unwrap();
    for noise in [
        &b"CONNECT"[..],
        b"CONNECT x\r\n\r\n",
        b"\x16\x03\x01\x00\x02xx",
        b"\0\0\0\0\r\n\r\n",
        b"",
    ] {
        let mut stream = TcpStream::connect(google.host()).await.unwrap();
        stream.write_all(noise).await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    let mut stream = TcpStream::connect(google.host()).await.unwrap();
    let _ = stream
        .write_all(format!("CONNECT {}", "x".repeat(10_000)).as_bytes())
        .await;
    // Closed by the other side, though the head never ended.
    let _ = stream.read_to_end(&mut Vec::new()).await;
    crate::support::verified(&google, &google.mint(&TokenRequest::new("a"))).await;
}

fn trusting(google: &Emulator) -> reqwest::ClientBuilder {
    let authority = Certificate::from_pem(google.ca_pem().as_bytes()).unwrap();
    Client::builder().tls_certs_only([authority]).no_proxy()
}
