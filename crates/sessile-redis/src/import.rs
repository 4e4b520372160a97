//! Sessions from another store. Pieces are checked before the first is written; then each is written by itself, because
//! they lie in different slots. An import that breaks off leaves some of a call's pieces written, and is begun again.
//!
//! A session's row comes first, as one that nobody is signed in to; its row of the registry then takes it home. What ended
//! or moved, here or there, makes an end of the row that came before it.

use std::time::SystemTime;

use async_trait::async_trait;
use sessile_core::{
    Device, Ending, Error, Imported, Piece, Place as Page, Record, StoreKey, Transfer, UserId, Written,
};

use crate::RedisStore;
use crate::homes::{Arrival, Way};
use crate::names::{Home, partition};
use crate::revoke::Only;
use crate::rows::{Place, Row, source_at_key};
use crate::script::{CUT, GONE_TO, PAST, ROTATE, Word};
use crate::store::{Free, revision};
use crate::time::{KEPT, MOVED, from_millis, millis, row_kept};

#[async_trait]
impl Transfer for RedisStore {
    async fn export(&self, from: &Page, now: SystemTime, limit: u32) -> Result<(Vec<Piece>, Option<Page>), Error> {
        self.next_pieces(from, now, limit).await
    }

    /// Not all or none: see the module.
    async fn import(&self, pieces: &[Piece]) -> Result<Imported, Error> {
        pieces.iter().try_for_each(Piece::check)?;
        let now = sessile_core::Store::time(self).await?.unwrap_or(SystemTime::UNIX_EPOCH);
        let mut imported = Imported::default();
        for piece in pieces {
            let written = u64::from(self.take(piece, now).await?);
            imported.written += written;
            imported.present += 1 - written;
        }
        Ok(imported)
    }

    async fn size(&self) -> Result<u64, Error> {
        let (rows, devices) = (self.sizes("ends").await?, self.sizes("born").await?);
        Ok(rows.iter().chain(&devices).sum())
    }
}

impl RedisStore {
    async fn take(&self, piece: &Piece, now: SystemTime) -> Result<bool, Error> {
        match piece {
            Piece::Session { key, document, expires_at } => self.take_session(key, document, *expires_at, now).await,
            Piece::Device(key, device) => match &device.ended {
                Some(ending) => self.take_ended(key.as_ref(), device, ending).await,
                None => self.take_live(key.as_ref(), device, now).await,
            },
            Piece::OwnerCutOff(owner, before) => self.take_owner_cut_off(owner, *before).await,
            Piece::CutOff(cut_off, ending) => self.cut_everyone_off(*cut_off, ending).await,
            Piece::Moved(from, to, at) => self.take_move(from, to, *at, now).await,
        }
    }

    async fn take_session(
        &self,
        key: &StoreKey,
        document: &std::sync::Arc<str>,
        end: SystemTime,
        now: SystemTime,
    ) -> Result<bool, Error> {
        let (pointer, _) = self.pointer(&self.names.key(key)).await?;
        let is_over = pointer.moved.is_some() || !matches!(self.free(key).await?, Free::Was { over: false, .. });
        if pointer.status.is_some() || is_over {
            return Ok(false);
        }
        let record = Record::stored(key, document.clone(), end, now)?;
        Ok(sessile_core::Store::insert(self, key, &record).await? == Written::Done)
    }

    async fn take_ended(&self, key: Option<&StoreKey>, device: &Device, ending: &Ending) -> Result<bool, Error> {
        let (home, now) = (self.names.home(device.owner.as_str()), millis(ending.at));
        if self.take_handle(device, now, now).await? == Word::Stale {
            return Ok(false);
        }
        let is_new = match self.entry(&home, &device.handle).await? {
            Some(_) => self.end(&home, &device.handle, ending, Only::default()).await?.is_some(),
            None => self.write_history(&home, key, device, ending).await?,
        };
        let Some(key) = key else { return Ok(is_new) };
        if let Some(row @ Row { place: Place::Key { .. }, .. }) = self.locate(key).await? {
            self.remove_found(key, &row).await?;
        }
        // So that the key is known to be over. Where another session has it, it is not.
        if self.pointer(&self.names.key(key)).await?.0.moved.is_none() {
            self.claim(key, &home, &device.handle, now, now).await?;
        }
        Ok(is_new)
    }

    async fn write_history(
        &self,
        home: &Home,
        key: Option<&StoreKey>,
        device: &Device,
        ending: &Ending,
    ) -> Result<bool, Error> {
        let Device { handle, owner, facts, created_at, authenticated_at, last_seen_at, expires_at, requests, .. } =
            device;
        let text = |text: &Option<Box<str>>| text.as_deref().unwrap_or_default().to_owned();
        let mut arguments = vec![
            handle.to_string(),
            ending.end.to_string(),
            millis(ending.at).to_string(),
            ending.reason.as_deref().unwrap_or_default().to_owned(),
            KEPT.to_string(),
            millis(*created_at).to_string(),
        ];
        let fields = [
            ("owner", owner.to_string()),
            ("auth", millis(device.began()).to_string()),
            ("proof", authenticated_at.map(|at| millis(at).to_string()).unwrap_or_default()),
            ("seen", millis(*last_seen_at).to_string()),
            ("till", millis(*expires_at).to_string()),
            ("reqs", requests.to_string()),
            ("ip", facts.ip.map(|ip| ip.to_string()).unwrap_or_default()),
            ("ua", text(&facts.user_agent)),
            ("dev", text(&facts.device)),
            ("how", text(&facts.auth_method)),
            ("ps", text(&facts.provider_session)),
            ("key", key.map(|key| key.as_str().to_owned()).unwrap_or_default()),
        ];
        arguments.extend(fields.into_iter().flat_map(|(name, value)| [name.to_owned(), value]));
        let answer = self.link.run(&PAST, &home.keys(Some(handle.as_str()), &[]), &arguments).await?;
        Ok(answer.word == Word::Done)
    }

    /// Whose row is here, waiting for it, goes home with it. Without a row there is nothing that could live.
    async fn take_live(&self, key: Option<&StoreKey>, device: &Device, now: SystemTime) -> Result<bool, Error> {
        let Some(key) = key else { return Ok(false) };
        let Some(row) = self.locate(key).await? else { return Ok(false) };
        let Place::Key { over } = row.place else { return Ok(false) };
        if over {
            self.remove_found(key, &row).await?;
            return Ok(false);
        }
        let home = self.names.home(device.owner.as_str());
        let known = match self.home_of(&device.handle).await? {
            Some(home) => self.entry(&home, &device.handle).await?,
            None => None,
        };
        if known.is_some() {
            return Ok(false);
        }
        self.bring_home(&home, key, &row, device, now).await
    }

    async fn bring_home(
        &self,
        home: &Home,
        key: &StoreKey,
        row: &Row,
        device: &Device,
        now: SystemTime,
    ) -> Result<bool, Error> {
        if self.take_handle(device, millis(now), row.end).await? == Word::Stale {
            return Ok(false);
        }
        self.note_provider(device, millis(now), row.end).await?;
        let (tx, source) = (self.nonce(), source_at_key(key));
        let arrival = Arrival {
            device,
            presented: device.began(),
            now: from_millis(millis(now).min(row.end)),
            end: from_millis(row.end),
            key,
            document: &row.document,
            limit: None,
        };
        let answer = self.enter(home, &arrival, Way::Waiting { tx: &tx, source: &source }, &tx).await?;
        match answer.word {
            Word::Done => {}
            Word::CutOff => {
                self.remove_found(key, row).await?;
                return Ok(false);
            }
            _ => return Ok(false),
        }
        if self.go_home(key, row, (home, &device.handle), arrival.now, &tx).await? != Word::Done {
            self.abandon(home, &device.handle, &tx).await?;
            return Ok(false);
        }
        self.arrive(home, &device.handle, &tx, &millis(now).to_string()).await?;
        Ok(true)
    }

    async fn take_owner_cut_off(&self, owner: &UserId, before: SystemTime) -> Result<bool, Error> {
        let cuts = self.names.index(partition(owner.as_str()), "cuts");
        let answer = self.link.run(&CUT, &[cuts], &[owner.to_string(), millis(before).to_string()]).await?;
        Ok(answer.word == Word::Done)
    }

    /// A session that has another key there has it here too.
    async fn take_move(&self, from: &StoreKey, to: &StoreKey, at: SystemTime, now: SystemTime) -> Result<bool, Error> {
        let (pointer, _) = self.pointer(&self.names.key(from)).await?;
        if pointer.moved.is_some() {
            return Ok(false);
        }
        match self.locate(from).await? {
            Some(row @ Row { place: Place::Home { .. }, .. }) => self.follow_home(from, to, &row, at, now).await?,
            Some(row) => {
                self.remove_found(from, &row).await?;
                self.leave_tombstone(from, to, at).await?;
            }
            None => self.leave_tombstone(from, to, at).await?,
        }
        Ok(true)
    }

    /// A user's session that was brought home under its old key. The row under the new one, if it came, is the newer.
    async fn follow_home(
        &self,
        from: &StoreKey,
        to: &StoreKey,
        row: &Row,
        at: SystemTime,
        now: SystemTime,
    ) -> Result<(), Error> {
        let Place::Home { home, handle, claim, .. } = &row.place else { return Ok(()) };
        let newer = self.locate(to).await?.filter(|newer| matches!(newer.place, Place::Key { .. }));
        let (document, end) = newer.as_ref().map_or((&row.document, row.end), |newer| (&newer.document, newer.end));
        if let Some(newer) = &newer {
            let then = from_millis(millis(now).min(newer.end));
            self.go_home(to, newer, (home, handle), then, &self.nonce()).await?;
        } else if self.claim(to, home, handle, millis(now), end).await?.is_none() {
            return Ok(());
        }
        let arguments = [
            handle.to_string(),
            from.as_str().into(),
            millis(now).min(row.end).to_string(),
            row.rev.clone(),
            document.to_string(),
            revision(document),
            end.to_string(),
            row_kept(millis(now), end).to_string(),
            self.nonce(),
            to.as_str().into(),
        ];
        self.link.run(&ROTATE, &home.keys(Some(handle.as_str()), &[]), &arguments).await?;
        self.note_move(from, claim, to, millis(at)).await
    }

    /// Says at a key under which nothing lives where that went.
    async fn leave_tombstone(&self, from: &StoreKey, to: &StoreKey, at: SystemTime) -> Result<(), Error> {
        let place = self.names.key(from);
        let arguments = [from.as_str().to_owned(), to.as_str().to_owned(), millis(at).to_string(), MOVED.to_string()];
        self.link.run(&GONE_TO, &[place.name, place.moves], &arguments).await?;
        Ok(())
    }
}
