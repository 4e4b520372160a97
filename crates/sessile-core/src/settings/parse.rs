//! Text to values, and values to text without their secrets. The errors here say what was expected and what to do;
//! what was found is added by the caller, who knows whether it may be shown.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};

use crate::codec::Secret;

/// What was expected and, behind a semicolon, what to do.
pub(super) type Expected = String;

pub(super) fn count(text: &str) -> Result<usize, Expected> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "a whole number above 0".into())
}

pub(super) fn count_or_none(text: &str) -> Result<Option<usize>, Expected> {
    if text.eq_ignore_ascii_case("none") {
        return Ok(None);
    }
    count(text).map(Some).map_err(|expected| expected + " or none")
}

pub(super) fn milliseconds(text: &str) -> Result<Duration, Expected> {
    match text.parse() {
        Ok(0) => Err("more than 0 milliseconds".into()),
        Ok(milliseconds) => Ok(Duration::from_millis(milliseconds)),
        Err(_) => {
            let advice = in_milliseconds(text).map(|value| format!("; write {value}")).unwrap_or_default();
            Err(format!("a whole number of milliseconds{advice}"))
        }
    }
}

pub(super) fn milliseconds_or_none(text: &str) -> Result<Option<Duration>, Expected> {
    match text {
        "0" => Err("milliseconds or none; 0 would mean at once, write none for no limit".into()),
        _ if text.eq_ignore_ascii_case("none") => Ok(None),
        _ => milliseconds(text).map(Some),
    }
}

/// What `30min` is in milliseconds.
fn in_milliseconds(text: &str) -> Option<u64> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let unit = match unit.trim_start() {
        "ms" => 1,
        "s" | "sec" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// The secrets, or what is wrong with each of them.
pub(super) fn secrets(texts: &[&str]) -> Result<Vec<Secret>, Vec<String>> {
    all(texts.iter().enumerate().map(|(index, text)| {
        Secret::new(text).map_err(|error| format!("secret {} of {}: {error}", index + 1, texts.len()))
    }))
}

/// Networks, single addresses, and Express's words for networks.
pub(super) fn networks(texts: &[&str]) -> Result<Vec<IpNet>, Vec<String>> {
    all(texts.iter().map(|text| {
        network(text).ok_or_else(|| {
            format!(
                "expected networks like 10.0.0.0/8, addresses, or the words loopback, linklocal and uniquelocal; found \
                 {text:?}; name the proxies' networks, a number of hops or `true` cannot be checked"
            )
        })
    }))
    .map(|networks| networks.concat())
}

/// The words as Express's `proxy-addr` defines them.
fn network(text: &str) -> Option<Vec<IpNet>> {
    let networks: &[&str] = match text {
        "loopback" => &["127.0.0.0/8", "::1/128"],
        "linklocal" => &["169.254.0.0/16", "fe80::/10"],
        "uniquelocal" => &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"],
        _ => &[text],
    };
    networks
        .iter()
        .map(|text| text.parse().ok().or_else(|| Some(text.parse::<IpAddr>().ok()?.into())).map(plain))
        .collect()
}

/// A peer's IPv4 address is compared as such, so a network written `::ffff:10.0.0.0/104` has to be too.
fn plain(network: IpNet) -> IpNet {
    let mapped = match network {
        IpNet::V6(v6) => v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96)),
        IpNet::V4(_) => None,
    };
    mapped.and_then(|(address, length)| Ipv4Net::new(address, length).ok()).map_or(network, IpNet::V4).trunc()
}

/// Every value, or everything that is wrong.
fn all<T>(results: impl Iterator<Item = Result<T, String>>) -> Result<Vec<T>, Vec<String>> {
    let (mut values, mut faults) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(value) => values.push(value),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(values) } else { Err(faults) }
}

/// Whether this has a scheme: `postgres://…`, `sqlite:…`.
pub(super) fn is_url(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, rest)| {
        let mut bytes = scheme.bytes();
        bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
            && !rest.is_empty()
    })
}

/// A URL without its passwords: the one before the host, and a `password` among the parameters. Where it cannot be told
/// where the password ends, too much is hidden rather than too little.
pub(super) fn without_password(url: &str) -> String {
    let (rest, query) = url.split_once('?').map_or((url, None), |(rest, query)| (rest, Some(query)));
    // A password with an unescaped `?` reaches into what looks like the query.
    if query.is_some_and(|query| query.contains('@')) {
        return format!("{}…", &url[..url.find(':').map_or(0, |colon| colon + 1)]);
    }
    let mut shown = match (rest.find("://"), rest.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => match rest[scheme + 3..at].find(':') {
            Some(colon) => format!("{}:***{}", &rest[..scheme + 3 + colon], &rest[at..]),
            None => rest.to_owned(),
        },
        _ => rest.to_owned(),
    };
    for (index, parameter) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
        shown.push(if index == 0 { '?' } else { '&' });
        match parameter.split_once('=') {
            Some((name, _)) if name.to_ascii_lowercase().contains("pass") => {
                shown.push_str(name);
                shown.push_str("=***");
            }
            _ => shown.push_str(parameter),
        }
    }
    shown
}

/// The candidate that was probably meant: the same letters but for separators and case, or a typing error away.
pub(super) fn nearest<'a>(typed: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let typed = letters(typed);
    candidates
        .map(|candidate| (distance(&typed, &letters(candidate)), candidate))
        .filter(|(distance, _)| *distance <= 2)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn letters(name: &str) -> Vec<char> {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Levenshtein's distance, and a swap of neighbours counts as one.
fn distance(a: &[char], b: &[char]) -> usize {
    let (mut before, mut last) = (Vec::new(), (0..=b.len()).collect::<Vec<_>>());
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let replaced = last[j] + usize::from(a[i] != b[j]);
            let mut least = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                let earlier: &Vec<usize> = &before;
                least = least.min(earlier[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}
