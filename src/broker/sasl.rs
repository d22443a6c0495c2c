// SaslHandshake: v0-1. SaslAuthenticate: v0-2.
//! How a connection says who it is, as Apache's `SaslServerAuthenticator` has it.
//!
//! - SaslHandshake v1 is followed by SaslAuthenticate, v0 by bare tokens: a length and the bytes, both ways.
//! - SaslAuthenticate v1 and up tells how long the session lasts (KIP-368).
//! - A mechanism that is not enabled is `UNSUPPORTED_SASL_MECHANISM` with those that are, and then the connection ends. So does
//!   it after `SASL_AUTHENTICATION_FAILED`. Both are said `connection.failed.authentication.delay.ms` later.
//! - Who is asked for no authentication, or has been through with it, is answered `ILLEGAL_SASL_STATE` and may go on.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `session` | how far a connection has come, what it may ask, how long it lasts |
//! | `plain scram oauthbearer jws` | the mechanisms |

pub(super) mod jws;
pub(super) mod oauthbearer;
pub(super) mod plain;
pub(super) mod scram;
pub(super) mod session;

use super::Context;
use super::api::{Answer, Api};
use super::scram::Mechanism as ScramMechanism;
use crate::error::ErrorCode;
use crate::wire::StrBytes;
use crate::wire::messages::{
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use bytes::{BufMut, BytesMut};
use oauthbearer::OAuthBearer;
use scram::Scram;

/// The mechanisms there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mechanism {
    Plain,
    Scram(ScramMechanism),
    OAuthBearer,
}

impl Mechanism {
    const ALL: [Self; 4] =
        [Self::Plain, Self::Scram(ScramMechanism::Sha256), Self::Scram(ScramMechanism::Sha512), Self::OAuthBearer];

    pub(super) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Scram(ScramMechanism::Sha256) => "SCRAM-SHA-256",
            Self::Scram(ScramMechanism::Sha512) => "SCRAM-SHA-512",
            Self::OAuthBearer => "OAUTHBEARER",
        }
    }

    pub(super) fn scram(self) -> Option<ScramMechanism> {
        if let Self::Scram(mechanism) = self { Some(mechanism) } else { None }
    }

    fn exchange(self) -> Exchange {
        match self {
            Self::Plain => Exchange::Plain,
            Self::Scram(mechanism) => Exchange::Scram(Scram::new(mechanism)),
            Self::OAuthBearer => Exchange::OAuthBearer(OAuthBearer::default()),
        }
    }
}

/// A mechanism at work.
#[derive(Debug)]
enum Exchange {
    Plain,
    Scram(Scram),
    OAuthBearer(OAuthBearer),
}

impl Exchange {
    fn step(&mut self, on: &Context, token: &[u8]) -> Result<Step, Failure> {
        match self {
            Self::Plain => plain::step(&on.shared.security.sasl.users, token),
            Self::Scram(scram) => scram.step(&on.shared, token),
            Self::OAuthBearer(bearer) => bearer.step(&on.shared.security.sasl.validator, on.unix_millis(), token),
        }
    }
}

/// What a token has led to.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// The client has to say more.
    Challenge(Vec<u8>),
    /// It has proved that it is this user, until then (milliseconds since 1970).
    Done { answer: Vec<u8>, user: String, expires_at_ms: Option<i64> },
}

/// Why a token is refused.
#[derive(Debug, PartialEq, Eq)]
enum Failure {
    /// In these words.
    Told(String),
    /// In no more words than that the credentials are invalid: which of them is nobody's business.
    Untold,
}

impl Failure {
    fn told(why: impl Into<String>) -> Self {
        Self::Told(why.into())
    }
}

/// ASCII without comma and equals sign, but for those written as `=2C` and `=3D`.
fn is_saslname(name: &str) -> bool {
    let escapes = name.split('=').skip(1).all(|rest| rest.starts_with("2C") || rest.starts_with("3D"));
    !name.is_empty() && name.is_ascii() && !name.contains(['\0', ',']) && escapes
}

impl Api for SaslHandshakeRequest {
    async fn serve(self, on: Context) -> SaslHandshakeResponse {
        let security = &on.shared.security;
        let enabled = security.sasl.mechanisms();
        let agreed = on.session().handshake(&self.mechanism, on.version >= 1, enabled, &mut security.counts());
        match agreed {
            Err(code @ ErrorCode::IllegalSaslState) => self.refuse(code),
            other => {
                let names = enabled.iter().map(|mechanism| StrBytes::from_static_str(mechanism.name()));
                SaslHandshakeResponse::default()
                    .with_error_code(other.err().map_or(0, ErrorCode::to_wire))
                    .with_mechanisms(names.collect())
            }
        }
    }

    fn refuse(&self, code: ErrorCode) -> SaslHandshakeResponse {
        SaslHandshakeResponse::default().with_error_code(code.to_wire())
    }
}

impl Api for SaslAuthenticateRequest {
    async fn serve(self, on: Context) -> SaslAuthenticateResponse {
        let answered = on.session().authenticate(&on, &self.auth_bytes);
        match answered {
            Ok(answered) => SaslAuthenticateResponse::default()
                .with_error_message(Some(StrBytes::default())) // as Apache's
                .with_auth_bytes(answered.token.into())
                .with_session_lifetime_ms(answered.lifetime_ms),
            Err((code, why)) => {
                SaslAuthenticateResponse::default().with_error_code(code.to_wire()).with_error_message(Some(why.into()))
            }
        }
    }

    fn refuse(&self, code: ErrorCode) -> SaslAuthenticateResponse {
        SaslAuthenticateResponse::default()
            .with_error_code(code.to_wire())
            .with_error_message(Some(StrBytes::from_static_str(code.name())))
    }
}

/// A token that comes by itself, after SaslHandshake v0. A failure has no answer.
pub(super) fn bare_token(on: &Context, token: &[u8]) -> Answer {
    match on.session().authenticate(on, token) {
        Ok(answered) => {
            let mut frame = BytesMut::with_capacity(answered.token.len() + 4);
            frame.put_u32(answered.token.len() as u32); // of what came in a frame
            frame.put_slice(&answered.token);
            Answer::Frame(frame.freeze())
        }
        Err(_) => Answer::Close,
    }
}
