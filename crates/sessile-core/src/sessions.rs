//! Sessions as a whole: `begin` reads the cookie, `load` the row, `commit` writes what the request made of it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::{debug, error, warn};

use crate::codec::Decoded;
use crate::cookie::header;
use crate::exchange::{Exchange, Facts, RequestHead, SetCookie};
use crate::plan::{Plan, plan};
use crate::record::UserId;
use crate::session::{Inner, began};
use crate::store::{Store, Written};
use crate::turns::Turns;
use crate::{Config, Error, Handle, Lifetime, Record, Session, SessionId, StoreKey, proxy};

/// How often a write is tried again on what another request left. Each try fails only because another one succeeded.
const TRIES: usize = 16;

/// How many well-named cookies of one request are tried: a sibling domain can plant more, each costs an HMAC.
const CANDIDATES: usize = 4;

/// Browsers keep a cookie for 400 days at most (RFC 6265bis section 5.5).
const LONGEST_COOKIE: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// All sessions of an application: a store and how to use it. Cloning is cheap.
#[derive(Clone)]
pub struct Sessions {
    shared: Arc<Shared>,
}

struct Shared {
    store: Box<dyn Store>,
    config: Arc<Config>,
    turns: Turns,
}

/// What a commit did, and so what the browser has to know.
struct Committed {
    plan: Plan,
    /// The id under which the session lives now, where it changed.
    id: Option<SessionId>,
    /// The session's end as it is recorded now.
    record: Record,
}

/// What may make a cookie due, beside what was done to the session.
struct WhyCookie {
    /// The session was ended, or what the browser presented as one.
    ended: bool,
    lifetime_changed: bool,
    /// The browser's cookie is signed with a secret that is on its way out.
    old_secret: bool,
    /// Express's `rolling`.
    rolling: bool,
}

impl WhyCookie {
    fn is_none(&self) -> bool {
        !(self.ended || self.lifetime_changed || self.old_secret || self.rolling)
    }
}

impl Sessions {
    /// Sessions in this store.
    pub fn new(store: impl Store, config: Config) -> Self {
        Self { shared: Arc::new(Shared { store: Box::new(store), config: Arc::new(config), turns: Turns::default() }) }
    }

    /// Begins a request: reads the cookie and checks its signature. No I/O.
    pub fn begin(&self, head: &dyn RequestHead) -> Exchange {
        let config = &self.shared.config;
        let facts = Facts { presented: self.presented(head), https: proxy::is_https(head, &config.trusted_proxies) };
        Exchange::new(self.clone(), facts)
    }

    /// The store.
    pub fn store(&self) -> &dyn Store {
        &*self.shared.store
    }

    /// Store and settings in words, one per line, for start-up logs.
    pub fn description(&self) -> [String; 2] {
        [
            format!("session store: {}", self.shared.store.description()),
            format!("session {}", self.shared.config.description()),
        ]
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.shared.config.clock.now()
    }

    /// The first well-signed cookie of our name. In the Express profile the first cookie of our name counts, valid or
    /// not, as there.
    fn presented(&self, head: &dyn RequestHead) -> Option<Decoded> {
        let config = &self.shared.config;
        let name = &config.cookie.name;
        let (mut found, mut left) = (None, if config.express { 1 } else { CANDIDATES });
        head.header("cookie", &mut |header| {
            for value in header::values(header, name) {
                if found.is_none() && left > 0 {
                    left -= 1;
                    found = config.codec.decode(name, value);
                }
            }
        });
        found
    }

    /// The presented session if it lives, else a new one. An unknown, expired or forged id is never adopted.
    pub(crate) async fn load(&self, facts: &Facts) -> Result<Session, Error> {
        let record = match &facts.presented {
            Some(presented) => self.load_record(&self.key(&presented.id)).await?,
            None => None,
        };
        let record = match record {
            Some(record) => record,
            None => Record::fresh(self.shared.config.fresh_cookie(facts.https), self.now())?,
        };
        Ok(Session::new(self.shared.config.clone(), record))
    }

    async fn load_record(&self, key: &StoreKey) -> Result<Option<Record>, Error> {
        let (config, now) = (&self.shared.config, self.now());
        let loaded = self.shared.store.load(key, now).await.inspect_err(|error| {
            if error.is_poisoned() {
                error!(handle = %Handle::derived(key), %error, "a session's row cannot be read and was left as it is");
            }
        })?;
        let Some(mut record) = loaded else { return Ok(None) };
        if let Some(user_key) = &config.user_key {
            record.owner_is(record.data.get(user_key).and_then(UserId::from_json));
        }
        let end = config.lifetime_of(&record).absolute_end(began(&record));
        Ok(Some(record).filter(|_| end.is_none_or(|end| now <= end)))
    }

    /// Writes what the request made of its session, and says which cookie the browser gets.
    pub(crate) async fn commit(&self, session: &Session, facts: &Facts) -> Result<Option<SetCookie>, Error> {
        let why_cookie = {
            let mut inner = session.lock();
            inner.finish();
            let presented = facts.presented.as_ref();
            let why = WhyCookie {
                ended: inner.is_ended() && presented.is_some(),
                lifetime_changed: inner.lifetime_changed(),
                old_secret: presented.is_some_and(|presented| presented.secret > 0),
                rolling: self.shared.config.express && self.shared.config.rolling,
            };
            if why.is_none() && self.plan(&inner) == Plan::Keep {
                return Ok(None);
            }
            why
        };
        let committed = self.carry_out(session, facts, &why_cookie).await?;
        Ok(committed.and_then(|committed| self.set_cookie(&committed, facts, &why_cookie)))
    }

    fn plan(&self, inner: &Inner) -> Plan {
        plan(&inner.state(), &self.shared.config.lifetime_of(&inner.record), self.now())
    }

    /// Plans and acts, again on a fresher record as long as other requests write first. `None` when the session ended
    /// meanwhile: then nothing is written and the browser's cookie is left alone, for it may be a newer one.
    async fn carry_out(&self, session: &Session, facts: &Facts, why: &WhyCookie) -> Result<Option<Committed>, Error> {
        let store = self.store();
        let key = facts.presented.as_ref().map(|presented| self.key(&presented.id));
        // Who lost a race once lets this instance's others go first: one contender at a time.
        let mut turn = None;
        for _ in 0..TRIES {
            let (plan, record) = self.prepare(&session.lock(), facts, why)?;
            let done = |id| Committed { plan, id, record: record.clone() };
            let written = match (plan, &key) {
                (Plan::Keep, _) => return Ok(Some(done(None))),
                (Plan::End, Some(key)) => {
                    store.remove(key).await?;
                    return Ok(Some(done(None)));
                }
                (Plan::Touch, Some(key)) => {
                    return Ok(self.touch(key, &record).await.then(|| done(None)));
                }
                (Plan::Update, Some(key)) => store.update(key, &record).await?,
                (Plan::Create, _) => {
                    let id = SessionId::generate()?;
                    match store.insert(&self.key(&id), &record).await? {
                        Written::Done => return Ok(Some(done(Some(id)))),
                        // 192 random bits were taken: another draw, not another record.
                        Written::Stale | Written::Gone => continue,
                    }
                }
                (Plan::Rotate, Some(from)) => {
                    let id = SessionId::generate()?;
                    match store.rotate(from, &self.key(&id), &record).await? {
                        Written::Done => return Ok(Some(done(Some(id)))),
                        Written::Gone => return Err(Error::gone()),
                        Written::Stale => Written::Stale,
                    }
                }
                (Plan::End | Plan::Touch | Plan::Update | Plan::Rotate, None) => {
                    return Err(Error::misuse("a stored session without the cookie it was read by"));
                }
            };
            match (written, key.as_ref()) {
                (Written::Done, _) => return Ok(Some(done(None))),
                (Written::Stale, Some(key)) => {
                    if turn.is_none() {
                        turn = Some(self.shared.turns.wait(key).await);
                    }
                    match self.load_record(key).await? {
                        // Another program gave the session to somebody else: these edits were meant for its former owner.
                        Some(fresh) if plan == Plan::Update && fresh.owner != record.owner => {
                            return Ok(self.dropped(&record));
                        }
                        Some(fresh) => session.lock().rebase(fresh)?,
                        None if plan == Plan::Rotate => return Err(Error::gone()),
                        None => return Ok(self.dropped(&record)),
                    }
                }
                (Written::Gone | Written::Stale, _) => return Ok(self.dropped(&record)),
            }
        }
        Err(Error::contended(TRIES))
    }

    /// Decides, and makes the record ready to be written.
    fn prepare(&self, inner: &Inner, facts: &Facts, why: &WhyCookie) -> Result<(Plan, Record), Error> {
        let (config, now) = (&self.shared.config, self.now());
        let plan = match self.plan(inner) {
            // The cookie is sent again with the id it has: only if that id still lives, for the browser may have got
            // another one meanwhile. A touch tells.
            Plan::Keep if (why.old_secret || why.rolling) && inner.record.revision.is_some() => Plan::Touch,
            plan => plan,
        };
        let mut record = inner.record.clone();
        record.seen_at = now;
        if matches!(plan, Plan::Create | Plan::Update | Plan::Rotate) {
            config.refresh_cookie(&mut record, facts.https, now);
            record.seal()?;
        }
        if plan != Plan::Keep {
            record.expires_at = config.lifetime_of(&record).expires_at(now, began(&record));
        }
        Ok((plan, record))
    }

    /// Whether the session is known to live. A touch that fails costs it a minute of its life at most, so the request
    /// goes on.
    async fn touch(&self, key: &StoreKey, record: &Record) -> bool {
        let touched = self.store().touch(key, record.seen_at, record.expires_at).await;
        match &touched {
            Ok(Written::Done | Written::Stale) => {}
            Ok(Written::Gone) => debug!(handle = %record.handle, "the session ended while this request used it"),
            Err(error) => warn!(handle = %record.handle, %error, "the session's use could not be recorded"),
        }
        matches!(touched, Ok(Written::Done))
    }

    fn dropped(&self, record: &Record) -> Option<Committed> {
        debug!(handle = %record.handle, "the session ended while this request changed it; the change is dropped");
        None
    }

    fn set_cookie(&self, committed: &Committed, facts: &Facts, why: &WhyCookie) -> Option<SetCookie> {
        let config = &self.shared.config;
        let (name, record) = (&config.cookie.name, &committed.record);
        let presented = facts.presented.as_ref();
        let known = record.revision.is_some();
        let attributes = || config.attributes(Some(record).filter(|_| known || committed.id.is_some()), facts.https);
        if why.ended {
            return Some(SetCookie(attributes()?.render_removal(name)));
        }
        let persistent = config.is_persistent(record);
        let due = match committed.plan {
            Plan::Create | Plan::Rotate => true,
            _ if !known => false,
            plan => {
                let follows = config.express && persistent || why.lifetime_changed;
                why.old_secret || why.rolling || follows && plan == Plan::Update
            }
        };
        let id = committed.id.as_ref().or(presented.map(|presented| &presented.id)).filter(|_| due)?;
        let expires = persistent.then(|| self.cookie_end(record));
        Some(SetCookie(attributes()?.render(name, &config.codec.encode(name, id), expires)))
    }

    /// When the browser drops a persistent cookie: in the Express profile when the session's idle lifetime ends, else
    /// not before the session's absolute end, for the server alone decides about idleness.
    fn cookie_end(&self, record: &Record) -> SystemTime {
        let (config, now) = (&self.shared.config, self.now());
        let lifetime = config.lifetime_of(record);
        if config.express {
            return Lifetime { absolute: None, ..lifetime }.expires_at(now, None);
        }
        let longest = now + LONGEST_COOKIE;
        lifetime.absolute_end(began(record)).map_or(longest, |end| end.min(longest))
    }

    fn key(&self, id: &SessionId) -> StoreKey {
        StoreKey::new(id, self.shared.config.key_form)
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("store", &self.shared.store.description())
            .field("config", &self.shared.config)
            .finish()
    }
}
