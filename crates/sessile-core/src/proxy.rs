//! Whom to believe about how a request reached the first proxy. Nobody, unless their network is named.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::RequestHead;

/// Whether the request came over HTTPS: by its own connection, or as a trusted proxy says in `X-Forwarded-Proto` or
/// `Forwarded` (RFC 7239). The first hop's word counts, as in Express.
pub(crate) fn is_https(head: &dyn RequestHead, trusted: &[IpNet]) -> bool {
    head.is_tls()
        || (is_trusted(head.peer(), trusted)
            && forwarded_proto(head).is_some_and(|proto| proto.eq_ignore_ascii_case(b"https")))
}

/// IPv4 addresses written as IPv6 (`::ffff:10.0.0.1`) count as IPv4.
fn is_trusted(peer: Option<IpAddr>, trusted: &[IpNet]) -> bool {
    peer.is_some_and(|peer| trusted.iter().any(|network| network.contains(&peer.to_canonical())))
}

fn forwarded_proto(head: &dyn RequestHead) -> Option<Vec<u8>> {
    let x_forwarded = first_value(head, "x-forwarded-proto").map(|value| first_token(&value, b',').to_vec());
    x_forwarded.or_else(|| {
        let value = first_value(head, "forwarded")?;
        let hop = first_token(&value, b',');
        hop.split(|&byte| byte == b';').find_map(|pair| {
            let at = pair.iter().position(|&byte| byte == b'=')?;
            let (name, value) = (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii());
            let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
            name.eq_ignore_ascii_case(b"proto").then(|| unquoted.to_vec())
        })
    })
}

fn first_value(head: &dyn RequestHead, name: &str) -> Option<Vec<u8>> {
    let mut first = None;
    head.header(name, &mut |value| {
        first.get_or_insert_with(|| value.to_vec());
    });
    first
}

fn first_token(value: &[u8], separator: u8) -> &[u8] {
    value.split(|&byte| byte == separator).next().unwrap_or_default().trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Head(&'static str, &'static [(&'static str, &'static str)]);

    impl RequestHead for Head {
        fn header(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
            self.1.iter().filter(|(own, _)| *own == name).for_each(|(_, value)| visit(value.as_bytes()));
        }
        fn peer(&self) -> Option<IpAddr> {
            self.0.parse().ok()
        }
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        for (peer, headers, expected) in [
            ("10.1.2.3", [("x-forwarded-proto", "https")].as_slice(), true),
            ("::ffff:10.1.2.3", &[("x-forwarded-proto", "HTTPS, http")], true),
            ("::1", &[("forwarded", "for=1.2.3.4;Proto=\"https\", proto=http")], true),
            ("10.1.2.3", &[("x-forwarded-proto", "http, https")], false),
            ("10.1.2.3", &[("x-forwarded-proto", "http"), ("x-forwarded-proto", "https")], false),
            ("10.1.2.3", &[("forwarded", "for=1.2.3.4")], false),
            ("10.1.2.3", &[], false),
            ("11.1.2.3", &[("x-forwarded-proto", "https")], false),
            ("unknown", &[("x-forwarded-proto", "https")], false),
        ] {
            assert_eq!(is_https(&Head(peer, headers), &trusted), expected, "{peer} {headers:?}");
            assert!(!is_https(&Head(peer, headers), &[]));
        }
    }
}
