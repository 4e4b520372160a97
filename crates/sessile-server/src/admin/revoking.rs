//! Ending sessions, for pages and API alike: counted beforehand, audited, then done, whether or not somebody still waits for
//! the answer.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::http::StatusCode;
use sessile_core::{Device, Error, Handle, Page, Search, Status, UserId};
use tracing::Instrument as _;

use super::access::Who;
use super::audit::{self, Deed};
use super::problem::Problem;
use super::state::Dashboard;

/// How long everybody's sessions, which are to end, are counted at most.
const MOMENT: Duration = Duration::from_secs(1);

/// How long a preview counts everybody's.
const PREVIEW: Duration = Duration::from_secs(10);

/// Many sessions at once.
#[derive(Clone, Debug)]
pub(super) enum Whose {
    /// One user's, but for one of them.
    User { owner: UserId, keep: Option<Handle> },
    /// Everybody's that were signed in before this.
    Everyone { before: SystemTime },
}

/// Why many sessions did not end.
#[derive(Debug)]
pub(super) enum Refused {
    /// There are more than were confirmed.
    More,
    /// Something else.
    Problem(Problem),
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Problem(error.into())
    }
}

impl Whose {
    /// Nobody can be called so.
    fn is_nobodys(&self) -> bool {
        matches!(self, Self::User { owner, .. } if !UserId::is_name(owner.as_str()))
    }

    /// As it is to be understood now: a time that has not come is now.
    pub(super) fn from(self, now: SystemTime) -> Self {
        match self {
            Self::Everyone { before } => Self::Everyone { before: before.min(now) },
            user @ Self::User { .. } => user,
        }
    }

    /// How many live sessions that is; `None` for everybody's that cannot be counted in the time that a page may take.
    pub(super) async fn count(&self, dashboard: &Dashboard) -> Result<Option<u64>, Error> {
        self.count_within(dashboard, PREVIEW).await
    }

    async fn count_within(&self, dashboard: &Dashboard, limit: Duration) -> Result<Option<u64>, Error> {
        match self {
            _ if self.is_nobodys() => Ok(Some(0)),
            Self::User { owner, keep } => count_of_user(dashboard, owner, keep.as_ref()).await.map(Some),
            Self::Everyone { before } => {
                let search = Search { before: Some(*before), ..live() };
                let counted = tokio::time::timeout(limit, dashboard.sessions.devices().count(&search)).await;
                if !matches!(counted, Ok(Ok(_))) {
                    tracing::warn!(?counted, "everybody's sessions could not be counted");
                }
                Ok(counted.ok().and_then(Result::ok))
            }
        }
    }
}

async fn count_of_user(dashboard: &Dashboard, owner: &UserId, keep: Option<&Handle>) -> Result<u64, Error> {
    let devices = dashboard.sessions.devices();
    let all = devices.count(&Search { owner: Some(owner.clone()), ..live() }).await?;
    let stays = match keep {
        Some(keep) => devices.find(owner, keep.as_str()).await?.is_some(),
        None => false,
    };
    Ok(all.saturating_sub(stays.into()))
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
pub(super) async fn end_one(
    dashboard: &Arc<Dashboard>,
    who: &Who,
    device: &Device,
    reason: &str,
) -> Result<bool, Problem> {
    let (dashboard, who, device, reason) = (dashboard.clone(), who.clone(), device.clone(), reason.to_owned());
    to_its_end(async move {
        let devices = dashboard.sessions.devices();
        if devices.find(&device.owner, device.handle.as_str()).await?.is_none() {
            return Ok(false);
        }
        let target = format!("{} of {}", device.handle, device.owner.as_str());
        audit::record(&dashboard, &who, Deed::RevokeSession, &target, 1, Some(&reason)).await?;
        Ok(devices.revoke_for(&device.owner, &device.handle, &reason).await?)
    })
    .await
}

/// Ends many sessions and says how many: for a user's exactly those that ended, for everybody's those that were counted the
/// moment before, for they end all at once; `None` where they could not be counted in a second, for the sessions after a leak
/// do not wait for a number. Nothing is done where there are more than `confirmed`.
pub(super) async fn end_many(
    dashboard: &Arc<Dashboard>,
    who: &Who,
    whose: &Whose,
    reason: &str,
    confirmed: Option<u64>,
) -> Result<Option<u64>, Refused> {
    who.has_proved_lately()?;
    if whose.is_nobodys() {
        return Ok(Some(0));
    }
    let (dashboard, who, whose, reason) = (dashboard.clone(), who.clone(), whose.clone(), reason.to_owned());
    to_its_end(async move {
        let whose = whose.from(dashboard.now());
        let count = whose.count_within(&dashboard, MOMENT).await?;
        if count.zip(confirmed).is_some_and(|(count, confirmed)| count > confirmed) {
            return Err(Refused::More);
        }
        Ok(end_counted(&dashboard, &who, &whose, &reason, count).await?)
    })
    .await
}

async fn end_counted(
    dashboard: &Dashboard,
    who: &Who,
    whose: &Whose,
    reason: &str,
    count: Option<u64>,
) -> Result<Option<u64>, Problem> {
    let devices = dashboard.sessions.devices();
    let counted = count.unwrap_or_default();
    match whose {
        Whose::User { owner, keep } => {
            audit::record(dashboard, who, Deed::RevokeUser, owner.as_str(), counted, Some(reason)).await?;
            let ended = match keep {
                Some(keep) => devices.revoke_all_but(owner, keep, reason).await?,
                None => devices.revoke_all(owner, reason).await?,
            };
            Ok(Some(ended))
        }
        Whose::Everyone { before } => {
            let before_what = jiff::Timestamp::try_from(*before).unwrap_or_default();
            let note = if count.is_none() { " (not counted)" } else { "" };
            let target = format!("{before_what}{note}");
            audit::record(dashboard, who, Deed::RevokeEveryone, &target, counted, Some(reason)).await?;
            devices.revoke_everyone(*before, reason).await?;
            Ok(count)
        }
    }
}

/// Does this to its end, also when nobody waits for the answer any more: what was begun, and stands in the audit, is done.
async fn to_its_end<T: Send + 'static, E: From<Problem> + Send + 'static>(
    deed: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, E> {
    tokio::spawn(deed.in_current_span()).await.unwrap_or_else(|error| {
        tracing::error!(%error, "ending sessions stopped in the middle");
        Err(Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR).into())
    })
}
