//! Signing out, started at the provider (OpenID Connect Back-Channel Logout 1.0): the provider posts a signed token to this
//! server, past the browser. Whoever could forge or repeat one could sign others out, and one that is lost leaves somebody
//! signed in, so the token is checked like an ID token, and what it asks for is done before it is noted as used.

use std::fmt;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use sessile_core::{Error, Sessions, UserId};

use crate::LoginError;
use crate::claims::{Claims, LEEWAY};
use crate::error::Task;
use crate::flow::{LoginFlow, Shared};
use crate::identity::{ended_name, session_name};
use crate::pending::LIFETIME;
use crate::provider::TokenKind;

/// What a logout token says it is about.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// What the registry says of a session that was ended so.
const REASON: &str = "signed out at the identity provider";

/// Oldest token that is accepted. So long at most, one has to be remembered.
const OLDEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Finds the application's user for what a provider calls them: the same mapping as at the sign-in.
///
/// A function that needs to ask nobody is one:
///
/// ```
/// # use sessile_oidc::{BackChannel, LoginFlow};
/// # fn receiver(flow: LoginFlow) -> BackChannel {
/// BackChannel::new(flow, |issuer: &str, subject: &str| Some(format!("{issuer}|{subject}").into()))
/// # }
/// ```
#[async_trait]
pub trait Users: Send + Sync + 'static {
    /// The user, or `None` for one who never signed in here.
    async fn user(&self, issuer: &str, subject: &str) -> Result<Option<UserId>, Error>;
}

#[async_trait]
impl<F> Users for F
where
    F: Fn(&str, &str) -> Option<UserId> + Send + Sync + 'static,
{
    async fn user(&self, issuer: &str, subject: &str) -> Result<Option<UserId>, Error> {
        Ok(self(issuer, subject))
    }
}

/// Receives a provider's logout tokens.
pub struct BackChannel {
    flow: LoginFlow,
    users: Box<dyn Users>,
}

/// What a logout token did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoggedOut {
    /// How many sessions ended. None is no error: the provider need not know what is over here already.
    pub sessions: u64,
    /// The token named one session of the provider (`sid`); otherwise it was about all of the user's.
    pub by_session: bool,
}

impl BackChannel {
    /// Receives for this flow, with users found so.
    pub fn new(flow: LoginFlow, users: impl Users) -> Self {
        Self { flow, users: Box::new(users) }
    }

    /// Does what the logout token asks for, which is the parameter `logout_token` of the provider's POST. Answer 200, or with
    /// [`LoginError::status`], which is 400 for a token that is not accepted; and with `Cache-Control: no-store` either way.
    ///
    /// With `sid` the sessions end that were signed in from that session of the provider, else all of the user's. A token works
    /// once: that is noted in the session store, so it holds on all instances. A sign-in that is under way meanwhile is refused;
    /// one whose callback is being answered in this very moment may be a few milliseconds ahead of a token with `sid`.
    ///
    /// # Errors
    /// When the token is not accepted, the provider's keys cannot be fetched, or the store fails; then the provider may
    /// send it again. It was logged already.
    pub async fn receive(&self, sessions: &Sessions, logout_token: &str) -> Result<LoggedOut, LoginError> {
        self.received(sessions, logout_token).await.map_err(|error| error.logged(Task::LogoutToken))
    }

    async fn received(&self, sessions: &Sessions, logout_token: &str) -> Result<LoggedOut, LoginError> {
        let Shared { settings, provider } = &*self.flow.shared;
        let now = sessions.now();
        let (claims, _) = provider.verified(TokenKind::Logout, logout_token, now).await?;
        let expires_at = check(&claims, now)?;
        let once = format!("logout token\0{}\0{}", settings.issuer, claims.text("jti").unwrap_or_default());
        if sessions.happened(&once).await? {
            return Err(LoginError::replayed());
        }
        let logged_out = self.log_out(sessions, &claims).await?;
        let kept = expires_at.duration_since(now).unwrap_or_default().min(OLDEST) + 2 * LEEWAY;
        if !sessions.once(&once, kept).await? {
            return Err(LoginError::replayed());
        }
        Ok(logged_out)
    }

    async fn log_out(&self, sessions: &Sessions, claims: &Claims) -> Result<LoggedOut, LoginError> {
        let (issuer, devices) = (&self.flow.shared.settings.issuer, sessions.devices());
        if let Some(sid) = claims.text("sid") {
            // Noted first: of a sign-in under way the registry knows nothing, and it has to find out when it comes back.
            sessions.once(&ended_name(issuer, sid), LIFETIME + LEEWAY).await?;
            let sessions = devices.revoke_by_provider_session(&session_name(issuer, sid), REASON).await?;
            return Ok(LoggedOut { sessions, by_session: true });
        }
        let sessions = match self.users.user(issuer, claims.subject()?).await? {
            Some(user) => devices.revoke_all(&user, REASON).await?,
            None => 0,
        };
        Ok(LoggedOut { sessions, by_session: false })
    }
}

impl fmt::Debug for BackChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackChannel").field("flow", &self.flow).finish_non_exhaustive()
    }
}

/// OpenID Connect Back-Channel Logout 1.0 section 2.6, what signature, issuer and audience leave. Gives the token's end.
fn check(claims: &Claims, now: SystemTime) -> Result<SystemTime, LoginError> {
    let issued_at = claims.required_time("iat")?;
    claims.check_past("iat", now)?;
    claims.check_past("nbf", now)?;
    claims.check_expiry(now)?;
    if now.duration_since(issued_at).is_ok_and(|age| age > OLDEST) {
        return Err(LoginError::token("iat", "expected a logout token of the last 24 hours, found an older one"));
    }
    let is_event = claims.as_map().get("events").is_some_and(|events| events[EVENT].is_object());
    let is_text = |name: &str| claims.text(name).is_some_and(|text| !text.is_empty() && text.len() <= 1024);
    let checks = [
        ("events", is_event, "the event of a logout"),
        ("nonce", !claims.has("nonce"), "none, for an ID token has one"),
        ("jti", is_text("jti"), "a name of the token"),
        ("sid", !claims.has("sid") || is_text("sid"), "the name of a session"),
        ("sub", !claims.has("sub") || claims.subject().is_ok(), "the name of a user"),
        ("sub", claims.has("sub") || claims.has("sid"), "the name of a user, where there is no `sid`"),
    ];
    match checks.into_iter().find(|(_, holds, _)| !holds) {
        Some((claim, _, expected)) => Err(LoginError::token(
            claim,
            format!("expected the claim `{claim}` of the logout token to be {expected}, found something else"),
        )),
        None => claims.required_time("exp"),
    }
}
