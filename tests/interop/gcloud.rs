//! The command of the Google Cloud SDK behind our source.

use std::ffi::OsString;

use idtoken::source::Gcloud;
use idtoken::{Audience, IdToken, TokenSource};
use idtoken_emulator::Endpoint;
use tokio::process::Command;

use crate::counterpart::{LIMIT, printed, told};
use crate::world::{ATTACHED, AUDIENCE, CALLER, TARGET, World};

#[tokio::test]
async fn gcloud_itself_gives_our_source_its_tokens() {
    let Some(gcloud) = told("IDTOKEN_GCLOUD") else {
        return;
    };
    let world = World::new().await;
    let run = Gcloudlike::new(&world, &gcloud, "false");
    let key_file = format!("--key-file={}", world.files["KEY_FILE"].display());
    printed(Command::new(&run.program).args(["auth", "activate-service-account", &key_file])).await;

    let source = || Gcloud::new().program(&run.program).timeout(LIMIT);
    let audience = Audience::new(AUDIENCE).unwrap();
    let token = source().fetch(&audience).await.unwrap();
    world.accepts(text(&token), AUDIENCE, CALLER).await;
    println!(
        "\n| gcloud | service account | a token that our verifier accepts, through our source |"
    );

    let token = source().impersonate(TARGET).fetch(&audience).await.unwrap();
    world.accepts(text(&token), AUDIENCE, TARGET).await;
    println!(
        "\n| gcloud | impersonation | a token that our verifier accepts, through our source |"
    );
}

#[tokio::test]
async fn gcloud_asks_the_metadata_server_for_our_source() {
    let Some(gcloud) = told("IDTOKEN_GCLOUD") else {
        return;
    };
    let world = World::new().await;
    let run = Gcloudlike::new(&world, &gcloud, "true");
    let audience = Audience::new(AUDIENCE).unwrap();
    let source = Gcloud::new().program(&run.program).timeout(LIMIT);
    let token = source.fetch(&audience).await.unwrap();
    world.accepts(text(&token), AUDIENCE, ATTACHED).await;
    // Before it, it asks for one of its own.
    let requests = world.google.requests(Endpoint::Identity);
    assert_eq!(requests[1].query("audience").as_deref(), Some(AUDIENCE));
    println!("\n| gcloud | metadata | a token that our verifier accepts, through our source |");
}

fn text(token: &IdToken) -> &str {
    let bearer = token.bearer().to_str().unwrap();
    bearer.strip_prefix("Bearer ").unwrap()
}

/// gcloud as a program that knows where the emulator is.
struct Gcloudlike {
    program: String,
}

impl Gcloudlike {
    /// Whether it looks for a metadata server is `"true"` or `"false"`.
    fn new(world: &World, gcloud: &OsString, metadata: &str) -> Self {
        use std::fmt::Write as _;
        use std::os::unix::fs::PermissionsExt as _;

        let mut text = "#!/bin/sh\n".to_owned();
        let iam = format!("{}/", world.google.url());
        for (name, value) in [
            ("CLOUDSDK_CORE_DISABLE_PROMPTS", "1"),
            ("CLOUDSDK_CORE_CHECK_GCE_METADATA", metadata),
            ("GCE_METADATA_ROOT", world.google.host()),
            ("CLOUDSDK_CORE_DISABLE_USAGE_REPORTING", "true"),
            ("CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK", "true"),
            ("CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS", &iam),
        ] {
            writeln!(text, "export {name}='{value}'").unwrap();
        }
        for (name, value) in world.home.env() {
            writeln!(text, "export {name}='{}'", value.display()).unwrap();
        }
        writeln!(text, "exec '{}' \"$@\"", gcloud.to_str().unwrap()).unwrap();
        let program = world.home.write("gcloud", &text).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        Self {
            program: program.to_str().unwrap().to_owned(),
        }
    }
}
