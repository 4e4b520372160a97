//! Making the registry follow an application that keeps its user in the session's data, without a sign-in: the session
//! goes to that user's home, or comes from there, and keeps its key.

use std::time::SystemTime;

use sessile_core::{Alignment, Device, EndedSession, Ending, Error, Handle, StoreKey};

use crate::RedisStore;
use crate::homes::{Arrival, Way};
use crate::names::Home;
use crate::rows::{LOOKS, Place, Row, source_at_home, source_at_key};
use crate::script::{LEAVE, LIFT, PEND, REMOVE, SETTLE, Word};
use crate::store::{lost_track, now_up};
use crate::time::{from_millis, millis, millis_up, pointer_kept, row_kept};

/// What was found out, and whose session ended by that.
pub(crate) type Aligned = (Alignment, Option<(EndedSession, Ending)>);

impl RedisStore {
    /// `is_over`: what nobody registered is known to be over.
    pub(crate) async fn follow(
        &self,
        key: &StoreKey,
        device: Option<&Device>,
        is_over: bool,
        at: SystemTime,
    ) -> Result<Aligned, Error> {
        let mut former = None;
        for _ in 0..LOOKS {
            let Some(row) = self.locate(key).await?.filter(|row| row.end >= millis_up(at)) else {
                return Ok((Alignment::Over, former));
            };
            let alignment = match (&row.place, device) {
                (Place::Home { home, handle, .. }, Some(device)) if *home.owner == *device.owner.as_str() => {
                    Some(Alignment::Device(handle.clone()))
                }
                (Place::Home { home, handle, .. }, _) => {
                    former = self.come_back(key, &row, home, handle, at).await?.or(former);
                    None
                }
                (Place::Key { over }, _) if *over || is_over => self.remove_found(key, &row).await?,
                (Place::Key { .. }, None) => Some(Alignment::Nobody),
                (Place::Key { .. }, Some(device)) => self.register(key, &row, device, at).await?,
            };
            if let Some(alignment) = alignment {
                return Ok((alignment, former));
            }
        }
        Err(lost_track())
    }

    /// Removes a row that is over, if it is as it was found.
    pub(crate) async fn remove_found(&self, key: &StoreKey, row: &Row) -> Result<Option<Alignment>, Error> {
        let (keys, member) = self.row_keys(key, row);
        let arguments = [key.as_str().into(), member, String::new(), row.rev.clone()];
        let answer = self.link.run(&REMOVE, &keys, &arguments).await?;
        Ok((answer.word == Word::Done).then_some(Alignment::Over))
    }

    /// From the key to the home of whoever is signed in now.
    async fn register(
        &self,
        key: &StoreKey,
        row: &Row,
        device: &Device,
        at: SystemTime,
    ) -> Result<Option<Alignment>, Error> {
        let (now, end, home) = (millis(at), row.end, self.names.home(device.owner.as_str()));
        let device = self.under_a_free_handle(key, device, now, end).await?;
        let (tx, source) = (self.nonce(), source_at_key(key));
        let arrival = Arrival {
            device: &device,
            presented: device.began(),
            now: at,
            end: from_millis(end),
            key,
            document: &row.document,
            limit: None,
        };
        self.note_provider(&device, now, end).await?;
        let answer = self.enter(&home, &arrival, Way::Waiting { tx: &tx, source: &source }, &tx).await?;
        match answer.word {
            Word::Done => {}
            Word::CutOff => return self.remove_found(key, row).await,
            _ => return Ok(None),
        }
        if self.go_home(key, row, (&home, &device.handle), at, &tx).await? != Word::Done {
            self.abandon(&home, &device.handle, &tx).await?;
            return Ok(None);
        }
        self.arrive(&home, &device.handle, &tx, &now.to_string()).await?;
        Ok(None)
    }

    /// The step that decides: the key leads home from now on.
    pub(crate) async fn go_home(
        &self,
        key: &StoreKey,
        row: &Row,
        (home, handle): (&Home, &Handle),
        at: SystemTime,
        tx: &str,
    ) -> Result<Word, Error> {
        let place = self.names.key(key);
        let arguments = [
            key.as_str().into(),
            now_up(at),
            row.rev.clone(),
            tx.to_owned(),
            place.member.clone(),
            String::new(),
            String::new(),
            home.owner.to_string(),
            handle.to_string(),
            tx.to_owned(),
            pointer_kept(millis(at), row.end).to_string(),
        ];
        Ok(self.link.run(&LEAVE, &place.keys_and_moves(), &arguments).await?.word)
    }

    /// A handle is one session's: what is registered under one that is taken gets another.
    async fn under_a_free_handle(&self, key: &StoreKey, device: &Device, now: i64, end: i64) -> Result<Device, Error> {
        let mut taken = Vec::new();
        for _ in 0..LOOKS {
            let device = device.clone().under_a_free_handle(key, |handle| !taken.contains(handle))?;
            let is_free = match self.take_handle(&device, now, end).await? {
                Word::Done => true,
                // Theirs, but nothing may have come of it.
                Word::Known => self.entry(&self.names.home(device.owner.as_str()), &device.handle).await?.is_none(),
                _ => false,
            };
            if is_free {
                return Ok(device);
            }
            taken.push(device.handle);
        }
        Err(lost_track())
    }

    /// From the home of whoever was signed in to the key alone; their session ends, and the key lives on.
    async fn come_back(
        &self,
        key: &StoreKey,
        row: &Row,
        home: &Home,
        handle: &Handle,
        at: SystemTime,
    ) -> Result<Option<(EndedSession, Ending)>, Error> {
        let (place, tx, now) = (self.names.key(key), self.nonce(), millis(at));
        let arguments = [
            key.as_str().into(),
            row.document.to_string(),
            row.rev.clone(),
            row.end.to_string(),
            row_kept(now, row.end).to_string(),
            place.member.clone(),
            tx.clone(),
            tx.clone(),
            source_at_home(home, handle),
            String::new(),
            "1".into(),
        ];
        if self.link.run(&PEND, &place.keys(), &arguments).await?.word != Word::Done {
            return Ok(None);
        }
        let entry = self.entry(home, handle).await?;
        if self.depart(home, handle, key, (at, &row.rev), &tx, None).await? != Word::Done {
            self.link.run(&LIFT, &place.keys(), &[tx, place.member.clone()]).await?;
            return Ok(None);
        }
        self.link.run(&SETTLE, &[&place.name], &[tx]).await?;
        let ip = entry.and_then(|entry| entry.device.facts.ip);
        let session = EndedSession { handle: handle.clone(), owner: home.owner.to_string().into(), ip };
        let ending = Ending { end: sessile_core::End::LoggedOut, at: from_millis(now), reason: None };
        Ok(Some((session, ending)))
    }
}
