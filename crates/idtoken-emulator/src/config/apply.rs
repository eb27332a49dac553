//! From a description of a world to the world.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::{AccountEntry, PoolEntry, ServiceEntry, UserEntry, WorldFile};
use crate::account::Account;
use crate::cloud_run::CloudRun;
use crate::emulator::Emulator;
use crate::emulator::credentials::SubjectSource;
use crate::home::Home;
use crate::iam::Role;
use crate::users::User;

/// What a [`WorldFile`] brought into being beyond the emulator itself.
#[derive(Debug)]
pub struct Furnished {
    services: Vec<CloudRun>,
    files: Vec<PathBuf>,
}

impl Furnished {
    /// The services, which run until this is dropped.
    #[must_use]
    pub fn services(&self) -> &[CloudRun] {
        &self.services
    }

    /// The credentials files that were written.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }
}

/// # Worlds from files
impl Emulator {
    /// Adds to the world what a file describes. Credentials files are written into `home`.
    ///
    /// # Errors
    ///
    /// If a file cannot be written, or the port of a service cannot be bound.
    pub async fn furnish(&self, file: &WorldFile, home: &Home) -> io::Result<Furnished> {
        self.set_clock_offset(file.clock.offset_s);
        for entry in &file.account {
            self.add_account(account(entry));
        }
        for grant in &file.grant {
            self.grant(&grant.member, grant.role.role(), &grant.on.0);
        }
        self.furnish_metadata(file);
        if let Some(seconds) = file.keys.max_age_s {
            self.set_key_cache(Duration::from_secs(seconds), None);
        }
        if file.keys.next {
            self.publish_next();
        }
        let files = self.furnish_credentials(file, home)?;
        let mut services = Vec::new();
        for entry in &file.service {
            services.push(self.furnish_service(entry).await?);
        }
        // Last, so that nothing above trips over them.
        for entry in &file.fault {
            let (endpoint, fault) = (entry.endpoint.0, entry.fault.fault());
            match entry.times {
                Some(times) => self.fail_times(endpoint, times, fault),
                None => self.fail(endpoint, fault),
            }
        }
        Ok(Furnished { services, files })
    }

    fn furnish_metadata(&self, file: &WorldFile) {
        let metadata = &file.metadata;
        if let Some(email) = &metadata.account {
            self.attach(&email.0);
        }
        if !metadata.attached {
            self.detach();
        }
        if let Some(platform) = metadata.platform {
            self.set_platform(platform.platform());
        }
        self.set_metadata_cache(metadata.cache);
    }

    fn furnish_credentials(&self, file: &WorldFile, home: &Home) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        let mut write = |name: Option<&String>, default: bool, text: &str| {
            if let Some(name) = name {
                files.push(home.write(plain(name)?, text)?);
            }
            if default {
                files.push(home.write_default_credentials(text)?);
            }
            Ok::<_, io::Error>(())
        };
        for key in &file.key {
            let text = self.key_file(&key.account.0);
            write(key.file.as_ref(), key.default, &text)?;
        }
        for entry in &file.user {
            let text = self.user_file(&user(entry));
            write(entry.file.as_ref(), entry.default, &text)?;
        }
        for (place, entry) in file.pool.iter().enumerate() {
            // One workload's token can be served by address; the others' are in files.
            let source = if place == 0 {
                self.set_subject_token(&entry.token);
                SubjectSource::Url
            } else {
                let path = home.write(&format!("subject-token-{place}"), &entry.token)?;
                SubjectSource::File {
                    path: path.to_string_lossy().into_owned(),
                }
            };
            let text = self.furnish_pool(entry, &source);
            write(entry.file.as_ref(), entry.default, &text)?;
        }
        Ok(files)
    }

    fn furnish_pool(&self, entry: &PoolEntry, source: &SubjectSource) -> String {
        let provider = self.provider(&entry.pool, &entry.provider);
        let principal = self.trust(&provider, &entry.token, &entry.subject);
        let target = entry.impersonate.as_ref().map(|email| &*email.0);
        if let Some(target) = target {
            self.grant(&principal, Role::WorkloadIdentityUser, target);
        }
        self.external_account_file(&provider, source, target)
    }

    async fn furnish_service(&self, entry: &ServiceEntry) -> io::Result<CloudRun> {
        let mut service = self.cloud_run(&entry.name).port(entry.port);
        for audience in &entry.audiences {
            service = service.audience(&audience.0);
        }
        for invoker in &entry.invokers {
            service = service.invoker(&invoker.0);
        }
        if entry.public {
            service = service.public();
        }
        if entry.h2c {
            service = service.h2c();
        }
        service.start(entry.container).await.map_err(|error| {
            let what = format!("service {}, port {}: {error}", entry.name, entry.port);
            io::Error::new(error.kind(), what)
        })
    }
}

fn account(entry: &AccountEntry) -> Account {
    let mut account = Account::new(&entry.email.0);
    if let Some(project) = &entry.project {
        account = account.with_project(project);
    }
    if let Some(id) = &entry.unique_id {
        account = account.with_unique_id(id);
    }
    account
}

fn user(entry: &UserEntry) -> User {
    let mut user = User::new(&entry.email.0);
    match entry.client.as_deref() {
        None | Some("application-default") => {}
        Some("gcloud") => user = user.gcloud_login(),
        Some(client) => user = user.client(client),
    }
    match &entry.scopes {
        None => user,
        Some(scopes) => user.scopes(scopes),
    }
}

/// A name within the folder, and no way out of it.
fn plain(name: &str) -> io::Result<&str> {
    let is_plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\']);
    if is_plain {
        Ok(name)
    } else {
        let message = format!("`{name}` is no plain file name");
        Err(io::Error::new(io::ErrorKind::InvalidInput, message))
    }
}
