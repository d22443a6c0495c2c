//! What listeners ask of those who connect, and how often they were told.
//!
//! One security protocol holds for the whole cluster: PLAINTEXT, SASL_PLAINTEXT with [`Builder::sasl`], SSL with `Builder::tls`,
//! SASL_SSL with both.

use super::sasl::Mechanism;
use super::sasl::oauthbearer::{UnsecuredJws, Validator};
use super::sasl::session::Session;
use super::scram::{self, Credentials};
#[cfg(feature = "tls")]
use super::tls;
use super::{Builder, TestCluster};
use crate::connect::BoxStream;
use crate::error::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Who a bearer token speaks for, as a [validator](Builder::oauthbearer) has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BearerToken {
    /// The principal's name, without `User:`.
    pub principal: String,
    /// Until when it is good, in milliseconds since 1970; the connection has to authenticate itself anew before (KIP-368).
    pub expires_at_ms: i64,
}

/// Why a [validator](Builder::oauthbearer) does not take a bearer token: what RFC 7628 has the server say in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidBearerToken {
    /// `invalid_token`, `insufficient_scope`, or whatever a test wants the client to see.
    pub status: String,
    /// The scope that is needed.
    pub scope: Option<String>,
    /// Where the client can learn about the authorization server.
    pub openid_configuration: Option<String>,
}

impl InvalidBearerToken {
    /// One that says no more than its status.
    pub fn new(status: impl Into<String>) -> Self {
        Self { status: status.into(), scope: None, openid_configuration: None }
    }
}

/// How connections have authenticated themselves by SASL since the start: the broker's metrics of these names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct AuthenticationCount {
    /// `successful-authentication-total`: connections that have said who they are.
    pub succeeded: u64,
    /// `failed-authentication-total`.
    pub failed: u64,
    /// `successful-reauthentication-total`: how often a connection has done so again (KIP-368).
    pub reauthenticated: u64,
    /// `failed-reauthentication-total`.
    pub reauthentications_failed: u64,
    /// `expired-connections-killed-count`: connections that went on asking when their session was over.
    pub expired: u64,
}

/// Passwords by user. They are not shown.
#[derive(Clone, Default)]
pub(super) struct Users(BTreeMap<String, String>);

impl Users {
    pub(super) fn password(&self, user: &str) -> Option<&str> {
        self.0.get(user).map(String::as_str)
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What the builder was told about SASL.
#[derive(Debug, Clone)]
pub(super) struct SaslSettings {
    /// `sasl.enabled.mechanisms`, or why they can't be; none of them is a listener without SASL.
    mechanisms: Result<Vec<Mechanism>, String>,
    pub users: Users,
    pub validator: Validator,
    /// `connections.max.reauth.ms`; zero is none.
    pub max_reauth: Duration,
    /// `connection.failed.authentication.delay.ms`.
    pub failure_delay: Duration,
}

impl Default for SaslSettings {
    fn default() -> Self {
        Self {
            mechanisms: Ok(Vec::new()),
            users: Users::default(),
            validator: Validator::Unsecured(UnsecuredJws::default()),
            max_reauth: Duration::ZERO,
            failure_delay: Duration::from_millis(100),
        }
    }
}

impl SaslSettings {
    pub(super) fn mechanisms(&self) -> &[Mechanism] {
        self.mechanisms.as_deref().unwrap_or_default()
    }
}

/// What the listeners of a running cluster hold to.
#[derive(Debug)]
pub(super) struct Security {
    pub sasl: SaslSettings,
    #[cfg(feature = "tls")]
    pub tls: Option<tls::Listener>,
    counts: Mutex<AuthenticationCount>,
}

impl Security {
    /// With the credentials of the users that the builder was given.
    pub(super) fn start(sasl: SaslSettings) -> Result<(Self, Credentials)> {
        let config = |why: &String| Error::with_message(ErrorKind::Config, why.clone());
        let mechanisms = sasl.mechanisms.as_ref().map_err(config)?;
        let mut credentials = Credentials::new();
        for mechanism in mechanisms.iter().filter_map(|mechanism| mechanism.scram()) {
            for (user, password) in &sasl.users.0 {
                let credential = scram::Credential::of_password(mechanism, password)
                    .map_err(|error| Error::with_message(ErrorKind::State, "no random numbers").caused_by(error))?;
                credentials.entry(user.clone()).or_default().insert(mechanism, credential);
            }
        }
        let security = Self {
            sasl,
            #[cfg(feature = "tls")]
            tls: None,
            counts: Mutex::default(),
        };
        Ok((security, credentials))
    }

    /// What is spoken within the stream, and how the session begins: with whom the client has a certificate for, or with SASL.
    pub(super) async fn secure(&self, stream: BoxStream) -> io::Result<(BoxStream, Session)> {
        let (stream, certified) = self.shake_hands(stream).await?;
        let session = if self.sasl.mechanisms().is_empty() {
            Session::open(certified.unwrap_or_else(|| super::ANONYMOUS.into()))
        } else {
            Session::unauthenticated()
        };
        Ok((stream, session))
    }

    #[cfg(feature = "tls")]
    async fn shake_hands(&self, stream: BoxStream) -> io::Result<(BoxStream, Option<Arc<str>>)> {
        match &self.tls {
            Some(tls) => tls.accept(stream).await,
            None => Ok((stream, None)),
        }
    }

    #[cfg(not(feature = "tls"))]
    async fn shake_hands(&self, stream: BoxStream) -> io::Result<(BoxStream, Option<Arc<str>>)> {
        Ok((stream, None))
    }

    pub(super) fn counts(&self) -> MutexGuard<'_, AuthenticationCount> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Builder {
    /// `sasl.enabled.mechanisms`: has every listener ask for authentication by one of `PLAIN`, `SCRAM-SHA-256`,
    /// `SCRAM-SHA-512` and `OAUTHBEARER`. Passwords are those of [`Self::user`]; for SCRAM also what AlterUserScramCredentials
    /// brings. Default: none, and everybody is `User:ANONYMOUS`.
    pub fn sasl(mut self, mechanisms: &[&str]) -> Self {
        let parsed = mechanisms.iter().map(|name| {
            Mechanism::of_name(name)
                .ok_or_else(|| format!("sasl.enabled.mechanisms: there is no mechanism `{name}` here"))
        });
        self.sasl.mechanisms = parsed.collect();
        self
    }

    /// A user and its password, for every mechanism that asks for one.
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.sasl.users.0.insert(name.into(), password.into());
        self
    }

    /// Who looks at the tokens of OAUTHBEARER; it is told the token and the cluster's time in milliseconds since 1970.
    /// Default: unsecured tokens as Kafka's `OAuthBearerUnsecuredValidatorCallbackHandler` takes them, with the principal in
    /// `sub` and an `exp` in the future.
    pub fn oauthbearer(
        mut self,
        validator: impl Fn(&str, i64) -> Result<BearerToken, InvalidBearerToken> + Send + Sync + 'static,
    ) -> Self {
        self.sasl.validator = Validator::Given(Arc::new(validator));
        self
    }

    /// `unsecuredValidatorRequiredScope`: takes unsecured tokens, but only if their `scope` has all of these.
    pub fn oauthbearer_scope(mut self, required: &[&str]) -> Self {
        let required = required.iter().map(|scope| (*scope).to_owned()).collect();
        self.sasl.validator = Validator::Unsecured(UnsecuredJws { required_scope: required });
        self
    }

    /// `connections.max.reauth.ms`: how long a connection is good for, until it has to authenticate itself anew (KIP-368). Who
    /// does not is cut off at the next request. Default 0: for ever, or as long as a bearer token is.
    pub fn connections_max_reauth(mut self, lifetime: Duration) -> Self {
        self.sasl.max_reauth = lifetime;
        self
    }

    /// `connection.failed.authentication.delay.ms`: how late a failure is answered. Default 100 ms, as Kafka's.
    pub fn failed_authentication_delay(mut self, delay: Duration) -> Self {
        self.sasl.failure_delay = delay;
        self
    }
}

impl TestCluster {
    /// How connections have authenticated themselves.
    pub fn authentications(&self) -> AuthenticationCount {
        *self.shared.security.counts()
    }
}
