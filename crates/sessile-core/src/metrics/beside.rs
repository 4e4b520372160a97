//! The rest of a measured store: everything that a store may have beside its sessions, each call passed on and measured. It
//! is only ever reached where the store below has it; a call without it is the program's mistake.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::Measured;
use super::operation::Operation as Op;
use crate::{
    Action, Alignment, Check, Device, EndedSession, Ending, Error, Examine, Handle, Imported, Interval, Operations,
    Operator, Page, Piece, Place, Record, Registry, Search, SecretUse, Seen, SignIn, SignedIn, Stats, Store, StoreKey,
    StoreStats, Tidied, Tidy, Transfer, UserId,
};

fn missing() -> Error {
    Error::misuse("the measured store does not have what it was asked for")
}

impl<S: Store> Measured<S> {
    fn registry_below(&self) -> Result<&dyn Registry, Error> {
        self.store.registry().ok_or_else(missing)
    }

    fn stats_below(&self) -> Result<&dyn Stats, Error> {
        self.store.stats().ok_or_else(missing)
    }

    fn operations_below(&self) -> Result<&dyn Operations, Error> {
        self.store.operations().ok_or_else(missing)
    }

    fn transfer_below(&self) -> Result<&dyn Transfer, Error> {
        self.store.transfer().ok_or_else(missing)
    }
}

#[async_trait]
impl<S: Store> Registry for Measured<S> {
    async fn sign_in(
        &self,
        from: Option<&StoreKey>,
        to: &StoreKey,
        record: &Record,
        sign_in: &SignIn,
    ) -> Result<SignedIn, Error> {
        self.measure(Op::SignIn, self.registry_below()?.sign_in(from, to, record, sign_in)).await
    }

    async fn align(&self, key: &StoreKey, device: Option<&Device>, at: SystemTime) -> Result<Alignment, Error> {
        self.measure(Op::Align, self.registry_below()?.align(key, device, at)).await
    }

    async fn seen(&self, seen: &[Seen]) -> Result<(), Error> {
        self.measure(Op::Seen, self.registry_below()?.seen(seen)).await
    }

    async fn list(&self, owner: &UserId, now: SystemTime, page: &Page) -> Result<Vec<Device>, Error> {
        self.measure(Op::List, self.registry_below()?.list(owner, now, page)).await
    }

    async fn find(&self, owner: &UserId, handle: &Handle, now: SystemTime) -> Result<Option<Device>, Error> {
        self.measure(Op::Find, self.registry_below()?.find(owner, handle, now)).await
    }

    async fn history(&self, owner: &UserId, page: &Page) -> Result<Vec<Device>, Error> {
        self.measure(Op::History, self.registry_below()?.history(owner, page)).await
    }

    async fn search(&self, search: &Search, now: SystemTime, page: &Page) -> Result<Vec<Device>, Error> {
        self.measure(Op::Search, self.registry_below()?.search(search, now, page)).await
    }

    async fn count(&self, search: &Search, now: SystemTime) -> Result<u64, Error> {
        self.measure(Op::Search, self.registry_below()?.count(search, now)).await
    }

    async fn key(&self, handle: &Handle) -> Result<Option<StoreKey>, Error> {
        self.measure(Op::Key, self.registry_below()?.key(handle)).await
    }

    async fn revoke(&self, owner: &UserId, handle: &Handle, ending: &Ending) -> Result<Option<EndedSession>, Error> {
        self.measure(Op::Revoke, self.registry_below()?.revoke(owner, handle, ending)).await
    }

    async fn revoke_all(
        &self,
        owner: &UserId,
        keep: Option<&Handle>,
        ending: &Ending,
    ) -> Result<Vec<EndedSession>, Error> {
        self.measure(Op::RevokeAll, self.registry_below()?.revoke_all(owner, keep, ending)).await
    }

    async fn revoke_provider_session(
        &self,
        provider_session: &str,
        ending: &Ending,
    ) -> Result<Vec<EndedSession>, Error> {
        let call = self.registry_below()?.revoke_provider_session(provider_session, ending);
        self.measure(Op::RevokeProviderSession, call).await
    }

    async fn revoke_everyone(&self, before: SystemTime, ending: &Ending) -> Result<(), Error> {
        self.measure(Op::RevokeEveryone, self.registry_below()?.revoke_everyone(before, ending)).await
    }

    async fn tidy(&self, tidy: &Tidy<'_>) -> Result<Tidied, Error> {
        self.measure(Op::Tidy, self.registry_below()?.tidy(tidy)).await
    }
}

#[async_trait]
impl<S: Store> Stats for Measured<S> {
    async fn stats(&self, now: SystemTime, top: u32) -> Result<StoreStats, Error> {
        self.measure(Op::Stats, self.stats_below()?.stats(now, top)).await
    }

    async fn timeline(&self, from: SystemTime, step: Duration, count: u32) -> Result<Vec<Interval>, Error> {
        self.measure(Op::Stats, self.stats_below()?.timeline(from, step, count)).await
    }
}

#[async_trait]
impl<S: Store> Examine for Measured<S> {
    async fn examine(&self, now: SystemTime) -> Vec<Check> {
        match self.store.examine() {
            Some(examine) => self.measure(Op::Examine, examine.examine(now)).await,
            None => Vec::new(),
        }
    }
}

#[async_trait]
impl<S: Store> Operations for Measured<S> {
    async fn add_operator(&self, operator: &Operator) -> Result<bool, Error> {
        self.measure(Op::Operators, self.operations_below()?.add_operator(operator)).await
    }

    async fn operators(&self) -> Result<Vec<Operator>, Error> {
        self.measure(Op::Operators, self.operations_below()?.operators()).await
    }

    async fn remove_operator(&self, name: &str) -> Result<bool, Error> {
        self.measure(Op::Operators, self.operations_below()?.remove_operator(name)).await
    }

    async fn record(&self, action: &Action) -> Result<(), Error> {
        self.measure(Op::Operators, self.operations_below()?.record(action)).await
    }

    async fn actions(&self, before: Option<i64>, limit: u32) -> Result<Vec<(i64, Action)>, Error> {
        self.measure(Op::Operators, self.operations_below()?.actions(before, limit)).await
    }

    async fn note_secrets(&self, uses: &[SecretUse]) -> Result<(), Error> {
        self.measure(Op::Operators, self.operations_below()?.note_secrets(uses)).await
    }

    async fn secrets(&self) -> Result<Vec<SecretUse>, Error> {
        self.measure(Op::Operators, self.operations_below()?.secrets()).await
    }
}

#[async_trait]
impl<S: Store> Transfer for Measured<S> {
    async fn export(&self, from: &Place, now: SystemTime, limit: u32) -> Result<(Vec<Piece>, Option<Place>), Error> {
        self.measure(Op::Transfer, self.transfer_below()?.export(from, now, limit)).await
    }

    async fn import(&self, pieces: &[Piece]) -> Result<Imported, Error> {
        self.measure(Op::Transfer, self.transfer_below()?.import(pieces)).await
    }

    async fn has_owner_column(&self) -> Result<bool, Error> {
        self.transfer_below()?.has_owner_column().await
    }

    async fn size(&self) -> Result<u64, Error> {
        self.measure(Op::Transfer, self.transfer_below()?.size()).await
    }
}
