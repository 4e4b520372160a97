//! Whom to believe about how a request reached the first proxy, and from where. Nobody, unless their network is named.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::RequestHead;

/// Whether the request came over HTTPS: by its own connection, or as a trusted proxy says in `X-Forwarded-Proto` or
/// `Forwarded` (RFC 7239). The first hop's word counts, as in Express.
pub(crate) fn is_https(head: &dyn RequestHead, trusted: &[IpNet]) -> bool {
    head.is_tls()
        || (is_trusted(head.peer(), trusted)
            && forwarded_proto(head).is_some_and(|proto| proto.eq_ignore_ascii_case(b"https")))
}

/// The client's address: the right-most hop that is not a trusted proxy. Each proxy appends whom it heard from, so what is
/// further left is hearsay. `X-Forwarded-For` counts, else `Forwarded` (RFC 7239), else `X-Real-IP`; a proxy must set the
/// one it uses and drop the others. `None` when a trusted proxy names something that is no address.
pub(crate) fn client_ip(head: &dyn RequestHead, trusted: &[IpNet]) -> Option<IpAddr> {
    let peer = head.peer()?;
    if !is_trusted(Some(peer), trusted) {
        return Some(peer.to_canonical());
    }
    let hops = ["x-forwarded-for", "forwarded", "x-real-ip"].into_iter().map(|name| hops(head, name));
    let Some(hops) = hops.into_iter().find(|hops| !hops.is_empty()) else { return Some(peer.to_canonical()) };
    let mut client = None;
    for hop in hops.into_iter().rev() {
        client = hop;
        if !is_trusted(client, trusted) {
            break;
        }
    }
    client
}

/// The addresses that this header names, in order; `None` in place of what is none. Empty elements of a list do not count
/// (RFC 9110 section 5.6.1).
fn hops(head: &dyn RequestHead, name: &str) -> Vec<Option<IpAddr>> {
    let mut hops = Vec::new();
    head.header(name, &mut |value| {
        let elements = value.split(|&byte| byte == b',').filter(|hop| !hop.trim_ascii().is_empty());
        hops.extend(elements.map(|hop| match name {
            "forwarded" => parameter(hop, "for").and_then(address),
            _ => address(hop),
        }));
    });
    hops
}

/// `1.2.3.4`, `1.2.3.4:5678`, `2001:db8::1`, `fe80::1%eth0`, `[2001:db8::1]`, `[2001:db8::1]:5678`.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    let text = text.split_once('%').filter(|_| !text.starts_with('[')).map_or(text, |(address, _)| address);
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    text.parse().ok().or_else(with_port).or_else(in_brackets).map(|ip: IpAddr| ip.to_canonical())
}

/// The value of this parameter of a hop of `Forwarded`, without its quotes.
fn parameter<'a>(hop: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    hop.split(|&byte| byte == b';').find_map(|pair| {
        let at = pair.iter().position(|&byte| byte == b'=')?;
        let (name, value) = (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii());
        let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        name.eq_ignore_ascii_case(wanted.as_bytes()).then_some(unquoted)
    })
}

/// IPv4 addresses written as IPv6 (`::ffff:10.0.0.1`) count as IPv4.
fn is_trusted(peer: Option<IpAddr>, trusted: &[IpNet]) -> bool {
    peer.is_some_and(|peer| trusted.iter().any(|network| network.contains(&peer.to_canonical())))
}

fn forwarded_proto(head: &dyn RequestHead) -> Option<Vec<u8>> {
    let x_forwarded = first_value(head, "x-forwarded-proto").map(|value| first_token(&value, b',').to_vec());
    x_forwarded.or_else(|| {
        let value = first_value(head, "forwarded")?;
        parameter(first_token(&value, b','), "proto").map(<[u8]>::to_vec)
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
    fn the_client_is_the_right_most_hop_that_is_not_trusted() {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        const XFF: &str = "x-forwarded-for";
        for (peer, headers, expected) in [
            ("1.2.3.4", [(XFF, "5.6.7.8")].as_slice(), Some("1.2.3.4")),
            ("::ffff:1.2.3.4", &[], Some("1.2.3.4")),
            ("10.0.0.1", &[(XFF, "5.6.7.8")], Some("5.6.7.8")),
            ("10.0.0.1", &[(XFF, "9.9.9.9, 5.6.7.8, 10.0.0.2")], Some("5.6.7.8")),
            ("10.0.0.1", &[(XFF, "9.9.9.9"), (XFF, "5.6.7.8 , 10.0.0.2")], Some("5.6.7.8")),
            ("10.0.0.1", &[(XFF, "10.0.0.3, 10.0.0.2")], Some("10.0.0.3")),
            ("10.0.0.1", &[(XFF, "<script>, 5.6.7.8:4711")], Some("5.6.7.8")),
            ("10.0.0.1", &[(XFF, "5.6.7.8, unknown")], None),
            ("10.0.0.1", &[(XFF, "::ffff:5.6.7.8")], Some("5.6.7.8")),
            ("10.0.0.1", &[(XFF, "[2001:db8::1]:443")], Some("2001:db8::1")),
            ("10.0.0.1", &[("forwarded", "for=9.9.9.9, For=\"[2001:db8::2]:80\";proto=https")], Some("2001:db8::2")),
            ("10.0.0.1", &[("forwarded", "for=5.6.7.8, for=_hidden")], None),
            ("10.0.0.1", &[("forwarded", "for=9.9.9.9"), (XFF, "5.6.7.8")], Some("5.6.7.8")),
            ("::1", &[("x-real-ip", "5.6.7.8")], Some("5.6.7.8")),
            ("10.0.0.1", &[(XFF, " "), ("x-real-ip", "5.6.7.8")], Some("5.6.7.8")),
            ("10.0.0.1", &[(XFF, ", 5.6.7.8, ,")], Some("5.6.7.8")),
            ("10.0.0.1", &[(XFF, "fe80::1%eth0")], Some("fe80::1")),
            ("10.0.0.1", &[], Some("10.0.0.1")),
            ("unknown", &[(XFF, "5.6.7.8")], None),
        ] {
            let expected = expected.map(|ip: &str| ip.parse().unwrap());
            assert_eq!(client_ip(&Head(peer, headers), &trusted), expected, "{peer} {headers:?}");
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
