//! The registry of the store: what it writes goes into the queue, what it is asked runs on a reader.

use std::time::SystemTime;

use async_trait::async_trait;
use sessile_core::{
    Alignment, Device, EndedSession, Ending, Error, Handle, Page, Record, Registry, Search, Seen, SignIn, SignedIn,
    StoreKey, Tidied, Tidy, UserId,
};

use crate::statements::Signing;
use crate::store::SqliteStore;
use crate::tidy;
use crate::times::{millis, millis_up};

/// In place of a user: everyone. No user can be called that.
pub(crate) const EVERYONE: &str = "";

#[async_trait]
impl Registry for SqliteStore {
    async fn sign_in(
        &self,
        from: Option<&StoreKey>,
        to: &StoreKey,
        record: &Record,
        sign_in: &SignIn,
    ) -> Result<SignedIn, Error> {
        let device = record.device(sign_in.facts.clone())?;
        let Some(device) = device.filter(|device| device.owner.as_str() != EVERYONE) else {
            return Err(Error::misuse("a sign-in without an owner"));
        };
        let signing = Signing {
            from: from.cloned(),
            to: to.clone(),
            row: self.change(record),
            device,
            presented: record.authenticated_at().unwrap_or(record.seen_at),
            sign_in: sign_in.clone(),
            at: record.seen_at,
        };
        self.write_whole(move |statements, connection| statements.sign_in(connection, &signing)).await
    }

    async fn align(&self, key: &StoreKey, device: Option<&Device>, at: SystemTime) -> Result<Alignment, Error> {
        let (key, device) = (key.clone(), device.cloned());
        self.write_whole(move |statements, connection| statements.align(connection, &key, device.as_ref(), at)).await
    }

    async fn seen(&self, seen: &[Seen]) -> Result<(), Error> {
        let seen = seen.to_vec();
        self.write_whole(move |statements, connection| {
            seen.iter().try_for_each(|seen| statements.entries.seen(connection, seen))
        })
        .await
    }

    async fn list(&self, owner: &UserId, now: SystemTime, page: &Page) -> Result<Vec<Device>, Error> {
        self.read(|statements, connection| statements.lists.live(connection, owner, now, page))
    }

    async fn find(&self, owner: &UserId, handle: &Handle, now: SystemTime) -> Result<Option<Device>, Error> {
        self.read(|statements, connection| statements.lists.find(connection, owner, handle, now))
    }

    async fn history(&self, owner: &UserId, page: &Page) -> Result<Vec<Device>, Error> {
        self.read(|statements, connection| statements.lists.history(connection, owner, page))
    }

    async fn search(&self, search: &Search, now: SystemTime, page: &Page) -> Result<Vec<Device>, Error> {
        self.read(|statements, connection| statements.lists.search(connection, search, now, page))
    }

    async fn count(&self, search: &Search, now: SystemTime) -> Result<u64, Error> {
        self.read(|statements, connection| statements.lists.count(connection, search, now))
    }

    async fn key(&self, handle: &Handle) -> Result<Option<StoreKey>, Error> {
        self.read(|statements, connection| statements.lists.key(connection, handle))
    }

    async fn revoke(&self, owner: &UserId, handle: &Handle, ending: &Ending) -> Result<Option<EndedSession>, Error> {
        let (owner, handle, ending) = (owner.clone(), handle.clone(), ending.clone());
        self.write_whole(move |statements, connection| statements.revoke(connection, &owner, &handle, &ending)).await
    }

    async fn revoke_all(
        &self,
        owner: &UserId,
        keep: Option<&Handle>,
        ending: &Ending,
    ) -> Result<Vec<EndedSession>, Error> {
        if owner.as_str() == EVERYONE {
            return Ok(Vec::new());
        }
        let (owner, keep, ending) = (owner.clone(), keep.cloned(), ending.clone());
        let before = millis_up(ending.at);
        self.write_whole(move |statements, connection| {
            statements.revoke_all(connection, &owner, keep.as_ref(), &ending, before)
        })
        .await
    }

    async fn revoke_provider_session(
        &self,
        provider_session: &str,
        ending: &Ending,
    ) -> Result<Vec<EndedSession>, Error> {
        let (provider_session, ending) = (provider_session.to_owned(), ending.clone());
        self.write_whole(move |statements, connection| {
            statements.revoke_provider_session(connection, &provider_session, &ending)
        })
        .await
    }

    async fn revoke_everyone(&self, before: SystemTime, ending: &Ending) -> Result<(), Error> {
        let ending = ending.clone();
        self.write(move |statements, connection| {
            statements.entries.cut_off(connection, EVERYONE, millis(before), &ending)
        })
        .await
    }

    async fn tidy(&self, tidy: &Tidy<'_>) -> Result<Tidied, Error> {
        tidy::tidy(self, tidy).await
    }
}
