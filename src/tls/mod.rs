//! What any TLS peer of ours needs, in Rust: the cryptography, whom to trust, who we are, and what went wrong.
//!
//! The provider (graviola) is handed to each configuration; nothing is installed for the whole process, so an application
//! that uses rustls with another one is not disturbed.

mod config;
pub(crate) mod failure;
mod pem;
pub(crate) mod roots;
mod verifier;

pub use config::TlsConfig;
pub(crate) use pem::Pem;
pub use rustls;
pub(crate) use verifier::Verifier;

use rustls::crypto::CryptoProvider;
use std::sync::Arc;

/// A key, and its certificate for `broker`: `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500
/// -subj /CN=broker`, for tests.
#[cfg(test)]
pub(crate) const IDENTITY: &str = include_str!("testdata/identity.pem");

/// The cryptography.
///
/// # Errors
/// A processor that graviola can't use: it would panic at the first handshake.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) fn provider() -> Result<Arc<CryptoProvider>, String> {
    if !graviola::util::is_cpu_supported() {
        return Err(
            "TLS needs a processor with ADX and AVX2 (x86_64, since 2014) or AES and SHA2 (aarch64); this one \
                    lacks them"
                .to_owned(),
        );
    }
    Ok(Arc::new(rustls_graviola::default_provider()))
}

/// The cryptography.
///
/// # Errors
/// Always: graviola has none for this processor.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) fn provider() -> Result<Arc<CryptoProvider>, String> {
    Err("there is no cryptography for this processor here: hand a CryptoProvider over".to_owned())
}
