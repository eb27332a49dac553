//! A plain proxy between caller and function: nginx, over HTTP/1.1 and over HTTP/2.

use std::process::Stdio;
use std::time::Duration;

use idtoken_emulator::Emulator;
use reqwest::{Client, Response, StatusCode, Version};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tower::{ServiceBuilder, ServiceExt};
use tower_idtoken::Header;

use crate::counterpart::told;
use crate::receiver;
use crate::world::ATTACHED;

/// A running nginx that listens on sockets of the file system, for it cannot tell a port that it was
/// given by the kernel.
struct Nginx {
    folder: TempDir,
    _process: Child,
}

impl Nginx {
    async fn start(upstream: u16) -> Option<Self> {
        let program = told("IDTOKEN_NGINX")?;
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display();
        let folders: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {at}/{kind};"))
            .concat();
        let config = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/errors;
             events {{}}
             http {{
                 access_log off; {folders}
                 server {{
                     listen unix:{at}/http1;
                     location / {{
                         proxy_pass http://127.0.0.1:{upstream};
                         proxy_http_version 1.1;
                     }}
                 }}
                 server {{
                     listen unix:{at}/http2 http2;
                     location / {{ grpc_pass grpc://127.0.0.1:{upstream}; }}
                 }}
             }}"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, config).unwrap();
        let process = Command::new(program)
            .arg("-p")
            .arg(folder.path())
            .arg("-e")
            .arg(folder.path().join("errors"))
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let nginx = Self {
            folder,
            _process: process,
        };
        let listening = async {
            while nginx
                .client(Version::HTTP_11)
                .get(URL)
                .send()
                .await
                .is_err()
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let started = tokio::time::timeout(Duration::from_secs(10), listening).await;
        let errors = std::fs::read_to_string(nginx.folder.path().join("errors"));
        assert!(started.is_ok(), "{errors:?}");
        Some(nginx)
    }

    fn client(&self, version: Version) -> Client {
        let client = receiver::client();
        let client = match version {
            Version::HTTP_2 => client
                .http2_prior_knowledge()
                .unix_socket(self.folder.path().join("http2")),
            _ => client.unix_socket(self.folder.path().join("http1")),
        };
        client.build().unwrap()
    }
}

#[tokio::test]
async fn tokens_and_refusals_survive_a_proxy() {
    let google = Emulator::start().await.unwrap();
    google.attach(ATTACHED);
    let Some(nginx) = Nginx::start(receiver::function(&google).await).await else {
        return;
    };
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let client = nginx.client(version);
        for (header, sent) in [
            (Header::Authorization, "authorization"),
            (
                Header::XServerlessAuthorization,
                "x-serverless-authorization",
            ),
            (Header::Both, "authorization and x-serverless-authorization"),
        ] {
            let service = ServiceBuilder::new()
                .layer(receiver::layer(&google).header(header))
                .service(client.clone());
            let request = client.get(URL).build().unwrap();
            let answer: Response = service.oneshot(request).await.unwrap();
            assert_eq!(
                (answer.status(), answer.version()),
                (StatusCode::OK, version)
            );
            let greeting = answer.text().await.unwrap();
            assert_eq!(greeting, format!("{ATTACHED} by {sent}"));
        }
        let refused = client.get(URL).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        let why = refused.headers()["www-authenticate"].to_str().unwrap();
        assert!(why.starts_with("Bearer"), "{why}");
        println!(
            "\n| nginx | {version:?} between `AddIdTokenLayer` and `Caller` | each header policy's \
             token arrives, and the refusal of a request without |"
        );
    }
}

const URL: &str = "http://127.0.0.1/";
