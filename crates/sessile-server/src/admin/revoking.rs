//! Ending sessions, for pages and API alike: counted exactly beforehand, audited, then done.

use std::time::SystemTime;

use sessile_core::{Cursor, Device, Error, Handle, Page, Search, Status, UserId};

use super::access::Who;
use super::audit::{self, Deed};
use super::problem::Problem;
use super::state::Dashboard;

/// How many sessions are looked at in one question.
const AT_ONCE: u32 = 1_000;

/// Many sessions at once.
#[derive(Clone, Debug)]
pub(super) enum Whose {
    /// One user's, but for one of them.
    User { owner: UserId, keep: Option<Handle> },
    /// Everybody's that were signed in before this.
    Everyone { before: SystemTime },
}

impl Whose {
    /// Nobody can be called so.
    fn is_nobodys(&self) -> bool {
        matches!(self, Self::User { owner, .. } if !UserId::is_name(owner.as_str()))
    }

    /// How many live sessions that is, counted one by one.
    pub(super) async fn count(&self, dashboard: &Dashboard) -> Result<u64, Error> {
        let search = match self {
            _ if self.is_nobodys() => return Ok(0),
            Self::User { owner, .. } => Search { owner: Some(owner.clone()), ..live() },
            Self::Everyone { .. } => live(),
        };
        let (mut count, mut after) = (0, None::<Cursor>);
        loop {
            let page = Page { limit: AT_ONCE, after };
            let found = dashboard.sessions.devices().search(&search, &page).await?;
            count += found.devices.iter().filter(|device| self.has(device)).count() as u64;
            after = found.next;
            if after.is_none() {
                return Ok(count);
            }
        }
    }

    fn has(&self, device: &Device) -> bool {
        match self {
            Self::User { keep, .. } => keep.as_ref() != Some(&device.handle),
            Self::Everyone { before } => device.began() < *before,
        }
    }
}

fn live() -> Search {
    Search { status: Some(Status::Live), ..Search::default() }
}

/// The session with this handle, whoever's it is and however it is.
pub(super) async fn find(dashboard: &Dashboard, handle: &Handle) -> Result<Option<Device>, Error> {
    let search = Search { handle: Some(handle.clone()), ..Search::default() };
    Ok(dashboard.sessions.devices().search(&search, &Page::first(1)).await?.devices.pop())
}

/// Ends one session; false when it was over already.
pub(super) async fn end_one(dashboard: &Dashboard, who: &Who, device: &Device, reason: &str) -> Result<bool, Problem> {
    let devices = dashboard.sessions.devices();
    if devices.find(&device.owner, device.handle.as_str()).await?.is_none() {
        return Ok(false);
    }
    audit::record(dashboard, who, Deed::RevokeSession, device.handle.as_str(), 1, Some(reason)).await?;
    Ok(devices.revoke_for(&device.owner, &device.handle, reason).await?)
}

/// Ends many sessions and says how many: for a user's exactly those that ended, for everybody's those that were counted the
/// moment before, for they end all at once.
pub(super) async fn end_many(dashboard: &Dashboard, who: &Who, whose: &Whose, reason: &str) -> Result<u64, Problem> {
    who.has_proved_lately()?;
    if whose.is_nobodys() {
        return Ok(0);
    }
    let count = whose.count(dashboard).await?;
    let devices = dashboard.sessions.devices();
    match whose {
        Whose::User { owner, keep } => {
            audit::record(dashboard, who, Deed::RevokeUser, owner.as_str(), count, Some(reason)).await?;
            Ok(match keep {
                Some(keep) => devices.revoke_all_but(owner, keep, reason).await?,
                None => devices.revoke_all(owner, reason).await?,
            })
        }
        Whose::Everyone { before } => {
            let before = (*before).min(dashboard.now());
            let target = jiff::Timestamp::try_from(before).unwrap_or_default().to_string();
            audit::record(dashboard, who, Deed::RevokeEveryone, &target, count, Some(reason)).await?;
            devices.revoke_everyone(before, reason).await?;
            Ok(count)
        }
    }
}
