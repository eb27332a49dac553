use idtoken_emulator::{Emulator, User};

#[tokio::test]
async fn a_child_finds_its_credentials_and_whom_to_trust() {
    let google = Emulator::start().await.unwrap();
    let home = google.home().unwrap();
    let file = google.user_file(&User::new("ann@shop.example"));
    home.write_default_credentials(&file).unwrap();
    let script = r#"cat "$CLOUDSDK_CONFIG/application_default_credentials.json" "$SSL_CERT_FILE"; test -d "$HOME""#;
    let child = tokio::process::Command::new("sh")
        .args(["-c", script])
        .envs(home.env())
        .envs(google.proxy_env(home.ca_file()))
        .output()
        .await
        .unwrap();
    assert!(child.status.success());
    assert_eq!(
        String::from_utf8(child.stdout).unwrap(),
        file + google.ca_pem()
    );

    let path = home.path().to_owned();
    drop(home);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_printer_prints_what_it_was_given() {
    let google = Emulator::start().await.unwrap();
    let home = google.home().unwrap();
    let output = r#"{"id_token": "it's a 'token' $HOME \n"}"#;
    let command = home.write_printer("supplier", output).unwrap();
    let child = tokio::process::Command::new(command)
        .output()
        .await
        .unwrap();
    assert_eq!(String::from_utf8(child.stdout).unwrap().trim_end(), output);
}
