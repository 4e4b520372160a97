//! The way up: what a request made of its session is written, and the browser told what it has to know.

use std::time::{Duration, SystemTime};

use tracing::{debug, warn};

use crate::event::{Event, EventKind, Refusal};
use crate::exchange::{Facts, SetCookie};
use crate::meters::Outcome;
use crate::plan::{Plan, plan};
use crate::registry::{End, EndedSession, Ending, Fate, SignIn, SignedIn};
use crate::session::Inner;
use crate::store::Written;
use crate::{Error, KeyForm, Lifetime, Record, Session, SessionId, Sessions, StoreKey};

/// How often a write is tried on what other requests left. Each try fails only because another one succeeded, and an
/// instance sends one contender at a time, so the number grows with instances and not with requests.
const TRIES: usize = 40;

/// How long before a sign-out a session may have moved and still be meant by the id it had.
const MOVED_BEFORE: Duration = Duration::from_secs(5);

/// How long a browser's requests may be under way with the id it had before.
const LATE: Duration = Duration::from_secs(30);

/// Browsers keep a cookie for 400 days at most (RFC 6265bis section 5.5).
const LONGEST_COOKIE: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// What a commit did, and so what the browser has to know.
struct Committed {
    plan: Plan,
    /// The id under which the session lives now, where it changed.
    id: Option<SessionId>,
    /// The session as it is recorded now.
    record: Record,
    /// How many of the request's edits are in it.
    edits: usize,
    signed_in: Option<SignIn>,
    /// Whoever signed in was signed in before.
    again: bool,
    /// Other sessions that ended with it.
    ended: Vec<(EndedSession, Ending)>,
    /// There was a session to end.
    removed: bool,
}

/// What may make a cookie due, beside what was done to the session.
struct WhyCookie {
    /// The session was ended, or what the browser presented as one.
    ended: bool,
    lifetime_changed: bool,
    /// What was saved in the middle of the request made it due.
    owed: bool,
    /// The browser's cookie is signed with a secret that is on its way out, or was signed long ago.
    is_old: bool,
    /// Express's `rolling`.
    rolling: bool,
}

impl WhyCookie {
    fn is_none(&self) -> bool {
        !(self.ended || self.lifetime_changed || self.repeats_id())
    }

    /// The cookie is sent again whatever was done to the session.
    fn repeats_id(&self) -> bool {
        self.owed || self.is_old || self.rolling
    }
}

impl Sessions {
    /// Writes what the request made of its session, and says which cookie the browser gets and what became of it.
    pub(crate) async fn commit(&self, session: &Session, facts: &Facts) -> Result<(Option<SetCookie>, Outcome), Error> {
        let (planned, why_cookie) = {
            let mut inner = session.lock();
            inner.finish();
            let presented = facts.presented.as_ref();
            let why = WhyCookie {
                ended: inner.is_ended() && presented.is_some(),
                lifetime_changed: inner.lifetime_changed(),
                owed: inner.owes_cookie(),
                is_old: presented.is_some_and(|presented| presented.secret > 0 || presented.is_aging),
                rolling: self.config().express && self.config().rolling,
            };
            (self.plan(&inner), why)
        };
        if planned == Plan::Create {
            self.is_late(session, facts).await?;
            if self.plan(&session.lock()) == Plan::Create {
                self.limit_creation(facts)?;
            }
        }
        let done = if planned == Plan::Keep && why_cookie.is_none() {
            (None, Outcome::Read)
        } else {
            let committed = self.carry_out(session, facts, Some(&why_cookie)).await?;
            committed.map_or((None, Outcome::Dropped), |committed| {
                self.remember_registered(&committed);
                self.tell_of_commit(&committed, facts);
                (self.set_cookie(&committed, facts, &why_cookie), committed.plan.into())
            })
        };
        let gathered = self.note_use(&session.lock());
        self.write_seen(&gathered).await;
        self.write_secret_uses_in_time().await;
        Ok(done)
    }

    /// What this commit registered need not be asked for.
    fn remember_registered(&self, committed: &Committed) {
        let Committed { id, record, .. } = committed;
        if let (Some(id), Some(_), true) = (id, &record.owner, self.config().is_followed(record)) {
            self.remember_aligned(&self.key(id), record);
        }
    }

    /// Writes what the request has made of its session so far.
    pub(crate) async fn save(&self, session: &Session, facts: &Facts) -> Result<(), Error> {
        session.lock().check_open()?;
        if matches!(self.plan(&session.lock()), Plan::Keep | Plan::Touch) {
            return Ok(());
        }
        let Committed { plan, record, edits, .. } =
            self.carry_out(session, facts, None).await?.ok_or_else(Error::gone)?;
        if plan == Plan::Update { session.lock().saved(record, edits) } else { Ok(()) }
    }

    fn plan(&self, inner: &Inner) -> Plan {
        plan(&inner.state(), &self.config().lifetime_of(&inner.record), self.now())
    }

    /// Looks whether the id that the request came with was rotated away a moment ago. Asked only when a new session is
    /// about to be made in its place.
    async fn is_late(&self, session: &Session, facts: &Facts) -> Result<(), Error> {
        let Some(presented) = &facts.presented else { return Ok(()) };
        if self.moved_to(&self.key(&presented.id), LATE).await?.is_some() {
            session.lock().is_late();
            if self.plan(&session.lock()) == Plan::Keep {
                debug!("a write under an id that was rotated away a moment ago was dropped");
                self.refuse(Refusal::Late, facts, |event| event);
            }
        }
        Ok(())
    }

    /// Where the session under this key was moved to, if that is no longer ago than this.
    async fn moved_to(&self, key: &StoreKey, ago: Duration) -> Result<Option<StoreKey>, Error> {
        let is_recent = |at: SystemTime| self.now().duration_since(at).unwrap_or_default() <= ago;
        Ok(match self.store().fate(key).await? {
            // What moved to itself is over: its key is kept as that of a session that ended.
            Some(Fate::Moved { to, at }) if is_recent(at) && to != *key => Some(to),
            _ => None,
        })
    }

    /// Plans and acts, again on a fresher record as long as other requests write first. `None` when the session ended
    /// meanwhile: then nothing is written and the browser's cookie is left alone, for it may be a newer one. Without
    /// reasons for a cookie this is the middle of the request, when none can be sent.
    async fn carry_out(
        &self,
        session: &Session,
        facts: &Facts,
        why: Option<&WhyCookie>,
    ) -> Result<Option<Committed>, Error> {
        let key = facts.presented.as_ref().map(|presented| self.key(&presented.id));
        // Who lost a race once lets this instance's others go first.
        let mut turn = None;
        for _ in 0..TRIES {
            let mut attempt = self.prepare(&session.lock(), facts, why)?;
            let goes_on = match (self.act(&mut attempt, key.as_ref(), facts).await?, &key) {
                (Written::Done, _) => return Ok(Some(attempt)),
                (Written::Stale, Some(key)) => {
                    if turn.is_none() {
                        turn = Some(self.turns().wait(key).await);
                    }
                    self.rebase(session, key, &attempt, facts).await?
                }
                (Written::Stale | Written::Gone, _) => false,
            };
            let Committed { plan, record, .. } = attempt;
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

    /// The one store call of a plan. A new id goes into the attempt, and what ended with it.
    async fn act(&self, attempt: &mut Committed, key: Option<&StoreKey>, facts: &Facts) -> Result<Written, Error> {
        let store = self.store();
        let Committed { plan, id, record, signed_in, .. } = &*attempt;
        let key = || key.ok_or_else(|| Error::misuse("a stored session without the cookie it was read by"));
        let written = match plan {
            Plan::Keep => Written::Done,
            Plan::Create | Plan::Rotate => {
                let from = (*plan == Plan::Rotate).then(key).transpose()?;
                let to = id.as_ref().map(|id| self.key(id)).ok_or_else(|| Error::misuse("a new row without an id"))?;
                let written = match (signed_in, store.registry(), from) {
                    (Some(sign_in), Some(registry), from) => {
                        let answer = registry.sign_in(from, &to, record, sign_in).await?;
                        self.signed_in(attempt, answer, facts)?
                    }
                    (_, _, Some(from)) => store.rotate(from, &to, record).await?,
                    (_, _, None) => store.insert(&to, record).await?,
                };
                if written != Written::Done && attempt.plan == Plan::Create {
                    return Err(Error::unavailable("the store already has a session under a new random id"));
                }
                written
            }
            Plan::Update => store.update(key()?, record).await?,
            Plan::Touch => self.touch(key()?, record).await,
            Plan::End => {
                if let Ok(key) = key() {
                    self.end(key, attempt).await?;
                }
                Written::Done
            }
        };
        Ok(written)
    }

    /// What the answer to a sign-in means to this request.
    fn signed_in(&self, attempt: &mut Committed, answer: SignedIn, facts: &Facts) -> Result<Written, Error> {
        let refuse = |refusal, error| {
            self.refuse(refusal, facts, |event| event.of(&attempt.record.handle, attempt.record.owner.as_ref()));
            Err(error)
        };
        match answer {
            SignedIn::Done(evicted) => {
                let ending = Ending { end: End::Evicted, at: attempt.record.seen_at, reason: None };
                attempt.ended.extend(evicted.into_iter().map(|ended| (ended, ending.clone())));
                Ok(Written::Done)
            }
            SignedIn::Gone => Ok(Written::Gone),
            SignedIn::Stale => Ok(Written::Stale),
            SignedIn::CutOff => refuse(Refusal::CutOff, Error::cut_off()),
            SignedIn::Full => refuse(Refusal::Full, Error::full()),
        }
    }

    /// Ends the session. When it is not there any more, another request may have given it a new id meanwhile: a user who
    /// signed out is signed out, so the end follows the moves of the last seconds.
    async fn end(&self, key: &StoreKey, attempt: &mut Committed) -> Result<(), Error> {
        let ending = Ending { end: End::LoggedOut, at: self.now(), reason: None };
        let is_known = attempt.record.revision.is_some();
        let mut next = if is_known { Some(key.clone()) } else { self.moved_to(key, MOVED_BEFORE).await? };
        while let Some(key) = next {
            if self.store().remove(&key, &ending).await? {
                attempt.removed = true;
                return Ok(());
            }
            next = self.moved_to(&key, MOVED_BEFORE).await?;
        }
        Ok(())
    }

    /// Puts this request's edits on what another one left; false when that is nothing, or somebody else's by now: an
    /// Express app may give a session to another user in place, and what this request did was meant for the former one,
    /// unless it signs somebody else in itself.
    async fn rebase(
        &self,
        session: &Session,
        key: &StoreKey,
        attempt: &Committed,
        facts: &Facts,
    ) -> Result<bool, Error> {
        let is_another = |fresh: &Record| {
            let (inner, owner) = (session.lock(), fresh.owner.as_ref());
            owner != inner.owner_before() && attempt.record.owner.as_ref() == inner.owner_before()
        };
        match self.load_record(key, facts).await? {
            Some(fresh) if is_another(&fresh) => Ok(false),
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

    fn tell_of_commit(&self, committed: &Committed, facts: &Facts) {
        let config = self.config();
        if config.observers.is_empty() {
            return;
        }
        let Committed { plan, record, signed_in, ended, .. } = committed;
        let device = signed_in.as_ref().map_or_else(|| self.device(facts), |sign_in| sign_in.facts.clone());
        let tell = |kind| {
            let event = Event::new(kind, record.seen_at).of(&record.handle, record.owner.as_ref());
            config.tell(&event.from(&device));
        };
        if *plan == Plan::Create {
            tell(EventKind::Created);
        }
        if committed.removed {
            tell(EventKind::Ended(End::LoggedOut));
        }
        match signed_in {
            Some(_) if committed.again => tell(EventKind::AuthenticatedAgain),
            Some(_) => tell(EventKind::SignedIn),
            None if *plan == Plan::Rotate => tell(EventKind::Rotated),
            None => {}
        }
        for (ended, ending) in ended {
            let ip = ended.ip.or(facts.ip);
            self.tell_of_end(&EndedSession { ip, ..ended.clone() }, ending);
        }
    }

    /// Decides, and makes the record ready to be written.
    fn prepare(&self, inner: &Inner, facts: &Facts, why: Option<&WhyCookie>) -> Result<Committed, Error> {
        let (config, now) = (self.config(), self.now());
        let plan = match (self.plan(inner), why) {
            // The cookie is sent again with the id it has: only if that id still lives, for the browser may have got
            // another one meanwhile. A touch tells.
            (Plan::Keep, Some(why)) if why.repeats_id() && inner.record.revision.is_some() => Plan::Touch,
            (Plan::Create | Plan::Rotate | Plan::End, None) => {
                return Err(Error::misuse(
                    "expected a session that has a row and keeps its id to be saved, found one that is new, or was rotated, \
                     signed in or ended in this request; save first, or leave it to the end of the request",
                ));
            }
            (plan, _) => plan,
        };
        let mut record = inner.record.clone();
        let edits = inner.edits();
        if plan == Plan::End {
            let (signed_in, ended) = (None, Vec::new());
            return Ok(Committed { plan, id: None, record, edits, signed_in, again: false, ended, removed: false });
        }
        record.seen_at = now;
        if plan == Plan::Rotate && config.attributes(Some(&record), facts.https).is_none() {
            return Err(Error::poisoned(
                "the session's cookie has attributes that cannot be sent, so its id cannot change",
            ));
        }
        let is_new = matches!(plan, Plan::Create | Plan::Rotate);
        let id = is_new.then(|| SessionId::of_form(config.id_form)).transpose()?;
        if matches!(plan, Plan::Create | Plan::Update | Plan::Rotate) {
            config.refresh_cookie(&mut record, facts.https, now);
            let key = id.as_ref().or(facts.presented.as_ref().map(|presented| &presented.id)).map(|id| self.key(id));
            record.seal(key.as_ref().filter(|_| config.key_form == KeyForm::Raw))?;
        }
        if plan != Plan::Keep {
            record.expires_at = config.lifetime_of(&record).expires_at(now, record.began());
        }
        let signed_in = id.is_some().then(|| inner.sign_in_of(|| self.device(facts))).flatten();
        let replaced = inner.owner_before().zip(signed_in.as_ref().and_then(|sign_in| sign_in.replaces.as_ref()));
        let ended = replaced.map(|(owner, handle)| {
            let ended = EndedSession { handle: handle.clone(), owner: owner.clone(), ip: None };
            (ended, Ending { end: End::LoggedOut, at: now, reason: None })
        });
        let again = inner.owner_before() == record.owner.as_ref();
        Ok(Committed { plan, id, record, edits, signed_in, again, ended: Vec::from_iter(ended), removed: false })
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
                why.repeats_id() || follows && plan == Plan::Update
            }
        };
        let id = committed.id.as_ref().or(presented.map(|presented| &presented.id)).filter(|_| due)?;
        let expires = persistent.then(|| self.cookie_end(record));
        Some(SetCookie(attributes()?.render(name, &config.codec.encode(name, id, self.now()), expires)))
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
