use crate::support::World;

const FILE: &str = r#"
[clock]
offset_s = 0

[metadata]
account = "frontend@shop.iam.gserviceaccount.com"
platform = "cloud-run"

[[account]]
email = "caller@shop.iam.gserviceaccount.com"
unique_id = "100000000000000000001"

[[grant]]
member = "frontend@shop.iam.gserviceaccount.com"
role = "roles/iam.serviceAccountOpenIdTokenCreator"
on = "caller@shop.iam.gserviceaccount.com"

[[key]]
account = "batch@shop.iam.gserviceaccount.com"
file = "batch.json"

[[pool]]
pool = "github"
provider = "actions"
subject = "repo:shop/web"
token = "a token of another platform"
impersonate = "caller@shop.iam.gserviceaccount.com"
file = "github.json"

[[service]]
name = "hello"
container = "127.0.0.1:9"
invokers = ["caller@shop.iam.gserviceaccount.com"]

[[fault]]
endpoint = "identity"
fault = { status = 503 }
times = 1
"#;

#[tokio::test]
async fn a_world_from_a_file() {
    let world = World::new().await;
    world.home.write("world.toml", FILE).unwrap();
    let me = env!("CARGO_BIN_EXE_idtoken");
    let imitate = format!(
        "set -e; files=$(dirname $CLOUDSDK_CONFIG)/..; \
         {me} print -a x | {me} inspect --json; \
         {me} print -a x --source metadata --impersonate caller@shop.iam.gserviceaccount.com \
         --iam-endpoint http://$GCE_METADATA_HOST | {me} inspect --json; \
         {me} print -a x --source file:$files/batch.json | {me} inspect --json; \
         {me} print -a x --source file:$files/github.json | {me} inspect --json"
    );
    let run = world
        .idtoken("emulate --config world.toml -- sh -c")
        .arg(&imitate);
    let ended = run.end().await.ok();
    let emails: Vec<String> = ended
        .stdout
        .lines()
        .map(|line| {
            let seen: serde_json::Value = serde_json::from_str(line).unwrap();
            seen["claims"]["email"].as_str().unwrap().to_owned()
        })
        .collect();
    let caller = "caller@shop.iam.gserviceaccount.com";
    let frontend = "frontend@shop.iam.gserviceaccount.com";
    assert_eq!(
        emails,
        [
            frontend,
            caller,
            "batch@shop.iam.gserviceaccount.com",
            caller
        ]
    );
    assert!(
        ended.stderr.contains("hello at http://127.0.0.1:"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn what_is_wrong_in_it_is_told_with_its_line() {
    let world = World::new().await;
    for (text, told) in [
        ("[metadata\n", "line 1: "),
        (
            "\n[metadata]\nacount = 'x@y'\n",
            "line 3: unknown field `acount`",
        ),
        (
            "[[account]]\nemail = 'nobody'\n",
            "line 2: `nobody` is no e-mail address",
        ),
        (
            "[[fault]]\nendpoint = 'door'\nfault = 'hang'\n",
            "line 2: `door` is no endpoint",
        ),
        (
            "[[fault]]\nendpoint = 'token'\nfault = 'fire'\n",
            "line 3: unknown variant `fire`",
        ),
        (
            "[[fault]]\nendpoint = 'token'\nfault = { status = 99 }\n",
            "line 3: 99 is no status",
        ),
        (
            "[[grant]]\nmember = 'a@b'\non = 'c@d'\nrole = 'owner'\n",
            "line 4: unknown variant",
        ),
        ("[[service]]\nname = 'a'\ncontainer = 'here'\n", "line 3: "),
        (
            "[[service]]\nname = 'a'\n",
            "line 1: missing field `container`",
        ),
        ("[clock]\noffset_s = 'late'\n", "line 2: "),
    ] {
        world.home.write("world.toml", text).unwrap();
        let ended = world
            .idtoken("emulate --config world.toml -- true")
            .end()
            .await
            .failed(3);
        assert!(ended.stderr.contains("world.toml: "), "{}", ended.stderr);
        assert!(ended.stderr.contains(told), "{told}: {}", ended.stderr);
    }
    world
        .idtoken("emulate --config absent.toml -- true")
        .end()
        .await
        .failed(3);
    if cfg!(unix) {
        let endless = world.idtoken("emulate --config /dev/zero -- true");
        let ended = endless.end().await.failed(3);
        assert!(ended.stderr.contains("mebibyte"), "{}", ended.stderr);
    }
    let escaping = "[[key]]\naccount = 'a@b'\nfile = '../key.json'\n";
    world.home.write("world.toml", escaping).unwrap();
    let ended = world
        .idtoken("emulate --config world.toml -- true")
        .end()
        .await
        .failed(3);
    assert!(
        ended.stderr.contains("no plain file name"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn the_file_in_the_manual_is_a_good_one() {
    let manual = include_str!("../../../../docs/emulator.md");
    let (_, rest) = manual.split_once("```toml\n").unwrap();
    let (file, _) = rest.split_once("```").unwrap();
    let world = World::new().await;
    // Tests take a free port.
    world
        .home
        .write("world.toml", &file.replace("8080", "0"))
        .unwrap();
    let run = world.idtoken("emulate --config world.toml -- true");
    let told = run.end().await.ok().stderr;
    assert_eq!(told.matches("credentials in ").count(), 3, "{told}");
}
