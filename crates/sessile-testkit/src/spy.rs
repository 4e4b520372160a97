//! A store that keeps a list of what it was asked, and fails when it is told to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use sessile_core::{
    Alignment, Device, EndedSession, Ending, Error, Examine, Fate, Handle, Operations, Page, Record, Registry, Search,
    Seen, SignIn, SignedIn, Stats, Store, StoreKey, Sweep, Swept, Tidied, Tidy, Transfer, UserId, Written,
};

/// Another store, watched. Clones share the list and the orders: give one to the sessions and keep one.
///
/// ```
/// # use sessile_core::{Config, MemoryStore, Sessions, Store};
/// # use sessile_testkit::{contract::key, spy::{Call, SpyStore}};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let spy = SpyStore::new(MemoryStore::new());
/// spy.fail_all(Call::Remove);
/// assert!(spy.remove(&key("a"), &sessile_testkit::contract::signed_out()).await.unwrap_err().is_unavailable());
/// assert!(spy.load(&key("a"), std::time::SystemTime::UNIX_EPOCH).await.unwrap().is_none());
/// assert_eq!(spy.calls(), [Call::Remove, Call::Load]);
/// # });
/// ```
#[derive(Debug)]
pub struct SpyStore<S> {
    store: Arc<S>,
    notes: Arc<Mutex<Notes>>,
}

/// What a store was asked on behalf of sessions; what operators ask is passed on unnoted. Which session it was about is
/// not noted: a key is a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the method of its name")]
pub enum Call {
    Load,
    Insert,
    Update,
    Rotate,
    Touch,
    Remove,
    Fate,
    Sweep,
    Time,
    SignIn,
    Align,
    Seen,
    List,
    Find,
    Search,
    Key,
    History,
    Revoke,
    RevokeAll,
    RevokeProviderSession,
    RevokeEveryone,
    Tidy,
}

#[derive(Debug, Default)]
struct Notes {
    calls: Vec<Call>,
    /// How many of the next calls fail.
    fail_next: usize,
    /// The kinds of calls that always fail.
    fail_all: Vec<Call>,
}

impl<S: Store> SpyStore<S> {
    /// Watches this store.
    pub fn new(store: S) -> Self {
        Self { store: Arc::new(store), notes: Arc::default() }
    }

    /// The calls so far, those that failed included, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.notes().calls.clone()
    }

    /// Forgets the calls so far. Orders to fail stand.
    pub fn clear(&self) {
        self.notes().calls.clear();
    }

    /// Makes the next calls, of whatever kind, fail as unavailable. They do not reach the store.
    pub fn fail_next(&self, calls: usize) {
        self.notes().fail_next = calls;
    }

    /// Makes every call of this kind fail as unavailable, until [`work`](SpyStore::work). They do not reach the store.
    pub fn fail_all(&self, kind: Call) {
        self.notes().fail_all.push(kind);
    }

    /// Takes back every order to fail.
    pub fn work(&self) {
        let mut notes = self.notes();
        notes.fail_next = 0;
        notes.fail_all.clear();
    }

    fn note(&self, call: Call) -> Result<(), Error> {
        let mut notes = self.notes();
        notes.calls.push(call);
        if notes.fail_next > 0 {
            notes.fail_next -= 1;
        } else if !notes.fail_all.contains(&call) {
            return Ok(());
        }
        Err(Error::unavailable("the test told the store to fail"))
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Clone for SpyStore<S> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), notes: self.notes.clone() }
    }
}

#[async_trait]
impl<S: Store> Store for SpyStore<S> {
    async fn load(&self, key: &StoreKey, now: SystemTime) -> Result<Option<Record>, Error> {
        self.note(Call::Load)?;
        self.store.load(key, now).await
    }

    async fn insert(&self, key: &StoreKey, record: &Record) -> Result<Written, Error> {
        self.note(Call::Insert)?;
        self.store.insert(key, record).await
    }

    async fn update(&self, key: &StoreKey, record: &Record) -> Result<Written, Error> {
        self.note(Call::Update)?;
        self.store.update(key, record).await
    }

    async fn rotate(&self, from: &StoreKey, to: &StoreKey, record: &Record) -> Result<Written, Error> {
        self.note(Call::Rotate)?;
        self.store.rotate(from, to, record).await
    }

    async fn touch(&self, key: &StoreKey, seen_at: SystemTime, expires_at: SystemTime) -> Result<Written, Error> {
        self.note(Call::Touch)?;
        self.store.touch(key, seen_at, expires_at).await
    }

    async fn remove(&self, key: &StoreKey, ending: &Ending) -> Result<bool, Error> {
        self.note(Call::Remove)?;
        self.store.remove(key, ending).await
    }

    async fn fate(&self, key: &StoreKey) -> Result<Option<Fate>, Error> {
        self.note(Call::Fate)?;
        self.store.fate(key).await
    }

    fn registry(&self) -> Option<&dyn Registry> {
        self.store.registry().map(|_| self as &dyn Registry)
    }

    fn sweep(&self) -> Option<&dyn Sweep> {
        self.store.sweep().map(|_| self as &dyn Sweep)
    }

    fn stats(&self) -> Option<&dyn Stats> {
        self.store.stats()
    }

    fn examine(&self) -> Option<&dyn Examine> {
        self.store.examine()
    }

    fn operations(&self) -> Option<&dyn Operations> {
        self.store.operations()
    }

    fn transfer(&self) -> Option<&dyn Transfer> {
        self.store.transfer()
    }

    async fn time(&self) -> Result<Option<SystemTime>, Error> {
        self.note(Call::Time)?;
        self.store.time().await
    }

    fn description(&self) -> String {
        self.store.description()
    }
}

#[async_trait]
impl<S: Store> Sweep for SpyStore<S> {
    async fn sweep(&self, now: SystemTime, limit: u32) -> Result<Swept, Error> {
        self.note(Call::Sweep)?;
        match self.store.sweep() {
            Some(sweep) => sweep.sweep(now, limit).await,
            None => Ok(Swept::default()),
        }
    }
}

impl<S: Store> SpyStore<S> {
    fn noted(&self, call: Call) -> Result<&dyn Registry, Error> {
        self.note(call)?;
        self.store.registry().ok_or_else(|| Error::misuse("the watched store has no registry"))
    }
}

#[async_trait]
impl<S: Store> Registry for SpyStore<S> {
    async fn sign_in(
        &self,
        from: Option<&StoreKey>,
        to: &StoreKey,
        record: &Record,
        sign_in: &SignIn,
    ) -> Result<SignedIn, Error> {
        self.noted(Call::SignIn)?.sign_in(from, to, record, sign_in).await
    }

    async fn align(&self, key: &StoreKey, device: Option<&Device>, at: SystemTime) -> Result<Alignment, Error> {
        self.noted(Call::Align)?.align(key, device, at).await
    }

    async fn seen(&self, seen: &[Seen]) -> Result<(), Error> {
        self.noted(Call::Seen)?.seen(seen).await
    }

    async fn list(&self, owner: &UserId, now: SystemTime, page: &Page) -> Result<Vec<Device>, Error> {
        self.noted(Call::List)?.list(owner, now, page).await
    }

    async fn find(&self, owner: &UserId, handle: &Handle, now: SystemTime) -> Result<Option<Device>, Error> {
        self.noted(Call::Find)?.find(owner, handle, now).await
    }

    async fn history(&self, owner: &UserId, page: &Page) -> Result<Vec<Device>, Error> {
        self.noted(Call::History)?.history(owner, page).await
    }

    async fn search(&self, search: &Search, now: SystemTime, page: &Page) -> Result<Vec<Device>, Error> {
        self.noted(Call::Search)?.search(search, now, page).await
    }

    async fn count(&self, search: &Search, now: SystemTime) -> Result<u64, Error> {
        self.noted(Call::Search)?.count(search, now).await
    }

    async fn key(&self, handle: &Handle) -> Result<Option<StoreKey>, Error> {
        self.noted(Call::Key)?.key(handle).await
    }

    async fn revoke(&self, owner: &UserId, handle: &Handle, ending: &Ending) -> Result<Option<EndedSession>, Error> {
        self.noted(Call::Revoke)?.revoke(owner, handle, ending).await
    }

    async fn revoke_all(
        &self,
        owner: &UserId,
        keep: Option<&Handle>,
        ending: &Ending,
    ) -> Result<Vec<EndedSession>, Error> {
        self.noted(Call::RevokeAll)?.revoke_all(owner, keep, ending).await
    }

    async fn revoke_provider_session(
        &self,
        provider_session: &str,
        ending: &Ending,
    ) -> Result<Vec<EndedSession>, Error> {
        self.noted(Call::RevokeProviderSession)?.revoke_provider_session(provider_session, ending).await
    }

    async fn revoke_everyone(&self, before: SystemTime, ending: &Ending) -> Result<(), Error> {
        self.noted(Call::RevokeEveryone)?.revoke_everyone(before, ending).await
    }

    async fn tidy(&self, tidy: &Tidy<'_>) -> Result<Tidied, Error> {
        self.noted(Call::Tidy)?.tidy(tidy).await
    }
}
