use crate::support::World;

const COMMANDS: [&str; 9] = [
    "completions",
    "doctor",
    "emulate",
    "exit-codes",
    "inspect",
    "man",
    "print",
    "proxy",
    "verify",
];

#[tokio::test]
async fn help_for_everything() {
    let world = World::new().await;
    let help = world.idtoken("--help").end().await.ok();
    assert!(help.stdout.contains("Exit codes:"));
    for command in COMMANDS {
        assert!(
            help.stdout.contains(&format!("\n  {command} ")),
            "{command}"
        );
        for flag in ["--help", "-h"] {
            let ended = world.idtoken(&format!("{command} {flag}")).end().await.ok();
            assert!(
                ended.stdout.contains("Usage: idtoken"),
                "{command}: {}",
                ended.stdout
            );
            assert_eq!(ended.stderr, "");
        }
    }
    assert!(
        world
            .idtoken("--version")
            .end()
            .await
            .ok()
            .stdout
            .starts_with("idtoken ")
    );
}

#[tokio::test]
async fn completions_for_each_shell() {
    let world = World::new().await;
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = world
            .idtoken(&format!("completions {shell}"))
            .end()
            .await
            .ok()
            .stdout;
        assert!(
            script.contains("idtoken") && script.contains("audience"),
            "{shell}"
        );
    }
    world.idtoken("completions tcl").end().await.failed(2);
}

#[tokio::test]
async fn a_manual_page_for_each_command() {
    let world = World::new().await;
    let page = world.idtoken("man").end().await.ok().stdout;
    assert!(
        page.contains(".TH idtoken 1") && page.contains("Exit codes"),
        "{page}"
    );
    for command in COMMANDS {
        let page = world
            .idtoken(&format!("man {command}"))
            .end()
            .await
            .ok()
            .stdout;
        assert!(page.contains(".SH NAME"), "{command}");
    }
    world.idtoken("man nothing").end().await.failed(2);
}

#[tokio::test]
async fn exit_codes_for_programs() {
    let world = World::new().await;
    let json = world.idtoken("exit-codes --json").end().await.ok().json();
    let refused = json
        .as_array()
        .unwrap()
        .iter()
        .find(|code| code["kind"] == "refused");
    assert_eq!(refused.unwrap()["exit_code"], 11);
}
