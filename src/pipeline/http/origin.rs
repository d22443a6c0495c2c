//! Who may press a button: a page that came from here, and nobody else's page in the same browser.

use hyper::header::{HOST, HeaderMap, ORIGIN};
use std::net::IpAddr;

/// Whether the request comes from a page of this server: `Origin` says the same as `Host`, and `Host` is an address or
/// localhost. A foreign name that leads here (DNS rebinding) would be its own origin.
pub(super) fn is_same(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(host), Some(origin)) = (text(HOST), text(ORIGIN)) else { return false };
    origin.strip_prefix("http://") == Some(host) && is_address(host)
}

fn is_address(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pairs: &[(hyper::header::HeaderName, &str)]) -> bool {
        is_same(&pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect())
    }

    #[test]
    fn only_a_page_from_here_may_press_a_button() {
        for here in ["127.0.0.1:8080", "localhost:8081", "[::1]:80", "10.0.0.7"] {
            assert!(asked(&[(HOST, here), (ORIGIN, &format!("http://{here}"))]), "{here}");
        }
        assert!(!asked(&[(HOST, "127.0.0.1:8080")]), "a form of another page may leave it out");
        assert!(!asked(&[(HOST, "127.0.0.1:8080"), (ORIGIN, "http://127.0.0.1:9090")]));
        assert!(!asked(&[(HOST, "127.0.0.1:8080"), (ORIGIN, "null")]));
        assert!(!asked(&[(HOST, "evil.example:8080"), (ORIGIN, "http://evil.example:8080")]), "rebound");
        assert!(!asked(&[(ORIGIN, "http://127.0.0.1")]));
    }
}
