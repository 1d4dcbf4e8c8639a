//! By which names a listener is asked for: what `Host` and `Origin` may say.
//!
//! A web site that points its own name at our address sends its own name, and is refused.

use std::net::{IpAddr, SocketAddr};

use super::is_loopback;
use crate::tls::{self, Tls};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    fn prefix(self) -> &'static str {
        match self {
            Self::Http => "http://",
            Self::Https => "https://",
        }
    }

    /// The port that browsers leave out.
    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// The names of one listener.
#[derive(Debug)]
pub(super) struct Hosts {
    scheme: Scheme,
    address: SocketAddr,
    /// Its names count too, those of the certificate in use.
    tls: Option<Tls>,
    configured: Vec<String>,
}

impl Hosts {
    pub(super) fn of(address: SocketAddr, scheme: Scheme, tls: Option<Tls>, configured: Vec<String>) -> Self {
        Self { scheme, address, tls, configured }
    }

    /// Whether `HOST[:PORT]` is this listener.
    pub(super) fn allows(&self, authority: &str) -> bool {
        let Some((host, port)) = split(authority) else { return false };
        if port.unwrap_or(self.scheme.port()) != self.address.port() {
            return false;
        }
        let own = self.address.ip();
        let literal: Option<IpAddr> = host.parse().ok();
        (is_loopback(own) && (host.eq_ignore_ascii_case("localhost") || literal.is_some_and(is_loopback)))
            || literal == Some(own) && !own.is_unspecified()
            || self.tls.as_ref().is_some_and(|tls| tls.is_named(host))
            || self.configured.iter().any(|name| tls::matches_name(name, host))
    }

    /// Whether `SCHEME://HOST[:PORT]` is this listener.
    pub(super) fn allows_origin(&self, origin: &str) -> bool {
        origin.strip_prefix(self.scheme.prefix()).is_some_and(|authority| self.allows(authority))
    }

    /// One address that would be answered.
    pub(super) fn example(&self) -> String {
        let port = self.address.port();
        let issued = self.tls.as_ref().and_then(|tls| tls.facts().names.into_iter().next());
        let host = self.configured.first().cloned().or(issued);
        let host = host.unwrap_or_else(|| "localhost".to_owned());
        let host = if host.parse::<std::net::Ipv6Addr>().is_ok() { format!("[{host}]") } else { host };
        format!("{}{host}:{port}/", self.scheme.prefix())
    }
}

/// Host and port of an authority, the host without the brackets of IPv6.
fn split(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok()?)),
        _ => (authority, None),
    };
    let host = match host.strip_prefix('[') {
        Some(host) => host.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    (!host.is_empty()).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(address: &str, scheme: Scheme) -> Hosts {
        Hosts::of(
            address.parse().unwrap(),
            scheme,
            None,
            vec!["ops.example".to_owned(), "*.ops.example".to_owned()],
        )
    }

    #[test]
    fn beyond_loopback_the_names_and_the_address_itself_are_hosts() {
        let hosts = hosts("192.0.2.7:4000", Scheme::Https);
        for host in ["ops.example:4000", "OPS.example:4000", "a.ops.example:4000", "192.0.2.7:4000"] {
            assert!(hosts.allows(host), "{host}");
        }
        for host in
            ["ops.example", "ops.example:4001", "evil.example:4000", "localhost:4000", "127.0.0.1:4000", ""]
        {
            assert!(!hosts.allows(host), "{host}");
        }
        assert!(hosts.allows_origin("https://ops.example:4000"));
        for origin in
            ["http://ops.example:4000", "https://ops.example", "https://ops.example:4000.evil", "null"]
        {
            assert!(!hosts.allows_origin(origin), "{origin}");
        }
    }

    #[test]
    fn the_port_of_the_scheme_may_be_left_out() {
        let hosts = hosts("192.0.2.7:443", Scheme::Https);
        assert!(hosts.allows("ops.example") && hosts.allows_origin("https://ops.example"));
        assert!(!hosts.allows("ops.example:80"));
    }

    #[test]
    fn every_address_is_no_name() {
        assert!(!hosts("0.0.0.0:4000", Scheme::Https).allows("0.0.0.0:4000"));
        assert!(!hosts("[::]:4000", Scheme::Https).allows("[::]:4000"));
    }

    #[test]
    fn on_loopback_this_machine_by_name_is_a_host() {
        let hosts = hosts("127.0.0.1:4000", Scheme::Http);
        for host in ["localhost:4000", "127.0.0.1:4000", "[::1]:4000"] {
            assert!(hosts.allows(host), "{host}");
        }
        assert!(!hosts.allows("[::1:4000") && !hosts.allows("::1:4000") && !hosts.allows("[::1]:x"));
    }
}
