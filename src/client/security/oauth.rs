//! OAUTHBEARER by property: where the tokens come from.
//!
//! | | librdkafka | Java |
//! | --- | --- | --- |
//! | from a token endpoint | `sasl.oauthbearer.method=oidc` | `sasl.login.callback.handler.class=….OAuthBearerLoginCallbackHandler` |
//! | which | `sasl.oauthbearer.token.endpoint.url` | the same |
//! | who asks | `sasl.oauthbearer.client.id`, `sasl.oauthbearer.client.secret` | `sasl.oauthbearer.client.credentials.client.id`, `….client.secret`, or `clientId`, `clientSecret` in `sasl.jaas.config` |
//! | for what | `sasl.oauthbearer.scope` | the same, or `scope` in `sasl.jaas.config` |
//! | said beside it | `sasl.oauthbearer.extensions` | `extension_NAME` in `sasl.jaas.config` |
//! | whom to trust there | `https.ca.location` (a file, `system` or `bundled`), `https.ca.pem` | |
//! | made up | `enable.sasl.oauthbearer.unsecure.jwt`, `sasl.oauthbearer.config` | `unsecuredLogin…` in `sasl.jaas.config` |

use super::jaas::Jaas;
use super::{SecuritySettings, wrong};
use crate::error::{Error, ErrorKind, Result};
use crate::sasl::{OAuthBearer, UnsecuredJwt};
use crate::settings;
use std::time::Duration;

const METHOD: &str = "sasl.oauthbearer.method";
const UNSECURED: &str = "enable.sasl.oauthbearer.unsecure.jwt";
const CONFIG: &str = "sasl.oauthbearer.config";
const HANDLER: &str = "sasl.login.callback.handler.class";
const JAAS: &str = "sasl.jaas.config";

impl SecuritySettings {
    /// # Errors
    /// `Config`, naming the property; never the value of a secret one.
    pub(super) fn oauthbearer(&self, jaas: Option<&Jaas>, setup_timeout: Duration) -> Result<OAuthBearer> {
        if let Some(jaas) = jaas {
            jaas.check_module("OAuthBearerLoginModule")?;
        }
        let handler = self.text(HANDLER).map(|class| class.rsplit('.').next().unwrap_or_default());
        let made_up = match self.text(UNSECURED) {
            Some(value) => settings::boolean(UNSECURED, value)?,
            None => {
                let option =
                    jaas.is_some_and(|jaas| jaas.options().any(|(name, _)| name.starts_with("unsecuredLogin")));
                handler == Some("OAuthBearerUnsecuredLoginCallbackHandler") || (handler.is_none() && option)
            }
        };
        let oidc = match (self.text(METHOD).map(str::to_ascii_lowercase).as_deref(), handler) {
            (Some("oidc"), _) | (_, Some("OAuthBearerLoginCallbackHandler")) => true,
            (None | Some("default"), None) => self.text("sasl.oauthbearer.token.endpoint.url").is_some(),
            (None | Some("default"), Some("OAuthBearerUnsecuredLoginCallbackHandler")) => false,
            (None | Some("default"), Some(_)) => {
                return Err(wrong(
                    HANDLER,
                    "a class that only Java can load: give a TokenProvider to ClientConfig::sasl",
                ));
            }
            (Some(_), _) => return Err(wrong(METHOD, "oidc, or default")),
        };
        match (oidc, made_up) {
            (true, true) => Err(wrong(UNSECURED, "contradicts the tokens of sasl.oauthbearer.token.endpoint.url")),
            (true, false) => self.oidc(jaas, setup_timeout),
            (false, true) => match jaas {
                Some(jaas) if self.text(CONFIG).is_none() => unsecured_by_jaas(jaas).map(OAuthBearer::new),
                _ => unsecured_by_config(self.text(CONFIG).unwrap_or_default()).map(OAuthBearer::new),
            },
            (false, false) => Err(wrong(
                METHOD,
                "nothing says where tokens come from: set it to oidc, with sasl.oauthbearer.token.endpoint.url, or give a \
                 TokenProvider to ClientConfig::sasl",
            )),
        }
    }

    #[cfg(not(feature = "oidc"))]
    fn oidc(&self, _: Option<&Jaas>, _: Duration) -> Result<OAuthBearer> {
        Err(wrong(METHOD, "this build has no token endpoints: it needs the feature `oidc`"))
    }

    #[cfg(feature = "oidc")]
    fn oidc(&self, jaas: Option<&Jaas>, setup_timeout: Duration) -> Result<OAuthBearer> {
        use crate::oidc::ClientCredentials;

        const URL: &str = "sasl.oauthbearer.token.endpoint.url";
        let option = |name| jaas.and_then(|jaas| jaas.option(name));
        let credential = |keys: [&'static str; 2], name| {
            let set = self.only_one(keys)?.map(|(_, value)| value.expose());
            set.or_else(|| option(name))
                .ok_or_else(|| wrong(keys[0], format!("not set, nor {name} in sasl.jaas.config")))
        };
        if let Some(grant) = self.text("sasl.oauthbearer.grant.type")
            && grant.rsplit(':').next() != Some("client_credentials")
        {
            return Err(settings::invalid(
                "sasl.oauthbearer.grant.type",
                grant,
                &"client_credentials is what is built in",
            ));
        }
        if let Some((name, _)) = jaas.and_then(|jaas| jaas.options().find(|(name, _)| name.starts_with("ssl."))) {
            return Err(wrong(
                JAAS,
                format!("{name} can't be read: https.ca.location names the token endpoint's CA, in PEM"),
            ));
        }
        let url = self.text(URL).ok_or_else(|| wrong(URL, "not set"))?;
        let id = ["sasl.oauthbearer.client.id", "sasl.oauthbearer.client.credentials.client.id"];
        let secret = ["sasl.oauthbearer.client.secret", "sasl.oauthbearer.client.credentials.client.secret"];
        let mut tokens = ClientCredentials::new(url, credential(id, "clientId")?, credential(secret, "clientSecret")?)?;
        if let Some(scope) = self.text("sasl.oauthbearer.scope").or_else(|| option("scope")) {
            tokens = tokens.scope(scope);
        }
        for (name, value) in self.extensions(jaas)? {
            tokens = tokens.extension(name, value);
        }
        tokens = match self.only_one(["https.ca.pem", "https.ca.location"])?.map(|(key, value)| (key, value.expose())) {
            None | Some(("https.ca.location", "system" | "probe")) => tokens,
            Some(("https.ca.location", "bundled")) => tokens.tls(crate::tls::TlsConfig::default().bundled_roots()),
            Some(("https.ca.location", file)) => tokens.ca_file(file),
            Some((_, text)) => tokens.ca_pem(text),
        };
        if let Some(yes) = self.text("sasl.oauthbearer.header.urlencode") {
            tokens = tokens.header_urlencode(settings::boolean("sasl.oauthbearer.header.urlencode", yes)?);
        }
        if let Some(timeout) = self.millis("sasl.login.connect.timeout.ms")? {
            tokens = tokens.connect_timeout(timeout);
        }
        if let Some(timeout) = self.millis("sasl.login.read.timeout.ms")? {
            tokens = tokens.read_timeout(timeout);
        }
        if let Some(wait) = self.millis("sasl.login.retry.backoff.ms")? {
            tokens = tokens.retry_backoff(wait);
        }
        // It runs within the setup of a connection, whose own timeout could not say why.
        let longest = self.millis("sasl.login.retry.backoff.max.ms")?.unwrap_or(Duration::from_secs(10));
        tokens = tokens.retry_backoff_max(longest.min(setup_timeout.mul_f64(0.8)));
        let share = |key, default| self.text(key).map_or(Ok(default), |value| share(key, value));
        tokens = tokens.refresh_window(
            share("sasl.login.refresh.window.factor", 0.8)?,
            share("sasl.login.refresh.window.jitter", 0.05)?,
        );
        let seconds = |key, default| {
            let set = self.text(key).map_or(Ok(default), |value| settings::parse::<u32>(key, value))?;
            Ok::<_, Error>(Duration::from_secs(set.into()))
        };
        tokens = tokens.refresh_buffers(
            seconds("sasl.login.refresh.min.period.seconds", 60)?,
            seconds("sasl.login.refresh.buffer.seconds", 300)?,
        );
        Ok(OAuthBearer::new(tokens))
    }

    #[cfg(feature = "oidc")]
    fn millis(&self, key: &str) -> Result<Option<Duration>> {
        self.text(key).map(|value| settings::millis(key, value)).transpose()
    }

    #[cfg(feature = "oidc")]
    fn extensions<'a>(&'a self, jaas: Option<&'a Jaas>) -> Result<Vec<(&'a str, &'a str)>> {
        const KEY: &str = "sasl.oauthbearer.extensions";
        let mut extensions = Vec::new();
        for pair in self.text(KEY).unwrap_or_default().split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            extensions.push(pair.split_once('=').ok_or_else(|| wrong(KEY, "a comma list of name=value"))?);
        }
        let options = jaas.into_iter().flat_map(Jaas::options);
        extensions.extend(options.filter_map(|(name, value)| Some((name.strip_prefix("extension_")?, value))));
        Ok(extensions)
    }
}

#[cfg(feature = "oidc")]
fn share(key: &str, value: &str) -> Result<f64> {
    let share: f64 = settings::parse(key, value)?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(settings::invalid(key, value, &"a share, from 0 to 1")) }
}

/// `principal=admin scope=role1,role2 lifeSeconds=600 …`.
fn unsecured_by_config(config: &str) -> Result<UnsecuredJwt> {
    let pairs = || config.split_whitespace().map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let principal = pairs().find(|(name, _)| *name == "principal").map(|(_, value)| value);
    let principal = principal.ok_or_else(|| wrong(CONFIG, "no principal=…"))?;
    pairs().try_fold(UnsecuredJwt::new(principal), |jwt, (name, value)| {
        Ok(match (name, name.strip_prefix("extension_")) {
            ("principal", _) => jwt,
            ("principalClaimName", _) => jwt.principal_claim(value),
            ("scope", _) => jwt.scope(settings::list(value)),
            ("scopeClaimName", _) => jwt.scope_claim(value),
            ("lifeSeconds", _) => jwt.lifetime(seconds(CONFIG, name, value)?),
            (_, Some(extension)) => jwt.extension(extension, value),
            _ => return Err(wrong(CONFIG, format!("there is no `{}`", name.escape_debug()))),
        })
    })
}

fn unsecured_by_jaas(jaas: &Jaas) -> Result<UnsecuredJwt> {
    let claim = jaas.option("unsecuredLoginPrincipalClaimName").unwrap_or("sub");
    let principal = jaas.option(&format!("unsecuredLoginStringClaim_{claim}"));
    let principal = principal.ok_or_else(|| wrong(JAAS, format!("no unsecuredLoginStringClaim_{claim}=\"…\"")))?;
    jaas.options().try_fold(UnsecuredJwt::new(principal).principal_claim(claim), |jwt, (name, value)| {
        let Some(what) = name.strip_prefix("unsecuredLogin") else { return Ok(jwt) };
        Ok(match what.split_once('_') {
            Some(("StringClaim", name)) if name == claim => jwt,
            Some(("StringClaim", name)) => jwt.string_claim(name, value),
            Some(("NumberClaim", claim)) => {
                let number: f64 = value.trim().parse().map_err(|_| wrong(JAAS, format!("{name} is no number")))?;
                jwt.number_claim(claim, number)
            }
            // The first letter is what stands between them.
            Some(("ListClaim", name)) => {
                let mut letters = value.chars();
                let between = letters.next().unwrap_or(' ');
                jwt.list_claim(name, letters.as_str().split(between).filter(|item| !item.is_empty()))
            }
            Some(("Extension", name)) => jwt.extension(name, value),
            _ if what == "LifetimeSeconds" => jwt.lifetime(seconds(JAAS, name, value)?),
            _ if what == "PrincipalClaimName" || what == "ScopeClaimName" => jwt, // the second: for Java's own use
            _ => return Err(wrong(JAAS, format!("there is no `{}`", name.escape_debug()))),
        })
    })
}

fn seconds(key: &str, name: &str, value: &str) -> Result<Duration> {
    let seconds: u32 = value
        .trim()
        .parse()
        .map_err(|_| Error::with_message(ErrorKind::Config, format!("{key}: {name} is no number of seconds")))?;
    Ok(Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::clock::NetClock;
    use crate::sasl::SaslPeer;

    const OURS: [(&str, &str); 2] = [("security.protocol", "SASL_PLAINTEXT"), ("sasl.mechanism", "OAUTHBEARER")];
    const MODULE: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required";
    const LOGIN: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler";

    fn built(properties: &[(&str, &str)]) -> Result<crate::net::security::Security> {
        let mut settings = SecuritySettings::default();
        for (key, value) in OURS.iter().chain(properties) {
            assert!(settings.set(key, value), "{key}");
        }
        settings.build(NetClock::System, Duration::from_secs(10))
    }

    async fn first_message(properties: &[(&str, &str)]) -> String {
        let security = built(properties).unwrap();
        let (message, _) = security.sasl.unwrap().start(&SaslPeer::new("b", 9092, 1_000)).await.unwrap();
        String::from_utf8(message.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn unsecured_tokens_by_either_name() {
        let config = "principal=admin scopeClaimName=roles scope=a,b lifeSeconds=60 extension_traceId=123";
        let librdkafka = first_message(&[(UNSECURED, "true"), (CONFIG, config)]).await;
        let jaas = format!(
            r#"{MODULE} unsecuredLoginStringClaim_sub="admin" unsecuredLoginListClaim_roles="|a|b"
               unsecuredLoginLifetimeSeconds="60" unsecuredLoginExtension_traceId="123";"#
        );
        assert_eq!(librdkafka, first_message(&[(JAAS, &jaas)]).await);
        assert!(librdkafka.ends_with("\x01traceId=123\x01\x01"), "{librdkafka}");
    }

    #[cfg(feature = "oidc")]
    #[test]
    fn a_token_endpoint_by_either_name() {
        let url = ("sasl.oauthbearer.token.endpoint.url", "https://idp/token");
        let jaas = format!(r#"{MODULE} clientId="a" clientSecret="hush" scope="s" extension_traceId="7";"#);
        let librdkafka = [
            url,
            (METHOD, "OIDC"),
            ("sasl.oauthbearer.client.id", "a"),
            ("sasl.oauthbearer.client.secret", "hush"),
            ("sasl.oauthbearer.scope", "s"),
            ("sasl.oauthbearer.extensions", "traceId=7"),
        ];
        let newer = [
            url,
            (HANDLER, LOGIN),
            ("sasl.oauthbearer.client.credentials.client.id", "a"),
            ("sasl.oauthbearer.client.credentials.client.secret", "hush"),
            ("sasl.oauthbearer.scope", "s"),
            ("sasl.oauthbearer.extensions", "traceId=7"),
        ];
        for properties in [&librdkafka[..], &newer, &[url, (HANDLER, LOGIN), (JAAS, &jaas)], &[url, (JAAS, &jaas)]] {
            let shown = format!("{:?}", built(properties).unwrap().sasl.unwrap());
            for part in [r#"id: "a""#, r#"scope: Some("s")"#, r#"("traceId", "7")"#, "retry_backoff_max: 8s"] {
                assert!(shown.contains(part), "{shown}");
            }
            assert!(!shown.contains("hush"), "{shown}");
        }
    }

    #[test]
    fn what_is_missing_or_contradicts_is_named() {
        for (properties, expected) in [
            (vec![], "sasl.oauthbearer.method: nothing says where tokens come from"),
            (vec![(METHOD, "kerberos")], "sasl.oauthbearer.method: oidc, or default"),
            (vec![(HANDLER, "com.example.Mine")], "sasl.login.callback.handler.class: a class that only Java can load"),
            (vec![(UNSECURED, "true")], "sasl.oauthbearer.config: no principal"),
            (vec![(UNSECURED, "perhaps")], "enable.sasl.oauthbearer.unsecure.jwt=perhaps"),
            (vec![(UNSECURED, "true"), (CONFIG, "principal=a life=7")], "sasl.oauthbearer.config: there is no `life`"),
            (
                vec![(UNSECURED, "true"), (CONFIG, "principal=a lifeSeconds=x")],
                "sasl.oauthbearer.config: lifeSeconds is",
            ),
            (vec![(UNSECURED, "true"), (METHOD, "oidc")], "enable.sasl.oauthbearer.unsecure.jwt: contradicts"),
            (vec![(JAAS, "x.ScramLoginModule required;")], "sasl.jaas.config: x.ScramLoginModule is not what"),
            (
                vec![(JAAS, "OAuthBearerLoginModule required unsecuredLoginX=1;")],
                "sasl.jaas.config: no unsecuredLoginStr",
            ),
            #[cfg(feature = "oidc")]
            (vec![(METHOD, "oidc")], "sasl.oauthbearer.token.endpoint.url: not set"),
            #[cfg(feature = "oidc")]
            (vec![("sasl.oauthbearer.token.endpoint.url", "x")], "sasl.oauthbearer.client.id: not set"),
            #[cfg(not(feature = "oidc"))]
            (vec![(METHOD, "oidc")], "sasl.oauthbearer.method: this build has no token endpoints"),
        ] {
            let error = built(&properties).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[cfg(feature = "oidc")]
    #[test]
    fn values_of_a_token_endpoint_that_can_not_be_are_named() {
        let whole = [
            ("sasl.oauthbearer.token.endpoint.url", "https://idp/token"),
            ("sasl.oauthbearer.client.id", "a"),
            ("sasl.oauthbearer.client.secret", "hush"),
        ];
        for (key, value) in [
            ("sasl.oauthbearer.token.endpoint.url", "file:///token"),
            ("sasl.oauthbearer.client.id", ""),
            ("sasl.oauthbearer.client.secret", ""),
            ("sasl.oauthbearer.extensions", "trace"),
            ("sasl.oauthbearer.header.urlencode", "maybe"),
            ("sasl.oauthbearer.grant.type", "password"),
            ("sasl.login.connect.timeout.ms", "-1"),
            ("sasl.login.read.timeout.ms", "soon"),
            ("sasl.login.retry.backoff.ms", "x"),
            ("sasl.login.retry.backoff.max.ms", "x"),
            ("sasl.login.refresh.window.factor", "1.5"),
            ("sasl.login.refresh.window.jitter", "x"),
            ("sasl.login.refresh.min.period.seconds", "x"),
            ("sasl.login.refresh.buffer.seconds", "-7"),
        ] {
            let properties: Vec<_> = whole.into_iter().chain([(key, value)]).collect();
            let error = built(&properties).unwrap_err().to_string();
            assert!(error.starts_with(key) && !error.contains("hush"), "{key}: {error}");
        }
        let both = [whole[0], whole[1], whole[2], ("https.ca.location", "a"), ("https.ca.pem", "b")];
        assert!(built(&both).unwrap_err().to_string().starts_with("https.ca.location: contradicts https.ca.pem"));
    }
}
