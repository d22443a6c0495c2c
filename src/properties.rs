//! Kafka's and librdkafka's property names, for client, producer and consumer together.
//!
//! ```
//! use milena::properties::Properties;
//!
//! let properties = Properties::parse("bootstrap.servers = localhost:9092\nlinger.ms = 20\ngroup.id = dashboards")?;
//! let (client, producer, consumer) = (properties.client()?, properties.producer()?, properties.consumer()?);
//! # Ok::<(), milena::error::Error>(())
//! ```
//!
//! With the feature `schema-registry` there are those of Confluent's registry as well.

mod foreign;

use crate::client::ClientConfig;
use crate::consumer::ConsumerConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::producer::ProducerConfig;
#[cfg(feature = "schema-registry")]
use crate::schema::RegistryConfig;
use crate::secret::Secret;
use std::fmt;

/// Keys with their values; of a key that is given twice, the last counts. Passwords and keys are not shown by `Debug`, and
/// overwritten in memory when this is dropped.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties {
    /// In the order in which they were given, since of two names for one thing the last one counts.
    values: Vec<(String, Secret)>,
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(key, value)| if is_secret(key) { (key, "…") } else { (key, value) };
        f.debug_map().entries(self.iter().map(shown)).finish()
    }
}

impl Properties {
    /// Reads the text of a properties file: `key=value`, `key: value` or `key value` on each line, `#` and `!` begin a
    /// comment, a backslash at the end continues the line, and elsewhere takes the next letter as it is (`\\n`, `\\t`, `\\u00e9`
    /// as Java has them). A backslash in a password is written twice.
    ///
    /// # Errors
    /// `Config` for a key that none of the three knows, with the nearest one that they know.
    pub fn parse(text: &str) -> Result<Self> {
        let mut properties = Self::default();
        let mut continued = String::new();
        for line in text.trim_start_matches('\u{feff}').lines() {
            let line = line.trim_start();
            if continued.is_empty() && (line.is_empty() || line.starts_with(['#', '!'])) {
                continue;
            }
            let backslashes = line.len() - line.trim_end_matches('\\').len();
            if backslashes % 2 == 1 {
                continued.push_str(&line[..line.len() - 1]);
                continue;
            }
            let whole = Secret::from(std::mem::take(&mut continued) + line);
            let (key, value) = halves(whole.expose());
            properties.insert(unescaped(key).expose(), unescaped(value.trim()).expose())?;
        }
        if !continued.is_empty() {
            let (key, value) = halves(&continued);
            properties.insert(unescaped(key).expose(), unescaped(value.trim()).expose())?;
        }
        Ok(properties)
    }

    /// Adds or replaces one; of two names for one thing (`acks`, `request.required.acks`) the one that was given last counts. What Java or librdkafka has and we have no use for is left out, with a line in the log.
    ///
    /// # Errors
    /// `Config` for a key that neither client nor producer nor consumer knows, and for one of Java's or librdkafka's that can't
    /// be had here and would be missed: `partitioner.class`, `config.providers`.
    pub fn insert(&mut self, key: &str, value: &str) -> Result<()> {
        #[cfg(feature = "schema-registry")]
        if RegistryConfig::KEYS.contains(&key) {
            self.put(key, value);
            return Ok(());
        }
        if foreign::passes(key, value)? {
            tracing::info!("the property {key} has no effect here");
            return Ok(());
        }
        if !keys().any(|known| known == key) {
            return Err(unknown(key));
        }
        self.put(key, value);
        Ok(())
    }

    fn put(&mut self, key: &str, value: &str) {
        self.values.retain(|(known, _)| known != key);
        self.values.push((key.to_owned(), value.into()));
    }

    /// What is set, in the order in which it was given, secrets included.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(key, value)| (key.as_str(), value.expose()))
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

    /// The settings of the schema registry, by `schema.registry.url` and what goes with it.
    ///
    /// # Errors
    /// `Config` for a value that can't be, and if there is no `schema.registry.url`.
    #[cfg(feature = "schema-registry")]
    pub fn schema_registry(&self) -> Result<RegistryConfig> {
        RegistryConfig::from_properties(self.iter())
    }

    fn apply<T>(&self, mut config: T, set: impl Fn(&mut T, &str, &str) -> Result<bool>) -> Result<T> {
        for (key, value) in &self.values {
            set(&mut config, key, value.expose())?; // `false`: one of the other two's
        }
        Ok(config)
    }
}

/// Every key that one of the three takes.
pub fn keys() -> impl Iterator<Item = &'static str> {
    ClientConfig::keys().chain(ProducerConfig::KEYS.iter().chain(ConsumerConfig::KEYS).copied())
}

/// Whether the value of this property is a password, a key, or holds one, and must not be shown.
pub fn is_secret(key: &str) -> bool {
    [
        "password",
        "secret",
        "jaas",
        "key.pem",
        "keystore.key",
        "oauthbearer.config",
        "user.info",
        "auth.token",
        "registry.url",
    ]
    .iter()
    .any(|word| key.contains(word))
}

/// The key, and what stands behind the first blank, `=` or `:` that is not escaped.
fn halves(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c: char| {
        let is_end = !escaped && (c == '=' || c == ':' || c.is_whitespace());
        escaped = !escaped && c == '\\';
        is_end
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start(); // `key = value`
    (key, rest.strip_prefix(['=', ':']).unwrap_or(rest))
}

fn unescaped(text: &str) -> Secret {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            plain.push(letter);
            continue;
        }
        match letters.next() {
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('t') => plain.push('\t'),
            Some('f') => plain.push('\u{c}'),
            Some('u') => match code_point(letters.as_str()) {
                Some((letter, length)) => {
                    plain.push(letter);
                    letters = letters.as_str().get(length..).unwrap_or_default().chars();
                }
                None => plain.push('u'),
            },
            Some(other) => plain.push(other),
            None => {}
        }
    }
    plain.into()
}

/// What four digits behind `\\u` stand for, or eight of two such, and how much they take.
fn code_point(text: &str) -> Option<(char, usize)> {
    let unit = |from: usize| text.get(from..from + 4).and_then(|hex| u16::from_str_radix(hex, 16).ok());
    let first = unit(0)?;
    if let Some(letter) = char::from_u32(first.into()) {
        return Some((letter, 4));
    }
    let second = unit(6).filter(|_| text.get(4..6) == Some("\\u"))?;
    let mut both = char::decode_utf16([first, second]);
    Some((both.next()?.ok()?, 10))
}

/// What does not look like a name is not shown: a key in PEM whose lines don't go on with a backslash gives such keys.
fn unknown(key: &str) -> Error {
    let nearest = keys().map(|known| (strsim::damerau_levenshtein(known, key), known)).min();
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    let message = match nearest {
        Some((distance, known)) if distance <= key.len().div_ceil(3) => {
            format!("unknown property `{key}`, did you mean `{known}`?")
        }
        _ if key.len() <= 64 && key.starts_with(|c: char| c.is_ascii_lowercase()) && key.chars().all(is_name) => {
            format!("unknown property `{key}`")
        }
        _ => "a line that is no property: a value that goes on has a backslash at the end of each line but its last"
            .to_owned(),
    };
    Error::with_message(ErrorKind::Config, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::producer::Acks;
    use std::time::Duration;

    #[test]
    fn a_file_is_read_as_java_reads_it() {
        let text =
            "# comment\n! too\n\nlinger.ms=20\n client.id : a=b \nbootstrap.servers a:1,\\\n    b:2\ngroup.id = g";
        let properties = Properties::parse(text).unwrap();
        let expected = [("linger.ms", "20"), ("client.id", "a=b"), ("bootstrap.servers", "a:1,b:2"), ("group.id", "g")];
        assert_eq!(properties.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn escapes_are_java_s_and_a_line_may_go_on() {
        let text =
            "client.id = a\\=b\\u00e9\\\\\ngroup.id: x\\\n   y\nssl.ca.pem=-----BEGIN\\nB\nsasl.password = p=w:x \\\n";
        let properties = Properties::parse(text).unwrap();
        let expected =
            [("client.id", "a=bé\\"), ("group.id", "xy"), ("ssl.ca.pem", "-----BEGIN\nB"), ("sasl.password", "p=w:x")];
        assert_eq!(properties.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn of_two_names_for_one_thing_the_last_counts() {
        let text = "request.required.acks=0\nacks=1\nlinger.ms=7\nqueue.buffering.max.ms=8\nacks=all\n";
        let properties = Properties::parse(text).unwrap();
        assert_eq!(properties.iter().last(), Some(("acks", "all")));
        let config = ProducerConfig::default().acks(Acks::All).linger(Duration::from_millis(8));
        assert_eq!(format!("{:?}", properties.producer().unwrap()), format!("{config:?}"));
    }

    #[test]
    fn secrets_are_not_shown() {
        let mut properties = Properties::default();
        for key in keys().filter(|key| is_secret(key)) {
            properties.insert(key, "hush").unwrap();
        }
        properties.insert("client.id", "me").unwrap();
        let shown = format!("{properties:?}");
        assert!(!shown.contains("hush") && shown.contains("\"me\"") && shown.contains("sasl.jaas.config"), "{shown}");
    }

    #[test]
    fn what_means_nothing_here_is_left_out() {
        let properties = Properties::parse("key.serializer=a.b.C\nsasl.kerberos.service.name=kafka").unwrap();
        assert_eq!(properties.iter().count(), 0);
    }

    #[cfg(feature = "schema-registry")]
    #[test]
    fn those_of_the_schema_registry_are_kept_for_it() {
        let text =
            "schema.registry.url=http://a:8081\nbasic.auth.user.info=me:hush\nuse.latest.version=true\nlinger.ms=7";
        let properties = Properties::parse(text).unwrap();
        assert!(properties.client().is_ok() && properties.producer().is_ok());
        let shown = format!("{:?} {properties:?}", properties.schema_registry().unwrap());
        assert!(shown.contains("use_latest: true") && !shown.contains("hush"), "{shown}");
        let error = Properties::parse("linger.ms=7").unwrap().schema_registry().unwrap_err();
        assert_eq!(error.to_string(), "schema.registry.url: not set");
    }

    #[test]
    fn an_unknown_key_is_an_error_with_the_nearest_name() {
        let error = Properties::parse("liner.ms=5").unwrap_err();
        assert_eq!(error.to_string(), "unknown property `liner.ms`, did you mean `linger.ms`?");
        assert!(!Properties::parse("zzzzzzzzz=5").unwrap_err().to_string().contains("mean"));
    }

    #[test]
    fn a_key_that_is_no_name_is_not_shown() {
        for text in [
            "ssl.key.pem=-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIDRO0zuv\n-----END PRIVATE KEY-----",
            "ssl.key.pem=\n-----BEGIN",
        ] {
            let error = Properties::parse(text).unwrap_err().to_string();
            assert!(error.contains("no property") && !error.contains("MC4C") && !error.contains("BEGIN"), "{error}");
        }
    }

    #[test]
    fn letters_beyond_sixteen_bits_and_a_byte_order_mark_are_read() {
        let properties = Properties::parse("\u{feff}client.id=\\ud83d\\ude00\\ud83dx\\u12").unwrap();
        assert_eq!(properties.iter().collect::<Vec<_>>(), [("client.id", "😀ud83dxu12")]);
    }

    #[test]
    fn a_value_that_cannot_be_names_its_key() {
        let properties = Properties::parse("linger.ms=soon").unwrap();
        assert!(properties.client().is_ok());
        assert!(properties.producer().unwrap_err().to_string().starts_with("linger.ms=soon"));
    }
}
