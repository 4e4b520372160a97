//! `sessile list`, `show`, `explain`, `history`, `revoke` and `sweep`: who is signed in where, for whoever runs the server.
//! Here is what they share: how a session is found by what was typed, and what is said of one.

mod explain;
mod list;
mod revoke;
mod show;
mod sweep;

pub(crate) use explain::explain;
pub(crate) use list::{history, list};
pub(crate) use revoke::{counted, revoke};
pub(crate) use show::show;
pub(crate) use sweep::sweep;

use std::time::SystemTime;

use anyhow::Context as _;
use serde_json::{Value, json};
use sessile::{CutOff, Device, Ending, Error, Handle, Page, Registry, Search, Sessions};

use crate::output::{self, Found, Misused};
use crate::times;

/// Whether anything was there to print or to end.
type Outcome = anyhow::Result<Found>;

fn registry(sessions: &Sessions) -> anyhow::Result<&dyn Registry> {
    sessions.store().registry().context("this session store keeps no registry")
}

fn handle(text: &str) -> Result<Handle, Misused> {
    let wrong = || {
        Misused(format!(
            "expected a handle like 6f1d2c84-0b57-4e39-9a6e-3d80c5b7f214, found {text:?}; `sessile list` shows them"
        ))
    };
    Handle::parse(text).ok_or_else(wrong)
}

/// The session with this handle, whoever's it is.
async fn one(registry: &dyn Registry, handle: &Handle, now: SystemTime) -> Result<Option<Device>, Error> {
    let search = Search { handle: Some(handle.clone()), ..Search::default() };
    Ok(registry.search(&search, now, &Page::first(1)).await?.pop())
}

/// A cut-off of everyone's sessions, as long as rows that it ended wait for a sweep: requests are refused already, and the
/// registry still calls them active.
#[derive(Default)]
pub(crate) struct Unswept(Option<(CutOff, Ending)>);

impl Unswept {
    /// Asks the store, and says it aloud: who revoked everyone's sessions a moment ago has to know that it worked.
    pub(crate) async fn told(sessions: &Sessions) -> anyhow::Result<Self> {
        let Some(transfer) = sessions.store().transfer() else { return Ok(Self::default()) };
        let unswept = transfer.cut_off(sessions.now()).await?.filter(|(cut_off, _)| !cut_off.swept);
        if let Some((cut_off, _)) = &unswept {
            output::warn(&format!(
                "everyone's sessions from before {} are revoked: no request finds them. They are counted as active until a \
                 sweep has removed them, a server's or `sessile sweep`",
                times::shown(cut_off.before)
            ));
        }
        Ok(Self(unswept))
    }

    /// Says of the session what the sweep will. Of one that another program signed in nobody knows when that was.
    fn mark(&self, mut device: Device) -> Device {
        let Some((cut_off, ending)) = &self.0 else { return device };
        let is_older = device.authenticated_at.is_none_or(|at| at < cut_off.before);
        if device.ended.is_none() && is_older {
            device.ended = Some(ending.clone());
        }
        device
    }
}

fn status(device: &Device, now: SystemTime) -> &'static str {
    match &device.ended {
        Some(ending) => ending.end.as_str(),
        // It is over, and a sweep will say so.
        None if device.expires_at < now => "expired",
        None => "active",
    }
}

/// Everything that the registry knows of a session: the shape of `--json`.
fn described(device: &Device, now: SystemTime) -> Value {
    let Device { handle, owner, facts, ended, .. } = device;
    json!({
        "handle": handle.to_string(),
        "user": owner.as_str(),
        "status": status(device, now),
        "ip": facts.ip.map(|ip| ip.to_string()),
        "device": facts.device,
        "user_agent": facts.user_agent,
        "auth_method": facts.auth_method,
        "signed_in_at": times::shown(device.created_at),
        "authenticated_at": device.authenticated_at.map(times::shown),
        "last_seen_at": times::shown(device.last_seen_at),
        "expires_at": times::shown(device.expires_at),
        "requests": device.requests,
        "ended_at": ended.as_ref().map(|ending| times::shown(ending.at)),
        "reason": ended.as_ref().and_then(|ending| ending.reason.clone()),
    })
}
