//! Security by property: Java's and librdkafka's names for the same things, put together once all of them are known.
//!
//! | | librdkafka | Java |
//! | --- | --- | --- |
//! | what | `security.protocol` | the same |
//! | whom to trust | `ssl.ca.location` (a file, a directory, `system` or `bundled`), `ssl.ca.pem` | `ssl.truststore.location`, `ssl.truststore.certificates`, of type `PEM` |
//! | who we are, by TLS | `ssl.certificate.location`, `ssl.certificate.pem`, `ssl.key.location`, `ssl.key.pem` | `ssl.keystore.location`, `ssl.keystore.certificate.chain`, `ssl.keystore.key`, of type `PEM` |
//! | the key's password | `ssl.key.password` | the same |
//! | who we are, by SASL | `sasl.mechanism` (`sasl.mechanisms`), `sasl.username`, `sasl.password` | `sasl.mechanism`, `sasl.jaas.config` |
//! | tokens | see `oauth` | see `oauth` |

mod jaas;
mod oauth;

use crate::error::{Error, ErrorKind, Result};
use crate::net::clock::NetClock;
use crate::net::security::Security;
use crate::sasl::{Plain, SaslMechanism, Scram};
use crate::secret::Secret;
use crate::settings;
#[cfg(feature = "tls")]
use crate::tls::{Pem, TlsConfig};
use jaas::Jaas;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What a client knows of TLS and SASL before it is made.
#[derive(Debug, Clone, Default)]
pub(super) struct SecuritySettings {
    #[cfg(feature = "tls")]
    pub tls: Option<TlsConfig>,
    pub sasl: Option<Arc<dyn SaslMechanism>>,
    properties: BTreeMap<&'static str, Secret>,
}

/// Java's and librdkafka's properties that this file knows.
pub(super) const KEYS: &[&str] = &[
    "security.protocol",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.key.location",
    "ssl.key.pem",
    "ssl.key.password",
    "ssl.truststore.type",
    "ssl.truststore.location",
    "ssl.truststore.certificates",
    "ssl.truststore.password",
    "ssl.keystore.type",
    "ssl.keystore.location",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.password",
    "ssl.endpoint.identification.algorithm",
    "enable.ssl.certificate.verification",
    "ssl.enabled.protocols",
    "ssl.protocol",
    "ssl.cipher.suites",
    "ssl.crl.location",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.password",
    "sasl.jaas.config",
    "sasl.login.callback.handler.class",
    "sasl.login.connect.timeout.ms",
    "sasl.login.read.timeout.ms",
    "sasl.login.retry.backoff.ms",
    "sasl.login.retry.backoff.max.ms",
    "sasl.login.refresh.window.factor",
    "sasl.login.refresh.window.jitter",
    "sasl.login.refresh.min.period.seconds",
    "sasl.login.refresh.buffer.seconds",
    "sasl.oauthbearer.method",
    "sasl.oauthbearer.config",
    "enable.sasl.oauthbearer.unsecure.jwt",
    "sasl.oauthbearer.token.endpoint.url",
    "sasl.oauthbearer.grant.type",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.client.credentials.client.id",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.scope",
    "sasl.oauthbearer.extensions",
    "sasl.oauthbearer.header.urlencode",
    "https.ca.location",
    "https.ca.pem",
];

/// TLS by the same properties, for a server that is no broker: a Schema Registry.
///
/// # Errors
/// `Config`, naming the property.
#[cfg(feature = "schema-registry")]
pub(crate) fn tls_by_properties<'a>(properties: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<TlsConfig> {
    let mut settings = SecuritySettings::default();
    for (key, value) in properties {
        if !settings.set(key, value) {
            return Err(wrong(key, "there is no such property"));
        }
    }
    settings.tls_config()
}

impl SecuritySettings {
    /// Takes one property; `false` if it is none of these.
    pub(super) fn set(&mut self, key: &str, value: &str) -> bool {
        let Some(key) = KEYS.iter().find(|known| **known == key) else { return false };
        self.properties.insert(key, value.trim().into());
        true
    }

    /// All of it together.
    ///
    /// # Errors
    /// `Config`, naming the property; never the value of a secret one.
    pub(super) fn build(&self, clock: NetClock, setup_timeout: Duration) -> Result<Security> {
        let (tls, sasl) = self.protocol()?;
        let security = Security::new(if sasl { Some(self.mechanism(setup_timeout)?) } else { None }, clock);
        if !tls {
            return Ok(security);
        }
        #[cfg(feature = "tls")]
        return security.with_tls(self.tls_config()?);
        #[cfg(not(feature = "tls"))]
        Err(wrong("security.protocol", "this build has no TLS: it needs the feature `tls`"))
    }

    /// Whether there is TLS, and SASL. What has been set by a method needs no `security.protocol`, but may not contradict it.
    fn protocol(&self) -> Result<(bool, bool)> {
        #[cfg(feature = "tls")]
        let tls = self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        let tls = false;
        let set = (tls, self.sasl.is_some());
        let Some(protocol) = self.text("security.protocol") else { return Ok(set) };
        let named = match protocol.to_ascii_uppercase().as_str() {
            "PLAINTEXT" => (false, false),
            "SSL" => (true, false),
            "SASL_PLAINTEXT" => (false, true),
            "SASL_SSL" => (true, true),
            _ => {
                let why = "one of PLAINTEXT, SSL, SASL_PLAINTEXT and SASL_SSL";
                return Err(settings::invalid("security.protocol", protocol, &why));
            }
        };
        if (set.0 && !named.0) || (set.1 && !named.1) {
            let why = format!("{protocol}, but TLS or SASL has been set");
            return Err(wrong("security.protocol", why));
        }
        Ok(named)
    }

    fn mechanism(&self, setup_timeout: Duration) -> Result<Arc<dyn SaslMechanism>> {
        if let Some(mechanism) = &self.sasl {
            return Ok(mechanism.clone());
        }
        let (key, name) = match (self.text("sasl.mechanism"), self.text("sasl.mechanisms")) {
            (Some(one), Some(other)) if one != other => {
                return Err(wrong("sasl.mechanisms", "another one than sasl.mechanism"));
            }
            (Some(name), _) => ("sasl.mechanism", name),
            (None, Some(name)) => ("sasl.mechanisms", name),
            (None, None) => {
                let why = "not set, and Kafka's default, GSSAPI, is not built in: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER";
                return Err(wrong("sasl.mechanism", why));
            }
        };
        let jaas = self.text("sasl.jaas.config").map(Jaas::parse).transpose()?;
        match name.to_ascii_uppercase().as_str() {
            "OAUTHBEARER" => Ok(Arc::new(self.oauthbearer(jaas.as_ref(), setup_timeout)?)),
            "PLAIN" => {
                let (username, password) = self.credentials(jaas.as_ref(), "PlainLoginModule")?;
                Ok(Arc::new(Plain::new(username, password)))
            }
            scram @ ("SCRAM-SHA-256" | "SCRAM-SHA-512") => {
                let (username, password) = self.credentials(jaas.as_ref(), "ScramLoginModule")?;
                let mechanism = match scram {
                    "SCRAM-SHA-256" => Scram::sha256(username, password),
                    _ => Scram::sha512(username, password),
                };
                let is_token = jaas.as_ref().and_then(|jaas| jaas.option("tokenauth"));
                Ok(Arc::new(match is_token {
                    Some(yes) if yes.eq_ignore_ascii_case("true") => mechanism.delegation_token(),
                    _ => mechanism,
                }))
            }
            _ => {
                let why = "not built in, as PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER are; give your own to ClientConfig::sasl";
                Err(settings::invalid(key, name, &why))
            }
        }
    }

    /// Name and password, out of JAAS or properties of their own.
    fn credentials(&self, jaas: Option<&Jaas>, module: &str) -> Result<(String, Secret)> {
        let Some(jaas) = jaas else {
            let set =
                |key| self.properties.get(key).filter(|value| !value.is_empty()).ok_or_else(|| wrong(key, "not set"));
            return Ok((set("sasl.username")?.expose().to_owned(), set("sasl.password")?.clone()));
        };
        for key in ["sasl.username", "sasl.password"] {
            self.only_one(["sasl.jaas.config", key])?;
        }
        jaas.check_module(module)?;
        let option = |name: &str| {
            let set = jaas.option(name).filter(|value| !value.is_empty());
            set.ok_or_else(|| wrong("sasl.jaas.config", format!("no {name} for {module}")))
        };
        Ok((option("username")?.to_owned(), option("password")?.into()))
    }

    #[cfg(feature = "tls")]
    fn tls_config(&self) -> Result<TlsConfig> {
        if let Some(tls) = &self.tls {
            return Ok(tls.clone());
        }
        if self.text("ssl.crl.location").is_some() {
            return Err(wrong("ssl.crl.location", "revocation lists are not looked at here"));
        }
        let mut tls = self.identity(self.trust(TlsConfig::default())?)?;
        match self.text("ssl.endpoint.identification.algorithm").map(str::to_ascii_lowercase).as_deref() {
            None | Some("https") => {}
            Some("" | "none") => tls = tls.verify_hostname(false),
            Some(other) => {
                let key = "ssl.endpoint.identification.algorithm";
                return Err(settings::invalid(key, other, &"https, or none (Java: empty)"));
            }
        }
        if let Some(verify) = self.text("enable.ssl.certificate.verification")
            && !settings::boolean("enable.ssl.certificate.verification", verify)?
        {
            tls = tls.danger_accept_any_certificate();
        }
        if let Some(suites) = self.text("ssl.cipher.suites") {
            let names = suites.split([',', ':']).map(str::trim).filter(|name| !name.is_empty());
            tls = tls.cipher_suites(names);
        }
        if let Some(protocols) = self.text("ssl.enabled.protocols") {
            let (wanted, others): (Vec<_>, Vec<_>) =
                settings::list(protocols).into_iter().partition(|name| ["TLSv1.2", "TLSv1.3"].contains(&name.as_str()));
            let is_old = |name: &String| ["TLSv1.1", "TLSv1", "SSLv3", "SSLv2Hello"].contains(&name.as_str());
            if let Some(other) = others.iter().find(|name| wanted.is_empty() || !is_old(name)) {
                return Err(settings::invalid("ssl.enabled.protocols", other, &"TLSv1.2, TLSv1.3 or both"));
            }
            if !others.is_empty() {
                tracing::info!("ssl.enabled.protocols: {} can't be had, {} can", others.join(", "), wanted.join(", "));
            }
            match (wanted.iter().any(|name| name == "TLSv1.2"), wanted.iter().any(|name| name == "TLSv1.3")) {
                (true, false) => tls = tls.only_tls12(),
                (false, true) => tls = tls.only_tls13(),
                (true, true) => {}
                (false, false) => return Err(wrong("ssl.enabled.protocols", "none at all")),
            }
        }
        if let Some(protocol) = self.text("ssl.protocol")
            && !["TLS", "TLSv1.2", "TLSv1.3"].contains(&protocol)
        {
            return Err(settings::invalid("ssl.protocol", protocol, &"TLS, TLSv1.2 or TLSv1.3"));
        }
        Ok(tls)
    }

    #[cfg(feature = "tls")]
    fn trust(&self, tls: TlsConfig) -> Result<TlsConfig> {
        let keys = ["ssl.ca.pem", "ssl.ca.location", "ssl.truststore.certificates", "ssl.truststore.location"];
        let Some((key, value)) = self.only_one(keys)? else { return Ok(tls) };
        match (key, value.expose()) {
            ("ssl.ca.location", "system" | "probe") => Ok(tls.system_roots()),
            ("ssl.ca.location", "bundled") => Ok(tls.bundled_roots()),
            ("ssl.truststore.certificates" | "ssl.truststore.location", _) => {
                let keys = ["ssl.truststore.type", "ssl.truststore.password"];
                self.check_store(keys, "ssl.truststore.location", "keytool -list -rfc -keystore STORE > ca.pem")?;
                Ok(tls.roots(key, pem(key, value)))
            }
            _ => Ok(tls.roots(key, pem(key, value))),
        }
    }

    #[cfg(feature = "tls")]
    fn identity(&self, mut tls: TlsConfig) -> Result<TlsConfig> {
        let chains = [
            "ssl.certificate.pem",
            "ssl.certificate.location",
            "ssl.keystore.certificate.chain",
            "ssl.keystore.location",
        ];
        if let Some((key, value)) = self.only_one(chains)? {
            if key.starts_with("ssl.keystore.") {
                let keys = ["ssl.keystore.type", "ssl.keystore.password"];
                let rewrite = "keytool -importkeystore -srckeystore STORE -destkeystore client.p12 -deststoretype PKCS12, then \
                               openssl pkcs12 -in client.p12 -out client.pem";
                self.check_store(keys, "ssl.keystore.location", rewrite)?;
            }
            tls = tls.certificates(key, pem(key, value));
        }
        let keys = ["ssl.key.pem", "ssl.key.location", "ssl.keystore.key", "ssl.keystore.location"];
        if let Some((key, value)) = self.only_one(keys)? {
            tls = tls.key(key, pem(key, value));
        }
        Ok(match self.properties.get("ssl.key.password") {
            Some(password) => tls.key_password(password.clone()),
            None => tls,
        })
    }

    /// Java's stores are PEM here; JKS and PKCS#12 are to be rewritten by Java's and OpenSSL's own tools.
    #[cfg(feature = "tls")]
    fn check_store(&self, [type_key, password_key]: [&'static str; 2], location: &str, rewrite: &str) -> Result<()> {
        let file = self.text(location).unwrap_or("STORE");
        let rewrite = rewrite.replace("STORE", file);
        match self.text(type_key) {
            Some(kind) if kind.eq_ignore_ascii_case("PEM") => {}
            Some(kind) => {
                let why = format!("only PEM is read here, with {type_key}=PEM; this makes it: {rewrite}");
                return Err(settings::invalid(type_key, kind, &why));
            }
            None => {
                let why = format!(
                    "not set, and Java's default, JKS or PKCS12, is not read here: PEM is; this makes it: {rewrite}"
                );
                return Err(wrong(type_key, why));
            }
        }
        if self.properties.contains_key(password_key) {
            return Err(wrong(password_key, "PEM has no password but that of the key, ssl.key.password"));
        }
        Ok(())
    }

    /// Which of these is set.
    fn only_one<const N: usize>(&self, keys: [&'static str; N]) -> Result<Option<(&'static str, &Secret)>> {
        // An empty one is none, as in librdkafka.
        let set = |key| self.properties.get(key).filter(|value| !value.is_empty());
        let mut set = keys.into_iter().filter_map(|key| Some((key, set(key)?)));
        let first = set.next();
        match (first, set.next()) {
            (Some((one, _)), Some((other, _))) => Err(wrong(other, format!("contradicts {one}: set one of them"))),
            _ => Ok(first),
        }
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.properties.get(key).map(Secret::expose)
    }
}

#[cfg(feature = "tls")]
fn pem(key: &str, value: &Secret) -> Pem {
    if key.ends_with(".location") { Pem::File(value.expose().into()) } else { Pem::Text(value.clone()) }
}

fn wrong(key: &str, why: impl AsRef<str>) -> Error {
    Error::with_message(ErrorKind::Config, format!("{key}: {}", why.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings<const N: usize>(properties: [(&str, &str); N]) -> SecuritySettings {
        let mut settings = SecuritySettings::default();
        for (key, value) in properties {
            assert!(settings.set(key, value), "{key}");
        }
        settings
    }

    fn built<const N: usize>(properties: [(&str, &str); N]) -> Result<Security> {
        settings(properties).build(NetClock::System, Duration::from_secs(10))
    }

    #[test]
    fn nothing_set_is_plaintext() {
        assert_eq!(built([]).unwrap().protocol(), "PLAINTEXT");
        assert_eq!(built([("security.protocol", "plaintext")]).unwrap().protocol(), "PLAINTEXT");
    }

    #[test]
    fn java_and_librdkafka_say_the_same_in_their_own_words() {
        let jaas =
            r#"org.apache.kafka.common.security.scram.ScramLoginModule required username="alice" password="pw";"#;
        for properties in [
            [("sasl.mechanism", "SCRAM-SHA-512"), ("sasl.jaas.config", jaas), ("security.protocol", "SASL_PLAINTEXT")],
            [("sasl.mechanisms", "SCRAM-SHA-512"), ("sasl.jaas.config", jaas), ("security.protocol", "sasl_plaintext")],
        ] {
            let security = built(properties).unwrap();
            assert_eq!(security.protocol(), "SASL_PLAINTEXT");
            assert_eq!(security.sasl.unwrap().name(), "SCRAM-SHA-512");
        }
        let plain = [
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", "alice"),
            ("sasl.password", "pw"),
        ];
        assert_eq!(built(plain).unwrap().sasl.unwrap().name(), "PLAIN");
    }

    #[test]
    fn no_secret_is_shown() {
        let settings =
            settings([("sasl.password", "hush"), ("ssl.key.password", "hush"), ("sasl.jaas.config", "hush")]);
        assert!(!format!("{settings:?}").contains("hush"));
    }

    #[test]
    fn what_is_missing_or_contradicts_is_named() {
        let sasl = ("security.protocol", "SASL_PLAINTEXT");
        for (properties, expected) in [
            (vec![("security.protocol", "TLS")], "security.protocol=TLS: one of"),
            (vec![sasl], "sasl.mechanism: not set"),
            (vec![sasl, ("sasl.mechanism", "GSSAPI")], "sasl.mechanism=GSSAPI: not built in"),
            (vec![sasl, ("sasl.mechanism", "PLAIN"), ("sasl.mechanisms", "GSSAPI")], "sasl.mechanisms: another"),
            (vec![sasl, ("sasl.mechanism", "PLAIN")], "sasl.username: not set"),
            (vec![sasl, ("sasl.mechanism", "PLAIN"), ("sasl.username", "a")], "sasl.password: not set"),
            (vec![sasl, ("sasl.mechanism", "PLAIN"), ("sasl.jaas.config", "x")], "sasl.jaas.config: "),
            (
                vec![
                    sasl,
                    ("sasl.mechanism", "PLAIN"),
                    ("sasl.jaas.config", r#"x.PlainLoginModule required username="a" password="b";"#),
                    ("sasl.password", "c"),
                ],
                "sasl.password: contradicts sasl.jaas.config",
            ),
        ] {
            let mut settings = SecuritySettings::default();
            for (key, value) in properties {
                settings.set(key, value);
            }
            let error = settings.build(NetClock::System, Duration::from_secs(10)).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn what_is_wrong_with_tls_is_named() {
        let ssl = ("security.protocol", "SSL");
        for (properties, expected) in [
            (vec![ssl, ("ssl.ca.location", "no/such.pem")], "ssl.ca.location: no/such.pem"),
            (vec![ssl, ("ssl.ca.location", "a"), ("ssl.ca.pem", "b")], "ssl.ca.location: contradicts ssl.ca.pem"),
            (vec![ssl, ("ssl.truststore.location", "a")], "ssl.truststore.type: not set"),
            (vec![ssl, ("ssl.truststore.location", "a"), ("ssl.truststore.type", "JKS")], "ssl.truststore.type=JKS"),
            (vec![ssl, ("ssl.ca.location", "bundled"), ("ssl.keystore.location", "a")], "ssl.keystore.type: not set"),
            (vec![ssl, ("ssl.enabled.protocols", "SSLv3")], "ssl.enabled.protocols=SSLv3"),
            (vec![ssl, ("ssl.enabled.protocols", "TLSv1.2,TLSv2")], "ssl.enabled.protocols=TLSv2"),
            (vec![ssl, ("ssl.endpoint.identification.algorithm", "ldaps")], "ssl.endpoint.identification.algorithm="),
            (vec![ssl, ("enable.ssl.certificate.verification", "maybe")], "enable.ssl.certificate.verification=maybe"),
            (vec![ssl, ("ssl.crl.location", "a")], "ssl.crl.location: "),
        ] {
            let mut settings = SecuritySettings::default();
            for (key, value) in properties {
                settings.set(key, value);
            }
            let error = settings.build(NetClock::System, Duration::from_secs(10)).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        assert_eq!(built([ssl, ("ssl.ca.location", "bundled")]).unwrap().protocol(), "SSL");
        let old = ("ssl.enabled.protocols", "TLSv1.2,TLSv1.1,TLSv1");
        assert_eq!(built([ssl, ("ssl.ca.location", "bundled"), old]).unwrap().protocol(), "SSL");
    }
}
