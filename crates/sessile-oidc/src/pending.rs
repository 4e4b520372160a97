//! Sign-ins under way: what this server has to remember between sending a browser to the provider and seeing it come back.
//! It lies in the browser's session row, so that any instance can complete what another one began, and so that nobody else's
//! browser can. Each is named by the hash of its `state`; whoever reads the row cannot complete the sign-in with what is
//! there, for the code and the state come through the browser.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sessile_core::{Error, Exchange, Session};

use crate::LoginError;
use crate::secret::{Secret, sha256};

/// The session key of all sign-ins under way.
pub const KEY: &str = "oidc_pending";

/// How long a sign-in may take.
pub(crate) const LIFETIME: Duration = Duration::from_secs(15 * 60);

/// How many of one browser may be under way: one a tab. The oldest makes room.
const MOST: usize = 8;

/// One sign-in under way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) nonce: Secret,
    pub(crate) verifier: Secret,
    pub(crate) issuer: String,
    pub(crate) return_to: String,
    /// Milliseconds since 1970.
    begun_at: u64,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(crate) data: Map<String, Value>,
    /// In seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_age: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) acr_values: Vec<String>,
}

type All = BTreeMap<String, Pending>;

impl Pending {
    pub(crate) fn new(issuer: String, return_to: String, now: SystemTime) -> Result<Self, LoginError> {
        let begun_at = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Ok(Self {
            nonce: Secret::random()?,
            verifier: Secret::random()?,
            issuer,
            return_to,
            begun_at: u64::try_from(begun_at).unwrap_or(u64::MAX),
            data: Map::new(),
            max_age: None,
            acr_values: Vec::new(),
        })
    }

    pub(crate) fn begun_at(&self) -> SystemTime {
        UNIX_EPOCH.checked_add(Duration::from_millis(self.begun_at)).unwrap_or(UNIX_EPOCH)
    }

    fn is_over(&self, now: SystemTime) -> bool {
        now.duration_since(self.begun_at()).is_ok_and(|age| age > LIFETIME)
    }

    /// Keeps it in the session under its state. A session that is there for that alone lives no longer than
    /// its last sign-in may take.
    pub(crate) fn put(self, session: &Session, state: &Secret) -> Result<(), LoginError> {
        if session.stored_document().is_none() || session.lives_until_sign_in() {
            session.set_idle_until_sign_in(LIFETIME)?;
        }
        // A session that has room for fewer keeps the latest.
        for most in (2..=MOST).rev() {
            match self.clone().put_among(session, state, most) {
                Err(error) if error.is_too_large() => {}
                put => return Ok(put?),
            }
        }
        Ok(self.put_among(session, state, 1)?)
    }

    fn put_among(self, session: &Session, state: &Secret, most: usize) -> Result<(), Error> {
        let name = state.hash();
        session.update(KEY, move |all: Option<All>| {
            let mut all = all.unwrap_or_default();
            make_room(&mut all, self.begun_at(), most);
            all.insert(name.clone(), self.clone());
            all
        })?;
        Ok(())
    }

    /// Takes the sign-in with this state out of the session, for good: it is written before anything else happens, so that
    /// of two browsers that come back with the same state one goes on, even if the other one is still waiting for the
    /// provider.
    pub(crate) async fn take(exchange: &Exchange, session: &Session, state: &str) -> Result<Self, LoginError> {
        let taken: Option<Self> = session.take_entry(KEY, &sha256(state))?;
        let Some(pending) = taken else { return Err(unknown(exchange)) };
        exchange.save().await?;
        if pending.is_over(session.now()) {
            return Err(LoginError::unknown_state("this sign-in was begun more than 15 minutes ago")
                .returning_to(&pending.return_to));
        }
        Ok(pending)
    }
}

fn make_room(all: &mut All, now: SystemTime, most: usize) {
    all.retain(|_, pending| !pending.is_over(now));
    while all.len() >= most {
        let oldest = all.iter().min_by_key(|(name, pending)| (pending.begun_at, *name)).map(|(name, _)| name.clone());
        oldest.and_then(|name| all.remove(&name));
    }
}

fn unknown(exchange: &Exchange) -> LoginError {
    if exchange.has_cookie() {
        LoginError::unknown_state("no sign-in with this state is under way in the browser's session")
    } else {
        LoginError::no_cookie()
    }
}
