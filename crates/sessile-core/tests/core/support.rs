//! A clock to turn, a store to watch and to break, a browser, and an executor of ten lines.

use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use sessile_core::codec::Secret;
use sessile_core::{
    Action, Alignment, Clock, Config, Device, End, EndedSession, Ending, Error, Exchange, Fate, Handle, MemoryStore,
    Operations, Operator, Page, Record, Registry, RequestHead, Search, SecretUse, Seen, Session, Sessions, SetCookie,
    SignIn, SignedIn, Store, StoreKey, Sweep, Tidied, Tidy, UserId, Written,
};

pub(crate) const SECRET: &str = "gUnXRPzrkuQ0rDtBSHXmFJC2AbVBv4Ds";
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(60 * 60);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What this file's clocks show first: 2026-01-15T12:34:56.789Z.
pub(crate) const START_MS: u64 = 1_768_480_496_789;

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

/// A clock that moves when it is told to.
#[derive(Clone)]
pub(crate) struct ManualClock(Arc<Mutex<SystemTime>>);

impl ManualClock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(at(START_MS))))
    }

    pub(crate) fn advance(&self, span: Duration) {
        *self.0.lock().unwrap() += span;
    }

    pub(crate) fn set(&self, time: SystemTime) {
        *self.0.lock().unwrap() = time;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }
}

pub(crate) fn at(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis)
}

/// A request's head.
#[derive(Clone, Default)]
pub(crate) struct Head {
    pub(crate) headers: Vec<(&'static str, Vec<u8>)>,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) tls: bool,
}

impl Head {
    pub(crate) fn with_cookie(header: impl AsRef<[u8]>) -> Self {
        Self { headers: vec![("cookie", header.as_ref().to_vec())], ..Self::default() }
    }

    pub(crate) fn and(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name, value.as_ref().to_vec()));
        self
    }
}

impl RequestHead for Head {
    fn header(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        self.headers.iter().filter(|(own, _)| *own == name).for_each(|(_, value)| visit(value));
    }

    fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    fn is_tls(&self) -> bool {
        self.tls
    }
}

/// A browser with room for one cookie.
#[derive(Clone, Default)]
pub(crate) struct Browser {
    /// `name=value`, as it is sent back.
    pub(crate) cookie: Option<String>,
    /// The `Set-Cookie` of the last response.
    pub(crate) last: Option<String>,
}

impl Browser {
    pub(crate) fn head(&self) -> Head {
        self.cookie.as_ref().map(Head::with_cookie).unwrap_or_default()
    }

    /// A request whose response is not there yet.
    pub(crate) fn begin(&self, sessions: &Sessions) -> Exchange {
        sessions.begin(&self.head())
    }

    /// The response arrives.
    pub(crate) fn receive(&mut self, cookie: Option<SetCookie>) {
        self.last = cookie.map(|cookie| cookie.header_value().to_owned());
        if let Some(header) = &self.last {
            let pair = header.split(';').next().unwrap();
            self.cookie = (!header.ends_with("; Max-Age=0")).then(|| pair.to_owned());
        }
    }

    pub(crate) fn visit<R>(&mut self, sessions: &Sessions, handler: impl FnOnce(&Session) -> R) -> R {
        self.try_visit(sessions, handler).unwrap()
    }

    /// One request from end to end.
    pub(crate) fn try_visit<R>(
        &mut self,
        sessions: &Sessions,
        handler: impl FnOnce(&Session) -> R,
    ) -> Result<R, Error> {
        let exchange = self.begin(sessions);
        let session = block_on(exchange.session())?;
        let out = handler(&session);
        self.receive(block_on(exchange.finish())?);
        Ok(out)
    }
}

/// What a store was asked and what it answered.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Which of several requests asked.
    pub(crate) by: usize,
    pub(crate) op: &'static str,
    pub(crate) key: StoreKey,
    /// The key that lives after an insert or a rotation.
    pub(crate) to: Option<StoreKey>,
    /// Whether it found or did what it was asked for.
    pub(crate) done: bool,
}

type Failure = (&'static str, fn() -> Error);

/// A memory store that remembers its calls, fails when told to, and can give way to others before and after each call.
#[derive(Clone, Default)]
pub(crate) struct Spy {
    pub(crate) rows: MemoryStore,
    calls: Arc<Mutex<Vec<Call>>>,
    /// How much of the log has been read.
    read: Arc<Mutex<usize>>,
    failing: Arc<Mutex<Option<Failure>>>,
    yields: bool,
    /// How many uses were written down, each time.
    pub(crate) seen: Arc<Mutex<Vec<usize>>>,
    by: Arc<Mutex<usize>>,
}

impl Spy {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The same rows and the same log, with a yield before and after every call.
    pub(crate) fn yielding(&self) -> Self {
        Self { yields: true, ..self.clone() }
    }

    /// The calls from here on are this request's.
    pub(crate) fn now_for(&self, request: usize) {
        *self.by.lock().unwrap() = request;
    }

    /// From here on this operation fails, or every one for `*`.
    pub(crate) fn fail(&self, op: &'static str, error: fn() -> Error) {
        *self.failing.lock().unwrap() = Some((op, error));
    }

    pub(crate) fn heal(&self) {
        *self.failing.lock().unwrap() = None;
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// The operations since the last question.
    pub(crate) fn ops(&self) -> Vec<&'static str> {
        let calls = self.calls();
        let from = std::mem::replace(&mut *self.read.lock().unwrap(), calls.len());
        calls[from..].iter().map(|call| call.op).collect()
    }

    /// Every key that any row ever had.
    pub(crate) fn keys(&self) -> Vec<StoreKey> {
        self.calls.lock().unwrap().iter().filter_map(|call| call.to.clone()).collect()
    }

    /// The rows that live, each once.
    pub(crate) fn live(&self, now: SystemTime) -> Vec<Record> {
        self.keys().iter().filter_map(|key| block_on(self.rows.load(key, now)).unwrap()).collect()
    }

    async fn call<T>(
        &self,
        op: &'static str,
        key: &StoreKey,
        to: Option<&StoreKey>,
        answer: impl Future<Output = Result<T, Error>>,
        done: fn(&T) -> bool,
    ) -> Result<T, Error> {
        self.give_way().await;
        let failing = *self.failing.lock().unwrap();
        let answer = match failing {
            Some((failing, error)) if failing == op || failing == "*" => Err(error()),
            _ => answer.await,
        };
        let done = answer.as_ref().is_ok_and(done);
        self.calls.lock().unwrap().push(Call {
            by: *self.by.lock().unwrap(),
            op,
            key: key.clone(),
            to: to.filter(|_| done).cloned(),
            done,
        });
        self.give_way().await;
        answer
    }

    async fn give_way(&self) {
        let mut ready = !self.yields;
        std::future::poll_fn(|_| if std::mem::replace(&mut ready, true) { Poll::Ready(()) } else { Poll::Pending })
            .await;
    }
}

fn is_done(written: &Written) -> bool {
    *written == Written::Done
}

#[async_trait]
impl Store for Spy {
    async fn load(&self, key: &StoreKey, now: SystemTime) -> Result<Option<Record>, Error> {
        self.call("load", key, None, self.rows.load(key, now), Option::is_some).await
    }

    async fn insert(&self, key: &StoreKey, record: &Record) -> Result<Written, Error> {
        self.call("insert", key, Some(key), self.rows.insert(key, record), is_done).await
    }

    async fn update(&self, key: &StoreKey, record: &Record) -> Result<Written, Error> {
        self.call("update", key, None, self.rows.update(key, record), is_done).await
    }

    async fn rotate(&self, from: &StoreKey, to: &StoreKey, record: &Record) -> Result<Written, Error> {
        self.call("rotate", from, Some(to), self.rows.rotate(from, to, record), is_done).await
    }

    async fn touch(&self, key: &StoreKey, seen_at: SystemTime, expires_at: SystemTime) -> Result<Written, Error> {
        self.call("touch", key, None, self.rows.touch(key, seen_at, expires_at), is_done).await
    }

    async fn remove(&self, key: &StoreKey, ending: &Ending) -> Result<bool, Error> {
        self.call("remove", key, None, self.rows.remove(key, ending), |there| *there).await
    }

    async fn fate(&self, key: &StoreKey) -> Result<Option<Fate>, Error> {
        self.call("fate", key, None, self.rows.fate(key), |_| false).await
    }

    fn registry(&self) -> Option<&dyn Registry> {
        Some(self)
    }

    fn sweep(&self) -> Option<&dyn Sweep> {
        Store::sweep(&self.rows)
    }

    fn operations(&self) -> Option<&dyn Operations> {
        Some(self)
    }

    fn description(&self) -> String {
        "spied memory".into()
    }
}

/// Not in the log, but it can fail.
#[async_trait]
impl Operations for Spy {
    async fn add_operator(&self, operator: &Operator) -> Result<bool, Error> {
        self.rows.add_operator(operator).await
    }

    async fn operators(&self) -> Result<Vec<Operator>, Error> {
        self.rows.operators().await
    }

    async fn remove_operator(&self, name: &str) -> Result<bool, Error> {
        self.rows.remove_operator(name).await
    }

    async fn record(&self, action: &Action) -> Result<(), Error> {
        self.rows.record(action).await
    }

    async fn actions(&self, before: Option<i64>, limit: u32) -> Result<Vec<(i64, Action)>, Error> {
        self.rows.actions(before, limit).await
    }

    async fn note_secrets(&self, uses: &[SecretUse]) -> Result<(), Error> {
        let failing = *self.failing.lock().unwrap();
        match failing {
            Some(("note_secrets", error)) => Err(error()),
            _ => self.rows.note_secrets(uses).await,
        }
    }

    async fn secrets(&self) -> Result<Vec<SecretUse>, Error> {
        self.rows.secrets().await
    }
}

/// A sign-in counts as the insert or the rotation that it is; what is about many sessions is not in the log.
#[async_trait]
impl Registry for Spy {
    async fn sign_in(
        &self,
        from: Option<&StoreKey>,
        to: &StoreKey,
        record: &Record,
        sign_in: &SignIn,
    ) -> Result<SignedIn, Error> {
        let op = if from.is_some() { "rotate" } else { "insert" };
        let done = |answer: &SignedIn| matches!(answer, SignedIn::Done(_));
        self.call(op, from.unwrap_or(to), Some(to), self.rows.sign_in(from, to, record, sign_in), done).await
    }

    async fn align(&self, key: &StoreKey, device: Option<&Device>, at: SystemTime) -> Result<Alignment, Error> {
        self.call("align", key, None, self.rows.align(key, device, at), |_| false).await
    }

    async fn seen(&self, seen: &[Seen]) -> Result<(), Error> {
        self.seen.lock().unwrap().push(seen.len());
        self.rows.seen(seen).await
    }

    async fn list(&self, owner: &UserId, now: SystemTime, page: &Page) -> Result<Vec<Device>, Error> {
        self.rows.list(owner, now, page).await
    }

    async fn find(&self, owner: &UserId, handle: &Handle, now: SystemTime) -> Result<Option<Device>, Error> {
        self.rows.find(owner, handle, now).await
    }

    async fn history(&self, owner: &UserId, page: &Page) -> Result<Vec<Device>, Error> {
        self.rows.history(owner, page).await
    }

    async fn search(&self, search: &Search, now: SystemTime, page: &Page) -> Result<Vec<Device>, Error> {
        self.rows.search(search, now, page).await
    }

    async fn key(&self, handle: &Handle) -> Result<Option<StoreKey>, Error> {
        self.rows.key(handle).await
    }

    async fn revoke(&self, owner: &UserId, handle: &Handle, ending: &Ending) -> Result<Option<EndedSession>, Error> {
        self.rows.revoke(owner, handle, ending).await
    }

    async fn revoke_all(
        &self,
        owner: &UserId,
        keep: Option<&Handle>,
        ending: &Ending,
    ) -> Result<Vec<EndedSession>, Error> {
        self.rows.revoke_all(owner, keep, ending).await
    }

    async fn revoke_provider_session(
        &self,
        provider_session: &str,
        ending: &Ending,
    ) -> Result<Vec<EndedSession>, Error> {
        self.rows.revoke_provider_session(provider_session, ending).await
    }

    async fn revoke_everyone(&self, before: SystemTime, ending: &Ending) -> Result<(), Error> {
        self.rows.revoke_everyone(before, ending).await
    }

    async fn tidy(&self, tidy: &Tidy<'_>) -> Result<Tidied, Error> {
        self.rows.tidy(tidy).await
    }
}

pub(crate) fn signed_out() -> Ending {
    Ending { end: End::LoggedOut, at: at(START_MS), reason: None }
}

pub(crate) fn config() -> Config {
    Config::new(SECRET).unwrap()
}

/// Express's profile with the secret of its vectors.
pub(crate) fn express() -> Config {
    Config::express(vec![Secret::dangerous("keyboard cat")]).unwrap()
}

/// A store to watch, a clock to turn, and sessions over both.
pub(crate) fn house(config: Config) -> (Sessions, Spy, ManualClock) {
    let (store, clock) = (Spy::new(), ManualClock::new());
    (Sessions::new(store.clone(), config.clock(clock.clone())), store, clock)
}
