//! Whom to trust.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

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
