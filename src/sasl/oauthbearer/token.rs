//! [`Token`], and [`TokenProvider`]: where it comes from.

use crate::error::{Error, ErrorKind, Result};
use crate::sasl::{SaslMessage, SaslPeer};
use crate::secret::Secret;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// What [`TokenProvider::token`] gives.
pub type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Token>> + Send + 'a>>;

/// Where tokens come from. It is asked for each connection, many at once, and again before a broker's patience with a connection
/// is over (KIP-368), so one that has to go far for a token keeps it for a while; `oidc::ClientCredentials` (feature `oidc`) does.
pub trait TokenProvider: fmt::Debug + Send + Sync + 'static {
    /// A token that is good for this broker now. May wait: the time counts to `socket.connection.setup.timeout.ms`. A drop gives
    /// the attempt up.
    ///
    /// # Errors
    /// The connection is not made; a [retriable](Error::is_retriable) error is tried again.
    fn token<'a>(&'a self, peer: &'a SaslPeer) -> Fetching<'a>;

    /// A broker did not take this token: one that was kept is not to be handed out again.
    fn refused(&self, token: &Token) {
        let _ = token;
    }
}

impl<P: TokenProvider + ?Sized> TokenProvider for Arc<P> {
    fn token<'a>(&'a self, peer: &'a SaslPeer) -> Fetching<'a> {
        (**self).token(peer)
    }

    fn refused(&self, token: &Token) {
        (**self).refused(token);
    }
}

/// A bearer token: a JWT mostly, for us an opaque text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    value: Secret,
    lifetime: Option<Duration>,
    extensions: Vec<(String, String)>,
}

impl Token {
    /// This text, good for as long as the broker says.
    pub fn new(value: impl Into<Secret>) -> Self {
        Self { value: value.into(), lifetime: None, extensions: Vec::new() }
    }

    /// For how long from now it is good. A token that has none left is not sent.
    pub fn valid_for(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// Something to say beside the token (KIP-342): the name in letters, the value in printable ASCII and white space.
    pub fn extension(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.extensions.push((name.into(), value.into()));
        self
    }

    /// The text itself.
    pub fn value(&self) -> &Secret {
        &self.value
    }

    /// For how long it was good when it was made.
    pub fn lifetime(&self) -> Option<Duration> {
        self.lifetime
    }

    /// # Errors
    /// `Config`: what can't be sent, since it would end where it should not.
    pub(super) fn first_message(&self) -> Result<SaslMessage> {
        let value = self.value.expose();
        // RFC 6750's b64token.
        let body = value.trim_end_matches('=');
        if body.is_empty() || !body.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte)) {
            return Err(wrong(
                "the token is no bearer token (letters, digits and -._~+/ with = at the end)".to_owned(),
            ));
        }
        if self.lifetime == Some(Duration::ZERO) {
            return Err(
                wrong("the provider's token has expired".to_owned()).hint("is the clock of this machine right?")
            );
        }
        let room =
            24 + value.len() + self.extensions.iter().map(|(name, value)| name.len() + value.len() + 2).sum::<usize>();
        let mut message = SaslMessage::new(Vec::with_capacity(room)); // a larger one would leave a copy behind
        message.extend_from_slice(b"n,,\x01auth=Bearer ");
        message.extend_from_slice(value.as_bytes());
        message.push(1);
        for (name, value) in &self.extensions {
            check_extension(name, value)?;
            for part in [name.as_bytes(), b"=", value.as_bytes(), b"\x01"] {
                message.extend_from_slice(part);
            }
        }
        message.push(1);
        Ok(message)
    }
}

/// As Kafka's broker judges them.
fn check_extension(name: &str, value: &str) -> Result<()> {
    if name == "auth" {
        return Err(wrong("`auth` is the token itself and no name of an extension".to_owned()));
    }
    let shown = || name.chars().take(80).collect::<String>();
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err(wrong(format!("`{}` is no name of an extension: letters only", shown().escape_debug())));
    }
    if value.is_empty() || !value.bytes().all(|byte| matches!(byte, b'!'..=b'~' | b' ' | b'\t' | b'\r' | b'\n')) {
        return Err(wrong(format!("the value of the extension `{}` has to be printable ASCII", shown())));
    }
    Ok(())
}

fn wrong(why: String) -> Error {
    Error::with_message(ErrorKind::Config, format!("OAUTHBEARER: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_where_it_should_not_is_not_sent() {
        for (token, why) in [
            (Token::new(""), "no bearer token"),
            (Token::new("===="), "no bearer token"),
            (Token::new("a\x01b"), "no bearer token"),
            (Token::new("a b"), "no bearer token"),
            (Token::new("a=b"), "no bearer token"),
            (Token::new("a").extension("auth", "x"), "`auth`"),
            (Token::new("a").extension("", "x"), "letters only"),
            (Token::new("a").extension("trace_id", "x"), "letters only"),
            (Token::new("a").extension("trace", ""), "printable"),
            (Token::new("a").extension("trace", "x\x01auth=y"), "printable"),
            (Token::new("a").extension("trace", "ü"), "printable"),
            (Token::new("a").valid_for(Duration::ZERO), "expired"),
        ] {
            let error = token.first_message().unwrap_err();
            assert!(error.kind() == ErrorKind::Config && error.to_string().contains(why), "{token:?}: {error}");
        }
        assert!(Token::new("a-._~+/9==").extension("Auth", " ~\t").first_message().is_ok());
    }

    #[test]
    fn a_token_does_not_show_itself() {
        let shown = format!("{:?}", Token::new("abc.def").extension("trace", "7"));
        assert!(!shown.contains("abc") && shown.contains("trace"), "{shown}");
    }
}
