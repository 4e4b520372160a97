//! The doctor's look at the settings: what works by itself, and will not work together or in front of a browser. What
//! [`Builder::resolve`](super::Builder::resolve) refuses is not asked again.

use std::time::Duration;

use super::declared::Values;
use super::{Settings, host};
use crate::{Check, SameSite, Secure};

impl Settings {
    /// What is to be said of these settings. No text holds a secret.
    ///
    /// ```
    /// # use sessile_core::{Verdict, settings::Settings};
    /// # let secret = "gUnXRPzrkuQ0rDtBSHXmFJC2AbVBv4Ds";
    /// let settings = Settings::builder().set("session.secret", secret).resolve()?;
    /// assert!(settings.examine().iter().all(|check| check.verdict == Verdict::Good));
    /// # Ok::<(), sessile_core::settings::SettingsError>(())
    /// ```
    pub fn examine(&self) -> Vec<Check> {
        let values = &self.values;
        let checks = [secret, old_secrets, cookie_name, cookie_domain, same_site, secure, proxy, timeouts, profile];
        checks.iter().filter_map(|check| check(values)).collect()
    }
}

fn is_https(values: &Values) -> bool {
    values.public_url.as_deref().is_some_and(|url| url.starts_with("https://"))
}

/// What `resolve` lets through is long enough and no sample.
fn secret(values: &Values) -> Option<Check> {
    let shortest = values.secrets.iter().map(|secret| secret.len()).min()?;
    let mut fingerprints = values.config().ok()?.fingerprints().to_vec();
    fingerprints.sort_unstable();
    fingerprints.dedup();
    let count = values.secrets.len();
    if fingerprints.len() < count {
        return Some(Check::warning(
            "settings.secret",
            format!("expected {count} different secrets, found some of them twice"),
            "name each secret once in SESSION_SECRET, the newest first",
        ));
    }
    let found = match count {
        1 => format!("there is one secret, of {shortest} bytes"),
        _ => format!("there are {count} secrets, the shortest of {shortest} bytes"),
    };
    Some(Check::good("settings.secret", found))
}

fn old_secrets(values: &Values) -> Option<Check> {
    let old = values.secrets.len().checked_sub(1).filter(|old| *old > 0)?;
    let found = format!(
        "the first secret signs, {old} more only verify; `sessile keys list` shows whether cookies still need them"
    );
    Some(Check::good("settings.old_secrets", found))
}

/// That a prefix's rules are kept is asked where the settings are resolved.
fn cookie_name(values: &Values) -> Option<Check> {
    let name = &values.cookie.name;
    let lower = name.to_ascii_lowercase();
    let found = if lower.starts_with("__host-") {
        format!("only this host can set the cookie {name}, and only over HTTPS")
    } else if lower.starts_with("__secure-") {
        format!("the cookie {name} can only be set over HTTPS")
    } else {
        format!(
            "the cookie {name} has no prefix: another host of the domain can plant one, which is refused by its signature"
        )
    };
    Some(Check::good("settings.cookie_name", found))
}

/// A browser takes a cookie for its own host, and for a domain above it.
fn cookie_domain(values: &Values) -> Option<Check> {
    let (domain, url) = (values.cookie.domain.as_deref()?, values.public_url.as_deref()?);
    if host::is_below(host::of(url), domain) {
        return Some(Check::good("settings.cookie_domain", format!("browsers take a cookie for {domain} from {url}")));
    }
    Some(Check::failed(
        "settings.cookie_domain",
        format!(
            "expected the host of PUBLIC_URL or a domain above it, found {domain}: browsers refuse the cookie from {url}"
        ),
        format!("leave COOKIE_DOMAIN out, or set it to {}", host::of(url)),
    ))
}

fn same_site(values: &Values) -> Option<Check> {
    let cookie = &values.cookie;
    match cookie.same_site {
        Some(SameSite::None) if cookie.secure == Secure::Auto && !is_https(values) => Some(Check::warning(
            "settings.same_site",
            "SameSite=None needs Secure, which is left to each request: over plain HTTP browsers refuse the cookie",
            "COOKIE_SECURE=true, or COOKIE_SAME_SITE=lax",
        )),
        Some(SameSite::Strict) if values.oidc.issuer.is_some() => Some(Check::failed(
            "settings.same_site",
            "SameSite=Strict keeps the cookie from coming back with users from the identity provider: no sign-in succeeds",
            "COOKIE_SAME_SITE=lax",
        )),
        _ => None,
    }
}

fn secure(values: &Values) -> Option<Check> {
    let url = values.public_url.as_deref()?;
    match values.cookie.secure {
        Secure::Never if is_https(values) => Some(Check::warning(
            "settings.secure",
            format!("browsers come to {url}, and send the cookie over plain HTTP too, where others can read it"),
            "COOKIE_SECURE=true",
        )),
        Secure::Always if !is_https(values) && !host::is_local(url) => Some(Check::failed(
            "settings.secure",
            format!("the cookie is Secure and browsers come to {url}: they do not keep it"),
            "set PUBLIC_URL to the https address; COOKIE_SECURE=false only on a network that you trust",
        )),
        _ => Some(Check::good("settings.secure", format!("the cookie fits {url}"))),
    }
}

/// HTTPS ends somewhere before this process, as a rule.
fn proxy(values: &Values) -> Option<Check> {
    if !is_https(values) || !values.trusted_proxies.is_empty() {
        return None;
    }
    let what = match values.cookie.secure {
        Secure::Auto => "requests through it look like plain HTTP, and the cookie is not Secure",
        _ => "sessions are recorded with its address instead of their users'",
    };
    Some(Check::warning(
        "settings.proxy",
        format!("PUBLIC_URL is https and no proxy is trusted: if one ends HTTPS here, {what}"),
        "TRUST_PROXY=loopback for a proxy on this host, else its addresses: TRUST_PROXY=10.0.0.0/8",
    ))
}

fn timeouts(values: &Values) -> Option<Check> {
    let (idle, absolute) = (values.lifetime.idle, values.lifetime.absolute);
    let ms = |span: Duration| format!("{} ms", span.as_millis());
    match absolute {
        Some(absolute) if idle > absolute => Some(Check::warning(
            "settings.timeouts",
            format!(
                "the idle timeout of {} never counts: the absolute one ends sessions after {}",
                ms(idle),
                ms(absolute)
            ),
            "make SESSION_TIMEOUT shorter than SESSION_ABSOLUTE_TIMEOUT",
        )),
        Some(absolute) => Some(Check::good(
            "settings.timeouts",
            format!("sessions end after {} without use, and after {} in any case", ms(idle), ms(absolute)),
        )),
        None => Some(Check::good("settings.timeouts", format!("sessions end after {} without use", ms(idle)))),
    }
}

fn profile(values: &Values) -> Option<Check> {
    let found = "ids are stored as they are, as Express does: whoever can read the table can use its sessions";
    values.express.then(|| Check::good("settings.profile", found))
}
