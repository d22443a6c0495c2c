//! OAUTHBEARER (RFC 7628): `n,[a=authzid],^Aauth=Bearer token^A[key=value^A…]^A`. A token that is no good is answered by a
//! challenge that says why in JSON; the client acknowledges it by `^A`, and then authentication has failed, in the same words.
//!
//! Extensions are taken as they are, as Apache's default validator takes them.

use super::{Failure, Step, is_saslname};
use crate::broker::security::{BearerToken, InvalidBearerToken};
use std::fmt;
use std::sync::Arc;

pub(in crate::broker) use super::jws::UnsecuredJws;

const SEPARATOR: char = '\x01';

type Validating = dyn Fn(&str, i64) -> Result<BearerToken, InvalidBearerToken> + Send + Sync;

/// Who looks at tokens.
#[derive(Clone)]
pub(in crate::broker) enum Validator {
    Unsecured(UnsecuredJws),
    Given(Arc<Validating>),
}

impl Validator {
    fn validate(&self, token: &str, unix_millis: i64) -> Result<BearerToken, InvalidBearerToken> {
        match self {
            Self::Unsecured(jws) => jws.validate(token, unix_millis),
            Self::Given(validator) => validator(token, unix_millis),
        }
    }
}

impl fmt::Debug for Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsecured(jws) => jws.fmt(f),
            Self::Given(_) => f.write_str("Given"),
        }
    }
}

/// One exchange.
#[derive(Debug, Default)]
pub(super) struct OAuthBearer {
    /// The challenge that the client has to acknowledge.
    refused: Option<String>,
}

impl OAuthBearer {
    pub(super) fn step(&mut self, validator: &Validator, unix_millis: i64, token: &[u8]) -> Result<Step, Failure> {
        if let Some(why) = self.refused.take()
            && token == [1]
        {
            return Err(Failure::Told(why));
        }
        let text = std::str::from_utf8(token).map_err(|_| Failure::Untold)?;
        let first = ClientFirst::parse(text).ok_or(Failure::Untold)?;
        match validator.validate(first.token, unix_millis) {
            Ok(valid) => {
                if let Some(authzid) = first.authzid.filter(|authzid| *authzid != valid.principal) {
                    return Err(Failure::Told(format!(
                        "Authentication failed: Client requested an authorization id ({authzid}) that is different from \
                         the token's principal name ({})",
                        valid.principal
                    )));
                }
                let expires_at_ms = Some(valid.expires_at_ms);
                Ok(Step::Done { answer: Vec::new(), user: valid.principal, expires_at_ms })
            }
            Err(invalid) => {
                let challenge = said(&invalid);
                self.refused = Some(challenge.clone());
                Ok(Step::Challenge(challenge.into_bytes()))
            }
        }
    }
}

fn said(invalid: &InvalidBearerToken) -> String {
    let mut fields = vec![format!("\"status\":{}", quoted(&invalid.status))];
    for (name, value) in [("scope", &invalid.scope), ("openid-configuration", &invalid.openid_configuration)] {
        fields.extend(value.as_ref().map(|value| format!("\"{name}\":{}", quoted(value))));
    }
    format!("{{{}}}", fields.join(", "))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[derive(Debug, PartialEq, Eq)]
struct ClientFirst<'a> {
    authzid: Option<&'a str>,
    token: &'a str,
}

impl<'a> ClientFirst<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (authzid, pairs) = text.strip_prefix("n,")?.split_once(",\x01")?;
        let authzid = match authzid {
            "" => None,
            given => Some(given.strip_prefix("a=").filter(|name| is_saslname(name))?),
        };
        let pairs = pairs.strip_suffix(SEPARATOR).filter(|pairs| pairs.ends_with(SEPARATOR))?;
        let mut auth = None;
        for pair in pairs.split_terminator(SEPARATOR) {
            let (key, value) = pair.split_once('=')?;
            let visible = |byte: u8| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
            if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphabetic()) {
                return None;
            }
            if value.is_empty() || !value.bytes().all(visible) {
                return None;
            }
            if key == "auth" {
                auth = Some(value); // the last one counts
            }
        }
        let (scheme, token) = auth?.split_once(' ')?;
        let token = token.trim_start_matches(' ');
        let body = token.trim_end_matches('=');
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~+/.".contains(&byte);
        let is_token = !body.is_empty() && body.bytes().all(sound);
        (scheme.eq_ignore_ascii_case("bearer") && is_token).then_some(Self { authzid, token })
    }
}
