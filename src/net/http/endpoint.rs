//! [`Endpoint`]: the parts of an `http:` or `https:` address.

use crate::error::{Error, ErrorKind, Result};
use hyper::Uri;
use std::fmt;

/// Where to ask.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `https:`
    pub tls: bool,
    /// A name or an address, an IPv6 one in brackets.
    pub host: String,
    /// 80 or 443 unless it says otherwise.
    pub port: u16,
    /// For the `Host` header.
    pub authority: String,
    /// With the query.
    pub path: String,
}

impl Endpoint {
    /// Out of an address.
    ///
    /// # Errors
    /// `Config` with what is wrong. The address itself is not in it: it may hold a password.
    pub fn parse(url: &str) -> Result<Self> {
        let wrong = |why: String| Error::with_message(ErrorKind::Config, why);
        let uri: Uri = url.trim().parse().map_err(|error| wrong(format!("no address: {error}")))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong("not an address that begins with https:// or http://".to_owned())),
        };
        let authority = uri.authority().filter(|authority| !authority.host().is_empty());
        let authority = authority.ok_or_else(|| wrong("an address without a host".to_owned()))?;
        if authority.as_str().contains('@') {
            return Err(wrong("an address with a user in it: the client has properties of its own".to_owned()));
        }
        if authority.as_str() != authority.host() && authority.port_u16().is_none() {
            return Err(wrong("an address without a port behind the colon".to_owned()));
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            tls,
            host: authority.host().to_owned(),
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
        })
    }

    /// Whether what is said goes to this machine only.
    pub fn is_local(&self) -> bool {
        let host = self.host.trim_matches(['[', ']']);
        host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
    }
}

/// Without the query, which may hold what is nobody's business.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.split('?').next().unwrap_or_default();
        write!(f, "{}://{}{path}", if self.tls { "https" } else { "http" }, self.authority)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart() {
        for (url, host, port, path, shown) in [
            ("https://idp/oauth/token", "idp", 443, "/oauth/token", "https://idp/oauth/token"),
            ("http://[::1]:8080?tenant=7", "[::1]", 8080, "/?tenant=7", "http://[::1]:8080/"),
            (" https://IDP.example:8443/ ", "IDP.example", 8443, "/", "https://IDP.example:8443/"),
        ] {
            let endpoint = Endpoint::parse(url).unwrap();
            assert_eq!((endpoint.host.as_str(), endpoint.port, endpoint.path.as_str()), (host, port, path));
            assert_eq!(
                (endpoint.to_string(), format!("{endpoint:?}")),
                (shown.to_owned(), format!("Endpoint({shown})"))
            );
        }
        assert!(Endpoint::parse("http://[::1]:1/").unwrap().is_local());
        assert!(!Endpoint::parse("http://local/").unwrap().is_local());
    }

    #[test]
    fn what_is_none_is_refused_without_being_shown() {
        for url in [
            "",
            "idp/token",
            "ftp://idp/",
            "https://",
            "https://me:hush@idp/",
            "https://idp:/x",
            "https://idp:99999/",
            "https://i dp/hush",
        ] {
            let error = Endpoint::parse(url).unwrap_err();
            assert!(error.kind() == ErrorKind::Config && !error.to_string().contains("hush"), "{url}: {error}");
        }
    }
}
