//! Who is signed in where: one row for each session that has, or had, an owner. The row is written with the sign-in, keeps
//! its [`Handle`] when the id changes, and stays when the session ends, to say how it ended. So the registry is the list of
//! a user's devices, their history, and the proof that an ended session is dead.
//!
//! Anonymous sessions are not in it. The rules below are clauses of `sessile_testkit::store_contract!`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use ipnet::IpNet;

use crate::clock::{from_millis, to_millis};
use crate::record::{Record, UserId};
use crate::{Error, Handle, StoreKey};

/// How a session ended. There is one end to a session, ever: the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The user signed out in it, or another user signed in.
    LoggedOut,
    /// Somebody ended it from elsewhere.
    Revoked,
    /// Its time was over.
    Expired,
    /// The user signed in elsewhere and had as many sessions as allowed.
    Evicted,
}

impl End {
    /// The word for it in the registry's column `status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LoggedOut => "logged_out",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Evicted => "evicted",
        }
    }

    /// Reads the column `status`; `None` for `active` and anything else.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::LoggedOut, Self::Revoked, Self::Expired, Self::Evicted].into_iter().find(|end| end.as_str() == word)
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How, when and why a session ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// How.
    pub end: End,
    /// When.
    pub at: SystemTime,
    /// Why, in words for people: `password changed`.
    pub reason: Option<Box<str>>,
}

/// What is known of the device that a session was signed in from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceFacts {
    /// The client's address, as far as proxies that are trusted tell it.
    pub ip: Option<IpAddr>,
    /// The `User-Agent` header, at most 512 characters. It is whatever the client says: escape it.
    pub user_agent: Option<Box<str>>,
    /// A name for people: `Chrome on Windows`.
    pub device: Option<Box<str>>,
    /// How the user proved who they are, as the application calls it: `password`, `oidc`.
    pub auth_method: Option<Box<str>>,
    /// The name, unique among providers, of the identity provider's own session that this one was signed in from.
    pub provider_session: Option<Box<str>>,
}

/// One session of a user, as the registry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The session's public name.
    pub handle: Handle,
    /// The user.
    pub owner: UserId,
    /// What is known of the device.
    pub facts: DeviceFacts,
    /// When the user signed in, or when the session that another program signed in was first seen.
    pub created_at: SystemTime,
    /// When the user last proved who they are; `None` when another program signed them in.
    pub authenticated_at: Option<SystemTime>,
    /// When the session was last used, give or take [`Config::touch_every`](crate::Config::touch_every).
    pub last_seen_at: SystemTime,
    /// When it ends unless it is used before, as of `last_seen_at`.
    pub expires_at: SystemTime,
    /// How many requests used it since it was signed in, as far as they were counted and are written down; 0 without
    /// [`Config::count_requests`](crate::Config::count_requests).
    pub requests: u64,
    /// How it ended; `None` while it is active.
    pub ended: Option<Ending>,
}

impl Device {
    /// The device under a handle that is free, its own if that is: each handle has one session and one end.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn under_a_free_handle(mut self, key: &StoreKey, is_free: impl Fn(&Handle) -> bool) -> Result<Self, Error> {
        if !is_free(&self.handle) {
            self.handle = Handle::derived(key);
        }
        if !is_free(&self.handle) {
            self.handle = Handle::generate()?;
        }
        Ok(self)
    }

    /// When its user proved who they are, as far as anybody knows: what a cut-off is compared with.
    pub fn began(&self) -> SystemTime {
        self.authenticated_at.unwrap_or(self.created_at)
    }
}

/// A session that a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedSession {
    /// The session's public name.
    pub handle: Handle,
    /// The user it belonged to.
    pub owner: UserId,
    /// Where it was signed in.
    pub ip: Option<IpAddr>,
}

/// What a store is told of a sign-in, beside the record.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// What is known of the device.
    pub facts: DeviceFacts,
    /// The session of another user that ends with this sign-in, as logged out.
    pub replaces: Option<Handle>,
    /// How many live sessions the user may have, this one included.
    pub limit: Option<Limit>,
}

/// How many live sessions one user may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// So many, at least 1.
    pub sessions: u32,
    /// What happens to one more.
    pub policy: AtLimit,
}

/// What happens when a user has as many sessions as allowed and signs in once more (ASVS 7.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtLimit {
    /// The sessions that were signed in first end.
    EvictOldest,
    /// The sign-in is refused (409).
    Deny,
}

/// What became of a sign-in.
#[must_use = "a sign-in that was refused or lost a race must not look successful"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignedIn {
    /// The session is there, and in the registry. These sessions had to go for it.
    Done(Vec<EndedSession>),
    /// There is no such session any more. Nothing was written.
    Gone,
    /// The row is not as it was read. Nothing was written.
    Stale,
    /// The user's sessions were revoked after the credentials were presented. Nothing was written.
    CutOff,
    /// The user has as many sessions as allowed. Nothing was written.
    Full,
}

/// A use of a session, to be recorded.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which session.
    pub handle: Handle,
    /// When it was used.
    pub at: SystemTime,
    /// When it ends unless it is used again.
    pub expires_at: SystemTime,
    /// How many requests to add to the session's; 0 when they are not counted.
    pub requests: u64,
}

/// Sessions signed in before a time are over, all of them. Set by [`Registry::revoke_everyone`], compared by every load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutOff {
    /// What was signed in before this is over.
    pub before: SystemTime,
    /// Every session from before is gone by now: one of which nobody knows when it was signed in is newer.
    pub swept: bool,
}

/// What became of a session that is not under its key any more.
#[derive(Clone, Debug)]
pub enum Fate {
    /// It was moved to another key.
    Moved {
        /// The key it was moved to.
        to: StoreKey,
        /// When.
        at: SystemTime,
    },
    /// It ended.
    Ended(EndedSession, Ending),
}

/// What [`Registry::align`] found out about a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alignment {
    /// Somebody is signed in, under this handle.
    Device(Handle),
    /// Nobody is signed in.
    Nobody,
    /// The session is over, and its row is gone.
    Over,
}

/// A part of a long list, the newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// How many at most.
    pub limit: u32,
    /// Where the part before it ended.
    pub after: Option<Cursor>,
}

impl Page {
    /// The first so many.
    pub fn first(limit: u32) -> Self {
        Self { limit, after: None }
    }
}

/// What an operator looks for, among everybody's sessions. The default finds all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// This one.
    pub handle: Option<Handle>,
    /// Of this user.
    pub owner: Option<UserId>,
    /// Alive, or over, or over in one way.
    pub status: Option<Status>,
    /// From an address of this network.
    pub network: Option<IpNet>,
    /// Signed in at this time or later.
    pub since: Option<SystemTime>,
    /// Of a user who proved who they are before this time ([`Device::began`]): what a cut-off of everyone ends.
    pub before: Option<SystemTime>,
}

/// What an operator can ask of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It lives.
    Live,
    /// It ended.
    Ended,
    /// It ended so.
    EndedBy(End),
}

/// A place in a list: after the session with this time and this handle. Its text is for URLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// `created_at` in a list of live sessions, the time of the end in a history. Whole milliseconds.
    pub at: SystemTime,
    /// The session's handle.
    pub handle: Handle,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", to_millis(self.at), self.handle)
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parsed = text
            .split_once('.')
            .and_then(|(at, handle)| Some(Self { at: from_millis(at.parse().ok()?), handle: Handle::parse(handle)? }));
        parsed.ok_or_else(|| Error::value("expected a cursor as an earlier page gave it, found something else"))
    }
}

/// What [`Registry::tidy`] shall do.
#[derive(Clone, Copy, Debug)]
pub struct Tidy<'a> {
    /// The time to compare with.
    pub now: SystemTime,
    /// How long sessions that ended are kept.
    pub history: Duration,
    /// The top-level key of the document under which another program keeps the user, if there is one.
    pub user_key: Option<&'a str>,
    /// How many rows of each table are looked at.
    pub limit: u32,
}

impl Tidy<'_> {
    /// How long a store knows the key that a session moved from.
    pub const MOVES_KEPT: Duration = Duration::from_secs(60 * 60);
}

/// What [`Registry::tidy`] did.
#[derive(Clone, Debug, Default)]
pub struct Tidied {
    /// Sessions that were active in the registry and are over: their row was gone, or they were cut off.
    pub ended: Vec<(EndedSession, Ending)>,
    /// Live sessions with an owner that the registry did not know, and does now.
    pub registered: u64,
    /// Rows of sessions that were over and had come back, or were cut off and unknown to the registry: they are removed.
    pub removed: u64,
    /// Rows of history that were old enough to go.
    pub forgotten: u64,
    /// There is more to do now: a cut-off is not swept to its end, or history is left that is old enough.
    pub more: bool,
}

/// The registry of a store. Whoever ends a session removes its row and says why in the registry, both or neither; a session
/// that is not active any more is never touched again, but for the count of the requests that it had, and its first end stays.
///
/// Every query names the owner: what belongs to another user does not exist. Times are whole milliseconds.
#[async_trait]
pub trait Registry: Send + Sync {
    /// Writes the session under `to` and its row in the registry, in one step: as [`Store::insert`](crate::Store::insert)
    /// does when `from` is `None`, else as [`Store::rotate`](crate::Store::rotate). The record has an owner and the time of
    /// the sign-in, [`Record::authenticated_at`].
    ///
    /// - A cut-off of the owner, or of everyone, that is later than that time: [`SignedIn::CutOff`].
    /// - The limit counts the owner's live sessions. It is exact however many sign-ins happen at once, here and elsewhere.
    /// - An active row under the record's handle keeps its `created_at`, and its `auth_method` and `provider_session` where
    ///   this sign-in says nothing of them; a row under it that has ended: [`SignedIn::Gone`].
    async fn sign_in(
        &self,
        from: Option<&StoreKey>,
        to: &StoreKey,
        record: &Record,
        sign_in: &SignIn,
    ) -> Result<SignedIn, Error>;

    /// Makes the registry say what another program did to the session under this key, as seen `at` this time: `device` is
    /// signed in to it, or nobody is.
    ///
    /// - An active row of another owner ends as logged out, and is no tombstone for the key, which lives on.
    /// - Without an active row for the owner one is made of `device`; under another handle where its own is taken.
    /// - What has ended under this key, or moved away from it, was brought back by the other program. It is not registered
    ///   but removed, and so is what began before a cut-off of the owner's, or of everyone's ([`Device::began`]).
    async fn align(&self, key: &StoreKey, device: Option<&Device>, at: SystemTime) -> Result<Alignment, Error>;

    /// Records that these sessions were used. Moves times forward only, and touches none that has ended: of those only the
    /// requests are added that came before the end and are told after it. Every request is added once, in whatever order
    /// instances tell of them. Creates nothing.
    async fn seen(&self, seen: &[Seen]) -> Result<(), Error>;

    /// The owner's sessions that are alive at `now`, by `created_at` and then handle, both descending.
    async fn list(&self, owner: &UserId, now: SystemTime, page: &Page) -> Result<Vec<Device>, Error>;

    /// The owner's session with this handle, if it is alive at `now`.
    async fn find(&self, owner: &UserId, handle: &Handle, now: SystemTime) -> Result<Option<Device>, Error>;

    /// The owner's sessions that ended, by the time of their end and then handle, both descending.
    async fn history(&self, owner: &UserId, page: &Page) -> Result<Vec<Device>, Error>;

    /// Everybody's sessions that are looked for, by `created_at` and then handle, both descending. A session that has
    /// expired, or that everyone's cut-off ended, and is not swept yet is neither alive nor over. For operators: an application's users ask
    /// [`list`](Registry::list), which names the owner.
    async fn search(&self, search: &Search, now: SystemTime, page: &Page) -> Result<Vec<Device>, Error>;

    /// How many sessions [`search`](Registry::search) finds, on all pages together. This one asks for page after page; a store
    /// that can count answers at once.
    async fn count(&self, search: &Search, now: SystemTime) -> Result<u64, Error> {
        let (mut count, mut page) = (0, Page::first(1_000));
        loop {
            let found = self.search(search, now, &page).await?;
            count += found.len() as u64;
            match found.last() {
                Some(last) if found.len() >= page.limit as usize => {
                    page.after = Some(Cursor { at: last.created_at, handle: last.handle.clone() });
                }
                _ => return Ok(count),
            }
        }
    }

    /// The key of the session with this handle, whoever's it is and whether it lives or not; `None` when the registry does
    /// not know it, or its key lives on as somebody else's. For operators who look at the session itself.
    async fn key(&self, handle: &Handle) -> Result<Option<StoreKey>, Error>;

    /// Ends the owner's session with this handle; `None` when it is not there, not the owner's, or not alive at `ending.at`.
    async fn revoke(&self, owner: &UserId, handle: &Handle, ending: &Ending) -> Result<Option<EndedSession>, Error>;

    /// Ends every session of the owner that is alive at `ending.at`, but for `keep`, and cuts off sign-ins whose credentials
    /// were presented before that.
    async fn revoke_all(
        &self,
        owner: &UserId,
        keep: Option<&Handle>,
        ending: &Ending,
    ) -> Result<Vec<EndedSession>, Error>;

    /// Ends every session, whoever's, that was signed in from this session of an identity provider and is alive at
    /// `ending.at`.
    async fn revoke_provider_session(
        &self,
        provider_session: &str,
        ending: &Ending,
    ) -> Result<Vec<EndedSession>, Error>;

    /// Cuts off everyone's sessions that were signed in before this time, at once: loads compare it
    /// ([`Record::cut_off`]), and [`tidy`](Registry::tidy) removes them. An earlier cut-off than the one in force changes
    /// nothing. `ending` is what the registry will say of them.
    async fn revoke_everyone(&self, before: SystemTime, ending: &Ending) -> Result<(), Error>;

    /// Brings the registry and the sessions back into step, where another program or an operator took them apart, and
    /// removes what a cut-off ended and history that is old enough. Each call looks at the next `limit` rows of each table
    /// and begins anew after the last.
    async fn tidy(&self, tidy: &Tidy<'_>) -> Result<Tidied, Error>;
}
