//! PLAIN (RFC 4616): `authzid NUL user NUL password`, where authzid is nobody else.

use super::{Failure, Step};
use crate::broker::security::Users;
use subtle::ConstantTimeEq;

pub(super) fn step(users: &Users, token: &[u8]) -> Result<Step, Failure> {
    let text = String::from_utf8_lossy(token);
    let parts: Vec<&str> = text.splitn(4, '\0').collect();
    let [authzid, user, password] = parts[..] else {
        let why = format!("Invalid SASL/PLAIN response: expected 3 tokens, got {}", parts.len());
        return Err(Failure::Told(why));
    };
    if user.is_empty() {
        return Err(Failure::told("Authentication failed: username not specified"));
    }
    if password.is_empty() {
        return Err(Failure::told("Authentication failed: password not specified"));
    }
    let known = users.password(user).is_some_and(|known| known.as_bytes().ct_eq(password.as_bytes()).into());
    if !known {
        return Err(Failure::told("Authentication failed: Invalid username or password"));
    }
    if !authzid.is_empty() && authzid != user {
        let why = "Authentication failed: Client requested an authorization id that is different from username";
        return Err(Failure::told(why));
    }
    Ok(Step::Done { answer: Vec::new(), user: user.to_owned(), expires_at_ms: None })
}
