use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use idtoken_emulator::{Emulator, Endpoint, Role, SubjectSource};
use serde_json::{Value, json};

use crate::support::{client, get, now, verified};

const TARGET: &str = "target@shop.iam.gserviceaccount.com";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const AWS: &str = "urn:ietf:params:aws:token-type:aws4_request";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

#[tokio::test]
async fn a_trusted_token_leads_to_an_id_token_in_three_steps() {
    let google = Emulator::start().await.unwrap();
    let provider = google.provider("pool", "github");
    let principal = google.trust(&provider, "their-token", "repo:shop/web");
    assert!(
        principal.ends_with("/workloadIdentityPools/pool/subject/repo:shop/web"),
        "{principal}"
    );
    google.grant(&principal, Role::WorkloadIdentityUser, TARGET);
    google.set_subject_token("their-token");

    let file = google.external_account_file(&provider, &SubjectSource::JsonUrl, Some(TARGET));
    let file: Value = serde_json::from_str(&file).unwrap();
    let source = &file["credential_source"];
    let request = client()
        .get(source["url"].as_str().unwrap())
        .header("Metadata", "True");
    let body: Value = request.send().await.unwrap().json().await.unwrap();
    let field = source["format"]["subject_token_field_name"]
        .as_str()
        .unwrap();
    let (status, body) = exchange(&google, &provider, JWT, body[field].as_str().unwrap()).await;
    assert_eq!(
        (status, &body["issued_token_type"]),
        (200, &ACCESS_TOKEN.into()),
        "{body}"
    );
    assert_eq!(
        (&body["token_type"], &body["expires_in"]),
        (&"Bearer".into(), &3_600.into())
    );

    let url = file["service_account_impersonation_url"].as_str().unwrap();
    let url = url.replace(":generateAccessToken", ":generateIdToken");
    let request = client()
        .post(url)
        .bearer_auth(body["access_token"].as_str().unwrap());
    let body = json!({ "audience": "a", "includeEmail": true });
    let answer: Value = request
        .json(&body)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let claims = verified(&google, answer["token"].as_str().unwrap()).await;
    assert_eq!(claims["email"], TARGET);
    let hits = [
        Endpoint::SubjectToken,
        Endpoint::Sts,
        Endpoint::GenerateIdToken,
    ];
    assert_eq!(hits.map(|endpoint| google.hits(endpoint)), [1, 1, 1]);
}

#[tokio::test]
async fn refuses_what_the_token_service_refuses() {
    let google = Emulator::start().await.unwrap();
    let provider = google.provider("pool", "github");
    google.trust(&provider, "good", "x");
    for (name, audience, token_type, token, error) in [
        ("another token", &*provider, JWT, "bad", "invalid_grant"),
        (
            "another pool",
            "//iam.googleapis.com/x/providers/y",
            JWT,
            "good",
            "invalid_target",
        ),
        (
            "unknown type",
            &*provider,
            "urn:x",
            "good",
            "invalid_request",
        ),
        ("no AWS request", &*provider, AWS, "good", "invalid_request"),
        ("no token", &*provider, JWT, "", "invalid_request"),
    ] {
        let (status, body) = exchange(&google, audience, token_type, token).await;
        assert_eq!(
            (status, &body["error"]),
            (400, &error.into()),
            "{name}: {body}"
        );
    }
    let form = [("grant_type", "authorization_code")];
    let answer = client()
        .post(google.sts_url())
        .form(&form)
        .send()
        .await
        .unwrap();
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["error"], "unsupported_grant_type");
}

#[tokio::test]
async fn the_subject_token_wants_its_header() {
    let google = Emulator::start().await.unwrap();
    google.set_subject_token("theirs");
    assert_eq!(get(google.subject_token_url()).await.status(), 400);
    let request = client()
        .get(google.subject_token_url())
        .header("Metadata", "True");
    assert_eq!(
        request.send().await.unwrap().text().await.unwrap(),
        "theirs"
    );
}

#[tokio::test]
async fn a_role_of_aws_signs_its_way_in() {
    let google = Emulator::start().await.unwrap();
    let provider = google.provider("pool", "aws");
    let principal = google.trust_aws(&provider);
    assert!(principal.contains("/subject/arn:aws:sts::"), "{principal}");
    let role = AwsRole::of(&google, &provider).await;
    let (status, body) = exchange(&google, &provider, AWS, &role.sign(&provider, |_| {})).await;
    assert_eq!(status, 200, "{body}");

    let elsewhere = google.provider("pool", "elsewhere");
    for (name, token) in [
        ("for another provider", role.sign(&elsewhere, |_| {})),
        (
            "another secret",
            AwsRole {
                secret: "x".to_owned(),
                ..role.clone()
            }
            .sign(&provider, |_| {}),
        ),
        (
            "stale",
            AwsRole {
                date: "20150830T123600Z".to_owned(),
                ..role.clone()
            }
            .sign(&provider, |_| {}),
        ),
        (
            "another session",
            AwsRole {
                session: "x".to_owned(),
                ..role.clone()
            }
            .sign(&provider, |_| {}),
        ),
        (
            "another action",
            role.sign(&provider, |request| {
                request["url"] = "https://sts.us-east-2.amazonaws.com?Action=Other".into()
            }),
        ),
        (
            "another host",
            role.sign(&provider, |request| {
                request["url"] =
                    "https://evil.example?Action=GetCallerIdentity&Version=2011-06-15".into()
            }),
        ),
        (
            "header changed after",
            role.sign(&elsewhere, |request| {
                request["headers"][3]["value"] = provider.clone().into()
            }),
        ),
    ] {
        let (status, body) = exchange(&google, &provider, AWS, &token).await;
        assert_eq!(
            (status, &body["error"]),
            (400, &"invalid_grant".into()),
            "{name}: {body}"
        );
    }
}

#[tokio::test]
async fn the_instance_metadata_of_aws_wants_a_session() {
    let google = Emulator::start().await.unwrap();
    let url = format!(
        "{}/latest/meta-data/placement/availability-zone",
        google.url()
    );
    assert_eq!(get(&url).await.status(), 401);
    let session = format!("{}/latest/api/token", google.url());
    assert_eq!(client().put(session).send().await.unwrap().status(), 400);
    assert_eq!(google.hits(Endpoint::Imds), 2);
}

#[test]
fn every_source_has_its_own_form() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let google = runtime.block_on(Emulator::start()).unwrap();
    let provider = google.provider("pool", "p");
    for (source, pointer) in [
        (SubjectSource::Aws, "/credential_source/environment_id"),
        (
            SubjectSource::Executable {
                command: "x".to_owned(),
            },
            "/credential_source/executable/command",
        ),
        (
            SubjectSource::File {
                path: "x".to_owned(),
            },
            "/credential_source/file",
        ),
        (SubjectSource::JsonUrl, "/credential_source/format/type"),
        (SubjectSource::Url, "/credential_source/url"),
    ] {
        let file = google.external_account_file(&provider, &source, None);
        let file: Value = serde_json::from_str(&file).unwrap();
        assert!(
            file.pointer(pointer).is_some_and(Value::is_string),
            "{source:?}"
        );
        assert!(file.get("service_account_impersonation_url").is_none());
        assert_eq!(file["audience"], *provider);
    }
    let source = google.key_file(TARGET);
    let file = google.impersonated_file(&source, &["projects/-/serviceAccounts/x"], TARGET);
    let file: Value = serde_json::from_str(&file).unwrap();
    assert_eq!(file["source_credentials"]["type"], "service_account");
    assert_eq!(file["delegates"][0], "projects/-/serviceAccounts/x");
}

/// What a workload on AWS learns about itself, and signs with.
#[derive(Clone)]
struct AwsRole {
    region: String,
    id: String,
    secret: String,
    session: String,
    date: String,
}

impl AwsRole {
    async fn of(google: &Emulator, provider: &str) -> Self {
        let file = google.external_account_file(provider, &SubjectSource::Aws, None);
        let file: Value = serde_json::from_str(&file).unwrap();
        let url = |name: &str| file["credential_source"][name].as_str().unwrap().to_owned();
        let request = client().put(url("imdsv2_session_token_url"));
        let request = request.header("X-aws-ec2-metadata-token-ttl-seconds", "300");
        let session = request.send().await.unwrap().text().await.unwrap();
        let ask = |url: String| {
            let request = client()
                .get(url)
                .header("X-aws-ec2-metadata-token", &session);
            async { request.send().await.unwrap().text().await.unwrap() }
        };
        let zone = ask(url("region_url")).await;
        let name = ask(url("url")).await;
        let keys: Value =
            serde_json::from_str(&ask(format!("{}/{name}", url("url"))).await).unwrap();
        let key = |name: &str| keys[name].as_str().unwrap().to_owned();
        assert_eq!(keys["Code"], "Success");
        Self {
            region: zone[..zone.len() - 1].to_owned(),
            id: key("AccessKeyId"),
            secret: key("SecretAccessKey"),
            session: key("Token"),
            date: basic_date(now()),
        }
    }

    fn sign(&self, provider: &str, change: impl FnOnce(&mut Value)) -> String {
        let (date, region) = (&self.date, &self.region);
        let host = format!("sts.{region}.amazonaws.com");
        let names = "host;x-amz-date;x-amz-security-token;x-goog-cloud-target-resource";
        let canonical = format!(
            "POST\n/\nAction=GetCallerIdentity&Version=2011-06-15\nhost:{host}\nx-amz-date:{date}\nx-amz-security-token:{}\nx-goog-cloud-target-resource:{provider}\n\n{names}\n{}",
            self.session,
            hash(""),
        );
        let day = &date[..8];
        let scope = format!("{day}/{region}/sts/aws4_request");
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hash(&canonical));
        let mut key = format!("AWS4{}", self.secret).into_bytes();
        for part in [day, region.as_str(), "sts", "aws4_request", &to_sign] {
            let secret = hmac::Key::new(hmac::HMAC_SHA256, &key);
            key = hmac::sign(&secret, part.as_bytes()).as_ref().to_vec();
        }
        let id = &self.id;
        let signature = hex(&key);
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}"
        );
        let mut request = json!({
            "url": format!("https://{host}?Action=GetCallerIdentity&Version=2011-06-15"),
            "method": "POST",
            "headers": [
                { "key": "Host", "value": host },
                { "key": "X-Amz-Date", "value": date },
                { "key": "X-Amz-Security-Token", "value": self.session },
                { "key": "x-goog-cloud-target-resource", "value": provider },
                { "key": "Authorization", "value": authorization },
            ],
        });
        change(&mut request);
        form_urlencoded::byte_serialize(request.to_string().as_bytes())
            .map(|part| part.replace('+', "%20"))
            .collect()
    }
}

async fn exchange(
    google: &Emulator,
    audience: &str,
    token_type: &str,
    token: &str,
) -> (u16, Value) {
    let form = [
        (
            "grant_type",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ),
        ("requested_token_type", ACCESS_TOKEN),
        ("scope", "https://www.googleapis.com/auth/cloud-platform"),
        ("audience", audience),
        ("subject_token_type", token_type),
        ("subject_token", token),
    ];
    let answer = client()
        .post(google.sts_url())
        .form(&form)
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// `20150830T123600Z`, the format of `x-amz-date`.
fn basic_date(seconds: u64) -> String {
    let at = time::OffsetDateTime::from_unix_timestamp(seconds.try_into().unwrap()).unwrap();
    let ((year, month, day), (hour, minute, second)) = (at.to_calendar_date(), at.to_hms());
    format!(
        "{year}{:02}{day:02}T{hour:02}{minute:02}{second:02}Z",
        u8::from(month)
    )
}

fn hash(text: &str) -> String {
    hex(digest(&SHA256, text.as_bytes()).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
