//! The authorization code flow (RFC 6749, RFC 7636, OpenID Connect Core 1.0): a browser is sent to the provider, and comes
//! back with a code. What has to be remembered in between is in the browser's session.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};
use sessile_core::{Exchange, Session, Sessions};
use url::Url;

use crate::callback::Callback;
use crate::claims::Claims;
use crate::error::Task;
use crate::http::Http;
use crate::identity::{Identity, ended_name};
use crate::pending::Pending;
use crate::profile::{Api, Profile};
use crate::provider::{Metadata, Provider, TokenKind};
use crate::return_to::local_path;
use crate::secret::Secret;
use crate::settings::{LoginFlowBuilder, Settings, check_param, set_param};
use crate::tame::tame;
use crate::token::Tokens;
use crate::{LoginError, id_token};

/// Most that an application may send along with a sign-in, in bytes of JSON.
const MOST_DATA: usize = 2 * 1024;

/// Signing in at one provider. Cloning is cheap.
///
/// ```
/// use sessile_core::{Exchange, Session};
/// use sessile_oidc::{Begin, Callback, LoginError, LoginFlow};
///
/// # fn flow() -> Result<LoginFlow, sessile_core::Error> {
/// let flow = LoginFlow::builder("https://id.example.com", "shop", "https://shop.example.com/auth/callback")
///     .client_secret("from the environment")
///     .scopes(["email"])
///     .build()?;
/// # Ok(flow) }
///
/// // GET /auth/login: answer with a redirect to this URL.
/// async fn login(flow: &LoginFlow, session: &Session) -> Result<String, LoginError> {
///     let url = flow.begin(session, Begin::new("/orders").with_data("requestedRole", "admin")).await?;
///     Ok(url.into())
/// }
///
/// // GET /auth/callback: answer with a redirect to this path.
/// async fn callback(flow: &LoginFlow, exchange: &Exchange, query: &str) -> Result<String, LoginError> {
///     let identity = flow.complete(exchange, &Callback::from_query(query)).await?;
///     let user = format!("{}|{}", identity.issuer, identity.subject); // or what your table of users says
///     identity.sign_in(&exchange.session().await?, user)?;
///     Ok(identity.return_to)
/// }
/// ```
#[derive(Clone)]
pub struct LoginFlow {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) settings: Arc<Settings>,
    pub(crate) provider: Provider,
}

/// How a sign-in begins.
#[derive(Clone)]
pub struct Begin {
    return_to: String,
    data: Map<String, Value>,
    params: Vec<(String, String)>,
    max_age: Option<Duration>,
    acr_values: Vec<String>,
}

impl Begin {
    /// A sign-in after which the user goes to this path. What is not a [path on this site](local_path) becomes `/`.
    pub fn new(return_to: &str) -> Self {
        let return_to = local_path(return_to).unwrap_or("/").to_owned();
        Self { return_to, data: Map::new(), params: Vec::new(), max_age: None, acr_values: Vec::new() }
    }

    /// Sends something of the application's own along: [`Identity::data`] has it afterwards. It stays on this side. At most
    /// 2 KiB in all.
    #[must_use]
    pub fn with_data(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.data.insert(key.into(), value.into());
        self
    }

    /// One more parameter of this authorization request, like `login_hint` or `prompt`. It replaces one of the same name, and
    /// that of [`LoginFlowBuilder::extra_param`] too.
    #[must_use]
    pub fn param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        set_param(&mut self.params, name.into(), value.into());
        self
    }

    /// [`LoginFlowBuilder::max_age`] for this sign-in. Zero: the user has to prove now who they are, and `prompt=login` says so
    /// too, unless `prompt` is set otherwise.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// [`LoginFlowBuilder::acr_values`] for this sign-in.
    #[must_use]
    pub fn acr_values<S: Into<String>>(mut self, values: impl IntoIterator<Item = S>) -> Self {
        self.acr_values = values.into_iter().map(Into::into).collect();
        self
    }

    fn check(&self) -> Result<(), LoginError> {
        for (name, _) in &self.params {
            check_param(name).map_err(|error| LoginError::misuse(error.to_string()))?;
        }
        let size = serde_json::to_string(&self.data).map_or(0, |json| json.len());
        if size > MOST_DATA {
            return Err(LoginError::misuse(format!(
                "expected at most {MOST_DATA} bytes of data to go along with a sign-in, found {size}"
            )));
        }
        Ok(())
    }
}

impl LoginFlow {
    /// Settings for signing in at this issuer. The redirect URL is the one that the client is registered with at the
    /// provider, and where [`complete`](LoginFlow::complete) is called.
    pub fn builder(
        issuer: impl Into<String>,
        client_id: impl Into<String>,
        redirect_url: impl Into<String>,
    ) -> LoginFlowBuilder {
        LoginFlowBuilder::new(issuer.into(), client_id.into(), redirect_url.into())
    }

    pub(crate) fn new(http: Http, settings: Settings) -> Self {
        let settings = Arc::new(settings);
        let provider = Provider::new(http, settings.clone());
        Self { shared: Arc::new(Shared { settings, provider }) }
    }

    /// Begins a sign-in: notes it in the session, and gives the URL to send the browser to. A session that is there
    /// for that alone ends 15 minutes later, used or not, unless somebody signs in to it; sooner, if the configured idle
    /// lifetime is shorter.
    ///
    /// # Errors
    /// When the provider's metadata are not known yet and cannot be fetched, or cannot be used; when the session cannot
    /// take it.
    pub async fn begin(&self, session: &Session, begin: Begin) -> Result<Url, LoginError> {
        self.begun(session, begin).await.map_err(|error| error.logged(Task::SignIn))
    }

    async fn begun(&self, session: &Session, begin: Begin) -> Result<Url, LoginError> {
        let Shared { settings, provider } = &*self.shared;
        begin.check()?;
        let now = session.now();
        let metadata = provider.metadata(now).await?;
        let state = Secret::random()?;
        let mut pending = Pending::new(settings.issuer.clone(), begin.return_to, now)?;
        pending.data = begin.data;
        pending.max_age = begin.max_age.or(settings.max_age).map(|span| span.as_secs());
        pending.acr_values = if begin.acr_values.is_empty() { settings.acr_values.clone() } else { begin.acr_values };
        let url = authorization_url(settings, &metadata, &state, &pending, &begin.params);
        pending.put(session, &state)?;
        Ok(url)
    }

    /// Completes a sign-in. First its state is taken out of the session, for good; only then is the provider asked. The user
    /// is signed in by [`Identity::sign_in`].
    ///
    /// # Errors
    /// Whatever there is to be said against it: see [`LoginError`]. It was logged already.
    pub async fn complete(&self, exchange: &Exchange, callback: &Callback) -> Result<Identity, LoginError> {
        self.completed(exchange, callback).await.map_err(|error| error.logged(Task::SignIn))
    }

    async fn completed(&self, exchange: &Exchange, callback: &Callback) -> Result<Identity, LoginError> {
        let state = callback.state()?;
        let session = exchange.session().await?;
        let pending = Pending::take(exchange, &session, state).await?;
        let identity = self.redeem(exchange.sessions(), &pending, callback).await;
        identity.map_err(|error| error.returning_to(&pending.return_to))
    }

    async fn redeem(
        &self,
        sessions: &Sessions,
        pending: &Pending,
        callback: &Callback,
    ) -> Result<Identity, LoginError> {
        let Shared { settings, provider } = &*self.shared;
        if pending.issuer != settings.issuer {
            return Err(LoginError::issuer(format!(
                "a sign-in that was begun at {:?} came back to the callback of {:?}",
                pending.issuer, settings.issuer
            )));
        }
        let metadata = provider.metadata(sessions.now()).await?;
        check_callback_issuer(settings, &metadata, callback)?;
        let tokens = provider.exchange(settings, &metadata, callback.code()?, pending).await?;
        let identity = match &settings.profile {
            Some(profile) => self.ask(&**profile, tokens, pending).await?,
            // The provider may have taken its time: what it says is compared with the clock as it is now.
            None => self.read(tokens, pending, sessions.now()).await?,
        };
        check_provider_session(sessions, &identity).await?;
        Ok(identity)
    }

    /// Who the ID token says it is.
    async fn read(&self, tokens: Tokens, pending: &Pending, now: SystemTime) -> Result<Identity, LoginError> {
        let id_token = tokens.id_token.ok_or_else(|| {
            LoginError::token(
                "form",
                "expected the provider to answer with an ID token, found none; ask for the scope openid",
            )
        })?;
        let (claims, algorithm) = self.shared.provider.verified(TokenKind::Id, id_token.expose(), now).await?;
        id_token::check(&claims, algorithm, pending, tokens.access_token.as_ref(), now)?;
        self.identity(claims, Some(id_token), pending)
    }

    /// Who the provider's API says it is.
    async fn ask(&self, profile: &dyn Profile, tokens: Tokens, pending: &Pending) -> Result<Identity, LoginError> {
        let Shared { settings, provider } = &*self.shared;
        let access_token = &tokens
            .access_token
            .ok_or_else(|| LoginError::provider("expected the provider to answer with an access token, found none"))?;
        let claims = profile.claims(&Api { http: &provider.http, issuer: &settings.issuer_url, access_token }).await?;
        self.identity(claims, None, pending)
    }

    /// Of what an API says only the subject is more than words: a time and a strength of a proof stand in an ID token.
    fn identity(&self, claims: Claims, id_token: Option<Secret>, pending: &Pending) -> Result<Identity, LoginError> {
        let signed = id_token.is_some().then_some(&claims);
        Ok(Identity {
            issuer: self.shared.settings.issuer.clone(),
            subject: claims.subject()?.to_owned(),
            return_to: pending.return_to.clone(),
            auth_time: signed.and_then(|claims| claims.time("auth_time")),
            acr: signed.and_then(|claims| claims.text("acr")).map(str::to_owned),
            begun_at: pending.begun_at(),
            data: pending.data.clone(),
            claims,
            id_token,
        })
    }
}

/// How much there is of each; none of it.
impl fmt::Debug for Begin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Begin")
            .field("data", &self.data.len())
            .field("params", &self.params.len())
            .field("max_age", &self.max_age)
            .field("acr_values", &self.acr_values)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for LoginFlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { issuer, client_id, redirect_url, .. } = &*self.shared.settings;
        f.debug_struct("LoginFlow")
            .field("issuer", issuer)
            .field("client_id", client_id)
            .field("redirect_url", &redirect_url.as_str())
            .finish_non_exhaustive()
    }
}

fn authorization_url(
    settings: &Settings,
    metadata: &Metadata,
    state: &Secret,
    pending: &Pending,
    params: &[(String, String)],
) -> Url {
    let mut url = metadata.authorization_endpoint.clone();
    let mut query = url.query_pairs_mut();
    query
        .append_pair("response_type", "code")
        .append_pair("client_id", &settings.client_id)
        .append_pair("redirect_uri", settings.redirect_url.as_str())
        .append_pair("state", state.expose())
        .append_pair("code_challenge", &pending.verifier.hash())
        .append_pair("code_challenge_method", "S256");
    if !settings.scopes.is_empty() {
        query.append_pair("scope", &settings.scopes.join(" "));
    }
    if settings.profile.is_none() {
        query.append_pair("nonce", pending.nonce.expose());
    }
    if let Some(seconds) = pending.max_age {
        query.append_pair("max_age", &seconds.to_string());
    }
    if !pending.acr_values.is_empty() {
        query.append_pair("acr_values", &pending.acr_values.join(" "));
    }
    // A provider that does not know `max_age` knows this.
    let is_named = |name: &str| settings.params.iter().chain(params).any(|(own, _)| own == name);
    if pending.max_age == Some(0) && !is_named("prompt") {
        query.append_pair("prompt", "login");
    }
    let is_replaced = |name: &str| params.iter().any(|(own, _)| own == name);
    query.extend_pairs(settings.params.iter().filter(|(name, _)| !is_replaced(name)));
    query.extend_pairs(params);
    drop(query);
    url
}

/// Whether the provider's session lives that the user signed in from. A logout token that comes between this question and the
/// end of the request, milliseconds later, ends nothing here: the registry does not know the session yet. One that names the
/// user is not late, for the sign-in counts from its beginning.
async fn check_provider_session(sessions: &Sessions, identity: &Identity) -> Result<(), LoginError> {
    match identity.provider_session() {
        Some(sid) if sessions.happened(&ended_name(&identity.issuer, sid)).await? => {
            Err(LoginError::unknown_state("the user signed out at the provider while this sign-in was under way"))
        }
        _ => Ok(()),
    }
}

/// Whether it was this provider that sent the browser back (RFC 9207 section 2.4). Before the code goes anywhere: another
/// provider's callback would carry a code that is not for this one to see.
fn check_callback_issuer(settings: &Settings, metadata: &Metadata, callback: &Callback) -> Result<(), LoginError> {
    match &callback.iss {
        Some(found) if *found == settings.issuer => Ok(()),
        None if !metadata.authorization_response_iss_parameter_supported => Ok(()),
        found => Err(LoginError::issuer(format!(
            "expected the callback to be from {:?}, found {}",
            settings.issuer,
            found
                .as_ref()
                .map_or("no issuer, which the provider had announced".into(), |found| format!("{:?}", tame(found)))
        ))),
    }
}
