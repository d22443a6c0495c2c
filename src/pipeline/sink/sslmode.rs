//! TLS to PostgreSQL in libpq's words: `sslmode`, `sslrootcert`, `sslcert` and `sslkey` of the URL.
//!
//! | sslmode | encrypted | who is there |
//! | --- | --- | --- |
//! | `disable` | no | |
//! | `prefer`, without any | if the server can | not looked at |
//! | `require` | yes | not looked at; with `sslrootcert` as `verify-ca` |
//! | `verify-ca` | yes | somebody with a certificate of the CA |
//! | `verify-full` | yes | the host of the URL |
//!
//! `sslrootcert` is a PEM file with CAs, or with the server's own certificate; `system`, and nothing in the verifying
//! modes, is what the machine trusts. A server's own certificate in that file is trusted as it stands, and only its dates
//! and the name (`verify-full`) are looked at: not its usage, as nobody but who wrote the file vouches for it. To end that
//! trust take it out of the file. Unlike libpq it is never ignored, and nothing is read from `~/.postgresql`. Files
//! are read once, at the start.
//!
//! <https://www.postgresql.org/docs/current/libpq-ssl.html>

use crate::pipeline::sink::words::Words;
use crate::tls::{self, Pem, Verifier};
use rustls::ClientConfig;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_postgres::config::SslMode as Negotiation;

/// How much of the server's certificate is looked at, and whether there must be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl Mode {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "disable" => Self::Disable,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            other => {
                return Err(format!("sslmode is disable, prefer, require, verify-ca or verify-full, not {other:?}"));
            }
        })
    }
}

/// What the URL says about TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tls {
    mode: Mode,
    root: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Tls {
    /// The words of this file: tokio-postgres does not know them all.
    pub(super) const WORDS: [&'static str; 4] = ["sslmode", "sslrootcert", "sslcert", "sslkey"];

    /// # Errors
    /// Values that can't be, or contradict.
    pub(super) fn new(words: &Words) -> Result<Self, String> {
        let file = |name| words.get(name).map(PathBuf::from);
        let (root, certificate, key) = (file("sslrootcert"), file("sslcert"), file("sslkey"));
        let mode = words.get("sslmode").map(|mode| Mode::parse(mode)).transpose()?;
        let is_system = root.as_deref() == Some(Path::new(SYSTEM));
        let mode = mode.unwrap_or(if is_system { Mode::VerifyFull } else { Mode::Prefer });
        if is_system && mode != Mode::VerifyFull {
            return Err(
                "sslrootcert=system is no help without sslmode=verify-full: anybody has a certificate of those CAs"
                    .to_owned(),
            );
        }
        if root.is_some() && matches!(mode, Mode::Disable | Mode::Prefer) {
            return Err("sslrootcert needs sslmode=verify-full or verify-ca, or nobody looks at it".to_owned());
        }
        if certificate.is_some() != key.is_some() {
            return Err("sslcert and sslkey go together".to_owned());
        }
        Ok(Self { mode, root, certificate, key })
    }

    /// What to ask the server for.
    pub(super) fn negotiation(&self) -> Negotiation {
        match self.mode {
            Mode::Disable => Negotiation::Disable,
            Mode::Prefer => Negotiation::Prefer,
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => Negotiation::Require,
        }
    }

    /// The configuration; `None` where there is to be no TLS, or none can be on this processor and none has to be.
    ///
    /// # Errors
    /// A sentence: files, certificates, the processor.
    pub(super) fn client_config(&self) -> Result<Option<ClientConfig>, String> {
        let provider = match tls::provider() {
            _ if self.mode == Mode::Disable => return Ok(None),
            Ok(provider) => provider,
            Err(_) if self.mode == Mode::Prefer => return Ok(None),
            Err(error) => return Err(error),
        };
        let verifier = self.verifier(&provider)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => builder
                .with_client_auth_cert(
                    Pem::File(certificate.clone()).certificates()?,
                    Pem::File(key.clone()).private_key(None)?,
                )
                .map_err(|error| format!("{} and {}: {error}", certificate.display(), key.display()))?,
            _ => builder.with_no_client_auth(),
        };
        // PostgreSQL 17 wants it where TLS begins without being asked for (sslnegotiation=direct).
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        Ok(Some(config))
    }

    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Verifier, String> {
        let mut verifier = Verifier { provider: provider.clone(), chain: None, pinned: Vec::new(), name: false };
        verifier.name = self.mode == Mode::VerifyFull;
        let roots = match (&self.root, self.mode) {
            (Some(path), _) if path != Path::new(SYSTEM) => {
                verifier.pinned = Pem::File(path.clone()).certificates()?;
                tls::roots::roots(&verifier.pinned).map_err(|error| format!("{}: {error}", path.display()))?
            }
            (Some(_), _) | (None, Mode::VerifyCa | Mode::VerifyFull) => {
                tls::roots::system_roots().map_err(|error| format!("{error}, or name the CA's file by sslrootcert"))?
            }
            (None, _) => return Ok(verifier),
        };
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        verifier.chain = Some(chain.map_err(|error| error.to_string())?);
        Ok(verifier)
    }
}

/// The machine's trusted certificates, as `sslrootcert`.
const SYSTEM: &str = "system";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::sink::words::taken_out;

    fn tls(query: &str) -> Result<Tls, String> {
        Tls::new(&taken_out(&format!("postgres://h/d?{query}"), &Tls::WORDS).unwrap().1)
    }

    #[test]
    fn without_a_mode_it_is_libpqs() {
        let full = tls("sslmode=verify-full&sslrootcert=%2Fa%20b.pem").unwrap();
        assert_eq!((full.mode, full.root.as_deref()), (Mode::VerifyFull, Some(Path::new("/a b.pem"))));
        assert_eq!(tls("").unwrap().negotiation(), Negotiation::Prefer);
        assert_eq!(tls("sslrootcert=system").unwrap().mode, Mode::VerifyFull);
    }

    #[test]
    fn what_would_promise_more_than_it_holds_is_refused() {
        for (query, why) in [
            ("sslmode=allow", "verify-full"),
            ("sslrootcert=ca.pem", "needs sslmode"),
            ("sslmode=prefer&sslrootcert=ca.pem", "needs sslmode"),
            ("sslmode=require&sslrootcert=system", "no help"),
            ("sslcert=c.pem", "together"),
        ] {
            let error = tls(query).unwrap_err();
            assert!(error.contains(why), "{query}: {error}");
        }
    }

    #[test]
    fn files_are_read_at_the_start() {
        let config = |query| tls(query).unwrap().client_config();
        assert!(config("sslmode=verify-ca&sslrootcert=no/such.pem").unwrap_err().contains("no/such.pem"));
        assert!(config("sslmode=disable").unwrap().is_none());
        assert!(config("sslmode=require").unwrap().is_some());
    }
}
