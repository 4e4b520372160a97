//! Sessions as a whole, and the way down: `begin` reads the cookie, `load` the row.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use tracing::error;

use crate::codec::Decoded;
use crate::cookie::header;
use crate::exchange::{Exchange, Facts, RequestHead};
use crate::record::UserId;
use crate::rotations::Rotations;
use crate::store::Store;
use crate::turns::Turns;
use crate::{Config, Error, Handle, Record, Session, SessionId, StoreKey, proxy};

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
    rotations: Rotations,
}

impl Sessions {
    /// Sessions in this store.
    pub fn new(store: impl Store, config: Config) -> Self {
        Self {
            shared: Arc::new(Shared {
                store: Box::new(store),
                config: Arc::new(config),
                turns: Turns::default(),
                rotations: Rotations::default(),
            }),
        }
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
        let key = facts.presented.as_ref().map(|presented| self.key(&presented.id));
        let found = match &key {
            Some(key) => self.load_record(key).await?,
            None => None,
        };
        let config = self.shared.config.clone();
        if let Some(record) = found {
            return Ok(Session::new(config, record, false));
        }
        let moved = key.is_some_and(|key| self.rotations().is_recent(&key, self.now()));
        let fresh = Record::fresh(config.fresh_cookie(facts.https), self.now())?;
        Ok(Session::new(config, fresh, moved))
    }

    pub(crate) async fn load_record(&self, key: &StoreKey) -> Result<Option<Record>, Error> {
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
        let end = config.lifetime_of(&record).absolute_end(record.began());
        Ok(Some(record).filter(|_| end.is_none_or(|end| now <= end)))
    }

    pub(crate) fn config(&self) -> &Config {
        &self.shared.config
    }

    pub(crate) fn rotations(&self) -> &Rotations {
        &self.shared.rotations
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
