//! A test's other half, run in a process of its own: for what a process has only one of, such as
//! its variables.

use std::process::Command;

/// Runs the ignored test `name` of this program, with what `set` makes of its variables. Proxies
/// are those that `set` names and no others.
pub(crate) async fn run(name: &str, set: impl FnOnce(&mut Command)) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", name, "--ignored", "--nocapture"]);
    for proxy in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"] {
        child.env_remove(proxy).env_remove(proxy.to_lowercase());
    }
    set(&mut child);
    let output = tokio::task::spawn_blocking(move || child.output().unwrap())
        .await
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{shown}{told}");
    assert!(shown.contains("1 passed"), "{shown}{told}");
}

/// Variables that make `proxy` the one for http.
pub(crate) fn http_proxy(proxy: &str) -> Vec<(&'static str, String)> {
    ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]
        .map(|name| (name, proxy.to_owned()))
        .to_vec()
}
