//! Who signed in, and what is kept of it in the session for the day they sign out.

use std::fmt;
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sessile_core::{Error, Session, UserId};

use crate::claims::Claims;
use crate::secret::{Secret, sha256};

/// The session key under which [`Identity::sign_in`] keeps what a sign-out at the provider needs. It is there in the sessions
/// that were signed in at a provider.
pub const KEY: &str = "oidc";

/// Longest ID token that is kept, in bytes. A sign-out without one still works; the provider may ask the user.
const LONGEST_KEPT: usize = 4 * 1024;

/// A user whom the provider vouches for.
///
/// The pair of [`issuer`](Identity::issuer) and [`subject`](Identity::subject) names them, for good, and nothing else does:
/// an address may be given to somebody else, and two providers may each have a subject `1`.
#[derive(Clone)]
#[non_exhaustive]
pub struct Identity {
    /// Who vouches.
    pub issuer: String,
    /// Whom the issuer means. 1 to 255 bytes.
    pub subject: String,
    /// What else the issuer says.
    pub claims: Claims,
    /// Where the user wanted to go: a path on this site.
    pub return_to: String,
    /// When the user proved to the provider who they are, where it says so.
    pub auth_time: Option<SystemTime>,
    /// How, where it says so.
    pub acr: Option<String>,
    /// When the browser was sent to the provider.
    pub(crate) begun_at: SystemTime,
    pub(crate) id_token: Option<Secret>,
    pub(crate) data: Map<String, Value>,
}

/// What a sign-out needs.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) issuer: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id_token: Option<Secret>,
}

impl Identity {
    /// What the application gave [`Begin::with_data`](crate::Begin::with_data) under this key, if it is a `T`.
    pub fn data<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        self.data.get(key).and_then(|value| T::deserialize(value).ok())
    }

    /// The ID token as it was received. It names the user to whoever reads it: it belongs in no page and no log.
    pub fn id_token(&self) -> Option<&str> {
        self.id_token.as_ref().map(Secret::expose)
    }

    /// What the provider calls its own session, where it says so (`sid`).
    pub fn provider_session(&self) -> Option<&str> {
        self.claims.text("sid").filter(|sid| !sid.is_empty())
    }

    /// Signs this user in: the session gets a new id, the device is registered, and what a sign-out at the provider needs is
    /// kept under the key `oidc`. Which user it is, the application decides from issuer and subject.
    ///
    /// The sign-in counts from when the browser was sent to the provider: if all of the user's sessions are revoked while it is
    /// there, the sign-in is refused when the response leaves (409).
    ///
    /// A provider that remembers its user may have asked them nothing: [`Session::authenticated_within`] goes by
    /// [`auth_time`](Identity::auth_time), and is false where the provider does not say it. Whoever needs it to be said begins
    /// with [`Begin::max_age`](crate::Begin::max_age).
    ///
    /// # Errors
    /// As [`Session::sign_in`].
    pub fn sign_in(&self, session: &Session, user: impl Into<UserId>) -> Result<(), Error> {
        session.sign_in_began(self.begun_at);
        let method = if self.id_token.is_some() { "oidc" } else { "oauth2" };
        match self.provider_session() {
            Some(sid) => session.sign_in_at_provider(method, &session_name(&self.issuer, sid), user)?,
            None => session.sign_in_by(method, user)?,
        }
        session.proved_at(self.auth_time)?;
        self.keep(session)
    }

    fn keep(&self, session: &Session) -> Result<(), Error> {
        let id_token = self.id_token.clone().filter(|token| token.expose().len() <= LONGEST_KEPT);
        let kept = Kept { issuer: self.issuer.clone(), id_token };
        match session.insert(KEY, &kept) {
            Err(error) if error.is_too_large() => session.insert(KEY, &Kept { id_token: None, ..kept }),
            inserted => inserted,
        }
    }
}

/// The provider, the claims' names; neither who it is nor a token.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("issuer", &self.issuer).field("claims", &self.claims).finish_non_exhaustive()
    }
}

/// The name under which it is noted that a session of a provider ended.
pub(crate) fn ended_name(issuer: &str, sid: &str) -> String {
    format!("ended provider session\0{}", session_name(issuer, sid))
}

/// A provider's session as the registry has it: unique among providers, and of a length that fits.
pub(crate) fn session_name(issuer: &str, sid: &str) -> String {
    sha256(&format!("{issuer}\0{sid}"))
}
