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
    /// Takes the words of this file out of the URL: tokio-postgres does not know them all.
    ///
    /// # Errors
    /// Values that can't be, or contradict.
    pub(super) fn split(url: &str) -> Result<(String, Self), String> {
        let (mut mode, mut root, mut certificate, mut key) = (None, None, None, None);
        // A password may hold a question mark.
        let host = url.find('@').unwrap_or(0);
        let Some(question) = url[host..].find('?').map(|at| host + at) else {
            return Ok((url.to_owned(), Self::plain()));
        };
        let mut kept = Vec::new();
        for pair in url[question + 1..].split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = || percent_decoded(value).ok_or_else(|| format!("{name} is no percent-encoded UTF-8"));
            match name {
                "sslmode" => mode = Some(Mode::parse(&value()?)?),
                "sslrootcert" => root = Some(PathBuf::from(value()?)),
                "sslcert" => certificate = Some(PathBuf::from(value()?)),
                "sslkey" => key = Some(PathBuf::from(value()?)),
                _ => kept.push(pair),
            }
        }
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
        let mut rest = url[..question].to_owned();
        if !kept.is_empty() {
            rest.push('?');
            rest.push_str(&kept.join("&"));
        }
        Ok((rest, Self { mode, root, certificate, key }))
    }

    fn plain() -> Self {
        Self { mode: Mode::Prefer, root: None, certificate: None, key: None }
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

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        rest = others;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (hex, others) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
        rest = others;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(url: &str) -> (String, Tls) {
        Tls::split(url).unwrap()
    }

    #[test]
    fn its_own_words_are_taken_out_of_the_url_and_the_others_stay() {
        let (rest, tls) = split(
            "postgres://u:p?w@h/d?sslmode=verify-full&options=-c%20x%3D1&sslrootcert=%2Fa%20b.pem&application_name=n",
        );
        assert_eq!(rest, "postgres://u:p?w@h/d?options=-c%20x%3D1&application_name=n");
        assert_eq!((tls.mode, tls.root.as_deref()), (Mode::VerifyFull, Some(Path::new("/a b.pem"))));
        assert_eq!(split("postgres://h/d?sslmode=disable").0, "postgres://h/d");
        assert_eq!(split("postgres://h/d").1.negotiation(), Negotiation::Prefer);
        assert_eq!(split("postgres://h/d?sslrootcert=system").1.mode, Mode::VerifyFull);
    }

    #[test]
    fn what_would_promise_more_than_it_holds_is_refused() {
        for (query, why) in [
            ("sslmode=allow", "verify-full"),
            ("sslrootcert=ca.pem", "needs sslmode"),
            ("sslmode=prefer&sslrootcert=ca.pem", "needs sslmode"),
            ("sslmode=require&sslrootcert=system", "no help"),
            ("sslcert=c.pem", "together"),
            ("sslmode=%zz", "percent-encoded"),
        ] {
            let error = Tls::split(&format!("postgres://h/d?{query}")).unwrap_err();
            assert!(error.contains(why), "{query}: {error}");
        }
    }

    #[test]
    fn files_are_read_at_the_start() {
        let (_, tls) = split("postgres://h/d?sslmode=verify-ca&sslrootcert=no/such.pem");
        assert!(tls.client_config().unwrap_err().contains("no/such.pem"));
        assert!(split("postgres://h/d?sslmode=disable").1.client_config().unwrap().is_none());
        assert!(split("postgres://h/d?sslmode=require").1.client_config().unwrap().is_some());
    }
}
