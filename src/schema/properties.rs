//! Confluent's property names.

use super::config::{Auth, RegistryConfig};
use super::subject::Side;
use crate::client::tls_by_properties;
use crate::error::{Error, ErrorKind, Result};
use crate::settings;
use std::collections::BTreeMap;
use std::time::Duration;

const URL: &str = "schema.registry.url";
const PREFIX: &str = "schema.registry.";
const USER_INFO: &str = "basic.auth.user.info";
const BASIC_SOURCE: &str = "basic.auth.credentials.source";
const TOKEN: &str = "bearer.auth.token";
const BEARER_SOURCE: &str = "bearer.auth.credentials.source";

pub(super) const KEYS: &[&str] = &[
    "auto.register.schemas",
    "basic.auth.credentials.source",
    "basic.auth.user.info",
    "bearer.auth.credentials.source",
    "bearer.auth.token",
    "http.connect.timeout.ms",
    "http.read.timeout.ms",
    "key.subject.name.strategy",
    "latest.cache.ttl.sec",
    "normalize.schemas",
    "retries.max.wait.ms",
    "retries.wait.ms",
    "schema.registry.basic.auth.credentials.source",
    "schema.registry.basic.auth.user.info",
    "schema.registry.bearer.auth.credentials.source",
    "schema.registry.bearer.auth.token",
    "schema.registry.ssl.ca.location",
    "schema.registry.ssl.ca.pem",
    "schema.registry.ssl.certificate.location",
    "schema.registry.ssl.certificate.pem",
    "schema.registry.ssl.cipher.suites",
    "schema.registry.ssl.enabled.protocols",
    "schema.registry.ssl.endpoint.identification.algorithm",
    "schema.registry.ssl.key.location",
    "schema.registry.ssl.key.password",
    "schema.registry.ssl.key.pem",
    "schema.registry.ssl.keystore.certificate.chain",
    "schema.registry.ssl.keystore.key",
    "schema.registry.ssl.keystore.location",
    "schema.registry.ssl.keystore.password",
    "schema.registry.ssl.keystore.type",
    "schema.registry.ssl.protocol",
    "schema.registry.ssl.truststore.certificates",
    "schema.registry.ssl.truststore.location",
    "schema.registry.ssl.truststore.password",
    "schema.registry.ssl.truststore.type",
    "schema.registry.url",
    "use.latest.version",
    "value.subject.name.strategy",
];

/// All of it together.
pub(super) fn config(given: BTreeMap<&str, &str>) -> Result<RegistryConfig> {
    let given = Given(given);
    let urls = given.text(URL).ok_or_else(|| wrong(URL, "not set"))?;
    let mut config = RegistryConfig::new(settings::list(urls))?;
    given.authenticate(&mut config)?;
    let ssl = |(key, value)| Some((str::strip_prefix(key, PREFIX).filter(|key| key.starts_with("ssl."))?, value));
    let tls: Vec<(&str, &str)> = given.0.iter().map(|(key, value)| (*key, *value)).filter_map(ssl).collect();
    if !tls.is_empty() {
        let tls = tls_by_properties(tls).map_err(|error| {
            let why = error.text().unwrap_or("ssl").to_owned();
            error.message(format!("{PREFIX}{why}"))
        })?;
        config = config.tls(tls);
    }
    for key in KEYS {
        let Some(value) = given.text(key) else { continue };
        config = match *key {
            "auto.register.schemas" => config.auto_register_schemas(settings::boolean(key, value)?),
            "use.latest.version" => config.use_latest_version(settings::boolean(key, value)?),
            "normalize.schemas" => config.normalize_schemas(settings::boolean(key, value)?),
            "http.connect.timeout.ms" => config.connect_timeout(settings::millis(key, value)?),
            "http.read.timeout.ms" => config.read_timeout(settings::millis(key, value)?),
            "retries.wait.ms" => {
                let most = config.retry_backoff_max;
                config.retry_backoff(settings::millis(key, value)?, most)
            }
            "retries.max.wait.ms" => {
                let wait = config.retry_backoff;
                config.retry_backoff(wait, settings::millis(key, value)?)
            }
            // Java: -1 is for ever.
            "latest.cache.ttl.sec" => match settings::parse::<i64>(key, value)? {
                seconds @ 0.. => config.latest_ttl(Duration::from_secs(seconds.unsigned_abs())),
                _ => config.latest_ttl(Duration::MAX),
            },
            "key.subject.name.strategy" => config.subject_name_strategy(Side::Key, strategy(key, value)?),
            "value.subject.name.strategy" => config.subject_name_strategy(Side::Value, strategy(key, value)?),
            _ => config, // above
        };
    }
    Ok(config)
}

fn strategy(key: &str, value: &str) -> Result<super::SubjectNameStrategy> {
    value.parse().map_err(|error: Error| {
        let why = error.text().unwrap_or_default().replacen("subject.name.strategy", key, 1);
        error.message(why)
    })
}

struct Given<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Given<'a> {
    fn text(&self, key: &str) -> Option<&'a str> {
        self.0.get(key).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// With the prefix or without, as Java takes both.
    fn either(&self, key: &str) -> Option<&'a str> {
        self.text(&format!("{PREFIX}{key}")).or_else(|| self.text(key))
    }

    fn authenticate(&self, config: &mut RegistryConfig) -> Result<()> {
        let (basic, bearer) = (self.either(USER_INFO), self.either(TOKEN));
        if basic.is_some() && bearer.is_some() {
            return Err(wrong(TOKEN, "contradicts basic.auth.user.info: set one of them"));
        }
        match self.either(BEARER_SOURCE) {
            None | Some("STATIC_TOKEN") => {}
            Some(other) => {
                let why = "STATIC_TOKEN is what is built in; give others to RegistryConfig::bearer_tokens";
                return Err(settings::invalid(BEARER_SOURCE, other, &why));
            }
        }
        let user = match (self.either(BASIC_SOURCE), basic) {
            (None | Some("USER_INFO"), Some(user)) => user.split_once(':'),
            (None | Some("URL"), None) => None, // as `RegistryConfig::new` has found it
            (Some("SASL_INHERIT"), None) => self.text("sasl.username").zip(self.text("sasl.password")),
            (Some("USER_INFO"), None) => return Err(wrong(USER_INFO, "not set")),
            (Some("URL" | "SASL_INHERIT"), Some(_)) => {
                return Err(wrong(
                    USER_INFO,
                    "contradicts basic.auth.credentials.source: that one is USER_INFO for it",
                ));
            }
            (Some(other), _) => return Err(settings::invalid(BASIC_SOURCE, other, &"USER_INFO, URL or SASL_INHERIT")),
        };
        if user.is_none() && basic.is_some() {
            return Err(wrong(USER_INFO, "USER:PASSWORD is what it has to be"));
        }
        if user.is_none() && self.either(BASIC_SOURCE) == Some("SASL_INHERIT") {
            return Err(wrong(
                BASIC_SOURCE,
                "SASL_INHERIT takes sasl.username and sasl.password, and they are not set",
            ));
        }
        if let Some((user, password)) = user {
            config.auth = Auth::Basic(user.to_owned(), password.into());
        }
        if let Some(token) = bearer {
            config.auth = Auth::Bearer(token.into());
        }
        Ok(())
    }
}

fn wrong(key: &str, why: &str) -> Error {
    Error::with_message(ErrorKind::Config, format!("{key}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(properties: &[(&str, &str)]) -> Result<RegistryConfig> {
        config(properties.iter().copied().collect())
    }

    const URLS: (&str, &str) = (URL, "http://a:8081, http://b:8081/sr");

    #[test]
    fn confluents_names_mean_what_they_mean_there() {
        let config = built(&[
            URLS,
            ("schema.registry.basic.auth.user.info", "orders:hu:sh"),
            ("auto.register.schemas", "false"),
            ("use.latest.version", "TRUE"),
            ("normalize.schemas", "true"),
            ("latest.cache.ttl.sec", "-1"),
            ("retries.wait.ms", "7"),
            ("value.subject.name.strategy", "io.confluent.kafka.serializers.subject.RecordNameStrategy"),
            ("schema.registry.ssl.ca.location", "bundled"),
        ]);
        let config = config.unwrap();
        let shown = format!("{config:?}");
        for part in ["http://b:8081/sr", r#"Basic("orders""#, "use_latest: true", "value: Record", "Bundled", "7ms"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(!shown.contains("hu:sh") && !config.defaults.auto_register && config.latest_ttl == Duration::MAX);
    }

    #[test]
    fn who_we_are_may_be_in_the_address_or_in_that_of_the_brokers() {
        let by_url = built(&[(URL, "https://or%3Aders:h%40sh@sr/x@y")]).unwrap();
        let sasl = [URLS, (BASIC_SOURCE, "SASL_INHERIT"), ("sasl.username", "or:ders"), ("sasl.password", "h@sh")];
        for config in [by_url, built(&sasl).unwrap()] {
            let Auth::Basic(user, password) = &config.auth else { unreachable!("{config:?}") };
            assert_eq!((user.as_str(), password.expose()), ("or:ders", "h@sh"));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (properties, expected) in [
            (vec![], "schema.registry.url: not set"),
            (vec![(URL, "sr:8081")], "schema.registry.url: not an address that begins with"),
            (vec![(URL, " , ")], "schema.registry.url: no address"),
            (vec![URLS, (USER_INFO, "hush")], "basic.auth.user.info: USER:PASSWORD"),
            (vec![URLS, (USER_INFO, "a:b"), (TOKEN, "hush")], "bearer.auth.token: contradicts"),
            (vec![URLS, (BASIC_SOURCE, "USER_INFO")], "basic.auth.user.info: not set"),
            (vec![URLS, (BASIC_SOURCE, "SASL_INHERIT")], "basic.auth.credentials.source: SASL_INHERIT takes"),
            (vec![URLS, (BASIC_SOURCE, "KEYTAB")], "basic.auth.credentials.source=KEYTAB"),
            (vec![URLS, (BEARER_SOURCE, "OAUTHBEARER")], "bearer.auth.credentials.source=OAUTHBEARER: STATIC_TOKEN"),
            (vec![URLS, ("use.latest.version", "perhaps")], "use.latest.version=perhaps"),
            (vec![URLS, ("key.subject.name.strategy", "Mine")], "key.subject.name.strategy=Mine: TopicNameStrategy"),
            (vec![URLS, ("schema.registry.ssl.keystore.location", "a.jks")], "schema.registry.ssl.keystore.type: not"),
        ] {
            let error = built(&properties).unwrap_err().to_string();
            assert!(error.starts_with(expected) && !error.contains("hush"), "{error}");
        }
        assert!(KEYS.is_sorted());
    }
}
