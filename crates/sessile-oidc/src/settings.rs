//! What can be decided about signing in at a provider. A [`LoginFlow`] that exists is one whose settings can work.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use sessile_core::Error;
use url::Url;

use crate::flow::LoginFlow;
use crate::http::{Http, Limits, is_https, is_loopback, may_ask};
use crate::jws::Algorithm;
use crate::preset::{PlainOauth, Preset};
use crate::profile::{Profile, UserDocument};
use crate::secret::Secret;

/// Parameters of the authorization request that belong to the protocol.
const RESERVED: [&str; 14] = [
    "response_type",
    "response_mode",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "request",
    "request_uri",
    "client_secret",
    "max_age",
    "acr_values",
];

/// The endpoints of a provider that has no metadata.
#[derive(Clone)]
pub(crate) struct Endpoints {
    pub(crate) authorization: Url,
    pub(crate) token: Url,
}

pub(crate) struct Settings {
    pub(crate) issuer: String,
    pub(crate) issuer_url: Url,
    pub(crate) client_id: String,
    pub(crate) client_secret: Option<Secret>,
    pub(crate) redirect_url: Url,
    pub(crate) scopes: Vec<String>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) acr_values: Vec<String>,
    pub(crate) params: Vec<(String, String)>,
    pub(crate) algorithms: Option<Vec<Algorithm>>,
    pub(crate) require_s256: bool,
    pub(crate) preset: Option<Preset>,
    /// Of a plain OAuth 2.0 provider.
    pub(crate) endpoints: Option<Endpoints>,
    pub(crate) profile: Option<Arc<dyn Profile>>,
    pub(crate) limits: Limits,
}

impl Settings {
    /// OpenID Connect Discovery 1.0 section 4: a slash at the end of the issuer is left out here, and only here.
    pub(crate) fn discovery_url(&self) -> Url {
        let mut url = self.issuer_url.clone();
        url.set_path(&format!("{}/.well-known/openid-configuration", self.issuer_url.path().trim_end_matches('/')));
        url
    }
}

/// The settings of a [`LoginFlow`], from [`LoginFlow::builder`].
#[derive(Clone)]
pub struct LoginFlowBuilder {
    issuer: String,
    client_id: String,
    redirect_url: String,
    client_secret: Option<Secret>,
    scopes: Vec<String>,
    max_age: Option<Duration>,
    acr_values: Vec<String>,
    params: Vec<(String, String)>,
    algorithms: Option<Vec<Algorithm>>,
    require_s256: bool,
    preset: Option<Preset>,
    plain: Option<PlainOauth>,
    profile: Option<Arc<dyn Profile>>,
    roots: Option<Vec<CertificateDer<'static>>>,
    limits: Limits,
}

impl LoginFlowBuilder {
    pub(crate) fn new(issuer: String, client_id: String, redirect_url: String) -> Self {
        Self {
            issuer,
            client_id,
            redirect_url,
            client_secret: None,
            scopes: Vec::new(),
            max_age: None,
            acr_values: Vec::new(),
            params: Vec::new(),
            algorithms: None,
            require_s256: false,
            preset: None,
            plain: None,
            profile: None,
            roots: None,
            limits: Limits::default(),
        }
    }

    /// The client's secret. Without one it is a public client, and PKCE alone protects the code.
    #[must_use]
    pub fn client_secret(mut self, secret: impl Into<String>) -> Self {
        self.client_secret = Some(Secret::new(secret.into()));
        self
    }

    /// More scopes than `openid`, which is always asked for and the only one by default: what is not needed is not asked.
    #[must_use]
    pub fn scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.scopes.extend(scopes.into_iter().map(Into::into));
        self
    }

    /// How long before a sign-in begins the user may have proved to the provider who they are. Default: the provider decides.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// How the user has to prove who they are: one of these must come back as `acr`. Default: the provider decides.
    #[must_use]
    pub fn acr_values<S: Into<String>>(mut self, values: impl IntoIterator<Item = S>) -> Self {
        self.acr_values = values.into_iter().map(Into::into).collect();
        self
    }

    /// One more parameter of the authorization request, like `audience` or `ui_locales`. It replaces one of the same name.
    #[must_use]
    pub fn extra_param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        set_param(&mut self.params, name.into(), value.into());
        self
    }

    /// How the provider signs its tokens for this client, as it was registered. Default: what its metadata announce, and
    /// RS256 where they announce nothing. It never depends on the token.
    #[must_use]
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = Some(algorithms.into_iter().collect());
        self
    }

    /// Refuses a provider that announces its methods of PKCE without S256. Default: no, it is used all the same and the log
    /// has a warning. One that announces nothing is not refused: some know it and do not say so.
    #[must_use]
    pub fn require_s256(mut self, required: bool) -> Self {
        self.require_s256 = required;
        self
    }

    /// The ways of a known provider.
    #[must_use]
    pub fn preset(mut self, preset: Preset) -> Self {
        self.preset = Some(preset);
        self
    }

    /// The endpoints of a plain OAuth 2.0 provider, in place of those of the [`preset`](LoginFlowBuilder::preset): for GitHub
    /// on a server of one's own.
    #[must_use]
    pub fn plain_oauth(mut self, plain: PlainOauth) -> Self {
        self.plain = Some(plain);
        self
    }

    /// How a plain OAuth 2.0 provider is asked who the user is, in place of the one document of [`PlainOauth`].
    #[must_use]
    pub fn profile(mut self, profile: impl Profile) -> Self {
        self.profile = Some(Arc::new(profile));
        self
    }

    /// The authorities that the provider's certificate may be of, in place of those of the public web. DER.
    #[must_use]
    pub fn root_certificates(mut self, roots: impl IntoIterator<Item = Vec<u8>>) -> Self {
        self.roots = Some(roots.into_iter().map(CertificateDer::from).collect());
        self
    }

    /// How long one answer of the provider may take, from connecting to its last byte. Default 10 seconds.
    #[must_use]
    pub fn http_timeout(mut self, limit: Duration) -> Self {
        self.limits.time = limit;
        self
    }

    /// How long one answer of the provider may be, in bytes. Default 1 MiB.
    #[must_use]
    pub fn http_max_bytes(mut self, limit: usize) -> Self {
        self.limits.bytes = limit;
        self
    }

    /// The flow. Nothing is asked of the provider yet.
    ///
    /// # Errors
    /// When the settings cannot work: a URL that is none or is not https, a parameter that belongs to the protocol, an
    /// issuer that the preset's provider does not have.
    pub fn build(self) -> Result<LoginFlow, Error> {
        let issuer_url = safe_url("the issuer", &self.issuer)?;
        if issuer_url.query().is_some() {
            return Err(Error::config(format!("expected an issuer without a query, found {:?}", self.issuer)));
        }
        self.check_words()?;
        let plain = self.plain.clone().or_else(|| self.preset.as_ref().and_then(|preset| preset.plain.clone()));
        let (endpoints, document) = plain.as_ref().map(|plain| endpoints(plain, &issuer_url)).transpose()?.unzip();
        let http = Http::new(self.roots.as_deref(), self.limits)?;
        let settings = Settings {
            redirect_url: safe_url("the redirect URL", &self.redirect_url)?,
            scopes: scopes(self.scopes, plain.is_none()),
            profile: plain.is_some().then_some(self.profile.or(document)).flatten(),
            issuer: self.issuer,
            issuer_url,
            client_id: self.client_id,
            client_secret: self.client_secret,
            max_age: self.max_age,
            acr_values: self.acr_values,
            params: self.params,
            algorithms: self.algorithms,
            require_s256: self.require_s256,
            preset: self.preset,
            endpoints,
            limits: self.limits,
        };
        Ok(LoginFlow::new(http, settings))
    }

    fn check_words(&self) -> Result<(), Error> {
        if let Some(fault) = self.preset.as_ref().filter(|_| self.plain.is_none()).and_then(|p| p.fault(&self.issuer)) {
            return Err(Error::config(fault));
        }
        if self.client_id.is_empty() {
            return Err(Error::config(
                "expected a client id, found an empty one; the provider gives it at registration",
            ));
        }
        if self.algorithms.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::config("expected at least one signature algorithm, found an empty list"));
        }
        self.params.iter().try_for_each(|(name, _)| check_param(name))
    }
}

impl fmt::Debug for LoginFlowBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { issuer, client_id, redirect_url, .. } = self;
        f.debug_struct("LoginFlowBuilder")
            .field("issuer", issuer)
            .field("client_id", client_id)
            .field("redirect_url", redirect_url)
            .finish_non_exhaustive()
    }
}

/// Each parameter may be there once (RFC 6749 section 3.1).
pub(crate) fn set_param(params: &mut Vec<(String, String)>, name: String, value: String) {
    params.retain(|(own, _)| *own != name);
    params.push((name, value));
}

/// Refuses what the protocol sets itself.
pub(crate) fn check_param(name: &str) -> Result<(), Error> {
    if RESERVED.contains(&name) {
        return Err(Error::config(format!(
            "expected a parameter beside the protocol's own, found {name:?}, which the sign-in sets itself; max_age and \
             acr_values have methods of their own"
        )));
    }
    Ok(())
}

/// A URL that a browser or this server may be sent to with secrets.
pub(crate) fn safe_url(what: &str, text: &str) -> Result<Url, Error> {
    let is_safe = |url: &Url| is_https(url) || url.scheme() == "http" && is_loopback(url);
    let is_plain = |url: &Url| url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    Url::parse(text).ok().filter(|url| is_safe(url) && is_plain(url)).ok_or_else(|| {
        Error::config(format!(
            "expected {what} to be an https URL without a fragment (plain http only to this host itself), found {text:?}"
        ))
    })
}

fn endpoints(plain: &PlainOauth, issuer: &Url) -> Result<(Endpoints, Arc<dyn Profile>), Error> {
    let url = |text: &str| match safe_url("an endpoint", text)? {
        url if may_ask(&url, issuer) => Ok(url),
        url => Err(Error::config(format!("expected an https endpoint for an https issuer, found {url}"))),
    };
    let document = UserDocument { url: url(&plain.profile)?, subject: plain.subject.to_string() };
    let endpoints =
        Endpoints { authorization: url(&plain.authorization_endpoint)?, token: url(&plain.token_endpoint)? };
    Ok((endpoints, Arc::new(document)))
}

fn scopes(more: Vec<String>, openid: bool) -> Vec<String> {
    let mut scopes: Vec<String> = Vec::from_iter(openid.then(|| "openid".to_owned()));
    for scope in more {
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    scopes
}
