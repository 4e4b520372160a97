//! The handler's view of a session: plain calls in memory, no I/O. Every change goes through one door, `Edit`, and is
//! logged, so that it can be replayed on a fresher record when another request wrote first.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::to_millis;
use crate::edit::{Change, Edit, check_key, from_json, is_application_key, to_json};
use crate::plan::State;
use crate::record::{Record, UserId};
use crate::registry::SignIn;
use crate::{Config, DeviceFacts, Error, Handle};

/// Where flash messages live: the key and shape of Express's connect-flash.
const FLASH: &str = "flash";

/// Kinds, and the messages of each.
type Flashes = serde_json::Map<String, serde_json::Value>;

/// One session, as a handler sees it. Cloning gives another view of the same session.
///
/// Reads and edits happen in memory; the one store call of a request is made before its response leaves. Edits count
/// whatever the response's status is. An edit after the response has been handed over is an error, not silence.
///
/// ```
/// # use sessile_core::{Session, Error};
/// fn add_to_cart(session: &Session, item: &str) -> Result<usize, Error> {
///     let cart = session.update("cart", {
///         let item = item.to_owned();
///         move |cart: Option<Vec<String>>| {
///             let mut cart = cart.unwrap_or_default();
///             cart.push(item.clone());
///             cart
///         }
///     })?;
///     Ok(cart.len())
/// }
/// ```
///
/// Several modules that share a session can each keep to a typed bucket of their own:
///
/// ```
/// # use sessile_core::{Session, Error};
/// #[derive(Default, serde::Serialize, serde::Deserialize)]
/// struct Preferences { theme: String, page_size: u32 }
///
/// impl Preferences {
///     const KEY: &str = "preferences";
///     fn of(session: &Session) -> Result<Self, Error> { Ok(session.get(Self::KEY)?.unwrap_or_default()) }
///     fn keep(&self, session: &Session) -> Result<(), Error> { session.insert(Self::KEY, self) }
/// }
/// ```
#[derive(Clone)]
pub struct Session {
    inner: Arc<Mutex<Inner>>,
}

/// A message for the next page: what [`Session::flash`] kept and [`Session::take_flashes`] gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flash {
    /// What kind of message it is, as the application names kinds: `info`, `error`, …
    pub kind: String,
    /// The message.
    pub text: String,
}

/// A session in the making: what was read, what it has become, and how.
pub(crate) struct Inner {
    config: Arc<Config>,
    /// The record before the first edit; `None` while there was none.
    before: Option<Record>,
    pub(crate) record: Record,
    /// When the request came.
    began: SystemTime,
    /// The request revoked the user's sessions itself: what they prove in it counts from after that.
    revoked: bool,
    /// The request's id was rotated away a moment ago.
    late: bool,
    edits: Vec<Edit>,
    rotated: bool,
    /// Somebody proved who they are.
    signed_in: bool,
    auth_method: Option<Box<str>>,
    provider_session: Option<Box<str>>,
    ended: bool,
    /// Something that was saved in the middle of the request makes a cookie due.
    owes_cookie: bool,
    finished: bool,
}

impl Session {
    /// In a request that came at this time.
    pub(crate) fn new(config: Arc<Config>, record: Record, began: SystemTime) -> Self {
        let inner = Inner {
            config,
            before: None,
            record,
            began,
            revoked: false,
            late: false,
            edits: Vec::new(),
            rotated: false,
            signed_in: false,
            auth_method: None,
            provider_session: None,
            ended: false,
            owes_cookie: false,
            finished: false,
        };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// The value under this key, or `None`.
    ///
    /// # Errors
    /// When what is stored is not a `T`.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let inner = self.lock();
        inner.visible(key).map(|json| from_json(key, json)).transpose()
    }

    /// Puts a value under this key. Another request that changes another key at the same time loses nothing; on the
    /// same key the later one wins. To build on the old value use [`update`](Session::update).
    ///
    /// # Errors
    /// When the value is not JSON, the key is reserved, or the session would exceed [`Config::max_data`]; then nothing
    /// is changed.
    pub fn insert<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<(), Error> {
        let json = to_json(key, value)?.into();
        self.edit_key(key, Edit::Insert { key: key.into(), json })
    }

    /// Replaces the value under this key by what `change` makes of it, and returns that. Requests that update the same
    /// key at the same time are serialised: `change` runs again on what the other one left, so it must depend on its
    /// argument alone, and it must not use the session. The returned value is this request's view before that.
    ///
    /// ```
    /// # use sessile_core::{Session, Error};
    /// fn count(session: &Session) -> Result<u64, Error> {
    ///     session.update("visits", |visits: Option<u64>| visits.unwrap_or(0) + 1)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`get`](Session::get) and [`insert`](Session::insert).
    pub fn update<T, F>(&self, key: &str, change: F) -> Result<T, Error>
    where
        T: Serialize + DeserializeOwned,
        F: Fn(Option<T>) -> T + Send + Sync + 'static,
    {
        let (name, change) = (Box::<str>::from(key), Arc::new(change));
        let replay: Change = Arc::new({
            let (name, change) = (name.clone(), change.clone());
            move |old| {
                let old = old.map(|json| from_json(&name, json)).transpose()?;
                to_json(&name, &change(old)).map(Some)
            }
        });
        self.edit_key(key, Edit::Update { key: name, change: replay })?;
        // Nothing is there when the session was ended: the change goes with it.
        Ok(self.get(key)?.unwrap_or_else(|| change(None)))
    }

    /// Removes the value under this key and returns it. Of two requests that take the same value one succeeds: the other
    /// one's commit fails with [`Error::is_gone`], and its response is replaced (409).
    ///
    /// # Errors
    /// When what is stored is not a `T`; then nothing is removed.
    pub fn take<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let Some(json) = self.lock().visible(key).map(Box::<str>::from) else { return Ok(None) };
        let value = from_json(key, &json)?;
        self.edit_key(key, Edit::Take { key: key.into(), json })?;
        Ok(Some(value))
    }

    /// Removes the value under this key; says whether there was one.
    ///
    /// # Errors
    /// When the key is reserved or the response has left.
    pub fn remove(&self, key: &str) -> Result<bool, Error> {
        let there = self.lock().visible(key).is_some();
        self.edit_key(key, Edit::Remove { key: key.into() })?;
        Ok(there)
    }

    /// Removes every value. The session goes on: its id, its owner and its lifetime stay.
    ///
    /// # Errors
    /// When the response has left.
    pub fn clear(&self) -> Result<(), Error> {
        self.edit(Edit::Clear)
    }

    /// The keys, in order.
    pub fn keys(&self) -> Vec<String> {
        self.lock().application_data().map(|(key, _)| key.to_owned()).collect()
    }

    /// All values as the text of one JSON object.
    pub fn to_json(&self) -> String {
        let inner = self.lock();
        let mut data = inner.record.data.clone();
        data.retain(|key| !inner.ended && is_application_key(key));
        data.to_json()
    }

    /// Signs this user in: the only way to give a session an owner. The id changes, so that one planted before the
    /// sign-in is worth nothing (ASVS 7.2.4), and the registry gets to know the device. Data of an anonymous session stays,
    /// like a cart; when another user was signed in, their session ends and a new one begins, with a handle of its own.
    ///
    /// The sign-in counts from when the request came, which is before its credentials were checked: if all of the user's
    /// sessions are revoked meanwhile, it is refused when the response leaves (409).
    ///
    /// # Errors
    /// When the user is no name (empty, longer than 255 bytes, or with U+0000), the session was ended before in this
    /// request, or the response has left.
    pub fn sign_in(&self, user: impl Into<UserId>) -> Result<(), Error> {
        self.sign_in_as(user.into(), None, None)
    }

    /// [`sign_in`](Session::sign_in), and the registry remembers how the user proved who they are, as the application calls
    /// it: `password`, `passkey`, `oidc`.
    ///
    /// # Errors
    /// As [`sign_in`](Session::sign_in).
    pub fn sign_in_by(&self, auth_method: &str, user: impl Into<UserId>) -> Result<(), Error> {
        self.sign_in_as(user.into(), Some(auth_method.into()), None)
    }

    /// [`sign_in_by`](Session::sign_in_by) of a user whom an identity provider named. What the provider calls its own
    /// session, in a form that is unique among providers, lets it end this one:
    /// [`Devices::revoke_by_provider_session`](crate::Devices::revoke_by_provider_session).
    ///
    /// # Errors
    /// As [`sign_in`](Session::sign_in), and when the name of the provider's session is empty, longer than 255 bytes, or has
    /// U+0000.
    pub fn sign_in_at_provider(
        &self,
        auth_method: &str,
        provider_session: &str,
        user: impl Into<UserId>,
    ) -> Result<(), Error> {
        check_name("the name of a provider's session", provider_session)?;
        self.sign_in_as(user.into(), Some(auth_method.into()), Some(provider_session.into()))
    }

    fn sign_in_as(
        &self,
        owner: UserId,
        auth_method: Option<Box<str>>,
        provider_session: Option<Box<str>>,
    ) -> Result<(), Error> {
        if self.lock().ended {
            return Err(Error::misuse(
                "a user was signed in to a session that was ended in the same request; sign_in alone drops the other user's data",
            ));
        }
        check_name("a user", owner.as_str())?;
        let at = self.lock().began;
        self.edit(Edit::SignIn { owner, at, handle: Handle::generate()? })?;
        self.proved(auth_method, provider_session)
    }

    /// Says that the sign-in of this request began earlier, with another request: the password came before a second factor,
    /// or the way led over an identity provider. It then counts from that time, so that what was revoked since refuses it.
    /// Call it before [`sign_in`](Session::sign_in). After a revocation by this same request it changes nothing.
    pub fn sign_in_began(&self, at: SystemTime) {
        let mut inner = self.lock();
        if !inner.revoked {
            inner.began = inner.began.min(at);
        }
    }

    /// What the user proves in this request, before or after this call, counts from this time.
    pub(crate) fn count_from(&self, at: SystemTime) {
        let mut inner = self.lock();
        (inner.began, inner.revoked) = (at, true);
        for edit in &mut inner.edits {
            edit.count_from(at);
        }
        if inner.signed_in {
            inner.record.meta.authenticated_at = Some(to_millis(at));
        }
    }

    /// Records that the owner has just proved again who they are. The id changes and the absolute lifetime starts anew.
    ///
    /// # Errors
    /// When nobody is signed in, or the response has left.
    pub fn authenticate_again(&self) -> Result<(), Error> {
        if self.owner().is_none() {
            return Err(Error::unauthenticated("nobody is signed in"));
        }
        let at = self.lock().began;
        self.edit(Edit::Authenticated { at })?;
        self.proved(None, None)
    }

    /// Says when the user proved who they are, where that was not in this request: an identity provider may have remembered
    /// them. `None` when nobody knows. Call it after [`sign_in`](Session::sign_in) or
    /// [`authenticate_again`](Session::authenticate_again). [`authenticated_at`](Session::authenticated_at) goes by it; the
    /// sign-in itself, and with it the lifetime and what a revocation ends, counts from when it counted before. A time that
    /// has not come yet counts as now.
    ///
    /// # Errors
    /// When nobody was signed in in this request, or the response has left.
    pub fn proved_at(&self, at: Option<SystemTime>) -> Result<(), Error> {
        if !self.lock().signed_in {
            return Err(Error::misuse(
                "expected a sign-in in this request before it is said when the user proved who they are, found none; \
                 call sign_in first",
            ));
        }
        let now = self.now();
        self.edit(Edit::Proved { at: at.map(|at| at.min(now)) })
    }

    fn proved(&self, auth_method: Option<Box<str>>, provider_session: Option<Box<str>>) -> Result<(), Error> {
        self.rotate()?;
        let mut inner = self.lock();
        inner.signed_in = true;
        (inner.auth_method, inner.provider_session) = (auth_method, provider_session);
        Ok(())
    }

    /// Gives the session a new id and keeps everything else, the handle too. Do so whenever the user's rights change.
    ///
    /// # Errors
    /// When the response has left.
    pub fn rotate(&self) -> Result<(), Error> {
        let mut inner = self.lock();
        inner.check_open()?;
        inner.rotated = true;
        Ok(())
    }

    /// Ends the session: its row goes and the browser is told to forget the cookie. Reads find nothing from here on,
    /// and what else this request changes goes with it.
    ///
    /// # Errors
    /// When the response has left.
    pub fn end(&self) -> Result<(), Error> {
        let mut inner = self.lock();
        inner.check_open()?;
        inner.ended = true;
        Ok(())
    }

    /// The signed-in user.
    pub fn owner(&self) -> Option<UserId> {
        let inner = self.lock();
        if inner.ended { None } else { inner.record.owner.clone() }
    }

    /// The session's public name, for lists, logs and URLs. It stays the same when the id changes.
    pub fn handle(&self) -> Handle {
        self.lock().record.handle.clone()
    }

    /// The time now, on the clock of these sessions ([`Config::clock`]).
    pub fn now(&self) -> SystemTime {
        self.lock().config.clock.now()
    }

    /// When the session began. Of one that Express began and Sessile has not written yet, the time it was last written.
    pub fn created_at(&self) -> SystemTime {
        self.lock().record.created_at
    }

    /// When the session ends unless it is used before.
    pub fn expires_at(&self) -> SystemTime {
        let inner = self.lock();
        inner.lifetime_end(inner.config.clock.now())
    }

    /// When the owner last proved who they are; use of the session does not move it. `None` when nobody is signed in, or
    /// nobody knows ([`proved_at`](Session::proved_at)).
    pub fn authenticated_at(&self) -> Option<SystemTime> {
        let inner = self.lock();
        inner.record.proved_at().filter(|_| !inner.ended && inner.record.owner.is_some())
    }

    /// Whether the owner proved who they are within this time; false when nobody knows. For changing a password, an address, a device (ASVS 7.5.1).
    pub fn authenticated_within(&self, span: Duration) -> bool {
        let now = self.lock().config.clock.now();
        self.authenticated_at().is_some_and(|at| now.duration_since(at).unwrap_or_default() <= span)
    }

    /// Gives this session its own idle lifetime.
    ///
    /// # Errors
    /// When the response has left.
    pub fn set_idle(&self, idle: Duration) -> Result<(), Error> {
        self.edit(Edit::Idle { idle })
    }

    /// Gives this session its own idle lifetime until somebody signs in to it: then the configured ones hold again. For what
    /// is kept before a sign-in and is soon worth nothing. It is no longer than the configured one. A session that is new ends
    /// after that time, used or not; called again before the sign-in, it has that time again.
    ///
    /// # Errors
    /// When the response has left.
    pub fn set_idle_until_sign_in(&self, idle: Duration) -> Result<(), Error> {
        let at = self.now();
        self.edit(Edit::IdleUntilSignIn { idle, at })
    }

    /// Whether [`set_idle_until_sign_in`](Session::set_idle_until_sign_in) holds.
    pub fn lives_until_sign_in(&self) -> bool {
        self.lock().record.meta.until_sign_in.is_some()
    }

    /// "Remember me": keeps this session, and the cookie, for this long, used or not.
    ///
    /// # Errors
    /// When the response has left.
    pub fn remember(&self, span: Duration) -> Result<(), Error> {
        let at = self.lock().config.clock.now();
        self.edit(Edit::Remember { span, at })
    }

    /// "Do not remember me": the browser forgets the cookie when it closes, and the session has the configured lifetimes,
    /// whatever [`set_idle`](Session::set_idle) or [`remember`](Session::remember) said before.
    ///
    /// # Errors
    /// When the response has left.
    pub fn forget_on_close(&self) -> Result<(), Error> {
        self.edit(Edit::ForgetOnClose)
    }

    /// Keeps a message for the next page, in the shape of Express's connect-flash.
    ///
    /// # Errors
    /// As [`insert`](Session::insert).
    pub fn flash(&self, kind: &str, text: &str) -> Result<(), Error> {
        let (kind, text) = (kind.to_owned(), text.to_owned());
        self.update(FLASH, move |flashes: Option<Flashes>| {
            let mut flashes = flashes.unwrap_or_default();
            match flashes.entry(kind.clone()).or_insert_with(|| Vec::<serde_json::Value>::new().into()) {
                serde_json::Value::Array(texts) => texts.push(text.clone().into()),
                other => *other = vec![text.clone()].into(),
            }
            flashes
        })?;
        Ok(())
    }

    /// The messages kept for this page, each shown once.
    ///
    /// # Errors
    /// When what is stored under `flash` is not messages.
    pub fn take_flashes(&self) -> Result<Vec<Flash>, Error> {
        let Some(shown) = self.get::<Flashes>(FLASH)? else { return Ok(Vec::new()) };
        // Messages that another request adds meanwhile are for the page after this one.
        let keep_others: Change = Arc::new({
            let shown = shown.clone();
            move |there| {
                let there: Flashes = there.map(|json| from_json(FLASH, json)).transpose()?.unwrap_or_default();
                let others = without(there, &shown);
                if others.is_empty() { Ok(None) } else { to_json(FLASH, &others).map(Some) }
            }
        });
        self.edit_key(FLASH, Edit::Update { key: FLASH.into(), change: keep_others })?;
        let texts = |value| match value {
            serde_json::Value::Array(texts) => texts,
            text => vec![text],
        };
        let flash = |kind: &str, text: serde_json::Value| Flash {
            kind: kind.to_owned(),
            text: text.as_str().map_or_else(|| text.to_string(), str::to_owned),
        };
        Ok(shown
            .into_iter()
            .flat_map(|(kind, value)| texts(value).into_iter().map(move |text| flash(&kind, text)))
            .collect())
    }

    /// The row's document as it was read, Express's `cookie` and Sessile's own key included; `None` for a new session.
    /// For showing and debugging; it holds no id.
    pub fn stored_document(&self) -> Option<String> {
        self.lock().record.revision.as_ref().map(|revision| revision.as_str().to_owned())
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn edit_key(&self, key: &str, edit: Edit) -> Result<(), Error> {
        check_key(key)?;
        if self.lock().config.user_key.as_deref() == Some(key) {
            return Err(Error::key(format!("the key {key:?} names the signed-in user; use sign_in and end")));
        }
        self.edit(edit)
    }

    fn edit(&self, edit: Edit) -> Result<(), Error> {
        let mut inner = self.lock();
        inner.check_open()?;
        if inner.ended {
            return Ok(());
        }
        if inner.before.is_none() {
            inner.before = Some(inner.record.clone());
        }
        let Inner { config, record, .. } = &mut *inner;
        edit.apply(record, config)?;
        inner.edits.push(edit);
        Ok(())
    }
}

/// Whether a registry can hold this name.
pub(crate) fn check_name(what: &str, name: &str) -> Result<(), Error> {
    if !UserId::is_name(name) {
        let found = name.len();
        return Err(Error::value(format!(
            "expected {what} of 1 to 255 bytes without U+0000, found one of {found} bytes"
        )));
    }
    Ok(())
}

/// What is left when each message that was shown is taken away once.
fn without(mut flashes: Flashes, shown: &Flashes) -> Flashes {
    for (kind, texts) in &mut flashes {
        match (texts, shown.get(kind)) {
            (serde_json::Value::Array(texts), Some(serde_json::Value::Array(shown))) => {
                for text in shown {
                    if let Some(at) = texts.iter().position(|other| other == text) {
                        texts.remove(at);
                    }
                }
            }
            (texts, Some(shown)) if texts == shown => *texts = Vec::<serde_json::Value>::new().into(),
            _ => {}
        }
    }
    flashes.retain(|_, texts| texts.as_array().is_none_or(|texts| !texts.is_empty()));
    flashes
}

/// The handle and the keys; never a value.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.lock();
        let keys: Vec<_> = inner.application_data().map(|(key, _)| key).collect();
        f.debug_struct("Session").field("handle", &inner.record.handle).field("keys", &keys).finish()
    }
}

impl Inner {
    /// The facts that decide what has to be done.
    pub(crate) fn state(&self) -> State {
        State {
            stored: self.record.revision.as_ref().map(|_| self.before.as_ref().unwrap_or(&self.record).expires_at),
            late: self.late,
            began: self.began(),
            changed: self.changed(),
            rotated: self.rotated,
            ended: self.ended,
        }
    }

    /// Whether the browser's cookie has to change because the session's lifetime did.
    pub(crate) fn lifetime_changed(&self) -> bool {
        let facts = |record: &Record| {
            let meta = &record.meta;
            (meta.idle, meta.absolute, meta.persistent, meta.authenticated_at, record.cookie.max_age())
        };
        self.before.as_ref().is_some_and(|before| facts(before) != facts(&self.record))
    }

    /// When the session's absolute lifetime began; `None` when nobody recorded it.
    pub(crate) fn began(&self) -> Option<SystemTime> {
        self.record.began()
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }

    /// The request's id was rotated away a moment ago: what it changed is dropped, unless it signs somebody in.
    pub(crate) fn is_late(&mut self) {
        self.late = true;
    }

    /// What the store is told of the sign-in, if there was one.
    pub(crate) fn sign_in_of(&self, facts: impl FnOnce() -> DeviceFacts) -> Option<SignIn> {
        let before = self.before.as_ref().filter(|before| before.owner.is_some());
        let is_another = |before: &&Record| before.owner != self.record.owner;
        self.signed_in.then(|| SignIn {
            facts: DeviceFacts {
                auth_method: self.auth_method.clone(),
                provider_session: self.provider_session.clone(),
                ..facts()
            },
            replaces: before.filter(is_another).map(|before| before.handle.clone()),
            limit: self.config.limit.filter(|_| before.is_none_or(|before| is_another(&before))),
        })
    }

    /// The owner before this request.
    pub(crate) fn owner_before(&self) -> Option<&UserId> {
        self.before.as_ref().unwrap_or(&self.record).owner.as_ref()
    }

    /// Whether this is a stored session that somebody is signed in to.
    pub(crate) fn is_in_use(&self) -> bool {
        !self.ended && self.record.owner.is_some() && self.record.revision.is_some()
    }

    /// Ends the making: what was edited is committed from here, and later edits are errors.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }

    pub(crate) fn owes_cookie(&self) -> bool {
        self.owes_cookie
    }

    /// How many edits there were so far.
    pub(crate) fn edits(&self) -> usize {
        self.edits.len()
    }

    /// This record is in the store, with so many of the edits. Those that came since are put on it.
    pub(crate) fn saved(&mut self, record: Record, edits: usize) -> Result<(), Error> {
        let follows = self.config.express && self.config.is_persistent(&record);
        self.owes_cookie |= follows || self.lifetime_changed();
        self.edits.drain(..edits);
        self.rebase(record.written())
    }

    /// Replays this request's edits on a fresher record.
    pub(crate) fn rebase(&mut self, mut fresh: Record) -> Result<(), Error> {
        self.before = Some(fresh.clone());
        for edit in &self.edits {
            edit.apply(&mut fresh, &self.config)?;
        }
        self.record = fresh;
        Ok(())
    }

    /// Whether there is something to write. A lifetime alone is no reason to store a session that nobody has yet.
    fn changed(&self) -> bool {
        self.before.as_ref().is_some_and(|before| {
            let known = self.record.revision.is_some();
            before.owner != self.record.owner
                || before.data != self.record.data
                || known && before.meta != self.record.meta
                || known && before.cookie.original_max_age != self.record.cookie.original_max_age
        })
    }

    fn lifetime_end(&self, now: SystemTime) -> SystemTime {
        self.config.lifetime_of(&self.record).expires_at(now, self.began())
    }

    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.finished {
            return Err(Error::misuse(
                "the session was changed after its response had been handed over; make the change before the handler returns",
            ));
        }
        Ok(())
    }

    fn visible(&self, key: &str) -> Option<&str> {
        if self.ended || !is_application_key(key) { None } else { self.record.data.get(key) }
    }

    fn application_data(&self) -> impl Iterator<Item = (&str, &str)> {
        self.record.data.iter().filter(|(key, _)| !self.ended && is_application_key(key))
    }
}
