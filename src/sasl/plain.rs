//! PLAIN (RFC 4616): name and password as they are. Anybody on the way reads them, so only over TLS.

use super::{SaidAll, SaslMechanism, SaslMessage, SaslPeer, Starting};
use crate::error::{Error, ErrorKind};
use crate::secret::Secret;

/// PLAIN: a name and a password, sent as they are. Use it over TLS only.
#[derive(Debug, Clone)]
pub struct Plain {
    username: String,
    password: Secret,
}

impl Plain {
    /// `sasl.username` and `sasl.password`.
    pub fn new(username: impl Into<String>, password: impl Into<Secret>) -> Self {
        Self { username: username.into(), password: password.into() }
    }

    /// No authorization identity: we are who we are (Kafka refuses any other).
    fn message(&self) -> SaslMessage {
        let mut message = SaslMessage::new(Vec::with_capacity(2 + self.username.len() + self.password.expose().len()));
        for part in [self.username.as_bytes(), self.password.expose().as_bytes()] {
            message.push(0);
            message.extend_from_slice(part);
        }
        message
    }
}

impl SaslMechanism for Plain {
    fn name(&self) -> &str {
        "PLAIN"
    }

    fn start<'a>(&'a self, _: &'a SaslPeer) -> Starting<'a> {
        Box::pin(async move {
            if self.username.contains('\0') || self.password.expose().contains('\0') {
                return Err(Error::with_message(ErrorKind::Config, "PLAIN has no NUL in names and passwords"));
            }
            Ok((self.message(), Box::new(SaidAll("PLAIN")) as _))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authorization_identity_is_empty_and_the_password_is_not_shown() {
        let plain = Plain::new("alice", "s3cret");
        assert_eq!(plain.message().as_slice(), b"\0alice\0s3cret");
        assert!(!format!("{plain:?}").contains("s3cret"));
    }
}
