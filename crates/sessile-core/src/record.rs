//! The row: what a store keeps of a session, and how Sessile's own facts and Express's cookie object lie in it.
//!
//! The document is express-session's: one JSON object with a `cookie` object first, the application's keys beside it.
//! What Sessile has to remember sits under the one key `sessile`, which Express carries along untouched. Stores see
//! text and one time; this module alone knows the shape.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::clock::{from_millis, iso, to_millis};
use crate::id::{Handle, StoreKey};
use crate::registry::{CutOff, Device, DeviceFacts};
use crate::{Data, Error};

/// The top-level key of Express's cookie object.
pub(crate) const COOKIE: &str = "cookie";
/// The top-level key of Sessile's own facts.
pub(crate) const SESSILE: &str = "sessile";

/// [`Meta::proved_at`] of a user of whom nobody knows when they proved who they are.
const NOBODY_KNOWS: i64 = 0;

/// The user a session belongs to, as the application names users.
///
/// ```
/// # use sessile_core::UserId;
/// assert_eq!(UserId::from("alice").as_str(), "alice");
/// assert_eq!(UserId::from(42_u64).as_str(), "42");
/// ```
#[derive(Clone, Debug)]
pub struct UserId {
    text: Box<str>,
    /// Made from an integer: written as a JSON number, so that an Express app finds the type it expects.
    number: bool,
}

impl UserId {
    /// The user id as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether this can be the name of a user: 1 to 255 bytes without U+0000.
    pub fn is_name(text: &str) -> bool {
        (1..=255).contains(&text.len()) && !text.contains('\0')
    }

    /// Reads what an application stored under its user key: a string that can be a name, or an integer.
    pub(crate) fn from_json(json: &str) -> Option<Self> {
        match serde_json::from_str(json).ok()? {
            serde_json::Value::String(text) if Self::is_name(&text) => Some(Self { text: text.into(), number: false }),
            serde_json::Value::Number(number) if !number.is_f64() => {
                Some(Self { text: number.to_string().into(), number: true })
            }
            _ => None,
        }
    }

    pub(crate) fn to_json(&self) -> String {
        if self.number { self.text.to_string() } else { serde_json::Value::from(&*self.text).to_string() }
    }
}

impl PartialEq for UserId {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for UserId {}

impl From<&str> for UserId {
    fn from(text: &str) -> Self {
        Self { text: text.into(), number: false }
    }
}

impl From<String> for UserId {
    fn from(text: String) -> Self {
        Self { text: text.into(), number: false }
    }
}

impl From<u64> for UserId {
    fn from(number: u64) -> Self {
        Self { text: number.to_string().into(), number: true }
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What a row looked like when it was read. A write compares it, so that no write is lost.
#[derive(Clone, PartialEq, Eq)]
pub struct Revision {
    document: Arc<str>,
    owner: Option<UserId>,
}

impl Revision {
    pub(crate) fn of(document: Arc<str>, owner: Option<UserId>) -> Self {
        Self { document, owner }
    }

    /// The text of the row as it was read.
    pub fn as_str(&self) -> &str {
        &self.document
    }

    /// Whose session it was, where a column says so: see [`Record::from_values`].
    pub fn owner(&self) -> Option<&UserId> {
        self.owner.as_ref()
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Revision(…)")
    }
}

/// A session as a store keeps it.
#[derive(Clone, Debug)]
pub struct Record {
    /// The public name, stable across rotation.
    pub handle: Handle,
    /// The signed-in user, if there is one.
    pub owner: Option<UserId>,
    /// The whole document, Express's `cookie` and Sessile's own key included.
    pub data: Data,
    /// When the session began.
    pub created_at: SystemTime,
    /// The time of the request that read the record or is about to write it. A write to a row that had expired by then
    /// finds the session gone.
    pub seen_at: SystemTime,
    /// When the session ends unless it is used before.
    pub expires_at: SystemTime,
    /// What the row looked like when it was read; `None` for a session that was not read from a store.
    pub revision: Option<Revision>,
    /// Everyone's sessions from before a time are over: a store says so with each record that it reads, in case.
    pub cut_off: Option<CutOff>,
    /// A column of the row says whose session it is, whatever is in the data.
    pub(crate) owner_is_told: bool,
    pub(crate) meta: Meta,
    pub(crate) cookie: StoredCookie,
}

impl Record {
    /// A session that no store knows yet.
    pub(crate) fn fresh(cookie: StoredCookie, now: SystemTime) -> Result<Self, Error> {
        let handle = Handle::generate()?;
        Ok(Self {
            meta: Meta { handle: Some(handle.as_str().into()), created_at: Some(to_millis(now)), ..Meta::default() },
            handle,
            owner: None,
            data: Data::default(),
            created_at: from_millis(to_millis(now)),
            seen_at: now,
            expires_at: now,
            revision: None,
            cut_off: None,
            owner_is_told: false,
            cookie,
        })
    }

    /// A row as it was read at `now`, for implementers of [`Store`](crate::Store).
    ///
    /// # Errors
    /// When the text is not a session's document: not an object, without a `cookie` object, or with one that makes
    /// Express fail. The row should be left as it is.
    pub fn stored(
        key: &StoreKey,
        document: impl Into<Arc<str>>,
        expires_at: SystemTime,
        now: SystemTime,
    ) -> Result<Self, Error> {
        let document = document.into();
        let data = Data::parse(document.clone())?;
        let cookie = match data.get(COOKIE) {
            Some(json) => StoredCookie::parse(json)?,
            None => return Err(Error::poisoned("expected the row to have a `cookie` object, found none")),
        };
        let meta = data.get(SESSILE).map(Meta::parse).transpose()?.unwrap_or_default();
        let mut record = Self::of_parts(key, data, meta, cookie, expires_at, now);
        record.revision = Some(Revision::of(document, None));
        Ok(record)
    }

    /// What the parts of a row make, as they were read at `now`.
    pub(crate) fn of_parts(
        key: &StoreKey,
        data: Data,
        meta: Meta,
        cookie: StoredCookie,
        expires_at: SystemTime,
        now: SystemTime,
    ) -> Self {
        let meta = meta.under(key);
        let handle = meta.handle.as_deref().and_then(Handle::parse).unwrap_or_else(|| Handle::derived(key));
        Self {
            handle,
            owner: meta.owner.as_deref().filter(|owner| UserId::is_name(owner)).map(UserId::from),
            created_at: meta.created_at.map_or_else(|| cookie.begun().unwrap_or(now).min(now), from_millis),
            seen_at: now,
            expires_at,
            revision: None,
            cut_off: None,
            owner_is_told: false,
            data,
            meta,
            cookie,
        }
    }

    /// The document as a store writes it.
    pub fn document(&self) -> String {
        self.data.to_json()
    }

    /// When the user last proved who they are; `None` when nobody knows.
    pub fn authenticated_at(&self) -> Option<SystemTime> {
        self.meta.authenticated_at.map(from_millis)
    }

    /// When the user proved who they are, where that differs from [`authenticated_at`](Record::authenticated_at), from which
    /// the sign-in counts; `None` when nobody knows.
    pub(crate) fn proved_at(&self) -> Option<SystemTime> {
        let signed_in = self.authenticated_at()?;
        match self.meta.proved_at {
            None => Some(signed_in),
            Some(NOBODY_KNOWS) => None,
            Some(millis) => Some(from_millis(millis)),
        }
    }

    /// The record as it is in the store once this document was written.
    pub(crate) fn written(mut self) -> Self {
        self.revision = Some(Revision::of(self.document().into(), self.owner.clone()));
        self
    }

    /// Another user's session from here on: nothing that was decided about the one before holds.
    pub(crate) fn begin_anew(&mut self, handle: Handle, now: SystemTime) {
        self.handle = handle;
        self.created_at = whole(now);
        self.meta = Meta { created_at: Some(to_millis(now)), ..Meta::default() };
    }

    /// Whether Sessile has written this session before. Express alone leaves no mark.
    pub(crate) fn is_ours(&self) -> bool {
        self.meta.created_at.is_some()
    }

    /// When the session's absolute lifetime began: at the sign-in, or its first write by Sessile; `None` when nobody
    /// recorded that.
    pub(crate) fn began(&self) -> Option<SystemTime> {
        let signed_in = self.authenticated_at().filter(|_| self.owner.is_some());
        signed_in.or_else(|| self.is_ours().then_some(self.created_at))
    }

    /// Takes the owner from where another program keeps it, under this top-level key, unless a column says who it is. When
    /// that is not the one Sessile signed in, nobody knows when they proved who they are.
    pub fn owner_is_under(&mut self, user_key: &str) {
        if self.owner_is_told {
            return;
        }
        let owner = self.data.get(user_key).and_then(UserId::from_json);
        self.owned_by(owner);
    }

    /// Takes the owner that another program may have written.
    pub(crate) fn owned_by(&mut self, owner: Option<UserId>) {
        if owner != self.owner {
            (self.meta.authenticated_at, self.meta.proved_at) = (None, None);
        }
        // Whoever signed them in knew nothing of an end that held until then.
        if owner.is_some() && self.meta.until_sign_in.take().is_some() {
            self.meta.absolute = None;
        }
        self.owner = owner;
    }

    /// Writes the owner to where Sessile looks for it, and nothing else.
    pub(crate) fn note_owner(&mut self) -> Result<(), Error> {
        self.meta.owner = self.owner.as_ref().map(|owner| owner.as_str().into());
        self.data.insert(SESSILE, to_json(&self.meta)?);
        Ok(())
    }

    /// Whether the session is one of those that [`cut_off`](Record::cut_off) ended: it has an owner, and was not signed in
    /// after that. Of one that another program signed in nobody knows, so it counts until all from before are gone.
    pub fn is_cut_off(&self) -> bool {
        let Some(cut_off) = self.cut_off.filter(|_| self.owner.is_some()) else { return false };
        self.authenticated_at().map_or(!cut_off.swept, |at| at < cut_off.before)
    }

    /// The session's row in the registry, if it is signed in now; `None` when it has no owner. One that another program
    /// signed in gets a handle of its own: its key may have been somebody else's session before.
    ///
    /// # Errors
    /// When there are no random bytes for a handle.
    pub fn device(&self, facts: DeviceFacts) -> Result<Option<Device>, Error> {
        let Some(owner) = self.owner.clone() else { return Ok(None) };
        let is_ours = self.meta.owner.as_deref() == Some(owner.as_str());
        Ok(Some(Device {
            handle: if is_ours { self.handle.clone() } else { Handle::generate()? },
            owner,
            facts,
            created_at: whole(self.authenticated_at().unwrap_or(self.created_at)),
            authenticated_at: self.authenticated_at(),
            last_seen_at: whole(self.seen_at),
            expires_at: whole(self.expires_at),
            requests: 0,
            ended: None,
        }))
    }

    /// Puts Sessile's facts and the cookie object into the document, before it is written. The key is that of a row which
    /// other programs may write too.
    pub(crate) fn seal(&mut self, key: Option<&StoreKey>) -> Result<(), Error> {
        self.meta.key = key.map(|key| key.trace().into());
        self.meta.handle = Some(self.handle.as_str().into());
        self.meta.created_at = Some(to_millis(self.created_at));
        self.meta.owner = self.owner.as_ref().map(|owner| owner.as_str().into());
        self.data.insert_first(COOKIE, to_json(&self.cookie)?);
        self.data.insert(SESSILE, to_json(&self.meta)?);
        Ok(())
    }
}

/// Whole milliseconds, as the registry keeps times.
fn whole(time: SystemTime) -> SystemTime {
    from_millis(to_millis(time))
}

fn to_json(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value)
        .map_err(|error| Error::value("a session's own facts did not serialise").with_source(error))
}

/// What Sessile remembers beside the application's data. Times are milliseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Meta {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) handle: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) created_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) authenticated_at: Option<i64>,
    /// When the user proved who they are, where that is not the sign-in's time; [`NOBODY_KNOWS`] when nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) proved_at: Option<i64>,
    /// Which key the row had when Sessile wrote it, where other programs write rows too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<Box<str>>,
    /// This session's own idle lifetime, where it differs from the configured one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) idle: Option<u64>,
    /// This session's own absolute lifetime, where it differs from the configured one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) absolute: Option<u64>,
    /// The lifetimes go back to the configured ones when somebody signs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until_sign_in: Option<bool>,
    /// Whether the browser keeps the cookie when it closes, where it differs from the configured answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) persistent: Option<bool>,
}

impl Meta {
    pub(crate) fn parse(json: &str) -> Result<Self, Error> {
        parse_object(SESSILE, json)
    }

    /// The sign-in counts from this time, and so far it is when the user proved who they are.
    pub(crate) fn authenticate(&mut self, at: SystemTime) {
        (self.authenticated_at, self.proved_at) = (Some(to_millis(at)), None);
    }

    /// The user proved who they are at another time than that of the sign-in.
    pub(crate) fn prove(&mut self, at: Option<SystemTime>) {
        let millis = at.map_or(NOBODY_KNOWS, |at| to_millis(at).max(NOBODY_KNOWS));
        self.proved_at = Some(millis).filter(|millis| Some(*millis) != self.authenticated_at);
    }

    /// What holds for the row under this key. An Express app that regenerates a session and keeps its data, as passport
    /// can, copies these facts into another session: who signed in there, and when, nobody told Sessile.
    fn under(self, key: &StoreKey) -> Self {
        if self.key.as_deref().is_none_or(|own| own == key.trace()) {
            return self;
        }
        Self { handle: None, owner: None, authenticated_at: None, proved_at: None, ..self }
    }
}

/// Express's cookie object: nine keys, always in this order, absent ones left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StoredCookie {
    #[serde(default, deserialize_with = "present")]
    pub(crate) original_max_age: MaxAge,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) partitioned: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) priority: Option<Box<str>>,
    #[serde(default)]
    pub(crate) expires: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secure: Option<Flag>,
    #[serde(default = "yes")]
    pub(crate) http_only: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) domain: Option<Box<str>>,
    #[serde(default = "root")]
    pub(crate) path: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) same_site: Option<Flag>,
}

/// `originalMaxAge`: milliseconds, or `null` or `false` for a cookie that ends with the browser.
#[derive(Clone, Copy, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum MaxAge {
    Millis(i64),
    Fraction(f64),
    Off(bool),
    #[default]
    Null,
}

/// An attribute that Express lets be a boolean or a word.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Flag {
    Bool(bool),
    Word(Box<str>),
}

fn yes() -> Option<bool> {
    Some(true)
}

fn root() -> Option<Box<str>> {
    Some("/".into())
}

/// `true` is no lifetime, though it has the type of `false`.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<MaxAge, D::Error> {
    match MaxAge::deserialize(deserializer)? {
        MaxAge::Off(true) => Err(serde::de::Error::custom("originalMaxAge is true")),
        age => Ok(age),
    }
}

/// One that says nothing: a row without it is like that.
impl Default for StoredCookie {
    fn default() -> Self {
        Self {
            original_max_age: MaxAge::default(),
            partitioned: None,
            priority: None,
            expires: None,
            secure: None,
            http_only: yes(),
            domain: None,
            path: root(),
            same_site: None,
        }
    }
}

impl StoredCookie {
    fn parse(json: &str) -> Result<Self, Error> {
        parse_object(COOKIE, json)
    }

    /// The cookie's lifetime; `None` when it ends with the browser. A negative one counts as over.
    pub(crate) fn max_age(&self) -> Option<Duration> {
        match self.original_max_age {
            MaxAge::Millis(ms) => Some(Duration::from_millis(u64::try_from(ms).unwrap_or(0))),
            MaxAge::Fraction(ms) => Some(Duration::try_from_secs_f64(ms.max(0.0) / 1000.0).unwrap_or(Duration::MAX)),
            MaxAge::Off(_) | MaxAge::Null => None,
        }
    }

    /// Sets the lifetime as express-session's `cookie.maxAge` does.
    pub(crate) fn set_max_age(&mut self, max_age: Option<Duration>) {
        self.original_max_age =
            max_age.map_or(MaxAge::Null, |age| MaxAge::Millis(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)));
    }

    /// Moves `expires` as express-session's `touch` does: now and the lifetime, or nothing.
    pub(crate) fn touch(&mut self, now: SystemTime) {
        self.expires = match self.original_max_age {
            MaxAge::Off(_) => Some(false.into()),
            MaxAge::Null => None,
            MaxAge::Millis(ms) => Some(iso(from_millis(to_millis(now).saturating_add(ms))).into()),
            #[allow(clippy::cast_possible_truncation, reason = "a lifetime beyond 9999 is cut there")]
            MaxAge::Fraction(ms) => Some(iso(from_millis(to_millis(now).saturating_add(ms as i64))).into()),
        };
    }

    /// When Express last wrote the session, as near as the cookie tells.
    fn begun(&self) -> Option<SystemTime> {
        let expires = crate::clock::parse_iso(self.expires.as_ref()?.as_str()?)?;
        expires.checked_sub(self.max_age()?)
    }
}

/// Reads one of the known objects. An error says which part of the row is wrong, without a word of what is in it.
fn parse_object<T: serde::de::DeserializeOwned>(part: &str, json: &str) -> Result<T, Error> {
    let expected = format!("expected the row's `{part}` to be an object of the known shape");
    // A derived reader would take an array for an object's fields in order.
    if !json.starts_with('{') {
        return Err(Error::poisoned(expected));
    }
    // A derived reader refuses equal keys, of which JavaScript takes the last.
    let merged = || serde_json::from_str(&Data::parse(json.into()).ok()?.to_json()).ok();
    serde_json::from_str(json).or_else(|error| merged().ok_or(error)).map_err(|error: serde_json::Error| {
        Error::poisoned(format!("{expected}; {:?} error at column {}", error.classify(), error.column()))
    })
}
