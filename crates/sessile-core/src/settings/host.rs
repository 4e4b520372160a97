//! The host in `public_url`, and what it means for a cookie.

/// The host of this URL, without its port.
pub(super) fn of(url: &str) -> &str {
    url.split("://").nth(1).and_then(|rest| rest.split([':', '/']).next()).unwrap_or_default()
}

/// Whether browsers treat plain HTTP to it like HTTPS.
pub(super) fn is_local(url: &str) -> bool {
    let host = of(url);
    host == "localhost" || host.starts_with("127.") || url.starts_with("http://[::1]")
}

/// Whether a cookie for this domain goes to this host.
pub(super) fn is_below(host: &str, domain: &str) -> bool {
    let domain = domain.trim_start_matches('.');
    host.eq_ignore_ascii_case(domain)
        || host.to_ascii_lowercase().strip_suffix(&domain.to_ascii_lowercase()).is_some_and(|rest| rest.ends_with('.'))
}
