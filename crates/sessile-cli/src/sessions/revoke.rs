//! `sessile revoke`: what would end is shown and counted, then somebody agrees, then it ends and is written down.

use std::time::SystemTime;

use anyhow::bail;
use serde_json::json;
use sessile::{
    Clock as _, Cursor, Device, End, Ending, Handle, Page, Registry, Search, Sessions, Status, SystemClock, UserId,
};

use super::list::print_devices;
use super::{Outcome, Unswept, handle, one, registry};
use crate::args::RevokeArgs;
use crate::output::{self, Found, Misused};
use crate::{audit, confirm, store, times};

/// So many are shown to people before they are asked.
const SHOWN: u64 = 20;

/// So many are read at once.
const READ: u32 = 1_000;

/// What the history says when nobody said why.
const NO_REASON: &str = "revoked by an operator";

/// Whose sessions end.
enum Whose {
    These(Vec<Handle>),
    User { owner: UserId, keep: Option<Handle> },
    Everyone { before: SystemTime },
}

pub(crate) async fn revoke(args: &RevokeArgs) -> Outcome {
    let handles = args.handles.iter().map(|text| handle(text)).collect::<Result<Vec<_>, _>>()?;
    let keep = args.keep.as_deref().map(handle).transpose()?;
    let now = SystemClock.now();
    let whose = match (&args.user, &args.before) {
        (Some(user), _) => Whose::User { owner: user.as_str().into(), keep },
        (None, Some(before)) => Whose::Everyone { before: times::parse(before, now)? },
        (None, None) if args.everyone => Whose::Everyone { before: now },
        (None, None) => Whose::These(handles),
    };
    whose.check(now)?;
    if args.output.json && !args.yes && !args.dry_run {
        // Whoever reads the list has to know what came of it.
        bail!(Misused("expected --yes or --dry-run beside --json, found neither; a program cannot be asked".into()));
    }
    let sessions = store::sessions(&args.store).await?;
    let unswept = Unswept::told(&sessions).await?;
    let shown = whose.show(registry(&sessions)?, &unswept, now, args.output.json).await?;
    if shown.is_empty() && !matches!(whose, Whose::Everyone { .. }) {
        return Ok(Found::Nothing);
    }
    let what = format!("end {}{}", counted(shown.count), whose.words());
    if args.dry_run {
        output::note(&format!("this would {what}"));
        return said(args, "would_end", shown.count, &shown);
    }
    confirm::agreed(args.yes, &what)?;
    let ended = whose.end(&sessions, &unswept, args.reason.as_deref(), shown.count).await?;
    output::note(&format!("ended: {}{}", counted(ended), whose.words()));
    let found = said(args, "ended", ended, &shown)?;
    Ok(if ended > 0 || matches!(whose, Whose::Everyone { .. }) { found } else { Found::Nothing })
}

/// The last line for programs; and whether everything that was named was there.
fn said(args: &RevokeArgs, what: &str, sessions: u64, shown: &Shown) -> Outcome {
    if args.output.json {
        output::print_json(&json!({ what: sessions }))?;
    }
    Ok(if shown.missing > 0 { Found::Fault } else { Found::Something })
}

/// What was found to end.
#[derive(Clone, Copy, Default)]
struct Shown {
    count: u64,
    /// Named, and not alive.
    missing: u64,
}

impl Shown {
    fn is_empty(self) -> bool {
        self.count == 0
    }
}

pub(crate) fn counted(sessions: u64) -> String {
    if sessions == 1 { "1 session".into() } else { format!("{sessions} sessions") }
}

impl Whose {
    /// Sessions that are signed in later are not there to end.
    fn check(&self, now: SystemTime) -> Result<(), Misused> {
        match self {
            Self::Everyone { before } if *before > now => Err(Misused(format!(
                "--before: expected a time that has come, found {}; leave it out and say --everyone to end all there are",
                times::shown(*before)
            ))),
            _ => Ok(()),
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Everyone { before } => format!(", everybody's that were signed in before {}", times::shown(*before)),
            _ => String::new(),
        }
    }

    /// Shows the live sessions, the first of them where people read, and counts them, without holding them all.
    async fn show(
        &self,
        registry: &dyn Registry,
        unswept: &Unswept,
        now: SystemTime,
        is_json: bool,
    ) -> anyhow::Result<Shown> {
        if let Self::These(handles) = self {
            let devices = these(registry, unswept, handles, now).await?;
            let missing = tell_missing(handles, &devices);
            show_some(&devices, 0, now, is_json)?;
            return Ok(Shown { count: devices.len() as u64, missing });
        }
        let (mut count, mut page) = (0, Page::first(READ));
        loop {
            let read = registry.search(&self.search(), now, &page).await?;
            page.after = read.last().map(|device| Cursor { at: device.created_at, handle: device.handle.clone() });
            let is_last = read.len() < READ as usize;
            let read = read.into_iter().map(|device| unswept.mark(device));
            let devices: Vec<_> = read.filter(|device| device.ended.is_none() && self.concerns(device)).collect();
            show_some(&devices, count, now, is_json)?;
            count += devices.len() as u64;
            if is_last {
                break;
            }
        }
        if count > SHOWN && !is_json {
            output::note(&format!("… and {} more", count - SHOWN));
        }
        Ok(Shown { count, missing: 0 })
    }

    fn search(&self) -> Search {
        let owner = match self {
            Self::User { owner, .. } => Some(owner.clone()),
            _ => None,
        };
        Search { owner, status: Some(Status::Live), ..Search::default() }
    }

    fn concerns(&self, device: &Device) -> bool {
        match self {
            Self::These(handles) => handles.contains(&device.handle),
            Self::User { keep, .. } => keep.as_ref() != Some(&device.handle),
            Self::Everyone { before } => device.began() < *before,
        }
    }

    /// Ends them and says how many. Everybody's end at once, however many they are: they were counted before.
    async fn end(
        &self,
        sessions: &Sessions,
        unswept: &Unswept,
        reason: Option<&str>,
        counted: u64,
    ) -> anyhow::Result<u64> {
        let registry = registry(sessions)?;
        let ending = Ending { end: End::Revoked, at: sessions.now(), reason: Some(reason.unwrap_or(NO_REASON).into()) };
        match self {
            Self::These(handles) => {
                let mut ended = 0;
                for device in these(registry, unswept, handles, ending.at).await? {
                    if registry.revoke(&device.owner, &device.handle, &ending).await?.is_some() {
                        ended += 1;
                        audit::record(sessions, "session.revoke", device.handle.as_str(), 1, reason).await;
                    }
                }
                Ok(ended)
            }
            Self::User { owner, keep } => {
                let ended = registry.revoke_all(owner, keep.as_ref(), &ending).await?.len() as u64;
                audit::record(sessions, "user.revoke", owner.as_str(), ended, reason).await;
                Ok(ended)
            }
            Self::Everyone { before } => {
                sessions.devices().revoke_everyone(*before, reason.unwrap_or(NO_REASON)).await?;
                audit::record(sessions, "everyone.revoke", &times::shown(*before), counted, reason).await;
                Ok(counted)
            }
        }
    }
}

/// The live sessions with these handles, each once.
async fn these(
    registry: &dyn Registry,
    unswept: &Unswept,
    handles: &[Handle],
    now: SystemTime,
) -> anyhow::Result<Vec<Device>> {
    let mut found: Vec<Device> = Vec::new();
    for handle in handles {
        let device = one(registry, handle, now).await?.map(|device| unswept.mark(device));
        let is_new = !found.iter().any(|known| known.handle == *handle);
        found.extend(device.filter(|device| is_new && device.ended.is_none() && device.expires_at >= now));
    }
    Ok(found)
}

/// Names those that are not there to end, where others are, and says how many.
fn tell_missing(handles: &[Handle], found: &[Device]) -> u64 {
    let is_missing = |handle: &&Handle| !found.iter().any(|device| device.handle == **handle);
    let missing: Vec<_> = handles.iter().filter(is_missing).collect();
    if !found.is_empty() {
        missing.iter().for_each(|handle| output::warn(&format!("{handle} is no session that lives")));
    }
    missing.len() as u64
}

/// Programs get all of them, people the first ones.
fn show_some(devices: &[Device], shown: u64, now: SystemTime, is_json: bool) -> anyhow::Result<()> {
    let room = if is_json { devices.len() } else { SHOWN.saturating_sub(shown) as usize };
    let some = &devices[..devices.len().min(room)];
    if some.is_empty() { Ok(()) } else { print_devices(some, now, is_json) }
}
