//! [`Registry`]: the questions.

use super::answer::{RegistryError, judge};
use super::avro_reader::AvroReader;
use super::cache::Cache;
use super::config::{Auth, RegistryConfig};
use super::formats::Compiled;
use super::types::{Compatibility, Reference, Registered, Schema, SchemaType, Version};
use super::wire::SchemaId;
use crate::error::{Certainty, Error, ErrorKind, Result};
use crate::machine::Clock;
use crate::machine::backoff::Backoff;
use crate::net::clock::{NetClock, deadline, sleep_until};
use crate::net::http::{Endpoint, Message, Method, explained, retry_after, without};
use crate::sasl::{SaslPeer, Token};
use crate::secret::Secret;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::time::timeout_at;
use zeroize::Zeroizing;

/// What is sent and understood: Confluent's type, and plain JSON from others.
const HEADERS: &[(&str, &str)] = &[
    ("accept", "application/vnd.schemaregistry.v1+json, application/json; q=0.9"),
    ("content-type", "application/vnd.schemaregistry.v1+json"),
];
/// No schema uses more others, all the way down.
const MOST_REFERENCES: usize = 1000;

/// A Schema Registry: Confluent's, or one that speaks as it does (Karapace, Apicurio's `/apis/ccompat/v7`, Redpanda's). Cheap to
/// clone; clones share what is known. There is no task in the background and no connection that is kept.
///
/// What never changes, schemas by id and by version, is asked once, by one caller for all that want it. An address that is down, too
/// busy or broken (408, 429, 5xx) is passed over for the next one, and after the last begins the first, until the
/// [timeout](RegistryConfig::timeout) is over. What the registry says no to is an error at once: [`RegistryError`](super::RegistryError)
/// has its code and its words.
///
/// A call that is dropped in the middle may have registered or deleted what it should.
#[derive(Debug, Clone)]
pub struct Registry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: RegistryConfig,
    /// The address that answered last.
    preferred: AtomicUsize,
    random: Mutex<fastrand::Rng>,
    schemas: Cache<SchemaId, Schema>,
    compiled: Cache<SchemaId, Arc<Compiled>>,
    versions: Cache<(String, i32), Registered>,
    latest: Cache<String, Registered>,
    ids: Cache<(String, Schema, bool, bool), u32>,
}

/// A schema, in the answers that have no id or version.
#[derive(Deserialize)]
struct Text {
    schema: String,
    #[serde(default, rename = "schemaType")]
    kind: Option<String>,
    #[serde(default)]
    references: Option<Vec<Reference>>,
}

#[derive(Deserialize)]
struct Whole {
    subject: String,
    version: i32,
    id: u32,
    #[serde(flatten)]
    text: Text,
}

#[derive(Deserialize)]
struct Id {
    id: u32,
}

impl Text {
    fn schema(self) -> Result<Schema> {
        let kind = self.kind.as_deref().map_or(Ok(SchemaType::Avro), SchemaType::named)?;
        Ok(Schema { kind, text: self.schema.into(), references: self.references.unwrap_or_default().into() })
    }
}

impl Whole {
    fn registered(self) -> Result<Registered> {
        let Self { subject, version, id, text } = self;
        Ok(Registered { subject, version, id, schema: text.schema()? })
    }
}

impl Inner {
    fn forget_missing(&self) {
        self.schemas.forget_missing();
        self.compiled.forget_missing();
        self.versions.forget_missing();
        self.latest.forget_missing();
        self.ids.forget_missing();
    }
}

/// Forgets a subject in the end.
struct Forgetting<'a>(&'a Inner, &'a str);

impl Drop for Forgetting<'_> {
    fn drop(&mut self) {
        self.0.latest.forget(|known| known == self.1);
        self.0.versions.forget(|(known, _)| known == self.1);
        self.0.ids.forget(|(known, ..)| known == self.1);
    }
}

impl Registry {
    /// A registry that is asked when there is something to ask.
    ///
    /// # Errors
    /// `Config` if a password or a token would go to some addresses by TLS and to others without.
    pub fn new(config: RegistryConfig) -> Result<Self> {
        let is_mixed = config.endpoints.windows(2).any(|two| two.first().map(|e| e.tls) != two.last().map(|e| e.tls));
        if is_mixed && !matches!(config.auth, Auth::Nobody) {
            let why = "schema.registry.url: some addresses are https: and some http:, and all have the same password or token";
            return Err(Error::with_message(ErrorKind::Config, why).hint("give all of them as https:"));
        }
        let secret = matches!(config.auth, Auth::Nobody);
        for endpoint in config.endpoints.iter().filter(|endpoint| !secret && !endpoint.tls && !endpoint.is_local()) {
            tracing::warn!(%endpoint, "a password or a token goes to the schema registry without TLS");
        }
        fn now() -> Instant {
            NetClock::System.now()
        }
        let capacity = config.capacity;
        Ok(Self(Arc::new(Inner {
            preferred: AtomicUsize::new(0),
            random: Mutex::new(fastrand::Rng::with_seed(config.seed)),
            schemas: Cache::new(capacity, now),
            compiled: Cache::new(capacity, now),
            versions: Cache::new(capacity, now),
            latest: Cache::new(capacity, now),
            ids: Cache::new(capacity, now),
            config,
        })))
    }

    pub(super) fn config(&self) -> &RegistryConfig {
        &self.0.config
    }

    /// The schema that records name by this id.
    ///
    /// # Errors
    /// `InvalidArgument` with a [`RegistryError`](super::RegistryError) for an id that is not known; those of every call: `Denied`,
    /// `Tls`, `Config` for what no repetition cures, and `Connection` or `Timeout` if no address has answered in time.
    pub async fn schema(&self, id: SchemaId) -> Result<Schema> {
        self.schema_by(id, self.end()).await
    }

    async fn schema_by(&self, id: SchemaId, end: Instant) -> Result<Schema> {
        let path = match id {
            SchemaId::Id(id) => format!("/schemas/ids/{id}"),
            SchemaId::Guid(guid) => format!("/schemas/guids/{guid}"),
        };
        let ask = || async { self.ask::<Text>(Method::GET, &path, None, end).await?.schema() };
        self.0.schemas.get(&id, None, end, ask).await
    }

    /// The Avro schema that records name by this id, to read them by without a wait.
    ///
    /// # Errors
    /// As [`schema`](Self::schema), and `Malformed` if it can't be read, or is of another language than Avro.
    pub async fn avro_reader(&self, id: SchemaId) -> Result<AvroReader> {
        let compiled = self.compiled(id).await?;
        compiled.avro().cloned().map(AvroReader).map_err(|error| {
            let why = error.text().unwrap_or_default().to_owned();
            error.message(format!("schema {id}: {why}"))
        })
    }

    /// The schema, ready to be used.
    pub(super) async fn compiled(&self, id: SchemaId) -> Result<Arc<Compiled>> {
        let end = self.end();
        let ask = || async {
            let schema = self.schema_by(id, end).await?;
            let about = |error: Error| {
                let why = error.text().unwrap_or_default().to_owned();
                error.message(format!("schema {id}: {why}"))
            };
            self.compile_by(&schema, true, end).await.map_err(about)
        };
        self.0.compiled.get(&id, None, end, ask).await
    }

    /// The schema and all that it uses, put together.
    pub(super) async fn compile(&self, schema: &Schema, end: Instant) -> Result<Arc<Compiled>> {
        self.compile_by(schema, false, end).await
    }

    /// What a registered schema uses may have been deleted since, as long as it is not for good.
    async fn compile_by(&self, schema: &Schema, deleted: bool, end: Instant) -> Result<Arc<Compiled>> {
        let mut wanted: Vec<Reference> = schema.references.to_vec();
        let (mut seen, mut found) = (HashSet::new(), Vec::new());
        while let Some(next) = wanted.pop() {
            if !seen.insert((next.name.clone(), next.subject.clone(), next.version)) {
                continue;
            }
            if seen.len() > MOST_REFERENCES {
                let why = format!("it uses more than {MOST_REFERENCES} others");
                return Err(Error::with_message(ErrorKind::Malformed, why));
            }
            if next.version < 1 {
                let why =
                    format!("it uses version {} of {}: a version is a number from 1 on", next.version, next.subject);
                return Err(Error::with_message(ErrorKind::InvalidArgument, why));
            }
            let used = self.version_by(&next.subject, Version::Number(next.version), deleted, end).await?.schema;
            wanted.extend(used.references.iter().cloned());
            found.push((next.name, used.text));
        }
        Compiled::new(schema, &found).map(Arc::new)
    }

    /// A subject's schema. The latest is [kept](RegistryConfig::latest_ttl) for a while.
    ///
    /// # Errors
    /// As [`schema`](Self::schema).
    pub async fn version(&self, subject: &str, version: impl Into<Version>) -> Result<Registered> {
        self.version_by(subject, version.into(), false, self.end()).await
    }

    /// A subject's newest schema, not older than [`latest_ttl`](RegistryConfig::latest_ttl).
    ///
    /// # Errors
    /// As [`schema`](Self::schema).
    pub async fn latest(&self, subject: &str) -> Result<Registered> {
        self.version_by(subject, Version::Latest, false, self.end()).await
    }

    async fn version_by(&self, subject: &str, version: Version, deleted: bool, end: Instant) -> Result<Registered> {
        let query = if deleted { "?deleted=true" } else { "" };
        let path = format!("/subjects/{}/versions/{version}{query}", encoded(subject));
        let ask = || async {
            let registered = self.ask::<Whole>(Method::GET, &path, None, end).await?.registered()?;
            self.0.schemas.put(&SchemaId::Id(registered.id), registered.schema.clone());
            Ok(registered)
        };
        match version {
            Version::Number(number) => self.0.versions.get(&(subject.to_owned(), number), None, end, ask).await,
            Version::Latest => {
                let ttl = Some(self.0.config.latest_ttl);
                self.0.latest.get(&subject.to_owned(), ttl, end, ask).await
            }
        }
    }

    /// Registers a schema under a subject, and has its id; if it is there already, only the id.
    /// [`normalize`](RegistryConfig::normalize_schemas) is what the settings say.
    ///
    /// # Errors
    /// `InvalidArgument` with a [`RegistryError`](super::RegistryError): 409 if it is not compatible with those before, 42201 if it
    /// can't be read; and those of [`schema`](Self::schema).
    pub async fn register(&self, subject: &str, schema: &Schema) -> Result<u32> {
        self.register_by(subject, schema, self.end()).await
    }

    pub(super) async fn register_by(&self, subject: &str, schema: &Schema, end: Instant) -> Result<u32> {
        let normalize = self.0.config.defaults.normalize;
        let path = format!("/subjects/{}/versions{}", encoded(subject), query(normalize));
        let key = (subject.to_owned(), schema.clone(), normalize, true);
        let ask = || async {
            let Id { id } = self.ask(Method::POST, &path, Some(schema.to_json()), end).await?;
            self.0.latest.forget(|known| known == subject);
            self.0.forget_missing();
            Ok(id)
        };
        self.0.ids.get(&key, None, end, ask).await
    }

    /// Where a schema stands in a subject, if it is registered there.
    ///
    /// # Errors
    /// `InvalidArgument` with a [`RegistryError`](super::RegistryError), 40401 or 40403, if it is not; and those of
    /// [`schema`](Self::schema).
    pub async fn lookup(&self, subject: &str, schema: &Schema) -> Result<Registered> {
        self.lookup_by(subject, schema, self.end()).await
    }

    async fn lookup_by(&self, subject: &str, schema: &Schema, end: Instant) -> Result<Registered> {
        let path = format!("/subjects/{}{}", encoded(subject), query(self.0.config.defaults.normalize));
        self.ask::<Whole>(Method::POST, &path, Some(schema.to_json()), end).await?.registered()
    }

    /// The id of a schema that is there, asked once.
    pub(super) async fn id_of(&self, subject: &str, schema: &Schema, end: Instant) -> Result<u32> {
        let key = (subject.to_owned(), schema.clone(), self.0.config.defaults.normalize, false);
        let ask = || async { Ok(self.lookup_by(subject, schema, end).await?.id) };
        self.0.ids.get(&key, None, end, ask).await
    }

    /// Whether a schema could be registered, by the subject's compatibility level: against one version, or the latest.
    ///
    /// # Errors
    /// Those of [`schema`](Self::schema); that it is not compatible is none.
    pub async fn compatibility(
        &self,
        subject: &str,
        version: impl Into<Version>,
        schema: &Schema,
    ) -> Result<Compatibility> {
        let path = format!("/compatibility/subjects/{}/versions/{}?verbose=true", encoded(subject), version.into());
        self.ask(Method::POST, &path, Some(schema.to_json()), self.end()).await
    }

    /// All subjects.
    ///
    /// # Errors
    /// Those of [`schema`](Self::schema).
    pub async fn subjects(&self) -> Result<Vec<String>> {
        self.ask(Method::GET, "/subjects", None, self.end()).await
    }

    /// The numbers of a subject's versions.
    ///
    /// # Errors
    /// As [`schema`](Self::schema).
    pub async fn versions(&self, subject: &str) -> Result<Vec<i32>> {
        self.ask(Method::GET, &format!("/subjects/{}/versions", encoded(subject)), None, self.end()).await
    }

    /// Deletes a subject, and says which versions it had. Records that name its schemas can still be read, until it is deleted
    /// `permanent`ly, which it can be once it is deleted.
    ///
    /// # Errors
    /// As [`schema`](Self::schema). It is not asked twice: where nobody knows whether the registry has done it, the
    /// [certainty](Error::delivery_certainty) of the error is `PossiblySent`.
    pub async fn delete_subject(&self, subject: &str, permanent: bool) -> Result<Vec<i32>> {
        let path = format!("/subjects/{}?permanent={permanent}", encoded(subject));
        let _forgetting = Forgetting(&self.0, subject); // whatever comes of it
        self.ask(Method::DELETE, &path, None, self.end()).await
    }

    /// When a question that is asked now has to be answered.
    pub(super) fn end(&self) -> Instant {
        deadline(self.0.config.timeout)
    }

    /// At each address, again and again, until there is an answer that is one.
    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        end: Instant,
    ) -> Result<T> {
        let config = &self.0.config;
        let seed = self.0.random.lock().unwrap_or_else(PoisonError::into_inner).u64(..);
        let mut backoff = Backoff::new(config.retry_backoff, config.retry_backoff_max, seed);
        let body: Secret = body.map(|body| body.to_string()).unwrap_or_default().into();
        let mut message = Message { method, authorization: None, headers: HEADERS, body };
        let first = self.0.preferred.load(Ordering::Relaxed);
        let mut renewed = false;
        loop {
            let (mut wait, mut failure) = (backoff.next_wait(), None);
            for at in (0..config.endpoints.len()).map(|next| (first + next) % config.endpoints.len()) {
                let Some(endpoint) = config.endpoints.get(at) else { continue };
                let url = Endpoint { path: joined(&endpoint.path, path), ..endpoint.clone() };
                let (answered, outcome) = loop {
                    let token = timeout_at(end.into(), self.authorize(&mut message, endpoint)).await;
                    let token = token.map_err(|_| Error::with_message(ErrorKind::Timeout, "no token in time"))??;
                    let (answered, outcome) = match config.http.ask(&url, &message, end).await {
                        Ok(answer) => {
                            let wanted = answer.retry_after.as_deref();
                            let wanted = wanted.and_then(|value| retry_after(value, NetClock::System.unix_millis()));
                            wait = wait.max(wanted.unwrap_or_default());
                            (Some(answer.status), judge(&answer))
                        }
                        Err(error) => (None, Err(error)),
                    };
                    let is_denied = outcome.as_ref().is_err_and(|error: &Error| error.kind() == ErrorKind::Denied);
                    if let (Auth::Tokens(tokens), Some(token), true) = (&config.auth, token, is_denied) {
                        tokens.refused(&token);
                        // It may have ended just now: another one, once.
                        if !std::mem::replace(&mut renewed, true) {
                            continue;
                        }
                    }
                    break (answered, outcome);
                };
                match outcome {
                    Ok(value) => {
                        self.0.preferred.store(at, Ordering::Relaxed);
                        return Ok(value);
                    }
                    Err(error) => {
                        let is_unsent = error.delivery_certainty() == Some(Certainty::NotSent);
                        let error = self.explain(error, &message, &url);
                        if answered.is_some() && !error.is_retriable() {
                            return Err(error);
                        }
                        // A second deletion is another one, or finds nothing. 429 and 503 are said before anything is done.
                        if message.method == Method::DELETE && !is_unsent && !matches!(answered, Some(429 | 503)) {
                            return Err(error.certainty(Certainty::PossiblySent));
                        }
                        tracing::debug!(%error, "the schema registry has not answered");
                        // One that may pass is the one to tell, if there is any.
                        failure = failure.filter(Error::is_retriable).or(Some(error));
                    }
                }
            }
            let until = NetClock::System.now() + wait;
            match failure {
                Some(error) if !error.is_retriable() || until >= end => return Err(error),
                _ => sleep_until(until).await,
            }
        }
    }

    async fn authorize(&self, message: &mut Message, endpoint: &Endpoint) -> Result<Option<Token>> {
        let (value, token) = match &self.0.config.auth {
            Auth::Nobody => return Ok(None),
            Auth::Basic(user, password) => {
                let both = Zeroizing::new(format!("{user}:{}", password.expose()));
                (Zeroizing::new(format!("Basic {}", *Zeroizing::new(BASE64.encode(&*both)))), None)
            }
            Auth::Bearer(token) => (Zeroizing::new(format!("Bearer {}", token.expose())), None),
            Auth::Tokens(tokens) => {
                let peer = SaslPeer::new(endpoint.host.as_str(), endpoint.port, NetClock::System.unix_millis());
                let token = tokens.token(&peer).await?;
                (Zeroizing::new(format!("Bearer {}", token.value().expose())), Some(token))
            }
        };
        message.authorization = Some(value.as_str().into());
        Ok(token)
    }

    /// Whose error it is; and no registry's words give a password away.
    fn explain(&self, error: Error, message: &Message, endpoint: &Endpoint) -> Error {
        let sent = message.authorization.as_ref().and_then(|sent| sent.expose().split_once(' ')).map(|(_, sent)| sent);
        let own = match &self.0.config.auth {
            Auth::Basic(_, secret) | Auth::Bearer(secret) => Some(secret.expose()),
            Auth::Nobody | Auth::Tokens(_) => None,
        };
        let secrets: Vec<_> = own.into_iter().chain(sent).collect();
        let said = RegistryError::of(&error).cloned();
        let error = match said {
            Some(said) => error.caused_by(RegistryError { message: without(&said.message, &secrets), ..said }),
            None => error,
        };
        let whose = format_args!("schema registry: {} {endpoint}", message.method);
        let hint = "schema.registry.ssl.ca.location names the file of its CA, and the URL a host of its certificate";
        explained(error, &whose, &secrets, hint)
    }
}

fn query(normalize: bool) -> &'static str {
    if normalize { "?normalize=true" } else { "" }
}

/// The registry may stand below a path of its own.
fn joined(base: &str, path: &str) -> String {
    format!("{}{path}", base.split('?').next().unwrap_or_default().trim_end_matches('/'))
}

/// A subject as a piece of a path.
fn encoded(subject: &str) -> String {
    const OTHERS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(subject, OTHERS).to_string()
}
