//! What a client is made with.

use super::security::{self, SecuritySettings};
use crate::connect::Connect;
use crate::error::{Error, ErrorKind, Result};
use crate::net::clock::{NetClock, bounded};
use crate::net::tcp::Tcp;
use crate::sasl::SaslMechanism;
use crate::settings;
#[cfg(feature = "tls")]
use crate::tls::TlsConfig;
use std::{sync::Arc, time::Duration};

/// Kafka's port, for addresses without one.
const DEFAULT_PORT: u16 = 9092;

/// librdkafka's `-1`. Nothing is missed by it: what is needed and not known is asked for.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Settings of a [`Client`](super::Client), by Kafka's names and with Kafka 4.3's defaults.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    pub(super) bootstrap_servers: Vec<String>,
    pub(super) client_id: String,
    pub(crate) request_timeout: Duration,
    pub(super) default_api_timeout: Duration,
    pub(super) metadata_max_age: Duration,
    pub(crate) retry_backoff: Duration,
    pub(crate) retry_backoff_max: Duration,
    pub(super) reconnect_backoff: Duration,
    pub(super) reconnect_backoff_max: Duration,
    pub(super) connection_setup_timeout: Duration,
    pub(super) connect: Arc<dyn Connect>,
    pub(super) security: SecuritySettings,
    pub(super) clock: NetClock,
    pub(super) seed: Option<u64>,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            bootstrap_servers: Vec::new(),
            client_id: "milena".into(),
            request_timeout: Duration::from_secs(30),
            default_api_timeout: Duration::from_secs(60),
            metadata_max_age: Duration::from_secs(300),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            reconnect_backoff: Duration::from_millis(50),
            reconnect_backoff_max: Duration::from_secs(1),
            connection_setup_timeout: Duration::from_secs(10),
            connect: Arc::new(Tcp),
            security: SecuritySettings::default(),
            clock: NetClock::System,
            seed: None,
        }
    }
}

impl ClientConfig {
    /// Every property that [`ClientConfig::set`] takes, but for those of security.
    const OWN_KEYS: &[&str] = &[
        "bootstrap.servers",
        "metadata.broker.list",
        "client.id",
        "request.timeout.ms",
        "socket.timeout.ms",
        "default.api.timeout.ms",
        "metadata.max.age.ms",
        "topic.metadata.refresh.interval.ms",
        "retry.backoff.ms",
        "retry.backoff.max.ms",
        "reconnect.backoff.ms",
        "reconnect.backoff.max.ms",
        "socket.connection.setup.timeout.ms",
    ];

    /// Every property that [`ClientConfig::set`] takes.
    pub fn keys() -> impl Iterator<Item = &'static str> {
        Self::OWN_KEYS.iter().chain(security::KEYS).copied()
    }

    /// For the cluster behind these brokers: `host`, `host:port` or comma lists of them. Without a port, 9092.
    pub fn new(bootstrap_servers: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self::default().bootstrap_servers(bootstrap_servers)
    }

    /// `bootstrap.servers`: where to ask first. No default.
    pub fn bootstrap_servers(mut self, servers: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.bootstrap_servers = servers.into_iter().flat_map(|server| settings::list(server.as_ref())).collect();
        self
    }

    /// `client.id`: what brokers call us in their logs, metrics and quotas. Default: `milena`.
    pub fn client_id(mut self, id: impl Into<String>) -> Self {
        self.client_id = id.into();
        self
    }

    /// `request.timeout.ms`: how long one answer may take before its connection is given up. Default: 30 s.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = bounded(timeout);
        self
    }

    /// `default.api.timeout.ms`: how long a call may take, retries included, where none is given. Default: 60 s.
    pub fn default_api_timeout(mut self, timeout: Duration) -> Self {
        self.default_api_timeout = bounded(timeout);
        self
    }

    /// `metadata.max.age.ms`: the cluster is looked at again at the latest after this. Default: 5 min.
    pub fn metadata_max_age(mut self, age: Duration) -> Self {
        self.metadata_max_age = bounded(age);
        self
    }

    /// `retry.backoff.ms` and `retry.backoff.max.ms`. Default: 100 ms to 1 s, ±20 %.
    pub fn retry_backoff(mut self, backoff: Duration, max: Duration) -> Self {
        (self.retry_backoff, self.retry_backoff_max) = (bounded(backoff), bounded(max));
        self
    }

    /// `reconnect.backoff.ms` and `reconnect.backoff.max.ms`. Default: 50 ms to 1 s, ±20 %.
    pub fn reconnect_backoff(mut self, backoff: Duration, max: Duration) -> Self {
        (self.reconnect_backoff, self.reconnect_backoff_max) = (bounded(backoff), bounded(max));
        self
    }

    /// `socket.connection.setup.timeout.ms`: connecting, the TLS handshake, finding out versions and SASL, all
    /// together (KIP-601). Default: 10 s.
    pub fn connection_setup_timeout(mut self, timeout: Duration) -> Self {
        self.connection_setup_timeout = bounded(timeout);
        self
    }

    /// TLS: `security.protocol` is `SSL`, or `SASL_SSL` with [`Self::sasl`]. Default: none.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: TlsConfig) -> Self {
        self.security.tls = Some(tls);
        self
    }

    /// Who we are: `security.protocol` is `SASL_PLAINTEXT`, or `SASL_SSL` with TLS. Default: nobody.
    pub fn sasl(mut self, mechanism: impl SaslMechanism) -> Self {
        self.security.sasl = Some(Arc::new(mechanism));
        self
    }

    /// How streams to brokers are made; TLS goes on top. Default: TCP.
    pub fn connect(mut self, connect: impl Connect) -> Self {
        self.connect = Arc::new(connect);
        self
    }

    /// Wall time that begins now and moves with tokio's clock: for tests under paused time. Needs a tokio runtime.
    pub fn virtual_time(mut self) -> Self {
        self.clock = NetClock::virtual_from_now();
        self
    }

    /// Like [`Self::virtual_time`], but what the clock shows now is given: a test cluster's, for one.
    pub fn virtual_time_from(mut self, unix_millis: i64) -> Self {
        self.clock = NetClock::virtual_from(unix_millis);
        self
    }

    /// What everything random in this client follows from, the ids of group members included
    /// ([`GroupProtocol::Consumer`](crate::consumer::GroupProtocol::Consumer)): two clients of one seed would be one member.
    /// Default: a new one each time.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Takes one property; `false` if it is none of the client's.
    ///
    /// # Errors
    /// `Config` if the value can't be.
    pub fn set(&mut self, key: &str, value: &str) -> Result<bool> {
        match key {
            "bootstrap.servers" | "metadata.broker.list" => self.bootstrap_servers = settings::list(value),
            "client.id" => value.clone_into(&mut self.client_id),
            "request.timeout.ms" | "socket.timeout.ms" => self.request_timeout = settings::millis(key, value)?,
            "default.api.timeout.ms" => self.default_api_timeout = settings::millis(key, value)?,
            "metadata.max.age.ms" => self.metadata_max_age = settings::millis(key, value)?,
            "topic.metadata.refresh.interval.ms" if value.trim() == "-1" => self.metadata_max_age = NEVER,
            "topic.metadata.refresh.interval.ms" => self.metadata_max_age = settings::millis(key, value)?,
            "retry.backoff.ms" => self.retry_backoff = settings::millis(key, value)?,
            "retry.backoff.max.ms" => self.retry_backoff_max = settings::millis(key, value)?,
            "reconnect.backoff.ms" => self.reconnect_backoff = settings::millis(key, value)?,
            "reconnect.backoff.max.ms" => self.reconnect_backoff_max = settings::millis(key, value)?,
            "socket.connection.setup.timeout.ms" => self.connection_setup_timeout = settings::millis(key, value)?,
            _ => return Ok(self.security.set(key, value)),
        }
        Ok(true)
    }

    /// Hosts and ports of `bootstrap.servers`.
    pub(super) fn addresses(&self) -> Result<Vec<(String, u16)>> {
        if self.bootstrap_servers.is_empty() {
            return Err(Error::with_message(ErrorKind::Config, "bootstrap.servers is empty"));
        }
        self.bootstrap_servers.iter().map(|server| address(server)).collect()
    }
}

/// `host`, `host:port`, `[v6]:port`, a bare v6 address, or Java's `PLAINTEXT://host:port`.
fn address(server: &str) -> Result<(String, u16)> {
    let bad = |why: &str| settings::invalid("bootstrap.servers", server, &why);
    let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
    let (host, port) = match rest.strip_prefix('[') {
        Some(bracketed) => {
            let (host, port) = bracketed.split_once(']').ok_or_else(|| bad("no closing bracket"))?;
            (host, port.strip_prefix(':'))
        }
        None if rest.matches(':').count() > 1 => (rest, None),
        None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() {
        return Err(bad("no host"));
    }
    let port = port.map_or(Ok(DEFAULT_PORT), str::parse).map_err(|_| bad("the port is not a number up to 65535"))?;
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_every_form_are_taken_and_a_missing_port_is_9092() {
        let config = ClientConfig::new(["a, b:1,,[::1]:2", "::1", "PLAINTEXT://c:3"]);
        let expected = [("a", 9092), ("b", 1), ("::1", 2), ("::1", 9092), ("c", 3)];
        assert_eq!(config.addresses().unwrap(), expected.map(|(host, port)| (host.to_owned(), port)));
    }

    #[test]
    fn a_bad_address_says_which() {
        for bad in ["a:x", ":9092", "[::1", "a:99999"] {
            let error = ClientConfig::new([bad]).addresses().unwrap_err();
            assert!(error.to_string().contains(bad), "{error}");
        }
        assert!(ClientConfig::default().addresses().is_err());
    }

    #[test]
    fn every_listed_key_is_taken() {
        for key in ClientConfig::keys() {
            let value = match key {
                "security.protocol" => "PLAINTEXT",
                _ => "1000",
            };
            assert!(ClientConfig::default().set(key, value).unwrap(), "{key}");
        }
        assert!(!ClientConfig::default().set("linger.ms", "5").unwrap());
        assert!(ClientConfig::default().set("request.timeout.ms", "soon").is_err());
    }
}
