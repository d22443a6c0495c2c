//! SASL: how a client says who it is.
//!
//! [`Plain`] and [`Scram`] take a name and a password, [`OAuthBearer`] a token of a [`TokenProvider`]. Whatever else a broker
//! wants (Kerberos) is a [`SaslMechanism`] of your own:
//!
//! ```no_run
//! use milena::sasl::Scram;
//!
//! let me = Scram::sha512("alice", "alice-secret");
//! ```
//!
#![cfg_attr(feature = "tls", doc = include_str!("../../docs/security.md"))]

mod oauthbearer;
mod plain;
mod scram;

pub use oauthbearer::{Fetching, OAuthBearer, Token, TokenProvider, UnsecuredJwt};
pub use plain::Plain;
pub use scram::Scram;

use crate::error::{Error, ErrorKind, Result};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use zeroize::Zeroizing;

/// What goes to the broker; overwritten in memory when it is dropped.
pub type SaslMessage = Zeroizing<Vec<u8>>;

/// What [`SaslMechanism::start`] gives: the first message, and who takes the answers.
pub type Starting<'a> = Pin<Box<dyn Future<Output = Result<(SaslMessage, Box<dyn SaslSession>)>> + Send + 'a>>;

/// Whom to authenticate to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SaslPeer {
    /// The broker's host, as it advertises it; of a bootstrap address, as the application wrote it.
    pub host: Arc<str>,
    /// Its port.
    pub port: u16,
    /// The client's wall clock, in milliseconds since 1970: for what is signed or has a lifetime.
    pub unix_millis: i64,
}

impl SaslPeer {
    /// For tests of a mechanism.
    pub fn new(host: impl Into<Arc<str>>, port: u16, unix_millis: i64) -> Self {
        Self { host: host.into(), port, unix_millis }
    }
}

/// A way to say who we are. One value serves all connections of a client, many at once, first when they are made and again
/// before a broker's `connections.max.reauth.ms` is over (KIP-368).
pub trait SaslMechanism: fmt::Debug + Send + Sync + 'static {
    /// As SaslHandshake names it: `SCRAM-SHA-512`.
    fn name(&self) -> &str;

    /// Begins one authentication: the client speaks first (an empty message, where the mechanism has the server begin).
    ///
    /// May wait, for a token perhaps: the time counts to `socket.connection.setup.timeout.ms`. A drop gives the attempt up.
    ///
    /// # Errors
    /// The connection is not made. A [retriable](crate::error::Error::is_retriable) one is tried again, any other goes to
    /// whoever waits for the connection.
    fn start<'a>(&'a self, peer: &'a SaslPeer) -> Starting<'a>;
}

impl<M: SaslMechanism + ?Sized> SaslMechanism for Arc<M> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn start<'a>(&'a self, peer: &'a SaslPeer) -> Starting<'a> {
        (**self).start(peer)
    }
}

/// One authentication under way.
pub trait SaslSession: Send + 'static {
    /// The broker's answer to the last message. `None` if that is the end; the broker has then been found to be who it should be,
    /// where the mechanism says so. Called on a thread that may block and compute.
    ///
    /// # Errors
    /// The connection is closed, and the error goes to whoever waits for it.
    fn challenge(&mut self, message: &[u8]) -> Result<Option<SaslMessage>>;

    /// The broker has said no, and `error` is what it said: the place to add what the mechanism knows of it.
    fn refused(&mut self, error: Error) -> Error {
        error
    }
}

/// The session of a mechanism that says everything in its first message: nothing may come back.
pub(crate) struct SaidAll(pub &'static str);

impl SaslSession for SaidAll {
    fn challenge(&mut self, message: &[u8]) -> Result<Option<SaslMessage>> {
        if message.is_empty() {
            return Ok(None);
        }
        Err(Error::with_message(ErrorKind::Malformed, format!("{}: the broker answered with a challenge", self.0)))
    }

    fn refused(&mut self, error: Error) -> Error {
        error.hint("see sasl.username and sasl.password (Java: sasl.jaas.config)")
    }
}
