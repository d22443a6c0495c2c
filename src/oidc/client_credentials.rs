//! [`ClientCredentials`]: the settings, and the tokens by them.

use super::keeper::Keeper;
use super::refresh::Refresh;
use super::{answer, request};
use crate::connect::Connect;
use crate::error::{Error, ErrorKind, Result};
use crate::machine::Clock;
use crate::machine::backoff::Backoff;
use crate::net::clock::{NetClock, bounded, sleep_until};
use crate::net::http::{Endpoint, Http, explained, retry_after};
use crate::sasl::{Fetching, SaslPeer, Token, TokenProvider};
use crate::secret::Secret;
use crate::tls::{Pem, TlsConfig};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// With a token that is still good at hand, nobody waits longer than this for the next one.
const WHILE_GOOD: Duration = Duration::from_secs(2);

/// Tokens for a client that has an id and a secret, from a token endpoint: one for all connections, asked for when the first
/// connection needs it and replaced ahead of its end, by whoever needs it then; there is no task in the background.
///
/// An endpoint that is out of reach, too busy (429, or 503, whose `Retry-After` is honoured) or broken (5xx) is asked again for
/// a while; whoever waits longer than that gets the error, which is [retriable](Error::is_retriable). One that says no (400, 401)
/// is not asked again for as long. A token that is still good is used meanwhile.
///
/// Proxies are not used, and redirects are not followed.
#[derive(Debug)]
pub struct ClientCredentials {
    endpoint: Endpoint,
    id: String,
    secret: Secret,
    scope: Option<String>,
    extensions: Vec<(String, String)>,
    header_urlencode: bool,
    http: Http,
    retry_backoff: Duration,
    retry_backoff_max: Duration,
    refresh: Refresh,
    keeper: Keeper,
    /// Held by who asks the endpoint.
    asking: tokio::sync::Mutex<()>,
    backoff: Mutex<Option<Backoff>>,
    random: Mutex<fastrand::Rng>,
}

impl ClientCredentials {
    /// `sasl.oauthbearer.token.endpoint.url`, `sasl.oauthbearer.client.id` and `sasl.oauthbearer.client.secret` (Java:
    /// `sasl.oauthbearer.client.credentials.client.id` and `….client.secret`, or `clientId` and `clientSecret` in
    /// `sasl.jaas.config`). With `http:` whoever is on the way reads the secret: for tests.
    ///
    /// # Errors
    /// `Config`, naming the property.
    pub fn new(url: &str, id: impl Into<String>, secret: impl Into<Secret>) -> Result<Self> {
        let endpoint = Endpoint::parse(url).map_err(|error| {
            let why = error.text().unwrap_or("no address").to_owned();
            error.message(format!("sasl.oauthbearer.token.endpoint.url: {why}"))
        })?;
        let (id, secret) = (id.into(), secret.into());
        for (key, value) in [("id", id.as_str()), ("secret", secret.expose())] {
            if value.is_empty() {
                return Err(Error::with_message(ErrorKind::Config, format!("sasl.oauthbearer.client.{key}: empty")));
            }
        }
        if !endpoint.tls && !endpoint.is_local() {
            tracing::warn!(%endpoint, "the client's secret goes to the token endpoint without TLS");
        }
        Ok(Self {
            endpoint,
            id,
            secret,
            scope: None,
            extensions: Vec::new(),
            header_urlencode: false,
            http: Http::default(),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(8),
            refresh: Refresh::default(),
            keeper: Keeper::default(),
            asking: tokio::sync::Mutex::default(),
            backoff: Mutex::default(),
            random: Mutex::new(fastrand::Rng::new()),
        })
    }

    /// `sasl.oauthbearer.scope` (`scope` in `sasl.jaas.config`): what the token is to be good for; several stand apart by a space.
    /// Default: what the endpoint gives to who doesn't ask.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into()).filter(|scope| !scope.is_empty());
        self
    }

    /// `sasl.oauthbearer.extensions` (`extension_NAME` in `sasl.jaas.config`): see [`Token::extension`].
    pub fn extension(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.extensions.push((name.into(), value.into()));
        self
    }

    /// `sasl.oauthbearer.header.urlencode`: id and secret are encoded in the header, as RFC 6749 has it and many servers don't.
    /// It makes a difference where they have other characters than letters and digits. Default: false.
    pub fn header_urlencode(mut self, yes: bool) -> Self {
        self.header_urlencode = yes;
        self
    }

    /// `https.ca.location`: trusts the CAs of this PEM file and nobody else. Default: what the machine trusts.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.http.tls = self.http.tls.roots("https.ca.location", Pem::File(path.into()));
        self
    }

    /// `https.ca.pem`: the same, as text.
    pub fn ca_pem(mut self, text: impl Into<String>) -> Self {
        self.http.tls = self.http.tls.roots("https.ca.pem", Pem::Text(text.into().into()));
        self
    }

    /// Everything else about TLS to the endpoint, a client's certificate for one. The brokers' TLS has settings of its own.
    pub fn tls(mut self, tls: TlsConfig) -> Self {
        self.http.tls = tls;
        self
    }

    /// How the endpoint is reached: through a proxy, perhaps, or in memory. Default: TCP.
    pub fn connect(mut self, connect: impl Connect) -> Self {
        self.http.connect = Arc::new(connect);
        self
    }

    /// `sasl.login.connect.timeout.ms`: for how long one attempt may connect, TLS included. Default: 5 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.http.connect_timeout = bounded(timeout);
        self
    }

    /// `sasl.login.read.timeout.ms`: for how long one attempt may wait for the answer. Default: 5 s.
    pub fn read_timeout(mut self, timeout: Duration) -> Self {
        self.http.read_timeout = bounded(timeout);
        self
    }

    /// `sasl.login.retry.backoff.ms`: the wait before the second attempt; it doubles. Default: 100 ms.
    pub fn retry_backoff(mut self, wait: Duration) -> Self {
        self.retry_backoff = bounded(wait);
        self
    }

    /// `sasl.login.retry.backoff.max.ms`: for how long a connection waits for a token, all attempts and waits together, and for
    /// how long an endpoint that said no is not asked again. Default: 8 s (Java: 10 s), so that the reason is known before
    /// `socket.connection.setup.timeout.ms`, which runs meanwhile.
    pub fn retry_backoff_max(mut self, wait: Duration) -> Self {
        self.retry_backoff_max = bounded(wait);
        self
    }

    /// `sasl.login.refresh.window.factor` and `.jitter`: a token is replaced when so much of its life is over, and up to `jitter`
    /// more by chance. Default: 0.8 and 0.05.
    pub fn refresh_window(mut self, factor: f64, jitter: f64) -> Self {
        (self.refresh.factor, self.refresh.jitter) = (factor, jitter);
        self
    }

    /// `sasl.login.refresh.min.period.seconds` and `.buffer.seconds`: not before it is so old, and not so shortly before its end.
    /// For a token that has no room for both neither counts. Default: 60 s and 300 s.
    pub fn refresh_buffers(mut self, min_period: Duration, buffer: Duration) -> Self {
        (self.refresh.min_period, self.refresh.buffer) = (bounded(min_period), bounded(buffer));
        self
    }

    #[cfg(test)]
    pub(super) fn seed(self, seed: u64) -> Self {
        *self.random.lock().unwrap_or_else(PoisonError::into_inner) = fastrand::Rng::with_seed(seed);
        self
    }

    /// A drop gives an attempt up; whoever waits for the same goes on with one of his own.
    async fn get(&self, unix_millis: i64) -> Result<Token> {
        let clock = Since::new(unix_millis);
        let end = clock.begun + self.retry_backoff_max;
        if let Some(token) = self.keeper.fresh(clock.now()) {
            return Ok(token);
        }
        let _asking = match self.asking.try_lock() {
            Ok(asking) => asking,
            Err(_) => match self.keeper.good(clock.now()) {
                Some(token) => return Ok(token), // somebody is at it
                None => self.asking.lock().await,
            },
        };
        if let Some(token) = self.keeper.fresh(clock.now()) {
            return Ok(token);
        }
        if let Some(old) = self.keeper.good(clock.now()) {
            if self.keeper.failure(clock.now().0).is_some() {
                return Ok(old);
            }
            let end = end.min(clock.now().0 + WHILE_GOOD);
            return self.ask(&clock, end).await.or_else(|error| {
                tracing::warn!(%error, "no new token, the old one is used while it is good");
                Ok(old)
            });
        }
        loop {
            if let Some((error, until)) = self.keeper.failure(clock.now().0) {
                if !error.is_retriable() || until >= end {
                    return Err(error);
                }
                sleep_until(until).await;
            }
            if let Ok(token) = self.ask(&clock, end).await {
                return Ok(token);
            }
        }
    }

    /// One attempt; what comes of it is kept.
    async fn ask(&self, clock: &Since, end: Instant) -> Result<Token> {
        let message = request::message(&self.id, &self.secret, self.scope.as_deref(), self.header_urlencode);
        let answer = self.http.ask(&self.endpoint, &message, end).await;
        let (now, unix_millis) = clock.now();
        let wanted = answer.as_ref().ok().and_then(|answer| answer.retry_after.as_deref());
        let wanted = wanted.and_then(|value| retry_after(value, unix_millis)).unwrap_or_default();
        let outcome = answer.and_then(|answer| answer::judge(&answer, unix_millis));
        // It has given tokens: that it is no token endpoint now passes, a maintenance page for one.
        let passes = |kind| matches!(kind, ErrorKind::Config | ErrorKind::Malformed) && self.keeper.has_granted();
        let passing = |error: Error| error.of_kind(ErrorKind::Connection).hint("the token endpoint is asked again");
        let outcome = outcome.map_err(|error| if passes(error.kind()) { passing(error) } else { error });
        let mut backoff = self.backoff.lock().unwrap_or_else(PoisonError::into_inner);
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(token) => {
                *backoff = None;
                let token = self.extensions.iter().fold(token, |token, (name, value)| token.extension(name, value));
                tracing::debug!(endpoint = %self.endpoint, lifetime = ?token.lifetime(), "a new token");
                self.keeper.keep(token.clone(), clock.now(), |lifetime| self.refresh.after(lifetime, random.f64()));
                Ok(token)
            }
            Err(error) => {
                let error = self.explain(error);
                let backoff = backoff.get_or_insert_with(|| {
                    let (base, max) = (self.retry_backoff.max(Duration::from_millis(1)), self.retry_backoff_max);
                    Backoff::new(base, max, random.u64(..))
                });
                let wait = match error.is_retriable() {
                    true => backoff.next_wait().max(wanted),
                    false => self.retry_backoff_max,
                };
                tracing::debug!(%error, ?wait, "no token");
                self.keeper.failed(error.clone(), now + wait);
                Err(error)
            }
        }
    }

    /// Whose error it is; and no server's words give the secret away.
    fn explain(&self, error: Error) -> Error {
        let whose = format_args!("token endpoint {}", self.endpoint);
        let hint = "https.ca.location names the file of its CA, and the URL a host of its certificate";
        explained(error, &whose, &[self.secret.expose()], hint)
    }
}

impl TokenProvider for ClientCredentials {
    fn token<'a>(&'a self, peer: &'a SaslPeer) -> Fetching<'a> {
        Box::pin(self.get(peer.unix_millis))
    }

    fn refused(&self, token: &Token) {
        self.keeper.refused(token, NetClock::System.now());
    }
}

/// The wall clock moves on while we wait.
struct Since {
    begun: Instant,
    unix_millis: i64,
}

impl Since {
    fn new(unix_millis: i64) -> Self {
        Self { begun: NetClock::System.now(), unix_millis }
    }

    fn now(&self) -> (Instant, i64) {
        let now = NetClock::System.now();
        let passed = i64::try_from((now - self.begun).as_millis()).unwrap_or(i64::MAX);
        (now, self.unix_millis.saturating_add(passed))
    }
}
