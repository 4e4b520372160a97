//! The way up: what a request made of its session is written, and the browser told what it has to know.

use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use tracing::{debug, warn};

use crate::exchange::{Facts, SetCookie};
use crate::plan::{Plan, plan};
use crate::session::Inner;
use crate::store::Written;
use crate::{Error, Lifetime, Record, Session, SessionId, Sessions, StoreKey};

/// How often a write is tried on what other requests left. Each try fails only because another one succeeded, and an
/// instance sends one contender at a time, so the number grows with instances and not with requests.
const TRIES: usize = 16;

/// How long before a sign-out a session may have moved and still be meant by the id it had.
const MOVED_BEFORE: Duration = Duration::from_secs(5);

/// Browsers keep a cookie for 400 days at most (RFC 6265bis section 5.5).
const LONGEST_COOKIE: Duration = Duration::from_secs(400 * 24 * 60 * 60);

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
                rolling: self.config().express && self.config().rolling,
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
        plan(&inner.state(), &self.config().lifetime_of(&inner.record), self.now())
    }

    /// Plans and acts, again on a fresher record as long as other requests write first. `None` when the session ended
    /// meanwhile: then nothing is written and the browser's cookie is left alone, for it may be a newer one.
    async fn carry_out(&self, session: &Session, facts: &Facts, why: &WhyCookie) -> Result<Option<Committed>, Error> {
        let key = facts.presented.as_ref().map(|presented| self.key(&presented.id));
        // Who lost a race once lets this instance's others go first.
        let mut turn = None;
        for _ in 0..TRIES {
            let (plan, record) = self.prepare(&session.lock(), facts, why)?;
            let (written, id) = self.act(plan, key.as_ref(), &record).await?;
            let goes_on = match (written, &key) {
                (Written::Done, _) => return Ok(Some(Committed { plan, id, record })),
                (Written::Stale, Some(key)) => {
                    if turn.is_none() {
                        turn = Some(self.turns().wait(key).await);
                    }
                    self.rebase(session, key, plan, &record).await?
                }
                (Written::Stale | Written::Gone, _) => false,
            };
            if !goes_on && plan == Plan::Rotate {
                return Err(Error::gone());
            }
            if !goes_on {
                debug!(handle = %record.handle, ?plan, "the session ended while this request used it");
                return Ok(None);
            }
        }
        Err(Error::contended(TRIES))
    }

    /// The one store call of a plan, and the id under which the session lives afterwards if that is a new one.
    async fn act(
        &self,
        plan: Plan,
        key: Option<&StoreKey>,
        record: &Record,
    ) -> Result<(Written, Option<SessionId>), Error> {
        let store = self.store();
        let key = || key.ok_or_else(|| Error::misuse("a stored session without the cookie it was read by"));
        let mut new_id = None;
        let written = match plan {
            Plan::Keep => Written::Done,
            Plan::Create => {
                let id = new_id.insert(SessionId::generate()?);
                match store.insert(&self.key(id), record).await? {
                    Written::Done => Written::Done,
                    _ => return Err(Error::unavailable("the store already has a session under a new random id")),
                }
            }
            Plan::Update => store.update(key()?, record).await?,
            Plan::Rotate => {
                let id = new_id.insert(SessionId::generate()?);
                // Before the store knows, so that no request falls between. Where nothing moves, the key is found alive.
                self.rotations().remember(key()?, record.seen_at);
                store.rotate(key()?, &self.key(id), record).await?
            }
            Plan::Touch => self.touch(key()?, record).await,
            Plan::End => {
                // Not there any more: another request may have given it a new id meanwhile.
                if let Ok(key) = key()
                    && !(record.revision.is_some() && store.remove(key).await?)
                {
                    let since = record.seen_at - MOVED_BEFORE;
                    store.remove_moved(&key.trace(), since, self.ends_since(since, record)).await?;
                }
                Written::Done
            }
        };
        Ok((written, new_id))
    }

    /// Between which times a session like this one ends that was used since then.
    fn ends_since(&self, since: SystemTime, record: &Record) -> RangeInclusive<SystemTime> {
        let lifetime = self.config().lifetime_of(record);
        let from = lifetime.expires_at(since, record.began());
        from..=lifetime.expires_at(self.now(), None) + MOVED_BEFORE
    }

    /// Puts this request's edits on what another one left; false when that is nothing, or somebody else's by now: an
    /// Express app may give a session to another user in place, and these edits were meant for the former one.
    async fn rebase(&self, session: &Session, key: &StoreKey, plan: Plan, record: &Record) -> Result<bool, Error> {
        match self.load_record(key).await? {
            Some(fresh) if plan != Plan::Rotate && fresh.owner != record.owner => Ok(false),
            Some(fresh) => session.lock().rebase(fresh).map(|()| true),
            None => Ok(false),
        }
    }

    /// A touch that fails costs the session a minute of its life at most, so the request goes on. The session is then
    /// not known to live, and no cookie is sent for it.
    async fn touch(&self, key: &StoreKey, record: &Record) -> Written {
        self.store().touch(key, record.seen_at, record.expires_at).await.unwrap_or_else(|error| {
            warn!(handle = %record.handle, %error, "the session's use could not be recorded");
            Written::Gone
        })
    }

    /// Decides, and makes the record ready to be written.
    fn prepare(&self, inner: &Inner, facts: &Facts, why: &WhyCookie) -> Result<(Plan, Record), Error> {
        let (config, now) = (self.config(), self.now());
        let plan = match self.plan(inner) {
            // The cookie is sent again with the id it has: only if that id still lives, for the browser may have got
            // another one meanwhile. A touch tells.
            Plan::Keep if (why.old_secret || why.rolling) && inner.record.revision.is_some() => Plan::Touch,
            plan => plan,
        };
        let mut record = inner.record.clone();
        if plan == Plan::End {
            return Ok((plan, record));
        }
        record.seen_at = now;
        if plan == Plan::Rotate {
            record.moves_from(facts.presented.as_ref().map(|presented| self.key(&presented.id)).as_ref());
        }
        if plan == Plan::Rotate && config.attributes(Some(&record), facts.https).is_none() {
            return Err(Error::poisoned(
                "the session's cookie has attributes that cannot be sent, so its id cannot change",
            ));
        }
        if matches!(plan, Plan::Create | Plan::Update | Plan::Rotate) {
            config.refresh_cookie(&mut record, facts.https, now);
            record.seal()?;
        }
        if plan != Plan::Keep {
            record.expires_at = config.lifetime_of(&record).expires_at(now, record.began());
        }
        Ok((plan, record))
    }

    fn set_cookie(&self, committed: &Committed, facts: &Facts, why: &WhyCookie) -> Option<SetCookie> {
        let config = self.config();
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
        let (config, now) = (self.config(), self.now());
        let lifetime = config.lifetime_of(record);
        if config.express {
            return Lifetime { absolute: None, ..lifetime }.expires_at(now, None);
        }
        let longest = now + LONGEST_COOKIE;
        lifetime.absolute_end(record.began()).map_or(longest, |end| end.min(longest))
    }
}
