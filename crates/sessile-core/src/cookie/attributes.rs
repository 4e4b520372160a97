//! Renders `Set-Cookie`, in express-session's order. Setting and removing share the renderer, so that a removal always
//! carries the attributes without which a browser would keep the cookie.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::clock::imf;

/// When a browser sends the cookie along with requests that other sites cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SameSite {
    /// Never. Returning from an identity provider arrives without the cookie.
    Strict,
    /// Only when the user navigates here by a link or address. The default.
    Lax,
    /// Always; browsers then demand `Secure`.
    None,
}

impl SameSite {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::Strict, Self::Lax, Self::None].into_iter().find(|one| one.word().eq_ignore_ascii_case(word))
    }
}

/// Which cookies a browser drops first when it has too many. Understood by Chromium.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// First to go.
    Low,
    /// The browser's default.
    Medium,
    /// Last to go.
    High,
}

impl Priority {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Low => "Low",
            Self::Medium => "Medium",
            Self::High => "High",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::Low, Self::Medium, Self::High].into_iter().find(|one| one.word().eq_ignore_ascii_case(word))
    }
}

/// Everything about the cookie but its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) domain: Option<Box<str>>,
    pub(crate) path: Option<Box<str>>,
    pub(crate) http_only: bool,
    pub(crate) secure: bool,
    pub(crate) partitioned: bool,
    pub(crate) priority: Option<Priority>,
    pub(crate) same_site: Option<SameSite>,
}

impl Attributes {
    /// A `Set-Cookie` value. `expires` is left out for a cookie that ends with the browser.
    pub(crate) fn render(&self, name: &str, value: &str, expires: Option<SystemTime>) -> String {
        let mut out = format!("{name}={value}");
        let mut push = |text: &str| out.push_str(text);
        if let Some(domain) = self.domain.as_deref().filter(|domain| !domain.is_empty()) {
            push("; Domain=");
            push(domain);
        }
        if let Some(path) = self.path.as_deref().filter(|path| !path.is_empty()) {
            push("; Path=");
            push(path);
        }
        if let Some(expires) = expires {
            push("; Expires=");
            push(&imf(expires));
        }
        if self.http_only {
            push("; HttpOnly");
        }
        if self.secure {
            push("; Secure");
        }
        if self.partitioned {
            push("; Partitioned");
        }
        if let Some(priority) = self.priority {
            push("; Priority=");
            push(priority.word());
        }
        if let Some(same_site) = self.same_site {
            push("; SameSite=");
            push(same_site.word());
        }
        out
    }

    /// A `Set-Cookie` value that makes the browser forget the cookie.
    pub(crate) fn render_removal(&self, name: &str) -> String {
        let mut removal = self.render(name, "", Some(SystemTime::UNIX_EPOCH));
        removal.push_str("; Max-Age=0");
        removal
    }
}

/// Whether this may stand as a cookie's name: a token of RFC 9110 section 5.6.2.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Whether this may stand as a cookie's domain: letters, digits, hyphens and dots, a leading dot allowed.
pub(crate) fn is_domain(domain: &str) -> bool {
    let host = domain.strip_prefix('.').unwrap_or(domain);
    host.split('.').all(|label| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    })
}

/// Whether this may stand as a cookie's path: printable ASCII without `;`.
pub(crate) fn is_path(path: &str) -> bool {
    path.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b';')
}
