//! The `Registry`: a user's sessions are at the user's home, and each call is about one home or names a handle, which says
//! whose it is.

use std::time::SystemTime;

use async_trait::async_trait;
use sessile_core::{
    Alignment, CutOff, Device, EndedSession, Ending, Error, Handle, Page, Record, Registry, Search, Seen, SignIn,
    SignedIn, StoreKey, Tidied, Tidy, UserId,
};

use crate::RedisStore;
use crate::failure::Failure;
use crate::link::Link;
use crate::names::Home;
use crate::revoke::Only;
use crate::script::SEEN;
use crate::time::{millis, millis_up};

/// So many uses of sessions are noted together.
const AT_ONCE: usize = 200;

impl RedisStore {
    /// The home of whoever has this handle.
    pub(crate) async fn home_of(&self, handle: &Handle) -> Result<Option<Home>, Failure> {
        let owner = self.link.ask(redis::cmd("GET").arg(self.names.handle(handle)).to_owned()).await?;
        let owner: Option<String> = redis::from_redis_value(owner)?;
        Ok(owner.map(|owner| self.names.home(&owner)))
    }

    /// Uses are noted together: two round trips, however many they are.
    async fn note_uses(&self, seen: &[Seen]) -> Result<(), Failure> {
        let owner = |seen: &Seen| {
            let name = self.names.handle(&seen.handle);
            let owner = redis::cmd("GET").arg(&name).to_owned();
            (name, vec![owner])
        };
        let owners = self.link.ask_groups(seen.iter().map(owner).collect()).await?.into_iter().flatten();
        let mut notes = Vec::new();
        for (seen, owner) in seen.iter().zip(owners) {
            let owner: Option<String> = redis::from_redis_value(owner)?;
            let device = |owner: String| self.names.home(&owner).device(seen.handle.as_str());
            let arguments =
                [millis(seen.at).to_string(), millis(seen.expires_at).to_string(), seen.requests.to_string()];
            notes.extend(owner.map(device).map(|device| (device, arguments)));
        }
        let note = |link: Link, (device, arguments): (String, [String; 3])| async move {
            link.run(&SEEN, &[device], &arguments).await
        };
        self.link.all(notes.into_iter(), note).await.map(drop)
    }
}

#[async_trait]
impl Registry for RedisStore {
    async fn sign_in(
        &self,
        from: Option<&StoreKey>,
        to: &StoreKey,
        record: &Record,
        sign_in: &SignIn,
    ) -> Result<SignedIn, Error> {
        self.enter_session(from, to, record, sign_in).await
    }

    async fn align(&self, key: &StoreKey, device: Option<&Device>, at: SystemTime) -> Result<Alignment, Error> {
        self.follow(key, device, false, at).await.map(|(alignment, _)| alignment)
    }

    async fn seen(&self, seen: &[Seen]) -> Result<(), Error> {
        for seen in seen.chunks(AT_ONCE) {
            self.note_uses(seen).await?;
        }
        Ok(())
    }

    async fn list(&self, owner: &UserId, now: SystemTime, page: &Page) -> Result<Vec<Device>, Error> {
        let home = self.names.home(owner.as_str());
        let now = millis_up(now);
        Ok(self.part_of(&home, &home.live(), page, |entry| entry.is_alive(now)).await?)
    }

    async fn find(&self, owner: &UserId, handle: &Handle, now: SystemTime) -> Result<Option<Device>, Error> {
        let entry = self.entry(&self.names.home(owner.as_str()), handle).await?;
        let now = millis_up(now);
        Ok(entry.filter(|entry| entry.is_alive(now)).map(|entry| entry.device))
    }

    async fn history(&self, owner: &UserId, page: &Page) -> Result<Vec<Device>, Error> {
        let home = self.names.home(owner.as_str());
        Ok(self.part_of(&home, &home.past(), page, |entry| entry.device.ended.is_some()).await?)
    }

    async fn search(&self, search: &Search, now: SystemTime, page: &Page) -> Result<Vec<Device>, Error> {
        self.search_all(search, millis_up(now), page).await
    }

    async fn key(&self, handle: &Handle) -> Result<Option<StoreKey>, Error> {
        let Some(home) = self.home_of(handle).await? else { return Ok(None) };
        let entry = self.entry(&home, handle).await?;
        Ok(entry.and_then(|entry| entry.key).map(|key| StoreKey::stored(&key)))
    }

    async fn revoke(&self, owner: &UserId, handle: &Handle, ending: &Ending) -> Result<Option<EndedSession>, Error> {
        let only = Only { alive: Some(millis_up(ending.at)), ..Only::default() };
        self.end(&self.names.home(owner.as_str()), handle, ending, only).await
    }

    async fn revoke_all(
        &self,
        owner: &UserId,
        keep: Option<&Handle>,
        ending: &Ending,
    ) -> Result<Vec<EndedSession>, Error> {
        self.end_all(&self.names.home(owner.as_str()), keep, ending).await
    }

    async fn revoke_provider_session(
        &self,
        provider_session: &str,
        ending: &Ending,
    ) -> Result<Vec<EndedSession>, Error> {
        self.end_of_provider(provider_session, ending).await
    }

    async fn revoke_everyone(&self, before: SystemTime, ending: &Ending) -> Result<(), Error> {
        self.cut_everyone_off(CutOff { before, swept: false }, ending).await.map(drop)
    }

    async fn tidy(&self, tidy: &Tidy<'_>) -> Result<Tidied, Error> {
        self.bring_into_step(tidy).await
    }
}
