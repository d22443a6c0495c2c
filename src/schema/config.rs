//! [`RegistryConfig`]: where registries are, who we are to them, and how long we wait.

use super::properties;
use super::subject::{Side, SubjectNameStrategy};
use crate::connect::Connect;
use crate::error::{Error, ErrorKind, Result};
use crate::net::clock::bounded;
use crate::net::http::{Endpoint, Http};
use crate::sasl::TokenProvider;
use crate::secret::Secret;
use crate::tls::TlsConfig;
use percent_encoding::percent_decode_str;
use std::sync::Arc;
use std::time::Duration;

/// No answer of a registry is longer: the schema of a large file, or all subjects.
const MAX_BODY: usize = 16 << 20;

/// Who we are to the registry.
#[derive(Debug, Clone, Default)]
pub(super) enum Auth {
    #[default]
    Nobody,
    Basic(String, Secret),
    Bearer(Secret),
    Tokens(Arc<dyn TokenProvider>),
}

/// What serializers do unless they are told otherwise.
#[derive(Debug, Clone, Copy)]
pub(super) struct Defaults {
    pub auto_register: bool,
    pub use_latest: bool,
    pub normalize: bool,
    pub key: SubjectNameStrategy,
    pub value: SubjectNameStrategy,
}

impl Default for Defaults {
    fn default() -> Self {
        let strategy = SubjectNameStrategy::default();
        Self { auto_register: true, use_latest: false, normalize: false, key: strategy, value: strategy }
    }
}

impl Defaults {
    pub(super) fn strategy(&self, side: Side) -> SubjectNameStrategy {
        match side {
            Side::Key => self.key,
            Side::Value => self.value,
        }
    }
}

/// The settings of a [`Registry`](super::Registry). Several addresses are of one and the same registry: whichever answers is asked.
#[derive(Debug)]
pub struct RegistryConfig {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) auth: Auth,
    pub(super) http: Http,
    pub(super) timeout: Duration,
    pub(super) retry_backoff: Duration,
    pub(super) retry_backoff_max: Duration,
    pub(super) latest_ttl: Duration,
    pub(super) capacity: usize,
    pub(super) defaults: Defaults,
    pub(super) seed: u64,
}

impl RegistryConfig {
    /// `schema.registry.url`: addresses that begin with `https://` or `http://`; a user and a password in them are those of basic
    /// authentication, in all of them the same. With `http:` whoever is on the way reads a password.
    ///
    /// # Errors
    /// `Config` for what is no address, or none at all, and if some have another user than others, or none.
    pub fn new<U: AsRef<str>>(urls: impl IntoIterator<Item = U>) -> Result<Self> {
        let (mut endpoints, mut auth) = (Vec::new(), Auth::Nobody);
        for url in urls {
            let (url, user) = without_user(url.as_ref());
            let endpoint = Endpoint::parse(&url).map_err(|error| {
                let why = error.text().unwrap_or("no address").to_owned();
                error.message(format!("schema.registry.url: {why}"))
            })?;
            let own = user.map_or(Auth::Nobody, |(name, password)| Auth::Basic(name, password));
            let is_same = match (&auth, &own) {
                (Auth::Basic(name, secret), Auth::Basic(other, own)) => {
                    name == other && secret.expose() == own.expose()
                }
                (known, own) => matches!((known, own), (Auth::Nobody, Auth::Nobody)),
            };
            if !is_same && !endpoints.is_empty() {
                let why = "schema.registry.url: all addresses have to have the same user and password";
                return Err(Error::with_message(ErrorKind::Config, why)
                    .hint("one password goes to all of them: give it in each, or as basic.auth.user.info"));
            }
            auth = own;
            endpoints.push(endpoint);
        }
        if endpoints.is_empty() {
            return Err(Error::with_message(ErrorKind::Config, "schema.registry.url: no address"));
        }
        let mut http = Http::default();
        (http.max_body, http.read_timeout) = (MAX_BODY, Duration::from_secs(10));
        Ok(Self {
            endpoints,
            auth,
            http,
            timeout: Duration::from_secs(30),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(5),
            latest_ttl: Duration::from_secs(60),
            capacity: 1000,
            defaults: Defaults::default(),
            seed: fastrand::u64(..),
        })
    }

    /// By Confluent's names, as their Java and Python clients have them; others are passed over. See [`KEYS`](Self::KEYS).
    ///
    /// ```
    /// use milena::schema::RegistryConfig;
    /// let config = RegistryConfig::from_properties([
    ///     ("schema.registry.url", "https://a:8081,https://b:8081"),
    ///     ("basic.auth.user.info", "orders:its-secret"),
    ///     ("schema.registry.ssl.ca.location", "ca.pem"),
    /// ])?;
    /// # Ok::<(), milena::error::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Config`, naming the property; never the value of a secret one.
    pub fn from_properties<'a>(properties: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        properties::config(properties.into_iter().collect())
    }

    /// The properties that [`from_properties`](Self::from_properties) knows.
    pub const KEYS: &'static [&'static str] = properties::KEYS;

    /// `basic.auth.user.info`: a name and a password, or Confluent Cloud's API key and secret.
    pub fn basic_auth(mut self, user: impl Into<String>, password: impl Into<Secret>) -> Self {
        self.auth = Auth::Basic(user.into(), password.into());
        self
    }

    /// `bearer.auth.token`: one token, for ever.
    pub fn bearer_auth(mut self, token: impl Into<Secret>) -> Self {
        self.auth = Auth::Bearer(token.into());
        self
    }

    /// Tokens that end: `oidc::ClientCredentials` for one, the same value that connections to brokers have.
    pub fn bearer_tokens(mut self, tokens: impl TokenProvider) -> Self {
        self.auth = Auth::Tokens(Arc::new(tokens));
        self
    }

    /// TLS, for `https:`: whom to trust, who we are. By default whom the machine trusts.
    pub fn tls(mut self, tls: TlsConfig) -> Self {
        self.http.tls = tls;
        self
    }

    /// How the registry is reached: through a proxy, perhaps, or in memory. Default: TCP.
    pub fn connect(mut self, connect: impl Connect) -> Self {
        self.http.connect = Arc::new(connect);
        self
    }

    /// For how long a question may take with all its attempts, those at other addresses included. Default: 30 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = bounded(timeout);
        self
    }

    /// `http.connect.timeout.ms`: for how long one attempt may connect, TLS included. Default: 5 s (Java: 60 s).
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.http.connect_timeout = bounded(timeout);
        self
    }

    /// `http.read.timeout.ms`: for how long one attempt may wait for its answer. Default: 10 s (Java: 60 s).
    pub fn read_timeout(mut self, timeout: Duration) -> Self {
        self.http.read_timeout = bounded(timeout);
        self
    }

    /// `retries.wait.ms` and `retries.max.wait.ms`: the wait when no address has answered, doubled each time up to the second, with
    /// jitter. Default: 100 ms and 5 s.
    pub fn retry_backoff(mut self, wait: Duration, most: Duration) -> Self {
        (self.retry_backoff, self.retry_backoff_max) = (bounded(wait), bounded(most));
        self
    }

    /// `latest.cache.ttl.sec`: for how long the latest version of a subject is taken for the latest. Default: 60 s (Java: for ever).
    pub fn latest_ttl(mut self, ttl: Duration) -> Self {
        self.latest_ttl = ttl;
        self
    }

    /// How many schemas are kept. Default: 1000.
    pub fn cache_capacity(mut self, schemas: usize) -> Self {
        self.capacity = schemas;
        self
    }

    /// `auto.register.schemas`: serializers register the schema that they are given. If not, it has to be there. Default: true.
    pub fn auto_register_schemas(mut self, yes: bool) -> Self {
        self.defaults.auto_register = yes;
        self
    }

    /// `use.latest.version`: serializers write by the subject's latest schema and not by their own. Counts before
    /// `auto.register.schemas`. Default: false.
    pub fn use_latest_version(mut self, yes: bool) -> Self {
        self.defaults.use_latest = yes;
        self
    }

    /// `normalize.schemas`: the registry takes two schemas for one that differ in form only. Default: false.
    pub fn normalize_schemas(mut self, yes: bool) -> Self {
        self.defaults.normalize = yes;
        self
    }

    /// `key.subject.name.strategy` and `value.subject.name.strategy`. Default: by topic.
    pub fn subject_name_strategy(mut self, side: Side, strategy: SubjectNameStrategy) -> Self {
        match side {
            Side::Key => self.defaults.key = strategy,
            Side::Value => self.defaults.value = strategy,
        }
        self
    }

    #[cfg(test)]
    pub(super) fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

/// The address without `user:password@`, and those.
fn without_user(url: &str) -> (String, Option<(String, Secret)>) {
    let whole = || (url.to_owned(), None);
    let Some((scheme, rest)) = url.split_once("://") else { return whole() };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let Some(at) = rest[..end].rfind('@') else { return whole() };
    let (user, password) = rest[..at].split_once(':').unwrap_or((&rest[..at], ""));
    (format!("{scheme}://{}", &rest[at + 1..]), Some((decoded(user), decoded(password).into())))
}

/// Percent-encoding undone; a percent sign that is none of an encoded byte is one.
pub(super) fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
