//! A user's devices: the sessions of one owner, listed and ended. Thin over [`Registry`]: what is added is the owner in
//! every question, and the events.

use std::time::SystemTime;

use crate::clock::{from_millis, to_millis};
use crate::event::{Event, EventKind};
use crate::registry::{Cursor, Device, End, EndedSession, Ending, Page, Registry, Search};
use crate::{Error, Exchange, Handle, Session, Sessions, UserId};

/// The sessions of users: who is signed in where. Made by [`Sessions::devices`]; with axum also an extractor.
///
/// Every call names the owner, and what belongs to somebody else does not exist. What is ended here is over for the very
/// next request, on every instance.
///
/// ```
/// # use sessile_core::{Devices, Error, Page, Session};
/// async fn sign_out_elsewhere(session: Session, devices: Devices) -> Result<u64, Error> {
///     devices.revoke_others(&session).await
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Devices {
    sessions: Sessions,
    /// The request that asks, where there is one.
    exchange: Option<Exchange>,
}

/// A part of a list, the newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevicePage {
    /// The devices.
    pub devices: Vec<Device>,
    /// Where the next part begins; `None` when this is the last.
    pub next: Option<Cursor>,
}

impl Sessions {
    /// The sessions of users.
    pub fn devices(&self) -> Devices {
        Devices { sessions: self.clone(), exchange: None }
    }

    pub(crate) fn registry(&self) -> Result<&dyn Registry, Error> {
        self.store().registry().ok_or_else(|| {
            Error::config(
                "this session store keeps no registry, so that nobody's sessions can be listed; use one that does",
            )
        })
    }
}

impl Devices {
    /// As this request asks.
    pub(crate) fn of(self, exchange: &Exchange) -> Self {
        Self { exchange: Some(exchange.clone()), ..self }
    }

    /// The owner's live sessions, the latest sign-in first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self, owner: &UserId, page: &Page) -> Result<DevicePage, Error> {
        self.sessions.write_activity().await;
        let devices = self.sessions.registry()?.list(owner, self.sessions.now(), &one_more(page)).await?;
        Ok(paged(devices, page, |device| device.created_at))
    }

    /// The owner's live session with this handle; `None` for any other, as [`revoke`](Devices::revoke) has it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn find(&self, owner: &UserId, handle: &str) -> Result<Option<Device>, Error> {
        let Some(handle) = Handle::parse(handle) else { return Ok(None) };
        self.sessions.registry()?.find(owner, &handle, self.sessions.now()).await
    }

    /// The owner's sessions that ended, the latest end first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn history(&self, owner: &UserId, page: &Page) -> Result<DevicePage, Error> {
        let devices = self.sessions.registry()?.history(owner, &one_more(page)).await?;
        Ok(paged(devices, page, |device| device.ended.as_ref().map_or(device.created_at, |ending| ending.at)))
    }

    /// Ends the owner's session with this handle. False when there is none: unknown, somebody else's, already over, or no
    /// handle at all, for which the store is not even asked. A web application answers 404 to all of them.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn revoke(&self, owner: &UserId, handle: &str) -> Result<bool, Error> {
        let Some(handle) = Handle::parse(handle) else { return Ok(false) };
        self.revoke_for(owner, &handle, "ended from the list of devices").await
    }

    /// [`revoke`](Devices::revoke) by somebody who has a reason of their own, like an operator.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn revoke_for(&self, owner: &UserId, handle: &Handle, reason: &str) -> Result<bool, Error> {
        let ending = self.revoked(reason);
        let ended = self.sessions.registry()?.revoke(owner, handle, &ending).await?;
        let ended = Vec::from_iter(ended);
        self.tell(&ended, &ending);
        Ok(!ended.is_empty())
    }

    /// Ends every session of this session's owner but this one, and says how many. A sign-in of the same user that another
    /// request has under way is refused; what the user proved in this one holds.
    ///
    /// ```
    /// # use sessile_core::{Devices, Error, Session};
    /// async fn password_was_changed(session: &Session, devices: &Devices) -> Result<(), Error> {
    ///     session.authenticate_again()?;
    ///     devices.revoke_others(session).await?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// When nobody is signed in, or the store fails.
    pub async fn revoke_others(&self, current: &Session) -> Result<u64, Error> {
        let owner = current.owner().ok_or_else(|| Error::unauthenticated("nobody is signed in"))?;
        let ended = self.revoke_but(&owner, Some(&current.handle()), "signed out from another device").await?;
        current.count_from(self.after_now());
        Ok(ended)
    }

    /// Ends every session of this user, and says how many: after a reset of their password, or when an account is closed. A
    /// sign-in of the same user that another request has under way is refused: its credentials were checked before (ASVS
    /// 7.4.3). One that this request makes afterwards holds, when these `Devices` are the request's own (the extractor, or
    /// [`Exchange::devices`]).
    ///
    /// # Errors
    /// When the store fails.
    pub async fn revoke_all(&self, owner: &UserId, reason: &str) -> Result<u64, Error> {
        self.revoke_but(owner, None, reason).await
    }

    /// Ends every session of this user but that one, and says how many: by an operator, or by the application where the
    /// session that stays is not the one that asks. As [`revoke_all`](Devices::revoke_all) in everything else.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn revoke_all_but(&self, owner: &UserId, keep: &Handle, reason: &str) -> Result<u64, Error> {
        self.revoke_but(owner, Some(keep), reason).await
    }

    /// Everybody's sessions that are looked for, the latest sign-in first. For operators: it names no owner.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn search(&self, search: &Search, page: &Page) -> Result<DevicePage, Error> {
        self.sessions.write_activity().await;
        let devices = self.sessions.registry()?.search(search, self.sessions.now(), &one_more(page)).await?;
        Ok(paged(devices, page, |device| device.created_at))
    }

    /// How many sessions [`search`](Devices::search) finds, on all pages together.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn count(&self, search: &Search) -> Result<u64, Error> {
        self.sessions.write_activity().await;
        self.sessions.registry()?.count(search, self.sessions.now()).await
    }

    /// Ends every session that was signed in from this session of an identity provider
    /// ([`Session::sign_in_at_provider`]), and says how many: the user signed out there. A sign-in that is under way is not
    /// refused.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn revoke_by_provider_session(&self, provider_session: &str, reason: &str) -> Result<u64, Error> {
        let ending = self.revoked(reason);
        let ended = self.sessions.registry()?.revoke_provider_session(provider_session, &ending).await?;
        self.tell(&ended, &ending);
        Ok(ended.len() as u64)
    }

    /// Ends everyone's sessions that were signed in before this time, at once and whatever their number: loads compare it,
    /// and the sweeper clears up. Anonymous sessions stay. For a leaked secret, or a database that was read.
    ///
    /// # Errors
    /// When the time is in the future, or the store fails.
    pub async fn revoke_everyone(&self, before: SystemTime, reason: &str) -> Result<(), Error> {
        if before > self.sessions.now() {
            return Err(Error::value(
                "expected a time that is not in the future, found one that is: nobody could sign in until then",
            ));
        }
        self.sessions.registry()?.revoke_everyone(before, &self.revoked(reason)).await
    }

    async fn revoke_but(&self, owner: &UserId, keep: Option<&Handle>, reason: &str) -> Result<u64, Error> {
        let registry = self.sessions.registry()?;
        if !UserId::is_name(owner.as_str()) {
            return Ok(0);
        }
        let ending = self.revoked(reason);
        let ended = registry.revoke_all(owner, keep, &ending).await?;
        if let Some(exchange) = &self.exchange {
            exchange.count_from(self.after_now());
        }
        self.tell(&ended, &ending);
        Ok(ended.len() as u64)
    }

    /// The first whole millisecond that is later than all that has happened.
    fn after_now(&self) -> SystemTime {
        from_millis(to_millis(self.sessions.now()) + 1)
    }

    fn revoked(&self, reason: &str) -> Ending {
        Ending { end: End::Revoked, at: self.sessions.now(), reason: Some(reason.into()) }
    }

    fn tell(&self, ended: &[EndedSession], ending: &Ending) {
        ended.iter().for_each(|ended| self.sessions.tell_of_end(ended, ending));
    }
}

impl Sessions {
    pub(crate) fn tell_of_end(&self, ended: &EndedSession, ending: &Ending) {
        let event = Event::new(EventKind::Ended(ending.end), ending.at).of(&ended.handle, Some(&ended.owner));
        self.config().tell(&Event { ip: ended.ip, reason: ending.reason.clone(), ..event });
    }
}

/// One more than is shown tells whether there is a next page.
fn one_more(page: &Page) -> Page {
    Page { limit: page.limit.saturating_add(1), ..page.clone() }
}

fn paged(mut devices: Vec<Device>, page: &Page, time: impl Fn(&Device) -> SystemTime) -> DevicePage {
    let is_last = devices.len() <= page.limit as usize;
    devices.truncate(page.limit as usize);
    let last = devices.last().filter(|_| !is_last);
    let next = last.map(|device| Cursor { at: time(device), handle: device.handle.clone() });
    DevicePage { devices, next }
}
