//! What went wrong, in words.

use rustls::{AlertDescription, CertificateError};
use std::error::Error;

/// The TLS error behind this one, which an I/O error may wrap.
pub(crate) fn cause<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
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
pub(crate) fn advice(error: &rustls::Error) -> Option<&'static str> {
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
}
