//! The `Store`. Each change is one script where the row is; a script that finds it elsewhere changes nothing, and the row is
//! looked for again.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sessile_core::{
    Ending, Error, Examine, Fate, Handle, Operations, Record, Registry, Stats, Store, StoreKey, Sweep, Transfer,
    Written,
};
use sha2::{Digest, Sha256};

use crate::RedisBuilder;
use crate::device::Entry;
use crate::failure::Failure;
use crate::link::Link;
use crate::names::{Home, Names};
use crate::rows::{LOOKS, Lead, Place, Row};
use crate::script::{Answer, HOLD, INSERT, REMOVE, TOUCH, WRITE, Word};
use crate::server::Server;
use crate::tidy::Cursor;
use crate::time::{KEPT, from_millis, millis, millis_up, pointer_kept, row_kept};

/// Sessions and their registry on Redis or Valkey, one server or a cluster.
///
/// ```no_run
/// # async fn example() -> Result<(), sessile_core::Error> {
/// use sessile_redis::RedisStore;
///
/// let store = RedisStore::connect("redis://localhost").await?;
/// # Ok(())
/// # }
/// ```
pub struct RedisStore {
    pub(crate) link: Link,
    pub(crate) names: Names,
    pub(crate) server: Server,
    instance: String,
    writes: AtomicU64,
    pub(crate) cursor: Mutex<Cursor>,
}

/// Where it is; no password and no session.
impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("server", &self.server.describe()).finish_non_exhaustive()
    }
}

/// What a row says that a write compares: the hash of its document, which is shorter.
pub(crate) fn revision(document: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(document.as_bytes()))
}

/// The revision that a record was read in; nothing when it was not read.
pub(crate) fn revision_read(record: &Record) -> String {
    record.revision.as_ref().map(|read| revision(read.as_str())).unwrap_or_default()
}

/// What a write says of what became of it; `None` where the row is elsewhere by now.
pub(crate) fn written(answer: &Answer) -> Result<Option<Written>, Failure> {
    match answer.word {
        Word::Done => Ok(Some(Written::Done)),
        Word::Gone => Ok(Some(Written::Gone)),
        Word::Stale => Ok(Some(Written::Stale)),
        Word::Away => Ok(None),
        _ => Err(Failure::Odd),
    }
}

pub(crate) fn lost_track() -> Error {
    Error::unavailable(format!("{LOOKS} tries to write a session met another move of it each time; try again"))
}

/// What to do with a key that leads somewhere.
pub(crate) enum Free {
    /// Another session lives under it.
    Taken,
    /// It is free, as far as this claim on it goes; and whether what was there ended or moved.
    Was { claim: String, over: bool },
}

impl RedisStore {
    /// Settings for a server (`redis://`, or `rediss://` with TLS) or a cluster (`redis+cluster://` with one or several of
    /// its servers, divided by commas).
    pub fn builder(url: impl Into<String>) -> RedisBuilder {
        RedisBuilder::new(url.into())
    }

    /// Connects with the default settings.
    ///
    /// # Errors
    /// When the server cannot be reached, or may throw live sessions away.
    pub async fn connect(url: impl Into<String>) -> Result<Self, Error> {
        Self::builder(url).connect().await
    }

    pub(crate) fn new(link: Link, server: Server, prefix: &str) -> Result<Self, Error> {
        let mut bytes = [0; 12];
        getrandom::fill(&mut bytes)
            .map_err(|error| Error::unavailable("the operating system gave no random bytes").with_source(error))?;
        let (instance, names) = (URL_SAFE_NO_PAD.encode(bytes), Names::new(prefix));
        Ok(Self { link, names, server, instance, writes: AtomicU64::new(0), cursor: Mutex::default() })
    }

    /// A name for one change, by which it is recognised when it is sent twice.
    pub(crate) fn nonce(&self) -> String {
        format!("{}{}", self.instance, self.writes.fetch_add(1, Ordering::Relaxed))
    }

    /// The user's device of this handle.
    pub(crate) async fn entry(&self, home: &Home, handle: &Handle) -> Result<Option<Entry>, Failure> {
        let entry = Entry::of(handle, self.link.ask(crate::device::read(&home.device(handle.as_str()))).await?)?;
        Ok(entry.filter(|entry| entry.is_of(home)))
    }

    /// Whether a key that leads to a device is free.
    pub(crate) async fn free(&self, key: &StoreKey) -> Result<Free, Failure> {
        let (pointer, _) = self.pointer(&self.names.key(key)).await?;
        if pointer.status.is_some() {
            return Ok(Free::Taken);
        }
        let Some(Lead { owner, handle, claim }) = pointer.home else {
            return Ok(Free::Was { claim: String::new(), over: false });
        };
        let entry = self.entry(&self.names.home(&owner), &handle).await?;
        let is_its = |entry: &Entry| entry.key.as_deref() == Some(key.as_str());
        Ok(match entry {
            None => Free::Was { claim, over: false },
            Some(entry) if entry.device.ended.is_some() => Free::Was { claim, over: is_its(&entry) },
            Some(entry) if !entry.pending && !is_its(&entry) && entry.from.as_deref() == Some(key.as_str()) => {
                Free::Was { claim, over: true }
            }
            // It lives there, or is about to.
            Some(_) => Free::Taken,
        })
    }

    /// Keeps what leads to a session for as long as the session may last, before that lasts longer.
    pub(crate) async fn hold(&self, key: &StoreKey, row: &Row, now: i64, end: i64) -> Result<(), Error> {
        let Place::Home { home, handle, kept, .. } = &row.place else { return Ok(()) };
        if end + KEPT / 2 <= *kept {
            return Ok(());
        }
        let ttl = pointer_kept(now, end).to_string();
        let plain = [ttl.clone(), String::new(), String::new()];
        for name in [self.names.key(key).name, self.names.handle(handle)] {
            self.link.run(&HOLD, &[name], &plain).await?;
        }
        self.hold_provider(home, handle, now, end).await?;
        let said = [ttl, "kept".into(), (end + KEPT).to_string()];
        self.link.run(&HOLD, &[home.device(handle.as_str())], &said).await?;
        Ok(())
    }

    /// The keys and the name in the index that a script on this row takes.
    pub(crate) fn row_keys(&self, key: &StoreKey, row: &Row) -> (Vec<String>, String) {
        match &row.place {
            Place::Key { .. } => {
                let place = self.names.key(key);
                (vec![place.name, place.ends], place.member)
            }
            Place::Home { home, handle, .. } => {
                (vec![home.device(handle.as_str()), home.ends(), home.live()], format!("d:{handle}"))
            }
        }
    }

    async fn write(&self, key: &StoreKey, row: &Row, record: &Record, by: &str) -> Result<Option<Written>, Error> {
        let (now, end, document) = (millis(record.seen_at), millis_up(record.expires_at), record.document());
        self.hold(key, row, now, end).await?;
        let (keys, member) = self.row_keys(key, row);
        let arguments = [
            key.as_str().into(),
            now_up(record.seen_at),
            revision_read(record),
            document.clone(),
            revision(&document),
            end.to_string(),
            row_kept(now, end).to_string(),
            member,
            by.into(),
        ];
        Ok(written(&self.link.run(&WRITE, &keys, &arguments).await?)?)
    }

    async fn move_end(
        &self,
        key: &StoreKey,
        row: &Row,
        seen_at: SystemTime,
        expires_at: SystemTime,
    ) -> Result<Option<Written>, Error> {
        let (now, end) = (millis(seen_at), millis_up(expires_at));
        self.hold(key, row, now, end).await?;
        let (keys, member) = self.row_keys(key, row);
        let arguments = [key.as_str().into(), now_up(seen_at), end.to_string(), row_kept(now, end).to_string(), member];
        Ok(written(&self.link.run(&TOUCH, &keys, &arguments).await?)?)
    }

    /// There is nothing to end. If that is because an earlier try ended it, the replicas have to have that, too; or it was
    /// another server that had it, and the session lives on where it is asked for now.
    async fn confirm_end(&self, key: &StoreKey) -> Result<bool, Error> {
        if self.link.waiting.is_none() {
            return Ok(false);
        }
        let place = self.names.key(key);
        let (pointer, _) = self.pointer(&place).await?;
        let device = |lead: Lead| self.names.home(&lead.owner).device(lead.handle.as_str());
        let was_at = pointer.home.map_or(place.name, device);
        let since = self.link.history(&was_at).await?;
        if self.locate(key).await?.is_some() {
            return Err(lost_track());
        }
        safe(false, self.link.confirm(&was_at, since).await?)
    }

    /// Ends the row that was found, whoever's it is.
    async fn end_row(&self, key: &StoreKey, row: &Row, ending: &Ending) -> Result<Option<Written>, Error> {
        match &row.place {
            Place::Key { .. } => {
                let (keys, member) = self.row_keys(key, row);
                let arguments = [key.as_str().into(), member, String::new(), String::new()];
                let (answer, is_safe) = self.link.run_for_good(&REMOVE, &keys, &arguments).await?;
                safe(written(&answer)?, is_safe)
            }
            Place::Home { home, handle, .. } => {
                let only = crate::revoke::Only { key: Some(key), ..Default::default() };
                let ended = self.end(home, handle, ending, only).await?;
                Ok(ended.map(|_| Written::Done))
            }
        }
    }
}

/// An answer that holds, if the replicas that were asked for have it.
pub(crate) fn safe<T>(answer: T, is_safe: bool) -> Result<T, Error> {
    if is_safe {
        return Ok(answer);
    }
    Err(Error::unavailable(
        "the session ended on the primary, but too few replicas said in time that they know; try again",
    ))
}

/// A time that a row's end is compared with: rounded up, because ends are.
pub(crate) fn now_up(time: SystemTime) -> String {
    millis_up(time).to_string()
}

#[async_trait]
impl Store for RedisStore {
    async fn load(&self, key: &StoreKey, now: SystemTime) -> Result<Option<Record>, Error> {
        let row = self.locate(key).await?.filter(|row| row.end >= millis_up(now));
        row.map(|row| row.record(key, now)).transpose()
    }

    async fn insert(&self, key: &StoreKey, record: &Record) -> Result<Written, Error> {
        let (place, by, document) = (self.names.key(key), self.nonce(), record.document());
        let (now, end) = (millis(record.seen_at), millis_up(record.expires_at));
        let ttl = row_kept(now, end).to_string();
        let (mut seen, mut over) = (String::new(), false);
        for _ in 0..LOOKS {
            let arguments = [
                key.as_str().into(),
                document.clone(),
                revision(&document),
                end.to_string(),
                ttl.clone(),
                place.member.clone(),
                by.clone(),
                seen,
                i32::from(over).to_string(),
            ];
            let answer = self.link.run(&INSERT, &place.keys(), &arguments).await?;
            match answer.word {
                Word::Look => match self.free(key).await? {
                    Free::Taken => return Ok(Written::Stale),
                    Free::Was { claim, over: was_over } => (seen, over) = (claim, was_over),
                },
                _ => return written(&answer)?.ok_or_else(|| Failure::Odd.into()),
            }
        }
        Err(lost_track())
    }

    async fn update(&self, key: &StoreKey, record: &Record) -> Result<Written, Error> {
        let by = self.nonce();
        for _ in 0..LOOKS {
            let Some(row) = self.locate(key).await? else { return Ok(Written::Gone) };
            if let Some(written) = self.write(key, &row, record, &by).await? {
                return Ok(written);
            }
        }
        Err(lost_track())
    }

    async fn rotate(&self, from: &StoreKey, to: &StoreKey, record: &Record) -> Result<Written, Error> {
        self.move_to(from, to, record).await
    }

    async fn touch(&self, key: &StoreKey, seen_at: SystemTime, expires_at: SystemTime) -> Result<Written, Error> {
        for _ in 0..LOOKS {
            let Some(row) = self.locate(key).await? else { return Ok(Written::Gone) };
            if let Some(written) = self.move_end(key, &row, seen_at, expires_at).await? {
                return Ok(written);
            }
        }
        Err(lost_track())
    }

    async fn remove(&self, key: &StoreKey, ending: &Ending) -> Result<bool, Error> {
        for _ in 0..LOOKS {
            let Some(row) = self.locate(key).await? else { return self.confirm_end(key).await };
            if self.end_row(key, &row, ending).await?.is_some() {
                return Ok(true);
            }
        }
        Err(lost_track())
    }

    async fn fate(&self, key: &StoreKey) -> Result<Option<Fate>, Error> {
        let (pointer, _) = self.pointer(&self.names.key(key)).await?;
        if let Some((to, at)) = pointer.moved {
            return Ok(Some(Fate::Moved { to: StoreKey::stored(&to), at: from_millis(at) }));
        }
        let Some(lead) = pointer.home else { return Ok(None) };
        let Some(entry) = self.entry(&self.names.home(&lead.owner), &lead.handle).await? else { return Ok(None) };
        Ok(fate_of(key, entry))
    }

    fn registry(&self) -> Option<&dyn Registry> {
        Some(self)
    }

    fn sweep(&self) -> Option<&dyn Sweep> {
        Some(self)
    }

    fn stats(&self) -> Option<&dyn Stats> {
        Some(self)
    }

    fn examine(&self) -> Option<&dyn Examine> {
        Some(self)
    }

    fn operations(&self) -> Option<&dyn Operations> {
        Some(self)
    }

    fn transfer(&self) -> Option<&dyn Transfer> {
        Some(self)
    }

    async fn time(&self) -> Result<Option<SystemTime>, Error> {
        let value = self.link.ask(redis::cmd("TIME")).await?;
        let (seconds, micros): (i64, i64) = redis::from_redis_value(value).map_err(Failure::from)?;
        Ok(Some(from_millis(seconds * 1_000 + micros / 1_000)))
    }

    fn description(&self) -> String {
        self.server.describe()
    }
}

/// What became of the session that this key led to. A move whose note was lost is known by the session itself.
fn fate_of(key: &StoreKey, entry: Entry) -> Option<Fate> {
    let is = |name: &Option<String>| name.as_deref() == Some(key.as_str());
    let moved_to = entry.key.as_deref().filter(|_| !is(&entry.key) && is(&entry.from)).map(StoreKey::stored);
    let device = entry.device;
    if let (Some(to), Some(at)) = (moved_to, entry.moved) {
        return Some(Fate::Moved { to, at: from_millis(at) });
    }
    let ending = device.ended.filter(|_| is(&entry.key))?;
    if let Some(to) = entry.to.as_deref().map(StoreKey::stored) {
        return Some(Fate::Moved { to, at: ending.at });
    }
    let session = sessile_core::EndedSession { handle: device.handle, owner: device.owner, ip: device.facts.ip };
    Some(Fate::Ended(session, ending))
}
