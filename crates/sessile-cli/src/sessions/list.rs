//! `sessile list` and `sessile history`.

use std::time::SystemTime;

use serde_json::Value;
use sessile::{Clock as _, Cursor, Device, DevicePage, End, Page, Search, Status, SystemClock, UserId};

use super::{Outcome, Unswept, described, registry, status};
use crate::args::{HistoryArgs, ListArgs, PageArgs, StatusArg};
use crate::output::{self, Found, Misused, Tone};
use crate::table::{Fit, Table};
use crate::{store, times};

pub(crate) async fn list(args: &ListArgs) -> Outcome {
    let page = page(&args.page)?;
    let network = args.ip.as_deref().map(network).transpose()?;
    let now = SystemClock.now();
    let search = Search {
        handle: None,
        owner: args.user.as_deref().map(UserId::from),
        status: args.status.asked(),
        network,
        since: args.since.as_deref().map(|since| times::parse(since, now)).transpose()?,
        before: None,
    };
    let sessions = store::sessions(&args.store).await?;
    let one_more = Page { limit: page.limit.saturating_add(1), ..page.clone() };
    let unswept = Unswept::told(&sessions).await?;
    let devices = registry(&sessions)?.search(&search, now, &one_more).await?;
    let mut devices: Vec<_> = devices.into_iter().map(|device| unswept.mark(device)).collect();
    let there_is_more = devices.len() > page.limit as usize;
    devices.truncate(page.limit as usize);
    let next = devices.last().filter(|_| there_is_more).map(by_sign_in);
    print(&DevicePage { devices, next }, now, args.output.json, by_sign_in)
}

pub(crate) async fn history(args: &HistoryArgs) -> Outcome {
    let page = page(&args.page)?;
    let sessions = store::sessions(&args.store).await?;
    Unswept::told(&sessions).await?;
    let ended = sessions.devices().history(&args.user.as_str().into(), &page).await?;
    print(&ended, sessions.now(), args.output.json, by_end)
}

fn network(text: &str) -> Result<ipnet::IpNet, Misused> {
    let parsed = text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(Into::into));
    parsed.ok_or_else(|| Misused(format!("--ip: expected an address or a network like 203.0.113.0/24, found {text:?}")))
}

fn page(args: &PageArgs) -> anyhow::Result<Page> {
    let after = args.after.as_deref().map(str::parse).transpose();
    let after = after.map_err(|error: sessile::Error| Misused(format!("--after: {error}")))?;
    Ok(Page { limit: args.limit, after })
}

fn print(page: &DevicePage, now: SystemTime, is_json: bool, cursor: fn(&Device) -> Cursor) -> Outcome {
    if page.devices.is_empty() {
        return Ok(Found::Nothing);
    }
    if is_json {
        page.devices.iter().try_for_each(|device| output::print_json(&with_cursor(device, now, cursor)))?;
    } else {
        print_devices(&page.devices, now, false)?;
    }
    if let Some(next) = &page.next {
        output::note(&format!("more: --after {next}"));
    }
    Ok(Found::Something)
}

/// A table for people, or a line of JSON for each session.
pub(super) fn print_devices(devices: &[Device], now: SystemTime, is_json: bool) -> anyhow::Result<()> {
    if is_json {
        return devices.iter().try_for_each(|device| output::print_json(&described(device, now)));
    }
    let mut table = Table::new([
        ("HANDLE", Fit::Whole),
        ("USER", Fit::Cut),
        ("STATUS", Fit::Whole),
        ("DEVICE", Fit::Cut),
        ("IP", Fit::Droppable),
        ("SIGNED IN", Fit::Droppable),
        ("LAST SEEN", Fit::Droppable),
    ]);
    for device in devices {
        let tone = if status(device, now) == "active" { Tone::Plain } else { Tone::Faint };
        table.toned(tone, row(device, now));
    }
    table.text().print()
}

/// A program goes on after the last that it read.
fn with_cursor(device: &Device, now: SystemTime, cursor: fn(&Device) -> Cursor) -> Value {
    let mut described = described(device, now);
    described["cursor"] = cursor(device).to_string().into();
    described
}

/// Where a list goes on after this one: the newest sign-in is first.
fn by_sign_in(device: &Device) -> Cursor {
    Cursor { at: device.created_at, handle: device.handle.clone() }
}

/// In a history the newest end is first.
fn by_end(device: &Device) -> Cursor {
    let at = device.ended.as_ref().map_or(device.created_at, |ending| ending.at);
    Cursor { at, handle: device.handle.clone() }
}

fn row(device: &Device, now: SystemTime) -> [String; 7] {
    let Device { handle, owner, facts, created_at, last_seen_at, .. } = device;
    [
        handle.to_string(),
        owner.to_string(),
        status(device, now).to_owned(),
        facts.device.as_deref().or(facts.user_agent.as_deref()).unwrap_or("-").to_owned(),
        facts.ip.map_or_else(|| "-".to_owned(), |ip| ip.to_string()),
        times::shown(*created_at),
        times::shown(*last_seen_at),
    ]
}

impl StatusArg {
    fn asked(self) -> Option<Status> {
        Some(match self {
            Self::Any => return None,
            Self::Active => Status::Live,
            Self::Ended => Status::Ended,
            Self::LoggedOut => Status::EndedBy(End::LoggedOut),
            Self::Revoked => Status::EndedBy(End::Revoked),
            Self::Expired => Status::EndedBy(End::Expired),
            Self::Evicted => Status::EndedBy(End::Evicted),
        })
    }
}
