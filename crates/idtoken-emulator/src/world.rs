//! Everything the emulated Google knows, as plain data.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Request;

use crate::access::AccessTokens;
use crate::account::{Account, DEFAULT_PROJECT};
use crate::cloud_run::Service;
use crate::fault::FaultBook;
use crate::federation::Federation;
use crate::iam::Policy;
use crate::journal::Journal;
use crate::keys::certificate::moment;
use crate::keys::signing::RsaKey;
use crate::keys::{KeyCache, KeyRing};
use crate::metadata::{MetadataCache, Platform};
use crate::record::Records;
use crate::users::Logins;

/// The state behind all endpoints.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) host: String,
    pub(crate) platform: Platform,
    pub(crate) keys: KeyRing,
    pub(crate) key_cache: KeyCache,
    pub(crate) metadata_cache: MetadataCache,
    pub(crate) access_tokens: AccessTokens,
    pub(crate) policy: Policy,
    pub(crate) logins: Logins,
    pub(crate) federation: Federation,
    pub(crate) faults: FaultBook,
    pub(crate) records: Records,
    pub(crate) journal: Journal,
    pub(crate) services: BTreeMap<String, Service>,
    accounts: BTreeMap<String, Account>,
    attached: Option<String>,
    account_keys: Vec<AccountKey>,
}

/// A key that a service account signs assertions with.
#[derive(Debug)]
struct AccountKey {
    email: String,
    key: Arc<RsaKey>,
}

/// One request, with what else its answer depends on.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) request: &'a Request<Bytes>,
    /// Seconds since 1970.
    pub(crate) now: u64,
    pub(crate) twist: Option<Twist>,
}

/// What shall be wrong with a token that is issued.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Twist {
    Expired,
    WrongAudience,
}

impl World {
    pub(crate) fn new(host: String, keys: KeyRing) -> Self {
        let mut world = Self {
            host,
            platform: Platform::default(),
            keys,
            key_cache: KeyCache::default(),
            metadata_cache: MetadataCache::default(),
            access_tokens: AccessTokens::default(),
            policy: Policy::default(),
            logins: Logins::default(),
            federation: Federation::default(),
            faults: FaultBook::default(),
            records: Records::default(),
            journal: Journal::default(),
            services: BTreeMap::new(),
            accounts: BTreeMap::new(),
            attached: None,
            account_keys: Vec::new(),
        };
        let account = default_account();
        world.attached = Some(account.email().to_owned());
        world.add(account);
        world
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.host)
    }

    pub(crate) fn add(&mut self, account: Account) {
        self.accounts.insert(account.email().to_owned(), account);
    }

    /// Forgets the account and its keys, as when it is deleted.
    pub(crate) fn remove(&mut self, email: &str) {
        self.accounts.remove(email);
        self.revoke_keys(email);
        if self.attached.as_deref() == Some(email) {
            self.attach(None);
        }
    }

    pub(crate) fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.accounts.values()
    }

    /// The account with this e-mail address or unique id.
    pub(crate) fn account(&self, name: &str) -> Option<&Account> {
        self.accounts.get(name).or_else(|| {
            self.accounts
                .values()
                .find(|account| account.unique_id() == name)
        })
    }

    pub(crate) fn account_or_new(&self, email: &str) -> Account {
        self.account(email)
            .cloned()
            .unwrap_or_else(|| Account::new(email))
    }

    pub(crate) fn attach(&mut self, email: Option<&str>) {
        if let Some(email) = email {
            self.add(self.account_or_new(email));
        }
        self.attached = email.map(str::to_owned);
    }

    pub(crate) fn attached(&self) -> Option<&Account> {
        self.account(self.attached.as_deref()?)
    }

    pub(crate) fn attached_or_default(&self) -> Account {
        self.attached().cloned().unwrap_or_else(default_account)
    }

    pub(crate) fn register_key(&mut self, email: &str, key: Arc<RsaKey>) {
        self.account_keys.push(AccountKey {
            email: email.to_owned(),
            key,
        });
    }

    /// The newest key of an account, made now if it has none: Google keeps one for each.
    pub(crate) fn signing_key_of(&mut self, email: &str, now: u64) -> Arc<RsaKey> {
        if let Some(key) = self.keys_of(email).last() {
            return Arc::clone(key);
        }
        let key = Arc::new(RsaKey::generate(now));
        self.register_key(email, Arc::clone(&key));
        key
    }

    pub(crate) fn revoke_keys(&mut self, email: &str) {
        self.account_keys
            .retain(|registered| registered.email != email);
    }

    pub(crate) fn keys_of(&self, email: &str) -> impl Iterator<Item = &Arc<RsaKey>> {
        self.account_keys
            .iter()
            .filter(move |registered| registered.email == email)
            .map(|registered| &registered.key)
    }
}

pub(crate) fn default_account() -> Account {
    Account::new(format!("default@{DEFAULT_PROJECT}.iam.gserviceaccount.com"))
}

/// Whole seconds since 1970, the unit of `exp` and `iat` (RFC 7519 §2).
pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// A date as HTTP writes it (RFC 9110 §5.6.7).
pub(crate) fn http_date(seconds: u64) -> String {
    // The format has four digits for the year, and httpdate panics beyond them.
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.min(LAST_HTTP_DATE));
    httpdate::fmt_http_date(time)
}

/// A date as Google's APIs write it.
pub(crate) fn rfc3339(seconds: u64) -> String {
    let at = moment(seconds);
    let (date, month) = (at.date(), u8::from(at.month()));
    let (hour, minute, second) = at.time().as_hms();
    let (year, day) = (date.year(), date.day());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// 9999-12-31T23:59:59Z.
const LAST_HTTP_DATE: u64 = 253_402_300_799;
