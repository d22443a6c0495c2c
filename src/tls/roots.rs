//! Whom to trust.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use std::path::Path;

/// Trusts these.
///
/// # Errors
/// One that is no certificate.
pub(crate) fn roots(certificates: &[CertificateDer<'static>]) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in certificates {
        store.add(certificate.clone()).map_err(|error| error.to_string())?;
    }
    Ok(store)
}

/// The certificates in the files of a directory, as `c_rehash` or a distribution keeps it. What is broken among them is left
/// out.
///
/// # Errors
/// None at all.
pub(crate) fn of_directory(directory: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut found = rustls_native_certs::load_certs_from_paths(None, Some(directory));
    for error in &found.errors {
        tracing::warn!("{}: {error}", directory.display());
    }
    let mut store = RootCertStore::empty();
    found.certs.retain(|certificate| store.add(certificate.clone()).is_ok());
    if found.certs.is_empty() {
        return Err(format!("{}: no certificate in PEM in any of its files", directory.display()));
    }
    Ok(found.certs)
}

/// The certificates that the machine trusts, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`. What is broken among them is
/// left out.
///
/// # Errors
/// None at all, as in a container without ca-certificates.
pub(crate) fn system_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(format!("the machine has no trusted certificates{why}: install ca-certificates"));
    }
    Ok(store)
}
