//! Values of Kafka properties as text: what the `set` of each configuration parses them with.

use crate::error::{Error, ErrorKind, Result};
use std::{fmt::Display, str::FromStr, time::Duration};

/// A number or anything else that parses from text.
///
/// # Errors
/// `Config`, naming the key.
pub fn parse<T: FromStr<Err: Display>>(key: &str, value: &str) -> Result<T> {
    value.trim().parse().map_err(|error| invalid(key, value, &error))
}

/// A duration in milliseconds, as every `*.ms` property has it.
pub fn millis(key: &str, value: &str) -> Result<Duration> {
    parse(key, value).map(Duration::from_millis)
}

/// `true` or `false`, in any case.
pub fn boolean(key: &str, value: &str) -> Result<bool> {
    parse(key, &value.to_ascii_lowercase())
}

/// A comma list without empty items.
pub fn list(value: &str) -> Vec<String> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// What is said of a value that can't be.
pub fn invalid(key: &str, value: &str, why: &dyn Display) -> Error {
    Error::with_message(ErrorKind::Config, format!("{key}={value}: {why}"))
}
