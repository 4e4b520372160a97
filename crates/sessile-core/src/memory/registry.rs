//! Who is signed in where, in memory: the rules of [`Registry`] without a database's ways around them.

use std::cmp::Reverse;
use std::time::SystemTime;

use async_trait::async_trait;

use super::{Entry, MemoryStore, whole};
use crate::record::UserId;
use crate::registry::{
    Alignment, AtLimit, CutOff, Device, End, EndedSession, Ending, Page, Registry, Search, Seen, SignIn, SignedIn,
    Status, Tidied, Tidy,
};
use crate::store::Written;
use crate::{Error, Handle, Record, StoreKey};

#[async_trait]
impl Registry for MemoryStore {
    async fn sign_in(
        &self,
        from: Option<&StoreKey>,
        to: &StoreKey,
        record: &Record,
        sign_in: &SignIn,
    ) -> Result<SignedIn, Error> {
        let mut tables = self.tables();
        let Some(mut device) = record.device(sign_in.facts.clone())? else {
            return Err(Error::misuse("a sign-in without an owner"));
        };
        let presented = record.authenticated_at().unwrap_or(record.seen_at);
        if tables.is_cut_off(&device.owner, presented) {
            return Ok(SignedIn::CutOff);
        }
        if tables.devices.get(&device.handle).is_some_and(|entry| !entry.is_active()) {
            return Ok(SignedIn::Gone);
        }
        let mut others = match sign_in.limit {
            Some(_) => tables.live(&device.owner, record.seen_at),
            None => Vec::new(),
        };
        others.retain(|handle| *handle != device.handle);
        let too_many =
            sign_in.limit.map_or(0, |limit| (others.len() + 1).saturating_sub(limit.sessions.max(1) as usize));
        if too_many > 0 && sign_in.limit.is_some_and(|limit| limit.policy == AtLimit::Deny) {
            return Ok(SignedIn::Full);
        }
        let written = match from {
            None => tables.insert(to, record),
            Some(from) => tables.may_move(from, to, record),
        };
        match written {
            Written::Done => {}
            Written::Gone => return Ok(SignedIn::Gone),
            Written::Stale => return Ok(SignedIn::Stale),
        }
        if let Some(from) = from {
            tables.rotate(from, to, record);
        }
        let at = record.seen_at;
        if let Some(entry) = sign_in.replaces.as_ref().and_then(|handle| tables.devices.get_mut(handle))
            && entry.is_active()
        {
            entry.end(&Ending { end: End::LoggedOut, at, reason: None });
            entry.key = from.cloned();
        }
        if let Some(known) = tables.devices.get(&device.handle) {
            device.created_at = known.device.created_at;
            device.requests = known.device.requests;
            let (facts, known) = (&mut device.facts, &known.device.facts);
            facts.auth_method = facts.auth_method.take().or_else(|| known.auth_method.clone());
            facts.provider_session = facts.provider_session.take().or_else(|| known.provider_session.clone());
        }
        tables.devices.insert(device.handle.clone(), Entry { key: Some(to.clone()), device });
        let ending = Ending { end: End::Evicted, at, reason: None };
        Ok(SignedIn::Done(others.iter().take(too_many).filter_map(|handle| tables.end(handle, &ending)).collect()))
    }

    async fn align(&self, key: &StoreKey, device: Option<&Device>, at: SystemTime) -> Result<Alignment, Error> {
        let mut tables = self.tables();
        if tables.alive(key, at).is_none() {
            return Ok(Alignment::Over);
        }
        if let Some(known) = tables.active_under(key)
            && device.is_some_and(|device| device.owner == known.owner)
        {
            return Ok(Alignment::Device(known.handle.clone()));
        }
        tables.align(key, device.cloned(), false, at).map(|(alignment, _)| alignment)
    }

    async fn seen(&self, seen: &[Seen]) -> Result<(), Error> {
        let mut tables = self.tables();
        for seen in seen {
            let Some(Entry { device, .. }) = tables.devices.get_mut(&seen.handle) else { continue };
            device.requests = device.requests.saturating_add(seen.requests);
            if device.ended.is_none() && device.last_seen_at < whole(seen.at) {
                device.last_seen_at = whole(seen.at);
                device.expires_at = whole(seen.expires_at);
            }
        }
        Ok(())
    }

    async fn list(&self, owner: &UserId, now: SystemTime, page: &Page) -> Result<Vec<Device>, Error> {
        let tables = self.tables();
        let live = tables.live(owner, now);
        let devices = live.iter().filter_map(|handle| tables.devices.get(handle)).map(|entry| entry.device.clone());
        Ok(on_page(devices, |device| device.created_at, page))
    }

    async fn find(&self, owner: &UserId, handle: &Handle, now: SystemTime) -> Result<Option<Device>, Error> {
        let tables = self.tables();
        let entry = tables.devices.get(handle).filter(|entry| entry.device.owner == *owner);
        Ok(entry.filter(|entry| tables.is_alive(entry, now)).map(|entry| entry.device.clone()))
    }

    async fn history(&self, owner: &UserId, page: &Page) -> Result<Vec<Device>, Error> {
        let tables = self.tables();
        let owned = tables.devices.values().map(|entry| &entry.device).filter(|device| device.owner == *owner);
        let ended = owned.filter(|device| device.ended.is_some()).cloned();
        Ok(on_page(ended, |device| device.ended.as_ref().map_or(device.created_at, |ending| ending.at), page))
    }

    async fn search(&self, search: &Search, now: SystemTime, page: &Page) -> Result<Vec<Device>, Error> {
        let tables = self.tables();
        let is_as_asked = |entry: &&Entry| match search.status {
            None => true,
            Some(Status::Live) => tables.is_alive(entry, now) && !tables.is_ended_with_everyone(&entry.device),
            Some(Status::Ended) => !entry.is_active(),
            Some(Status::EndedBy(end)) => entry.device.ended.as_ref().is_some_and(|ending| ending.end == end),
        };
        let found = tables.devices.values().filter(is_as_asked).map(|entry| &entry.device).filter(|device| {
            search.handle.as_ref().is_none_or(|handle| device.handle == *handle)
                && search.owner.as_ref().is_none_or(|owner| device.owner == *owner)
                && search.network.is_none_or(|network| device.facts.ip.is_some_and(|ip| network.contains(&ip)))
                && search.since.is_none_or(|since| device.created_at >= since)
                && search.before.is_none_or(|before| device.began() < before)
        });
        Ok(on_page(found.cloned(), |device| device.created_at, page))
    }

    async fn key(&self, handle: &Handle) -> Result<Option<StoreKey>, Error> {
        Ok(self.tables().devices.get(handle).and_then(|entry| entry.key.clone()))
    }

    async fn revoke(&self, owner: &UserId, handle: &Handle, ending: &Ending) -> Result<Option<EndedSession>, Error> {
        let mut tables = self.tables();
        let entry = tables.devices.get(handle).filter(|entry| entry.device.owner == *owner);
        let is_there = entry.is_some_and(|entry| tables.is_alive(entry, ending.at));
        Ok(if is_there { tables.end(handle, ending) } else { None })
    }

    async fn revoke_all(
        &self,
        owner: &UserId,
        keep: Option<&Handle>,
        ending: &Ending,
    ) -> Result<Vec<EndedSession>, Error> {
        let mut tables = self.tables();
        let cut_off = tables.cut_offs.entry(owner.as_str().into()).or_insert(ending.at);
        *cut_off = (*cut_off).max(ending.at);
        let mut live = tables.live(owner, ending.at);
        live.retain(|handle| Some(handle) != keep);
        Ok(live.iter().filter_map(|handle| tables.end(handle, ending)).collect())
    }

    async fn revoke_provider_session(
        &self,
        provider_session: &str,
        ending: &Ending,
    ) -> Result<Vec<EndedSession>, Error> {
        let mut tables = self.tables();
        let is_of = |entry: &&Entry| entry.device.facts.provider_session.as_deref() == Some(provider_session);
        let entries = tables.devices.values().filter(is_of).filter(|entry| tables.is_alive(entry, ending.at));
        let handles: Vec<_> = entries.map(|entry| entry.device.handle.clone()).collect();
        Ok(handles.iter().filter_map(|handle| tables.end(handle, ending)).collect())
    }

    async fn revoke_everyone(&self, before: SystemTime, ending: &Ending) -> Result<(), Error> {
        let mut tables = self.tables();
        let before = whole(before);
        if tables.everyone.as_ref().is_none_or(|(cut_off, _)| cut_off.before < before) {
            tables.everyone = Some((CutOff { before, swept: false }, ending.clone()));
        }
        Ok(())
    }

    async fn tidy(&self, tidy: &Tidy<'_>) -> Result<Tidied, Error> {
        let (mut tables, mut tidied) = (self.tables(), Tidied::default());
        for handle in tables.devices.keys().cloned().collect::<Vec<_>>() {
            tables.tidy_entry(&handle, tidy.now, &mut tidied);
        }
        for key in tables.rows.keys().cloned().collect::<Vec<_>>() {
            tables.tidy_row(&key, tidy, &mut tidied);
        }
        if let Some((cut_off, _)) = &mut tables.everyone {
            cut_off.swept = true;
        }
        let is_old = |at: SystemTime, kept| tidy.now.duration_since(at).is_ok_and(|age| age > kept);
        let before = tables.devices.len();
        tables.devices.retain(|_, entry| !entry.device.ended.as_ref().is_some_and(|end| is_old(end.at, tidy.history)));
        tidied.forgotten = (before - tables.devices.len()) as u64;
        tables.moves.retain(|_, (_, at)| !is_old(*at, Tidy::MOVES_KEPT));
        Ok(tidied)
    }
}

/// The newest first, as far as the page goes.
fn on_page(devices: impl Iterator<Item = Device>, time: impl Fn(&Device) -> SystemTime, page: &Page) -> Vec<Device> {
    let place = |device: &Device| (time(device), device.handle.clone());
    let after = page.after.as_ref().map(|cursor| (cursor.at, cursor.handle.clone()));
    let mut devices: Vec<_> =
        devices.filter(|device| after.as_ref().is_none_or(|after| place(device) < *after)).collect();
    devices.sort_by_key(|device| Reverse(place(device)));
    devices.truncate(page.limit as usize);
    devices
}
