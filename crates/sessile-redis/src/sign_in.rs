//! Signing in. The user's home decides, in one script: whether a cut-off refuses it, whether the limit does, and who goes.
//! Before it, the new key, the handle and the provider's session are made to lead there, which means nothing until then.
//!
//! A session that was elsewhere, because nobody was signed in to it or somebody else was, waits at the home until it has
//! left the other place. While it waits it counts for the limit, and a revocation of all the user's sessions ends it there.

use std::time::SystemTime;

use sessile_core::{Device, EndedSession, Error, Handle, Record, SignIn, SignedIn, StoreKey};

use crate::RedisStore;
use crate::device::all_ended;
use crate::failure::Failure;
use crate::homes::{Arrival, Way};
use crate::names::Home;
use crate::rows::{LOOKS, Place, Row, source_at_home, source_at_key};
use crate::script::{Answer, Word};
use crate::store::{lost_track, revision_read};
use crate::time::{millis, millis_up};

/// A sign-in as it is carried out.
struct Entrance<'a> {
    home: Home,
    handle: Handle,
    arrival: Arrival<'a>,
    record: &'a Record,
}

impl RedisStore {
    pub(crate) async fn enter_session(
        &self,
        from: Option<&StoreKey>,
        to: &StoreKey,
        record: &Record,
        sign_in: &SignIn,
    ) -> Result<SignedIn, Error> {
        let Some(device) = record.device(sign_in.facts.clone())? else {
            return Err(Error::misuse("a sign-in without an owner"));
        };
        let document = record.document();
        let entrance = Entrance {
            home: self.names.home(device.owner.as_str()),
            handle: device.handle.clone(),
            arrival: arrival(&device, record, to, &document, sign_in),
            record,
        };
        for _ in 0..LOOKS {
            let row = match from {
                None => None,
                Some(from) => match self.locate(from).await? {
                    None => return Ok(SignedIn::Gone),
                    Some(row) if is_over(&row, record.seen_at) => return Ok(SignedIn::Gone),
                    Some(row) => Some((from, row)),
                },
            };
            if let Some(answer) = self.try_to_enter(&entrance, row).await? {
                return Ok(answer);
            }
        }
        Err(lost_track())
    }

    /// Makes everything lead to the home, lets the session in, and takes that back when it may not; `None` when the session
    /// has moved meanwhile.
    async fn try_to_enter(
        &self,
        entrance: &Entrance<'_>,
        row: Option<(&StoreKey, Row)>,
    ) -> Result<Option<SignedIn>, Error> {
        let (device, to) = (entrance.arrival.device, entrance.arrival.key);
        let (now, end) = (millis(entrance.record.seen_at), millis_up(entrance.record.expires_at));
        if self.take_handle(device, now, end).await? == Word::Stale {
            return Ok(Some(SignedIn::Gone));
        }
        self.note_provider(device, now, end).await?;
        let Some(claim) = self.claim(to, &entrance.home, &entrance.handle, now, end).await? else {
            return Ok(Some(SignedIn::Stale));
        };
        let entered = match row {
            None => self.enter(&entrance.home, &entrance.arrival, Way::New, &claim).await?,
            Some((from, row)) => self.enter_from(entrance, from, &row, &claim).await?,
        };
        if entered.word != Word::Done {
            self.unclaim(to, &claim).await?;
        }
        Ok(signed_in(&entered, &entrance.home.owner)?)
    }

    /// The session is here already, or it comes from another place.
    async fn enter_from(
        &self,
        entrance: &Entrance<'_>,
        from: &StoreKey,
        row: &Row,
        claim: &str,
    ) -> Result<Answer, Error> {
        let read = revision_read(entrance.record);
        if let Place::Home { home, handle, claim: old, .. } = &row.place
            && home.owner == entrance.home.owner
            && *handle == entrance.handle
        {
            let (now, end) = (millis(entrance.record.seen_at), millis_up(entrance.record.expires_at));
            self.hold(from, row, now, end).await?;
            let way = Way::Here { from, read: &read };
            let answer = self.enter(home, &entrance.arrival, way, claim).await?;
            if answer.word == Word::Done {
                self.note_move(from, old, entrance.arrival.key, millis(entrance.record.seen_at)).await?;
            }
            return Ok(answer);
        }
        let source = match &row.place {
            Place::Key { .. } => source_at_key(from),
            Place::Home { home, handle, .. } => source_at_home(home, handle),
        };
        let waiting = Way::Waiting { tx: claim, source: &source };
        let answer = self.enter(&entrance.home, &entrance.arrival, waiting, claim).await?;
        if answer.word != Word::Done {
            return Ok(answer);
        }
        let left = self.leave(entrance, from, row, claim).await?;
        if left != Word::Done {
            self.abandon(&entrance.home, &entrance.handle, claim).await?;
            return Ok(Answer { word: left, rest: Vec::new() });
        }
        let now = millis_up(entrance.record.seen_at).to_string();
        let evicted = self.arrive(&entrance.home, &entrance.handle, claim, &now).await?;
        Ok(Answer { word: Word::Done, rest: flat(&evicted) })
    }

    /// The step that decides.
    async fn leave(&self, entrance: &Entrance<'_>, from: &StoreKey, row: &Row, tx: &str) -> Result<Word, Error> {
        let (record, to) = (entrance.record, entrance.arrival.key);
        match &row.place {
            Place::Key { .. } => self.leave_for(from, to, record, tx).await,
            Place::Home { home, handle, claim, .. } => {
                let read = revision_read(record);
                let left = self.depart(home, handle, from, (record.seen_at, &read), tx, Some(to)).await?;
                if left == Word::Done {
                    self.note_move(from, claim, to, millis(record.seen_at)).await?;
                }
                Ok(left)
            }
        }
    }
}

fn arrival<'a>(
    device: &'a Device,
    record: &Record,
    key: &'a StoreKey,
    document: &'a str,
    sign_in: &SignIn,
) -> Arrival<'a> {
    Arrival {
        device,
        presented: record.authenticated_at().unwrap_or(record.seen_at),
        now: record.seen_at,
        end: record.expires_at,
        key,
        document,
        limit: sign_in.limit,
    }
}

fn is_over(row: &Row, now: SystemTime) -> bool {
    matches!(row.place, Place::Key { over: true }) || row.end < millis_up(now)
}

fn flat(sessions: &[EndedSession]) -> Vec<String> {
    let ip = |session: &EndedSession| session.ip.map(|ip| ip.to_string()).unwrap_or_default();
    sessions.iter().flat_map(|session| [session.handle.to_string(), ip(session)]).collect()
}

fn signed_in(answer: &Answer, owner: &str) -> Result<Option<SignedIn>, Failure> {
    Ok(Some(match answer.word {
        Word::Done => SignedIn::Done(all_ended(owner, &answer.rest)),
        Word::Gone => SignedIn::Gone,
        Word::Stale => SignedIn::Stale,
        Word::CutOff => SignedIn::CutOff,
        Word::Full => SignedIn::Full,
        Word::Away => return Ok(None),
        _ => return Err(Failure::Odd),
    }))
}
