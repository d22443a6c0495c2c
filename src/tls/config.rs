//! [`TlsConfig`]: whom to trust, who we are, how.

use super::pem::{NoKey, Pem};
use super::{Verifier, provider, roots};
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedCipherSuite, SupportedProtocolVersion};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

/// TLS 1.2 and 1.3 to brokers, in Rust. Without any setting: what the machine trusts is trusted, names are verified, and we show
/// no certificate. Files are read when the client is made, and again for the next connection after they have changed; if that
/// fails the old ones serve on, with a warning.
///
/// ```no_run
/// use milena::tls::TlsConfig;
///
/// let tls = TlsConfig::default().ca_file("ca.pem").client_certificate_files("client.pem", "client.key");
/// ```
#[derive(Debug, Clone)]
pub struct TlsConfig {
    roots: Roots,
    certificates: Option<Setting>,
    key: Option<Setting>,
    key_password: Option<Secret>,
    hostname: bool,
    verification: bool,
    versions: Vec<&'static SupportedProtocolVersion>,
    cipher_suites: Vec<String>,
    provider: Option<Arc<CryptoProvider>>,
}

#[derive(Debug, Clone)]
enum Roots {
    System,
    Bundled,
    Pem(Setting),
}

/// PEM, and the property that names it in errors.
#[derive(Debug, Clone)]
struct Setting {
    property: &'static str,
    pem: Pem,
}

impl Setting {
    fn wrong(&self, why: impl Into<String>) -> Error {
        wrong(self.property, why)
    }
}

fn wrong(property: &str, why: impl Into<String>) -> Error {
    Error::with_message(ErrorKind::Config, format!("{property}: {}", why.into()))
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            roots: Roots::System,
            certificates: None,
            key: None,
            key_password: None,
            hostname: true,
            verification: true,
            versions: vec![&TLS13, &TLS12],
            cipher_suites: Vec::new(),
            provider: None,
        }
    }
}

impl TlsConfig {
    /// `ssl.ca.location`: trusts the CAs of this PEM file, or of all PEM files in this directory, and nobody else. A server's own
    /// certificate in it is trusted as it stands, while it is valid. What is broken in a directory is left out, with a warning.
    pub fn ca_file(self, path: impl Into<PathBuf>) -> Self {
        self.roots("ssl.ca.location", Pem::File(path.into()))
    }

    /// `ssl.ca.pem`: the same, as text.
    pub fn ca_pem(self, text: impl Into<String>) -> Self {
        self.roots("ssl.ca.pem", Pem::Text(Secret::from(text.into())))
    }

    /// Trusts Mozilla's list, which is built in: for containers without ca-certificates. It is as old as the release.
    pub fn bundled_roots(mut self) -> Self {
        self.roots = Roots::Bundled;
        self
    }

    /// Trusts what the machine trusts, or what `SSL_CERT_FILE` and `SSL_CERT_DIR` name. The default.
    pub fn system_roots(mut self) -> Self {
        self.roots = Roots::System;
        self
    }

    /// `ssl.certificate.location` and `ssl.key.location`: the certificate that we show, with its chain, ours first, and its key;
    /// PEM files both, perhaps the same.
    pub fn client_certificate_files(self, chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.certificates("ssl.certificate.location", Pem::File(chain.into()))
            .key("ssl.key.location", Pem::File(key.into()))
    }

    /// `ssl.certificate.pem` and `ssl.key.pem`: the same, as text.
    pub fn client_certificate_pem(self, chain: impl Into<String>, key: impl Into<Secret>) -> Self {
        self.certificates("ssl.certificate.pem", Pem::Text(Secret::from(chain.into())))
            .key("ssl.key.pem", Pem::Text(key.into()))
    }

    /// `ssl.key.password`: opens an encrypted PKCS#8 key. It is not asked for where the key is not encrypted.
    pub fn key_password(mut self, password: impl Into<Secret>) -> Self {
        self.key_password = Some(password.into());
        self
    }

    /// `ssl.endpoint.identification.algorithm`: whether the broker's certificate must be for the host that we connect to. Without
    /// (`none`), anybody with a certificate of a trusted CA passes for a broker. Default: true.
    pub fn verify_hostname(mut self, yes: bool) -> Self {
        self.hostname = yes;
        self
    }

    /// `enable.ssl.certificate.verification=false`: anybody passes for a broker, and reads and changes what goes over the
    /// connection. For looking at a cluster whose CA is not at hand.
    pub fn danger_accept_any_certificate(mut self) -> Self {
        self.verification = false;
        self
    }

    /// `ssl.enabled.protocols`: TLS 1.3 only. Default: 1.2 too.
    pub fn only_tls13(mut self) -> Self {
        self.versions = vec![&TLS13];
        self
    }

    /// `ssl.enabled.protocols`: TLS 1.2 only.
    pub fn only_tls12(mut self) -> Self {
        self.versions = vec![&TLS12];
        self
    }

    /// `ssl.cipher.suites`, by IANA's names. Default: all that the provider has.
    pub fn cipher_suites<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.cipher_suites = names.into_iter().map(Into::into).collect();
        self
    }

    /// The cryptography, for this client alone. Default: graviola, which is written in Rust and assembler, for x86_64 with AVX2
    /// and ADX, and for aarch64.
    pub fn crypto_provider(mut self, provider: Arc<CryptoProvider>) -> Self {
        self.provider = Some(provider);
        self
    }

    pub(crate) fn roots(mut self, property: &'static str, pem: Pem) -> Self {
        self.roots = Roots::Pem(Setting { property, pem });
        self
    }

    pub(crate) fn certificates(mut self, property: &'static str, pem: Pem) -> Self {
        self.certificates = Some(Setting { property, pem });
        self
    }

    pub(crate) fn key(mut self, property: &'static str, pem: Pem) -> Self {
        self.key = Some(Setting { property, pem });
        self
    }

    /// What changes when one of the files does.
    pub(crate) fn stamps(&self) -> Vec<Option<(SystemTime, u64)>> {
        let roots = if let Roots::Pem(setting) = &self.roots { Some(setting) } else { None };
        roots.into_iter().chain(&self.certificates).chain(&self.key).map(|setting| setting.pem.stamp()).collect()
    }

    /// Reads files and makes the configuration. Blocks for as long as that takes.
    pub(crate) fn build(&self, time: Arc<dyn TimeProvider>) -> Result<ClientConfig> {
        let provider = match &self.provider {
            Some(provider) => provider.clone(),
            None => provider().map_err(|why| wrong("security.protocol", why))?,
        };
        let provider = self.with_cipher_suites(provider)?;
        let verifier = self.verifier(&provider)?;
        let builder = ClientConfig::builder_with_details(provider, time)
            .with_protocol_versions(&self.versions)
            .map_err(|error| wrong("ssl.enabled.protocols", format!("{error} (with ssl.cipher.suites as it is)")))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        match (&self.certificates, &self.key) {
            (Some(certificates), Some(key)) => {
                let chain = certificates.pem.certificates().map_err(|why| certificates.wrong(why))?;
                let der = key.pem.private_key(self.key_password.as_ref()).map_err(|why| match why {
                    NoKey::Password(why) => wrong("ssl.key.password", why),
                    NoKey::Key(why) => key.wrong(why),
                })?;
                builder.with_client_auth_cert(chain, der).map_err(|error| match error {
                    rustls::Error::InconsistentKeys(_) => {
                        key.wrong(format!("the key is not that of the certificate of {}", certificates.property))
                    }
                    rustls::Error::InvalidCertificate(_) => {
                        certificates.wrong(format!("{}: no certificate, or a broken one ({error})", certificates.pem))
                    }
                    other => key.wrong(format!(
                        "{}: a key that this cryptography can't use ({other}): graviola, the default, has RSA from 2048 bits \
                         on, P-256, P-384 and Ed25519",
                        key.pem
                    )),
                })
            }
            (None, None) => Ok(builder.with_no_client_auth()),
            (Some(certificates), None) => Err(certificates.wrong("a certificate without its key (ssl.key.location)")),
            (None, Some(key)) => Err(key.wrong("a key without its certificate (ssl.certificate.location)")),
        }
    }

    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Verifier> {
        let mut verifier =
            Verifier { provider: provider.clone(), chain: None, pinned: Vec::new(), name: self.hostname };
        if !self.verification {
            return Ok(verifier);
        }
        let (roots, property) = match &self.roots {
            Roots::System => {
                let roots = roots::system_roots();
                (roots.map_err(|why| wrong("ssl.ca.location", why))?, "ssl.ca.location")
            }
            Roots::Bundled => {
                (RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()), "ssl.ca.location")
            }
            Roots::Pem(setting) => {
                verifier.pinned = setting.pem.authorities().map_err(|why| setting.wrong(why))?;
                let roots = roots::roots(&verifier.pinned);
                (roots.map_err(|why| setting.wrong(format!("{}: {why}", setting.pem)))?, setting.property)
            }
        };
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        verifier.chain = Some(chain.map_err(|error| wrong(property, error.to_string()))?);
        Ok(verifier)
    }

    fn with_cipher_suites(&self, provider: Arc<CryptoProvider>) -> Result<Arc<CryptoProvider>> {
        if self.cipher_suites.is_empty() {
            return Ok(provider);
        }
        let by_name = |name: &String| {
            let found = provider.cipher_suites.iter().find(|suite| iana_name(suite) == *name);
            found.copied().ok_or_else(|| {
                let known: Vec<_> = provider.cipher_suites.iter().map(iana_name).collect();
                wrong("ssl.cipher.suites", format!("there is no `{name}` here, but {}", known.join(", ")))
            })
        };
        let cipher_suites = self.cipher_suites.iter().map(by_name).collect::<Result<_>>()?;
        Ok(Arc::new(CryptoProvider { cipher_suites, ..(*provider).clone() }))
    }
}

/// `TLS_AES_256_GCM_SHA384`; rustls says `TLS13_…`.
fn iana_name(suite: &SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::IDENTITY;
    use rustls::time_provider::DefaultTimeProvider;

    fn error(config: TlsConfig) -> String {
        config.build(Arc::new(DefaultTimeProvider)).unwrap_err().to_string()
    }

    #[test]
    fn what_is_wrong_is_named_by_its_property() {
        let tls = TlsConfig::default;
        for (config, expected) in [
            (tls().ca_file("no/such.pem"), "ssl.ca.location: no/such.pem: "),
            (tls().ca_pem("nothing"), "ssl.ca.pem: the text given: no certificate"),
            (tls().ca_file("src/tls"), "ssl.ca.location: src/tls: no certificate in PEM"),
            (
                tls()
                    .ca_pem(IDENTITY)
                    .client_certificate_pem(IDENTITY, "")
                    .key("ssl.key.location", Pem::File("no/password.pem".into()))
                    .key_password("open"),
                "ssl.key.location: no/password.pem",
            ),
            (
                tls().bundled_roots().client_certificate_files("no/c.pem", "no/k.pem"),
                "ssl.certificate.location: no/c.pem",
            ),
            (tls().bundled_roots().key("ssl.key.location", Pem::File("k".into())), "ssl.key.location: a key without"),
            (
                tls().bundled_roots().cipher_suites(["TLS_NULL"]),
                "ssl.cipher.suites: there is no `TLS_NULL` here, but TLS_",
            ),
            (tls().bundled_roots().cipher_suites(["TLS_AES_256_GCM_SHA384"]).only_tls12(), "ssl.enabled.protocols: "),
        ] {
            let error = error(config);
            assert!(error.starts_with(expected), "{error}");
        }
        assert!(TlsConfig::default().bundled_roots().build(Arc::new(DefaultTimeProvider)).is_ok());
    }

    #[test]
    fn a_directory_is_read_as_openssl_has_it_and_what_is_broken_in_it_is_left_out() {
        let directory = std::env::temp_dir().join(format!("milena-ca-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("ca.pem"), IDENTITY).unwrap();
        std::fs::write(directory.join("0badf00d.0"), "-----BEGIN CERTIFICATE-----\n?").unwrap();
        std::fs::write(directory.join("README"), [0xff, 0xfe]).unwrap();
        let built = TlsConfig::default().ca_file(&directory).build(Arc::new(DefaultTimeProvider));
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(built.is_ok(), "{built:?}");
    }
}
