//! Sessions as a whole, and the way down: `begin` reads the cookie, `load` the row.

use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tracing::{error, warn};

use crate::activity::{Activity, BATCH, Use};
use crate::aligned::Aligned;
use crate::codec::Decoded;
use crate::cookie::header;
use crate::event::{Event, EventKind, Refusal};
use crate::exchange::{Exchange, Facts, RequestHead};
use crate::limits::{Counted, Enforcement, Limiter, Network};
use crate::meters::{Meters, SweepRound};
use crate::registry::{Alignment, Fate, Seen};
use crate::secret_use::SecretUses;
use crate::session::Inner;
use crate::store::Store;
use crate::turns::Turns;
use crate::{Check, Config, DeviceFacts, Error, Handle, Record, Session, SessionId, StoreKey, device, proxy};

/// How many well-named cookies of one request are tried: a sibling domain can plant more, each costs an HMAC.
const CANDIDATES: usize = 4;

/// All sessions of an application: a store and how to use it. Cloning is cheap.
#[derive(Clone)]
pub struct Sessions {
    shared: Arc<Shared>,
}

struct Shared {
    store: Box<dyn Store>,
    config: Arc<Config>,
    turns: Turns,
    activity: Activity,
    aligned: Aligned,
    limiter: Option<Limiter>,
    meters: Meters,
    sweeps: Mutex<Sweeps>,
    secret_uses: SecretUses,
}

/// What the sweeper of this process did last.
#[derive(Clone, Copy, Default)]
struct Sweeps {
    done: Option<SweepRound>,
    failed_at: Option<SystemTime>,
}

impl Sessions {
    /// Sessions in this store.
    pub fn new(store: impl Store, config: Config) -> Self {
        let limiter = config.limits.map(Limiter::new);
        let secret_uses = SecretUses::of(config.fingerprints.len());
        let meters = if config.counted { Meters::default() } else { Meters::silent() };
        Self {
            shared: Arc::new(Shared {
                limiter,
                store: Box::new(store),
                config: Arc::new(config),
                turns: Turns::default(),
                activity: Activity::default(),
                aligned: Aligned::default(),
                meters,
                sweeps: Mutex::default(),
                secret_uses,
            }),
        }
    }

    /// Begins a request: reads the cookie and checks its signature. No I/O.
    pub fn begin(&self, head: &dyn RequestHead) -> Exchange {
        let (config, began) = (&self.shared.config, self.now());
        let (presented, forged) = self.presented(head, began);
        if let Some(presented) = &presented {
            self.meters().cookie(presented.secret);
            self.shared.secret_uses.note(presented.secret, began);
        }
        let trusted = &config.trusted_proxies;
        let mut user_agent = None;
        if config.record_user_agent {
            head.header("user-agent", &mut |value| user_agent = device::user_agent(value));
        }
        let ip = proxy::client_ip(head, trusted);
        let facts = Facts {
            presented,
            forged,
            https: proxy::is_https(head, trusted),
            began,
            ip: ip.and_then(|ip| config.record_ip.of(ip)),
            network: ip.filter(|_| config.limits.is_some()).map(Network::of),
            user_agent,
        };
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

    /// What the store's doctor says of it; nothing for a store that has none.
    pub async fn examine(&self) -> Vec<Check> {
        match self.store().examine() {
            Some(store) => store.examine(self.now()).await,
            None => Vec::new(),
        }
    }

    /// The time now, on the clock of the settings ([`Config::clock`]).
    pub fn now(&self) -> SystemTime {
        self.shared.config.clock.now()
    }

    /// The first well-signed cookie of our name; and whether there was one of our name and none well signed. In the
    /// Express profile the first cookie of our name counts, valid or not, as there.
    fn presented(&self, head: &dyn RequestHead, now: SystemTime) -> (Option<Decoded>, bool) {
        let config = &self.shared.config;
        let name = &config.cookie.name;
        let most = if config.express { 1 } else { CANDIDATES };
        let (mut found, mut left) = (None, most);
        head.header("cookie", &mut |header| {
            for value in header::values(header, name) {
                if found.is_none() && left > 0 {
                    left -= 1;
                    found = config.codec.decode(name, value, now);
                }
            }
        });
        let forged = found.is_none() && left < most;
        (found, forged)
    }

    /// The presented session if it lives, else a new one. An unknown, expired or forged id is never adopted.
    pub(crate) async fn load(&self, facts: &Facts) -> Result<Session, Error> {
        let config = self.shared.config.clone();
        if let Some(presented) = &facts.presented {
            let key = self.key(&presented.id);
            if let Some(record) = self.load_record(&key, facts).await? {
                return Ok(Session::new(config, record, facts.began));
            }
            self.tell_of_reuse(&key, facts).await;
        } else if facts.forged {
            self.refuse(Refusal::Forged, facts, |event| event);
            self.limit(facts, "forged cookies", &facts.network, |limiter| &limiter.forged)?;
        }
        let fresh = Record::fresh(config.fresh_cookie(facts.https), self.now())?;
        Ok(Session::new(config, fresh, facts.began))
    }

    pub(crate) async fn load_record(&self, key: &StoreKey, facts: &Facts) -> Result<Option<Record>, Error> {
        let (config, now) = (&self.shared.config, self.now());
        let loaded = self.shared.store.load(key, now).await.inspect_err(|error| {
            if error.is_poisoned() {
                // The row's own handle cannot be read either, and the registry cannot be asked by key.
                error!(row = %Handle::derived(key), %error, "a session's row cannot be read and was left as it is");
            }
        })?;
        let Some(mut record) = loaded else { return Ok(None) };
        if let Some(user_key) = &config.user_key {
            record.owner_is_under(user_key);
        }
        let is_shared = config.is_followed(&record)
            && (record.owner.is_some() || self.shared.aligned.had_another(key, record.owner.as_ref()));
        let end = config.lifetime_of(&record).absolute_end(record.began());
        if record.is_cut_off() || end.is_some_and(|end| end < now) {
            return Ok(None);
        }
        if is_shared && !self.align(key, &mut record, facts).await {
            return Ok(None);
        }
        Ok(Some(record))
    }

    /// Another program may have signed somebody in or out, or brought back what had ended: the registry gets to know, and
    /// says which handle the session has there; false when it is over. That costs one call for each session a minute. When
    /// it fails the request goes on, and the sweeper repairs it.
    async fn align(&self, key: &StoreKey, record: &mut Record, facts: &Facts) -> bool {
        if let Some(handle) = self.shared.aligned.get(key, record.owner.as_ref(), record.seen_at) {
            record.handle = handle.unwrap_or_else(|| record.handle.clone());
            return true;
        }
        match self.ask_to_align(key, record, facts).await {
            Ok(Alignment::Over) => {
                warn!(handle = %record.handle, "a session that had ended was brought back by another program; it is removed");
                return false;
            }
            Ok(Alignment::Device(handle)) => {
                record.handle = handle;
                self.remember_aligned(key, record);
            }
            Ok(Alignment::Nobody) => self.remember_aligned(key, record),
            Err(error) => {
                warn!(handle = %record.handle, ?error, "a session that another program signed in could not be registered");
            }
        }
        true
    }

    async fn ask_to_align(&self, key: &StoreKey, record: &Record, facts: &Facts) -> Result<Alignment, Error> {
        let Some(registry) = self.store().registry() else { return Ok(Alignment::Nobody) };
        let device = record.device(self.device(facts))?;
        registry.align(key, device.as_ref(), record.seen_at).await
    }

    /// The registry says of the session what its row says: it need not be asked for a while.
    pub(crate) fn remember_aligned(&self, key: &StoreKey, record: &Record) {
        let handle = record.owner.is_some().then(|| record.handle.clone());
        self.shared.aligned.put(key, record.owner.as_ref(), handle, record.seen_at);
    }

    /// Whoever wants to know is told when an id is used whose session has ended. Nobody else pays for the question.
    async fn tell_of_reuse(&self, key: &StoreKey, facts: &Facts) {
        if self.config().observers.is_empty() {
            return;
        }
        if let Ok(Some(Fate::Ended(ended, ending))) = self.store().fate(key).await {
            self.refuse(Refusal::Reused, facts, |event| Event {
                reason: ending.reason.or_else(|| Some(ending.end.as_str().into())),
                ..event.of(&ended.handle, Some(&ended.owner))
            });
        }
    }

    /// A session is about to be made for this client.
    pub(crate) fn limit_creation(&self, facts: &Facts) -> Result<(), Error> {
        self.limit(facts, "new sessions", &facts.network, |limiter| &limiter.created)
    }

    pub(crate) fn limit_sign_in(&self, facts: &Facts) -> Result<(), Error> {
        self.limit(facts, "tries to sign in", &facts.network, |limiter| &limiter.sign_ins)?;
        let session = facts.presented.as_ref().map(|presented| self.key(&presented.id));
        self.limit(facts, "tries to sign in", &session, |limiter| &limiter.sign_ins)
    }

    /// Counts one more of these for this client, if there is a limit and it can be told from others.
    fn limit<C: Hash>(
        &self,
        facts: &Facts,
        what: &str,
        client: &Option<C>,
        counted: impl FnOnce(&Limiter) -> &Counted,
    ) -> Result<(), Error> {
        let (Some(limiter), Some(client)) = (&self.shared.limiter, client) else { return Ok(()) };
        let Err(wait) = counted(limiter).count(client, self.now()) else { return Ok(()) };
        let reason = || Some(what.into());
        self.refuse(Refusal::RateLimited, facts, |event| Event { reason: reason(), ..event });
        match limiter.limits.enforcement {
            Enforcement::LogOnly => Ok(()),
            Enforcement::Enforce => Err(Error::limited(wait)),
        }
    }

    pub(crate) fn refuse(&self, refusal: Refusal, facts: &Facts, more: impl FnOnce(Event) -> Event) {
        let event = Event { ip: facts.ip, ..Event::new(EventKind::Refused(refusal), self.now()) };
        self.config().tell(&more(event));
    }

    /// What the registry shall know of the device behind this request.
    pub(crate) fn device(&self, facts: &Facts) -> DeviceFacts {
        let name = |user_agent: &str| self.config().device_names.name(user_agent);
        DeviceFacts {
            ip: facts.ip,
            device: facts.user_agent.as_deref().and_then(name).map(Box::from),
            user_agent: facts.user_agent.clone(),
            auth_method: None,
            provider_session: None,
        }
    }

    /// Notes that the session was used, and gives what it is time to write down.
    pub(crate) fn note_use(&self, inner: &Inner) -> Vec<Seen> {
        if !inner.is_in_use() {
            return Vec::new();
        }
        let (config, now, record) = (self.config(), self.now(), &inner.record);
        let expires_at = config.lifetime_of(record).expires_at(now, record.began());
        // The request that signs somebody in is the beginning, and not a use.
        let counts = config.count_requests && inner.owner_before() == record.owner.as_ref();
        let used = Use { handle: &record.handle, at: now, expires_at, counts };
        self.shared.activity.note(&used, config.lifetime.touch_every)
    }

    /// Writes down every use that has gathered.
    pub(crate) async fn write_activity(&self) {
        let seen = self.shared.activity.take(self.now());
        self.write_seen(&seen).await;
    }

    /// That it fails costs the list of devices some of its precision.
    pub(crate) async fn write_seen(&self, seen: &[Seen]) {
        let Some(registry) = self.store().registry() else { return };
        for seen in seen.chunks(BATCH) {
            if let Err(error) = registry.seen(seen).await {
                warn!(sessions = seen.len(), ?error, "when sessions were last used could not be recorded");
            }
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.shared.config
    }

    /// How many uses of sessions are gathered and not written to the registry yet.
    pub fn uses_waiting(&self) -> u64 {
        self.shared.activity.waiting() as u64
    }

    /// The last round of this process's sweeper that ended well.
    pub fn last_sweep(&self) -> Option<SweepRound> {
        self.shared.sweeps.lock().unwrap_or_else(PoisonError::into_inner).done
    }

    /// When a round of this process's sweeper failed that no good one followed. Why is in the log.
    pub fn sweep_failed_at(&self) -> Option<SystemTime> {
        self.shared.sweeps.lock().unwrap_or_else(PoisonError::into_inner).failed_at
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn remember_sweep(&self, round: SweepRound) {
        let sweeps = Sweeps { done: Some(round), failed_at: None };
        *self.shared.sweeps.lock().unwrap_or_else(PoisonError::into_inner) = sweeps;
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn remember_failed_sweep(&self, at: SystemTime) {
        self.shared.sweeps.lock().unwrap_or_else(PoisonError::into_inner).failed_at = Some(at);
    }

    pub(crate) fn meters(&self) -> &Meters {
        &self.shared.meters
    }

    pub(crate) fn secret_uses(&self) -> &SecretUses {
        &self.shared.secret_uses
    }

    pub(crate) fn turns(&self) -> &Turns {
        &self.shared.turns
    }

    pub(crate) fn key(&self, id: &SessionId) -> StoreKey {
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
