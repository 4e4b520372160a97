//! `sessile list`, `show`, `history`, `revoke` and `sweep`: who is signed in where, for whoever runs the server.

use std::io::IsTerminal as _;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use sessile::{
    Clock as _, Cursor, Device, DevicePage, End, Ending, Error, Handle, Page, Registry, Search, Sessions, Status,
    SystemClock, UserId,
};

use crate::args::{HistoryArgs, ListArgs, PageArgs, RevokeArgs, ShowArgs, SweepArgs};
use crate::output::{self, Found};
use crate::{store, times};

/// Whether anything was there to print or to end.
type Outcome = anyhow::Result<Found>;

pub(crate) async fn list(args: &ListArgs) -> Outcome {
    let sessions = store::sessions(&args.store).await?;
    let now = SystemClock.now();
    let search = Search {
        handle: None,
        owner: args.user.as_deref().map(UserId::from),
        status: args.status.asked(),
        network: args.ip.as_deref().map(network).transpose()?,
        since: args.since.as_deref().map(|since| times::parse(since, now)).transpose()?,
    };
    let page = page(&args.page)?;
    let devices = registry(&sessions)?.search(&search, now, &page).await?;
    let next = devices.last().filter(|_| devices.len() == page.limit as usize);
    let next = next.map(|device| Cursor { at: device.created_at, handle: device.handle.clone() });
    print(&DevicePage { devices, next }, args.output.json)
}

pub(crate) async fn history(args: &HistoryArgs) -> Outcome {
    let sessions = store::sessions(&args.store).await?;
    let page = page(&args.page)?;
    print(&sessions.devices().history(&args.user.as_str().into(), &page).await?, args.output.json)
}

pub(crate) async fn show(args: &ShowArgs) -> Outcome {
    let sessions = store::sessions(&args.store).await?;
    let (registry, now) = (registry(&sessions)?, SystemClock.now());
    let handle = handle(&args.handle)?;
    let Some(device) = one(registry, &handle).await? else { return Ok(Found::Nothing) };
    let data = match registry.key(&handle).await? {
        Some(key) => sessions.store().load(&key, now).await?.map(|record| record.data),
        None => None,
    };
    let data = data.map(|data| {
        let values = data.iter().map(|(key, json)| {
            let value: Value = serde_json::from_str(json).unwrap_or_default();
            (key.to_owned(), if args.data { value } else { json!(format!("{} bytes", json.len())) })
        });
        Value::Object(values.collect())
    });
    let mut shown = described(&device);
    shown["data"] = data.unwrap_or_default();
    let text = if args.output.json { format!("{shown}\n") } else { lines(&shown) };
    output::print(&text)?;
    Ok(Found::Something)
}

pub(crate) async fn revoke(args: &RevokeArgs) -> Outcome {
    let sessions = store::sessions(&args.store).await?;
    let now = SystemClock.now();
    let ending = Ending { end: End::Revoked, at: now, reason: args.reason.as_deref().map(Into::into) };
    let registry = registry(&sessions)?;
    if args.everyone || args.before.is_some() {
        let before = args.before.as_deref().map(|before| times::parse(before, now)).transpose()?.unwrap_or(now);
        agreed(args, &format!("everybody's sessions that were signed in before {}", times::shown(before)))?;
        if !args.dry_run {
            let reason = args.reason.as_deref().unwrap_or("revoked by an operator");
            sessions.devices().revoke_everyone(before, reason).await?;
            output::note(&format!(
                "everybody who signed in before {} is out; the sweeper clears up",
                times::shown(before)
            ));
        }
        return Ok(Found::Something);
    }
    let live = match &args.user {
        Some(user) => all(registry, user).await?,
        None => these(registry, &args.handles).await?,
    };
    let keep = args.keep.as_deref().map(handle).transpose()?;
    let live: Vec<_> = live.into_iter().filter(|device| Some(&device.handle) != keep.as_ref()).collect();
    if live.is_empty() {
        return Ok(Found::Nothing);
    }
    let _ = print(&DevicePage { devices: live.clone(), next: None }, args.output.json)?;
    agreed(args, &counted(live.len()))?;
    if args.dry_run {
        return Ok(Found::Something);
    }
    let ended = match &args.user {
        Some(user) => registry.revoke_all(&user.as_str().into(), keep.as_ref(), &ending).await?.len(),
        None => {
            let mut ended = 0;
            for device in &live {
                ended += usize::from(registry.revoke(&device.owner, &device.handle, &ending).await?.is_some());
            }
            ended
        }
    };
    output::note(&format!("ended: {}", counted(ended)));
    Ok(if ended > 0 { Found::Something } else { Found::Nothing })
}

fn counted(sessions: usize) -> String {
    if sessions == 1 { "1 session".into() } else { format!("{sessions} sessions") }
}

/// What the sweeper of a server does on its rounds, once and to the end.
pub(crate) async fn sweep(args: &SweepArgs) -> Outcome {
    let sessions = store::sessions(&args.store).await?;
    let removed = sessions.sweep().await?;
    let text = if args.output.json {
        json!({"removed": removed}).to_string()
    } else {
        format!("{removed} expired and removed")
    };
    output::print(&format!("{text}\n"))?;
    Ok(Found::Something)
}

/// Asks on a terminal; elsewhere `--yes` has to be said.
fn agreed(args: &RevokeArgs, what: &str) -> anyhow::Result<()> {
    if args.dry_run {
        output::note(&format!("this would end {what}"));
        return Ok(());
    }
    if args.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        bail!("expected --yes, for nobody is there to ask whether to end {what}; --dry-run shows them");
    }
    output::note(&format!("This ends {what}. Go on? [y/N]"));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if !answer.trim().eq_ignore_ascii_case("y") {
        bail!("nothing was changed");
    }
    Ok(())
}

/// Every live session of this user.
async fn all(registry: &dyn Registry, user: &str) -> Result<Vec<Device>, Error> {
    registry.list(&user.into(), SystemClock.now(), &Page::first(u32::MAX)).await
}

/// The live sessions with these handles.
async fn these(registry: &dyn Registry, handles: &[String]) -> anyhow::Result<Vec<Device>> {
    let mut found = Vec::new();
    for text in handles {
        found.extend(one(registry, &handle(text)?).await?.filter(|device| device.ended.is_none()));
    }
    Ok(found)
}

async fn one(registry: &dyn Registry, handle: &Handle) -> Result<Option<Device>, Error> {
    let search = Search { handle: Some(handle.clone()), ..Search::default() };
    Ok(registry.search(&search, SystemClock.now(), &Page::first(1)).await?.pop())
}

fn registry(sessions: &Sessions) -> anyhow::Result<&dyn Registry> {
    sessions.store().registry().context("this session store keeps no registry")
}

fn handle(text: &str) -> anyhow::Result<Handle> {
    Handle::parse(text).with_context(|| {
        format!(
            "expected a handle like 6f1d2c84-0b57-4e39-9a6e-3d80c5b7f214, found {text:?}; `sessile list` shows them"
        )
    })
}

fn network(text: &str) -> anyhow::Result<ipnet::IpNet> {
    let parsed = text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(Into::into));
    parsed.with_context(|| format!("expected an address or a network like 203.0.113.0/24, found {text:?}"))
}

fn page(args: &PageArgs) -> anyhow::Result<Page> {
    let after = args.after.as_deref().map(str::parse).transpose().context("--after")?;
    Ok(Page { limit: args.limit, after })
}

/// A table for people, or a line of JSON for each session.
fn print(page: &DevicePage, is_json: bool) -> Outcome {
    let DevicePage { devices, next } = page;
    if devices.is_empty() {
        return Ok(Found::Nothing);
    }
    if is_json {
        let lines: String = devices.iter().map(|device| format!("{}\n", described(device))).collect();
        output::print(&lines)?;
    } else {
        let head = ["HANDLE", "USER", "STATUS", "DEVICE", "IP", "SIGNED IN", "LAST SEEN"].map(str::to_owned);
        let rows: Vec<_> = std::iter::once(head).chain(devices.iter().map(row)).collect();
        output::print(&output::columns(&rows))?;
    }
    if let Some(next) = next {
        output::note(&format!("more: --after {next}"));
    }
    Ok(Found::Something)
}

fn row(device: &Device) -> [String; 7] {
    let Device { handle, owner, facts, created_at, last_seen_at, .. } = device;
    [
        handle.to_string(),
        owner.to_string(),
        status(device).to_owned(),
        facts.device.as_deref().unwrap_or("-").to_owned(),
        facts.ip.map_or_else(|| "-".to_owned(), |ip| ip.to_string()),
        times::shown(*created_at),
        times::shown(*last_seen_at),
    ]
}

fn status(device: &Device) -> &'static str {
    device.ended.as_ref().map_or("active", |ending| ending.end.as_str())
}

fn described(device: &Device) -> Value {
    let Device { handle, owner, facts, ended, .. } = device;
    let time = |time: Option<std::time::SystemTime>| time.map(times::shown);
    json!({
        "handle": handle.to_string(),
        "user": owner.as_str(),
        "status": status(device),
        "ip": facts.ip.map(|ip| ip.to_string()),
        "device": facts.device,
        "user_agent": facts.user_agent,
        "auth_method": facts.auth_method,
        "signed_in_at": times::shown(device.created_at),
        "authenticated_at": time(device.authenticated_at),
        "last_seen_at": times::shown(device.last_seen_at),
        "expires_at": times::shown(device.expires_at),
        "ended_at": time(ended.as_ref().map(|ending| ending.at)),
        "reason": ended.as_ref().and_then(|ending| ending.reason.clone()),
    })
}

/// One session, a line for each thing that is known of it.
fn lines(shown: &Value) -> String {
    let members = shown.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let text = |value: &Value| value.as_str().map_or_else(|| format!("{value:#}"), str::to_owned);
    output::columns(&members.map(|(name, value)| [name.replace('_', " "), text(value)]).collect::<Vec<_>>())
}

impl crate::args::StatusArg {
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
