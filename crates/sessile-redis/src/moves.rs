//! A session gets another key. For a user's session that is one script at home, after the new key was made to lead there.
//! One that nobody is signed in to changes its slot with its key, so it goes in three steps, of which the second decides:
//!
//! 1. it waits under the new key;
//! 2. it leaves the old one, if that is alive and as it was read;
//! 3. it is there.
//!
//! Whoever dies after the first leaves the session where it was. Whoever dies after the second leaves it at the new key,
//! for the next who looks there to settle.

use sessile_core::{Error, Handle, Record, StoreKey, Written};

use crate::RedisStore;
use crate::failure::Failure;
use crate::names::Home;
use crate::rows::{LOOKS, Place, Row, source_at_key};
use crate::script::{Answer, CLAIM, LEAVE, LIFT, MOVED, PEND, ROTATE, SETTLE, UNCLAIM, Word};
use crate::store::{Free, lost_track, now_up, revision, revision_read, written};
use crate::time::{MOVED as MOVE_KEPT, millis, millis_up, pointer_kept, row_kept};

impl RedisStore {
    pub(crate) async fn move_to(&self, from: &StoreKey, to: &StoreKey, record: &Record) -> Result<Written, Error> {
        for _ in 0..LOOKS {
            let Some(row) = self.locate(from).await? else { return Ok(Written::Gone) };
            let answer = match &row.place {
                Place::Key { over: true } => Some(Written::Gone),
                _ if row.end < millis_up(record.seen_at) => Some(Written::Gone),
                Place::Key { .. } => self.move_loose(from, to, record).await?,
                Place::Home { .. } => self.move_at_home(from, to, &row, record).await?,
            };
            if let Some(written) = answer {
                return Ok(written);
            }
        }
        Err(lost_track())
    }

    /// Of a session that nobody is signed in to.
    async fn move_loose(&self, from: &StoreKey, to: &StoreKey, record: &Record) -> Result<Option<Written>, Error> {
        let tx = self.nonce();
        if !self.wait_under(to, record, &tx, &source_at_key(from)).await? {
            return Ok(Some(Written::Stale));
        }
        let left = self.leave_for(from, to, record, &tx).await?;
        let place = self.names.key(to);
        if left == Word::Done {
            self.link.run(&SETTLE, &[&place.name], &[tx]).await?;
        } else {
            self.link.run(&LIFT, &place.keys(), &[tx, place.member.clone()]).await?;
        }
        Ok(written(&Answer { word: left, rest: Vec::new() })?)
    }

    /// Puts the row under its new key, in waiting; false when that is taken.
    async fn wait_under(&self, to: &StoreKey, record: &Record, tx: &str, source: &str) -> Result<bool, Error> {
        let (place, document) = (self.names.key(to), record.document());
        let (now, end) = (millis(record.seen_at), millis_up(record.expires_at));
        let mut seen = String::new();
        for _ in 0..LOOKS {
            let arguments = [
                to.as_str().into(),
                document.clone(),
                revision(&document),
                end.to_string(),
                row_kept(now, end).to_string(),
                place.member.clone(),
                tx.into(),
                tx.into(),
                source.into(),
                seen,
                String::new(),
            ];
            match self.link.run(&PEND, &place.keys(), &arguments).await?.word {
                Word::Done => return Ok(true),
                Word::Look => match self.free(to).await? {
                    Free::Taken => return Ok(false),
                    Free::Was { claim, .. } => seen = claim,
                },
                _ => return Ok(false),
            }
        }
        Err(lost_track())
    }

    /// The step that decides.
    pub(crate) async fn leave_for(
        &self,
        from: &StoreKey,
        to: &StoreKey,
        record: &Record,
        tx: &str,
    ) -> Result<Word, Error> {
        let place = self.names.key(from);
        let none = String::new;
        let arguments = [
            from.as_str().into(),
            now_up(record.seen_at),
            revision_read(record),
            tx.into(),
            place.member.clone(),
            to.as_str().into(),
            millis(record.seen_at).to_string(),
            none(),
            none(),
            none(),
            MOVE_KEPT.to_string(),
        ];
        Ok(self.link.run(&LEAVE, &place.keys_and_moves(), &arguments).await?.word)
    }

    /// Of a session that has a user.
    async fn move_at_home(
        &self,
        from: &StoreKey,
        to: &StoreKey,
        row: &Row,
        record: &Record,
    ) -> Result<Option<Written>, Error> {
        let Place::Home { home, handle, claim, .. } = &row.place else { return Ok(None) };
        let (now, end) = (millis(record.seen_at), millis_up(record.expires_at));
        self.hold(from, row, now, end).await?;
        let Some(new_claim) = self.claim(to, home, handle, now, end).await? else { return Ok(Some(Written::Stale)) };
        let document = record.document();
        let arguments = [
            handle.as_str().into(),
            from.as_str().into(),
            now_up(record.seen_at),
            revision_read(record),
            document.clone(),
            revision(&document),
            end.to_string(),
            row_kept(now, end).to_string(),
            new_claim.clone(),
            to.as_str().into(),
        ];
        let answer = self.link.run(&ROTATE, &home.keys(Some(handle.as_str()), &[]), &arguments).await?;
        if answer.word == Word::Done {
            self.note_move(from, claim, to, now).await?;
        } else {
            self.unclaim(to, &new_claim).await?;
        }
        Ok(written(&answer)?)
    }

    /// Makes a key lead to a device; `None` when it leads to another that lives.
    pub(crate) async fn claim(
        &self,
        key: &StoreKey,
        home: &Home,
        handle: &Handle,
        now: i64,
        end: i64,
    ) -> Result<Option<String>, Error> {
        let (place, claim) = (self.names.key(key), self.nonce());
        let ttl = pointer_kept(now, end).to_string();
        let mut seen = String::new();
        for _ in 0..LOOKS {
            let arguments = [home.owner.to_string(), handle.to_string(), claim.clone(), ttl.clone(), seen];
            match self.link.run(&CLAIM, &[&place.name], &arguments).await?.word {
                Word::Done => return Ok(Some(claim)),
                Word::Stale => return Ok(None),
                Word::Look => match self.free(key).await? {
                    Free::Taken => return Ok(None),
                    Free::Was { claim, .. } => seen = claim,
                },
                _ => return Err(Failure::Odd.into()),
            }
        }
        Err(lost_track())
    }

    pub(crate) async fn unclaim(&self, key: &StoreKey, claim: &str) -> Result<(), Error> {
        self.link.run(&UNCLAIM, &[self.names.key(key).name], &[claim.to_owned()]).await?;
        Ok(())
    }

    /// Says at the key that a device left where it went.
    pub(crate) async fn note_move(&self, from: &StoreKey, claim: &str, to: &StoreKey, at: i64) -> Result<(), Error> {
        let arguments = [claim, to.as_str(), &at.to_string(), &MOVE_KEPT.to_string(), from.as_str()].map(str::to_owned);
        let place = self.names.key(from);
        self.link.run(&MOVED, &[place.name, place.moves], &arguments).await?;
        Ok(())
    }
}
