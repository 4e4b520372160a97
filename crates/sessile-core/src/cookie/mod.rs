//! The cookie on the wire: a byte-exact reader of `Cookie` and one renderer of `Set-Cookie` for setting and removing.

pub(crate) mod attributes;
pub(crate) mod header;

pub use attributes::{Priority, SameSite};
use attributes::{is_domain, is_name, is_path};

/// Whether the cookie carries `Secure`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secure {
    /// Always. The default.
    Always,
    /// Never: for plain HTTP on a private network.
    Never,
    /// When the request came over HTTPS, as the connection or a trusted proxy says.
    Auto,
}

/// The cookie's name and attributes.
///
/// ```
/// # use sessile_core::{Config, Cookie, SameSite};
/// # let secret = "gUnXRPzrkuQ0rDtBSHXmFJC2AbVBv4Ds";
/// let shared = Cookie::new("__Secure-sid").domain("example.com").same_site(SameSite::Lax);
/// let config = Config::new(secret)?.cookie(shared)?;
/// # Ok::<(), sessile_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie {
    pub(crate) name: Box<str>,
    pub(crate) domain: Option<Box<str>>,
    pub(crate) path: Box<str>,
    pub(crate) secure: Secure,
    pub(crate) http_only: bool,
    pub(crate) same_site: Option<SameSite>,
    pub(crate) partitioned: bool,
    pub(crate) priority: Option<Priority>,
    pub(crate) persistent: bool,
}

impl Default for Cookie {
    /// `__Host-sid`, Secure, HttpOnly, SameSite=Lax, Path=/ (ASVS 3.3.1 to 3.3.4), kept when the browser closes.
    fn default() -> Self {
        Self::new("__Host-sid")
    }
}

impl Cookie {
    /// A cookie of this name with the default attributes.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into().into(),
            domain: None,
            path: "/".into(),
            secure: Secure::Always,
            http_only: true,
            same_site: Some(SameSite::Lax),
            partitioned: false,
            priority: None,
            persistent: true,
        }
    }

    /// express-session's defaults: `connect.sid`, HttpOnly, Path=/, ends with the browser.
    pub fn express() -> Self {
        Self { secure: Secure::Never, same_site: None, persistent: false, ..Self::new("connect.sid") }
    }

    /// The same attributes under another name.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into().into();
        self
    }

    /// Shares the cookie with the subdomains of this domain. Default: only the host that set it.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into().into());
        self
    }

    /// Where on the host the cookie is sent. Default `/`.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into().into();
        self
    }

    /// Whether the cookie is for HTTPS only. Default [`Secure::Always`].
    pub fn secure(mut self, secure: Secure) -> Self {
        self.secure = secure;
        self
    }

    /// Whether scripts are kept from the cookie. Default true; there is hardly a reason for false.
    pub fn http_only(mut self, http_only: bool) -> Self {
        self.http_only = http_only;
        self
    }

    /// When other sites' requests carry the cookie. Default [`SameSite::Lax`]; `None` leaves the attribute out.
    pub fn same_site(mut self, same_site: impl Into<Option<SameSite>>) -> Self {
        self.same_site = same_site.into();
        self
    }

    /// Keeps one cookie per embedding site (CHIPS). Needs `Secure`. Default false.
    pub fn partitioned(mut self, partitioned: bool) -> Self {
        self.partitioned = partitioned;
        self
    }

    /// Which cookies Chromium drops first. Default: left out.
    pub fn priority(mut self, priority: impl Into<Option<Priority>>) -> Self {
        self.priority = priority.into();
        self
    }

    /// Whether the browser keeps the cookie when it closes. Default true; a session may say otherwise for itself.
    pub fn persistent(mut self, persistent: bool) -> Self {
        self.persistent = persistent;
        self
    }

    /// Everything that is wrong with these settings.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let name = &self.name;
        let mut expect = |holds: bool, fault: String| {
            if !holds {
                faults.push(fault);
            }
        };
        expect(is_name(name), format!("expected a cookie name of letters, digits and !#$%&'*+-.^_`|~, found {name:?}"));
        if let Some(domain) = &self.domain {
            expect(is_domain(domain), format!("expected a cookie domain like example.com, found {domain:?}"));
        }
        expect(
            is_path(&self.path),
            format!("expected a cookie path of printable ASCII without `;`, found {:?}", self.path),
        );
        expect(
            !self.partitioned || self.secure != Secure::Never,
            "a partitioned cookie needs Secure; set it to true or auto".into(),
        );
        let cross_site = self.same_site == Some(SameSite::None);
        expect(
            !cross_site || self.secure != Secure::Never,
            "SameSite=None needs Secure; set it to true or auto".into(),
        );
        // Browsers match the prefixes without case (RFC 6265bis section 5.8), so their rules hold for every spelling.
        let lower = name.to_ascii_lowercase();
        if lower.starts_with("__host-") || lower.starts_with("__secure-") || lower.starts_with("__http-") {
            expect(
                self.secure == Secure::Always,
                format!("a cookie named {name} must be Secure; set Secure to true or choose another name"),
            );
        }
        if lower.starts_with("__host-") {
            expect(
                self.domain.is_none(),
                format!("a cookie named {name} cannot have a Domain; name it __Secure-… or drop the domain"),
            );
            expect(&*self.path == "/", format!("a cookie named {name} must have Path=/, found {:?}", self.path));
        }
        if lower.starts_with("__http-") || lower.starts_with("__host-http-") {
            expect(self.http_only, format!("a cookie named {name} must be HttpOnly"));
        }
        faults
    }
}
