//! What a registry has answered: data, or why not and whether to ask again.

use crate::error::{Error, ErrorKind, Result, shown};
use crate::net::http::Answer;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::error::Error as StdError;
use std::fmt;

/// No more than this of a registry's words goes into an error.
const WORDS: usize = 600;

/// What a registry said no with. It is the [source](StdError::source) of the error that the call returned.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegistryError {
    /// HTTP's status.
    pub status: u16,
    /// The registry's own code, which says more: 40401 is an unknown subject, 42201 a schema that can't be.
    pub code: i64,
    /// The registry's words.
    pub message: String,
}

impl RegistryError {
    /// What the registry said, if it is a registry that said no.
    pub fn of(error: &Error) -> Option<&Self> {
        error.source()?.downcast_ref()
    }

    /// Whether there is no such subject, version or schema.
    pub fn is_not_found(&self) -> bool {
        matches!(self.code, 40401..=40499)
    }
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (error_code {})", self.message, self.code)
    }
}

impl StdError for RegistryError {}

#[derive(Deserialize)]
struct Refused {
    error_code: i64,
    #[serde(default)]
    message: String,
}

/// The answer, if it is one.
///
/// # Errors
/// Why there is none: [retriable](Error::is_retriable) if asking again may help.
pub(super) fn judge<T: DeserializeOwned>(answer: &Answer) -> Result<T> {
    if (200..300).contains(&answer.status) {
        return serde_json::from_slice(&answer.body).map_err(|error| {
            let why = format!("not the JSON that a registry answers with: {error}");
            Error::with_message(ErrorKind::Malformed, why).hint("is this a Schema Registry's address?")
        });
    }
    let (kind, hint) = explain(answer.status);
    let Ok(Refused { error_code, message }) = serde_json::from_slice(&answer.body) else {
        let status = hyper::StatusCode::from_u16(answer.status).ok();
        let named = status.and_then(|status| status.canonical_reason()).unwrap_or("no known status");
        let (kind, hint) = match answer.status {
            404 | 405 => (ErrorKind::Config, "is this a Schema Registry's address?"),
            _ => (kind, hint),
        };
        return Err(Error::with_message(kind, format!("{} {named}", answer.status)).hint(hint));
    };
    let hint = match error_code {
        40401 | 40402 => {
            "the subject is made of the topic's name and -key or -value, unless subject.name.strategy says otherwise"
        }
        40403 if answer.status == 404 => {
            "another registry than the writer's, perhaps; with auto.register.schemas=false the schema has to be registered first"
        }
        42201 => "the registry can't read the schema",
        42202 => "a version is a number from 1 on, or latest",
        _ => hint,
    };
    let said = RegistryError { status: answer.status, code: error_code, message: shown(&message, WORDS) };
    Err(Error::with_message(kind, format!("{}: {said}", answer.status)).hint(hint).caused_by(said))
}

fn explain(status: u16) -> (ErrorKind, &'static str) {
    match status {
        408 | 429 | 500.. => (ErrorKind::Connection, "the registry is asked again"),
        300..=399 => (ErrorKind::Config, "redirects are not followed: give the address that it names"),
        401 | 403 => (
            ErrorKind::Denied,
            "basic.auth.user.info or bearer.auth.token is not what the registry expects, or may not do this",
        ),
        409 => (
            ErrorKind::InvalidArgument,
            "the schema is not compatible with those before: BACKWARD, the default, takes new fields with a default and fields \
             that are gone",
        ),
        _ => (ErrorKind::InvalidArgument, "the registry does not take it as it is"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, body: &str) -> Error {
        let answer = Answer { status, body: body.as_bytes().to_vec().into(), ..Answer::default() };
        judge::<Vec<String>>(&answer).unwrap_err()
    }

    /// The bodies are those of Confluent's API reference.
    #[test]
    fn the_registrys_words_are_in_the_error() {
        let error = refused(404, r#"{"error_code":40401,"message":"Subject 'clicks-value' not found."}"#);
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(RegistryError::of(&error).unwrap().is_not_found());
        let expected = "404: Subject 'clicks-value' not found. (error_code 40401); the subject is made of";
        assert!(error.to_string().starts_with(expected), "{error}");
        for (status, body, kind, retriable, expected) in [
            (
                409,
                r#"{"error_code":409,"message":"incompatible"}"#,
                ErrorKind::InvalidArgument,
                false,
                "409: incompatible",
            ),
            (401, r#"{"error_code":401,"message":"Unauthorized"}"#, ErrorKind::Denied, false, "401: Unauthorized"),
            (401, "<html>", ErrorKind::Denied, false, "401 Unauthorized; basic.auth.user.info"),
            (500, r#"{"error_code":50001,"message":"store"}"#, ErrorKind::Connection, true, "500: store"),
            (503, "", ErrorKind::Connection, true, "503 Service Unavailable; the registry is asked again"),
            (429, "slow", ErrorKind::Connection, true, "429 Too Many"),
            (404, "<html>", ErrorKind::Config, false, "404 Not Found; is this a Schema Registry's"),
            (302, "", ErrorKind::Config, false, "302 Found; redirects"),
            (200, "<html>", ErrorKind::Malformed, false, "not the JSON that a registry answers with"),
            (
                422,
                r#"{"error_code":42201,"message":"Invalid \u001b[31mschema"}"#,
                ErrorKind::InvalidArgument,
                false,
                "422: Invalid [31m",
            ),
        ] {
            let error = refused(status, body);
            assert_eq!((error.kind(), error.is_retriable()), (kind, retriable), "{error}");
            assert!(error.to_string().starts_with(expected), "{error}");
        }
    }
}
