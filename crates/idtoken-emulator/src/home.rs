//! A home directory for child processes, where they find the credentials that a test gives them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A temporary home directory, removed when it is dropped.
///
/// ```
/// use idtoken_emulator::{Emulator, User};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let google = Emulator::start().await?;
/// let home = google.home()?;
/// home.write_default_credentials(&google.user_file(&User::new("ann@shop.example")))?;
///
/// let mut child = tokio::process::Command::new("true");
/// child.env_clear().envs(home.env()).envs(google.proxy_env(home.ca_file()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Home {
    dir: TempDir,
    gcloud: PathBuf,
    ca_file: String,
}

impl Home {
    pub(crate) fn new(ca_pem: &str) -> io::Result<Self> {
        let dir = TempDir::with_prefix("idtoken-home-")?;
        let gcloud = dir.path().join(".config").join("gcloud");
        fs::create_dir_all(&gcloud)?;
        let ca_file = dir.path().join("ca.pem");
        fs::write(&ca_file, ca_pem)?;
        let ca_file = text(&ca_file)?;
        Ok(Self {
            dir,
            gcloud,
            ca_file,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The file that holds the certificate of the emulator's authority.
    #[must_use]
    pub fn ca_file(&self) -> &str {
        &self.ca_file
    }

    /// The environment in which a child process takes this for its home, and looks here for what
    /// gcloud keeps.
    #[must_use]
    pub fn env(&self) -> Vec<(&'static str, PathBuf)> {
        vec![
            // Windows' place for the same files.
            ("APPDATA", self.dir.path().join(".config")),
            ("CLOUDSDK_CONFIG", self.gcloud.clone()),
            ("HOME", self.dir.path().to_owned()),
        ]
    }

    /// Writes a credentials file where gcloud puts the one that is used by default.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn write_default_credentials(&self, text: &str) -> io::Result<PathBuf> {
        let path = self.gcloud.join("application_default_credentials.json");
        fs::write(&path, text)?;
        Ok(path)
    }

    /// Writes a file: a key file to be named in `GOOGLE_APPLICATION_CREDENTIALS`, say, or a subject
    /// token.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.dir.path().join(name);
        fs::write(&path, text)?;
        Ok(path)
    }

    /// Writes a shell script that prints `output`, such as an executable that supplies subject
    /// tokens. Gives the command to run it.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    #[cfg(unix)]
    pub fn write_printer(&self, name: &str, output: &str) -> io::Result<String> {
        use std::os::unix::fs::PermissionsExt as _;

        let quoted = output.replace('\'', r"'\''");
        let path = self.write(name, &format!("#!/bin/sh\nprintf '%s\\n' '{quoted}'\n"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
        text(&path)
    }
}

fn text(path: &Path) -> io::Result<String> {
    let text = path
        .to_str()
        .ok_or_else(|| io::Error::other("the path is not UTF-8"))?;
    Ok(text.to_owned())
}
