//! Whose error it is, for those who never heard of an HTTP exchange; and no peer's words give a secret away.

use crate::error::{Error, ErrorKind};
use std::fmt::Display;

/// The error with `whose` it is before it, and without `secrets`. `hint` says what to do about TLS.
pub fn explained(error: Error, whose: &dyn Display, secrets: &[&str], hint: &'static str) -> Error {
    let why = without(error.text().unwrap_or("the connection broke"), secrets);
    if error.kind() != ErrorKind::Tls {
        return error.message(format!("{whose}: {why}"));
    }
    let why = why.replace("the broker's", "its"); // TLS knows of brokers only
    error.message(format!("{whose}: {why}")).hint(hint)
}

/// A peer's words without what it was sent.
pub fn without(words: &str, secrets: &[&str]) -> String {
    let secrets = secrets.iter().filter(|secret| !secret.is_empty());
    secrets.fold(words.to_owned(), |words, secret| words.replace(secret, "…"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_whose_it_is_and_no_secret() {
        let error = |kind| Error::with_message(kind, "the broker's name is not hush, but hu");
        let told = explained(error(ErrorKind::Malformed), &"endpoint e", &["hush", ""], "look").to_string();
        assert_eq!(told, "endpoint e: the broker's name is not …, but hu");
        let told = explained(error(ErrorKind::Tls), &"endpoint e", &[], "look").to_string();
        assert_eq!(told, "endpoint e: its name is not hush, but hu; look");
        let told = explained(Error::new(ErrorKind::Connection), &"e", &[], "").to_string();
        assert_eq!(told, "e: the connection broke");
    }
}
