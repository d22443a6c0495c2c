//! What any TLS client of ours needs, in Rust: the cryptography, whom to trust, who we are, and what went wrong.
//!
//! The provider (graviola) is handed to each configuration; nothing is installed for the whole process, so an application
//! that uses rustls with another one is not disturbed.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{AlertDescription, CertificateError, RootCertStore, crypto::CryptoProvider};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

/// The cryptography.
///
/// # Errors
/// A processor that graviola can't use: it would panic at the first handshake.
pub(super) fn provider() -> Result<Arc<CryptoProvider>, String> {
    if !graviola::util::is_cpu_supported() {
        return Err(
            "TLS needs a processor with ADX and AVX2 (x86_64, since 2014) or AES and SHA2 (aarch64); this one \
                    lacks them"
                .to_owned(),
        );
    }
    Ok(Arc::new(rustls_graviola::default_provider()))
}

/// The certificates of a PEM file, at least one.
///
/// # Errors
/// A sentence that names the file.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Ok(found) if found.is_empty() => Err(wrong(&"no certificate in PEM")),
        Ok(found) => Ok(found),
        Err(error) => Err(wrong(&error)),
    }
}

/// The private key of a PEM file.
///
/// # Errors
/// A sentence that names the file; a key with a passphrase is not read.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path)
        .map_err(|error| format!("{}: no private key in PEM without passphrase: {error}", path.display()))
}

/// Trusts these.
///
/// # Errors
/// One that is no certificate.
pub(super) fn roots(certificates: &[CertificateDer<'static>]) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in certificates {
        store.add(certificate.clone()).map_err(|error| error.to_string())?;
    }
    Ok(store)
}

/// The certificates that the machine trusts, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`. What is broken among them is
/// left out.
///
/// # Errors
/// None at all, as in a container without ca-certificates.
pub(super) fn system_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(format!("the machine has no trusted certificates{why}: install ca-certificates"));
    }
    Ok(store)
}

/// The TLS error behind this one, which an I/O error may wrap.
pub(super) fn cause<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = error.downcast_ref().or_else(|| inner.and_then(|inner| inner.downcast_ref()));
        if tls.is_some() {
            return tls;
        }
        next = error.source();
    }
    None
}

/// What a person must do about it; `None` where trying again may help.
pub(super) fn advice(error: &rustls::Error) -> Option<&'static str> {
    use CertificateError::{Expired, ExpiredContext, NotValidForName, NotValidForNameContext, UnknownIssuer};
    Some(match error {
        rustls::Error::InvalidCertificate(UnknownIssuer) => {
            "the CA that signed the server's certificate is not among the trusted ones"
        }
        rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }) => {
            "connect by a name that is in the certificate's subjectAltName"
        }
        rustls::Error::InvalidCertificate(Expired | ExpiredContext { .. }) => "renew the server's certificate",
        rustls::Error::InvalidCertificate(_) => "the server's certificate can't be used",
        rustls::Error::AlertReceived(
            AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRequired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate,
        ) => "the server does not take our certificate",
        rustls::Error::AlertReceived(AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion)
        | rustls::Error::PeerIncompatible(_) => "the server has no version or cipher of TLS 1.2 or 1.3 that we have",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn a_tls_error_is_found_inside_of_an_io_error() {
        let unknown = || rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let wrapped = io::Error::new(io::ErrorKind::InvalidData, unknown());
        assert!(advice(cause(&wrapped).unwrap()).unwrap().contains("CA"));
        assert!(advice(cause(&unknown()).unwrap()).is_some());
        assert!(cause(&io::Error::from(io::ErrorKind::ConnectionReset)).is_none());
        assert!(advice(&rustls::Error::HandshakeNotComplete).is_none(), "a connection that broke is tried again");
    }

    #[test]
    fn files_that_are_none_are_named() {
        let here = Path::new("Cargo.toml");
        assert!(certificates(here).unwrap_err().contains("Cargo.toml: no certificate"));
        assert!(private_key(here).unwrap_err().contains("without passphrase"));
        assert!(certificates(Path::new("no/such.pem")).unwrap_err().contains("no/such.pem"));
    }
}
