//! What may be known, and is kept, of the device behind a request: its address, what it says it is, and a name for people.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// So much of a `User-Agent` is kept, in characters.
const USER_AGENT: usize = 512;

/// Makes a name for people out of a `User-Agent` header.
pub trait DeviceNames: Send + Sync {
    /// The name, like `Chrome on Windows`; `None` when the header tells nothing. The header is whatever the client says.
    fn name(&self, user_agent: &str) -> Option<String>;
}

/// Names from the data of the woothee project: the browser and the operating system, or the crawler.
#[derive(Clone, Copy, Debug, Default)]
pub struct Woothee;

impl DeviceNames for Woothee {
    fn name(&self, user_agent: &str) -> Option<String> {
        let known = |word: &str| Some(word.to_owned()).filter(|word| word != woothee::woothee::VALUE_UNKNOWN);
        let found = woothee::parser::Parser::new().parse(user_agent)?;
        match (known(found.name), known(found.os).map(system)) {
            (Some(browser), Some(system)) => Some(format!("{browser} on {system}")),
            (browser, system) => browser.or(system),
        }
    }
}

/// The system as people call it. Browsers say the same of every Windows since 10, so the number would mislead.
fn system(name: String) -> String {
    match name.as_str() {
        "Mac OSX" => "macOS".into(),
        name if name.starts_with("Windows") && !name.starts_with("Windows Phone") => "Windows".into(),
        _ => name,
    }
}

/// How much of a client's address is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordIp {
    /// All of it.
    Full,
    /// The network: the first 24 bits of an IPv4 address, the first 48 of an IPv6 address.
    Network,
    /// None of it.
    Never,
}

impl RecordIp {
    pub(crate) fn of(self, ip: IpAddr) -> Option<IpAddr> {
        match (self, ip.to_canonical()) {
            (Self::Full, ip) => Some(ip),
            (Self::Network, IpAddr::V4(ip)) => Some(Ipv4Addr::from_bits(ip.to_bits() & (!0 << 8)).into()),
            (Self::Network, IpAddr::V6(ip)) => Some(Ipv6Addr::from_bits(ip.to_bits() & (!0 << 80)).into()),
            (Self::Never, _) => None,
        }
    }
}

/// What is kept of a `User-Agent` header. Bytes that are not UTF-8 and control characters become U+FFFD: no store could
/// hold U+0000, and no terminal should get the others.
pub(crate) fn user_agent(header: &[u8]) -> Option<Box<str>> {
    // A character is four bytes at most.
    let text = String::from_utf8_lossy(&header[..header.len().min(USER_AGENT * 4)]);
    let kept: String = text.chars().take(USER_AGENT).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    Some(kept.trim()).filter(|text| !text.is_empty()).map(Box::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_the_names_that_people_use() {
        let name = |system: &str| {
            Woothee.name(&format!(
                "Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
            ))
        };
        for (system, expected) in [
            ("Windows NT 10.0; Win64; x64", "Chrome on Windows"),
            ("Macintosh; Intel Mac OS X 10_15_7", "Chrome on macOS"),
            ("X11; Linux x86_64", "Chrome on Linux"),
            ("Linux; Android 10; K", "Chrome on Android"),
        ] {
            assert_eq!(name(system).as_deref(), Some(expected));
        }
        assert_eq!(Woothee.name("curl/8.0"), Some("HTTP Library".into()));
        assert_eq!(Woothee.name("?"), None);
    }
}
