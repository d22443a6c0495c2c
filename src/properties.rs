//! Kafka's and librdkafka's property names, for client, producer and consumer together.
//!
//! ```
//! use milena::properties::Properties;
//!
//! let properties = Properties::parse("bootstrap.servers = localhost:9092\nlinger.ms = 20\ngroup.id = dashboards")?;
//! let (client, producer, consumer) = (properties.client()?, properties.producer()?, properties.consumer()?);
//! # Ok::<(), milena::error::Error>(())
//! ```

use crate::client::ClientConfig;
use crate::consumer::ConsumerConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::producer::ProducerConfig;
use std::collections::BTreeMap;

/// Keys with their values; of a key that is given twice, the last counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    values: BTreeMap<String, String>,
}

impl Properties {
    /// Reads the text of a properties file: `key=value`, `key: value` or `key value` on each line, `#` and `!` begin a
    /// comment, a backslash at the end continues the line.
    ///
    /// # Errors
    /// `Config` for a key that none of the three knows, with the nearest one that they know.
    pub fn parse(text: &str) -> Result<Self> {
        let mut properties = Self::default();
        let mut continued = String::new();
        for line in text.lines() {
            let line = line.trim_start();
            if continued.is_empty() && (line.is_empty() || line.starts_with(['#', '!'])) {
                continue;
            }
            if let Some(part) = line.strip_suffix('\\') {
                continued.push_str(part);
                continue;
            }
            let whole = std::mem::take(&mut continued) + line;
            let (key, value) =
                whole.split_once(|c: char| c == '=' || c == ':' || c.is_whitespace()).unwrap_or((&whole, ""));
            let value = value.trim_start();
            let value = value.strip_prefix(['=', ':']).unwrap_or(value); // `key = value`
            properties.insert(key, value.trim())?;
        }
        Ok(properties)
    }

    /// Adds or replaces one.
    ///
    /// # Errors
    /// `Config` for a key that neither client nor producer nor consumer knows.
    pub fn insert(&mut self, key: &str, value: &str) -> Result<()> {
        if !keys().any(|known| known == key) {
            return Err(unknown(key));
        }
        self.values.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    /// What is set, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The client's settings: its defaults, and what is set here.
    ///
    /// # Errors
    /// `Config` for a value that can't be.
    pub fn client(&self) -> Result<ClientConfig> {
        self.apply(ClientConfig::default(), ClientConfig::set)
    }

    /// The producer's settings: its defaults, and what is set here.
    ///
    /// # Errors
    /// `Config` for a value that can't be.
    pub fn producer(&self) -> Result<ProducerConfig> {
        self.apply(ProducerConfig::default(), ProducerConfig::set)
    }

    /// The consumer's settings: its defaults, and what is set here.
    ///
    /// # Errors
    /// `Config` for a value that can't be.
    pub fn consumer(&self) -> Result<ConsumerConfig> {
        self.apply(ConsumerConfig::default(), ConsumerConfig::set)
    }

    fn apply<T>(&self, mut config: T, set: impl Fn(&mut T, &str, &str) -> Result<bool>) -> Result<T> {
        for (key, value) in &self.values {
            set(&mut config, key, value)?; // `false`: one of the other two's
        }
        Ok(config)
    }
}

/// Every key that one of the three takes.
pub fn keys() -> impl Iterator<Item = &'static str> {
    ClientConfig::KEYS.iter().chain(ProducerConfig::KEYS).chain(ConsumerConfig::KEYS).copied()
}

fn unknown(key: &str) -> Error {
    let nearest = keys().map(|known| (strsim::damerau_levenshtein(known, key), known)).min();
    let hint = match nearest {
        Some((distance, known)) if distance <= key.len().div_ceil(3) => format!(", did you mean `{known}`?"),
        _ => String::new(),
    };
    Error::with_message(ErrorKind::Config, format!("unknown property `{key}`{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_java_reads_it() {
        let text =
            "# comment\n! too\n\nlinger.ms=20\n client.id : a=b \nbootstrap.servers a:1,\\\n    b:2\ngroup.id = g";
        let properties = Properties::parse(text).unwrap();
        let expected = [("bootstrap.servers", "a:1,b:2"), ("client.id", "a=b"), ("group.id", "g"), ("linger.ms", "20")];
        assert_eq!(properties.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn an_unknown_key_is_an_error_with_the_nearest_name() {
        let error = Properties::parse("liner.ms=5").unwrap_err();
        assert_eq!(error.to_string(), "unknown property `liner.ms`, did you mean `linger.ms`?");
        assert!(!Properties::parse("zzzzzzzzz=5").unwrap_err().to_string().contains("mean"));
    }

    #[test]
    fn a_value_that_cannot_be_names_its_key() {
        let properties = Properties::parse("linger.ms=soon").unwrap();
        assert!(properties.client().is_ok());
        assert!(properties.producer().unwrap_err().to_string().starts_with("linger.ms=soon"));
    }
}
