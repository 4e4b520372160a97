//! A session as pages show it. Everything that a stranger wrote is text here, and stays text in the templates.

use std::time::SystemTime;

use sessile_core::{Device, End};

use crate::demo::times::Moment;

/// A session, with its times as somebody reads them now.
pub(super) struct Shown {
    pub(super) device: Device,
    pub(super) signed_in: Moment,
    pub(super) last_seen: Moment,
    pub(super) is_live: bool,
}

/// Something that happened to a session.
pub(super) struct Happened {
    pub(super) at: Moment,
    pub(super) what: String,
    time: SystemTime,
}

impl Shown {
    pub(super) fn at(now: SystemTime, device: Device) -> Self {
        Self {
            signed_in: Moment::seen_at(now, device.created_at),
            last_seen: Moment::seen_at(now, device.last_seen_at),
            is_live: status(&device, now) == "live",
            device,
        }
    }

    pub(super) fn all(now: SystemTime, devices: Vec<Device>) -> Vec<Self> {
        devices.into_iter().map(|device| Self::at(now, device)).collect()
    }

    pub(super) fn name(&self) -> &str {
        self.device.facts.device.as_deref().unwrap_or("Unknown device")
    }

    pub(super) fn user_agent(&self) -> &str {
        self.device.facts.user_agent.as_deref().unwrap_or("not recorded")
    }

    pub(super) fn ip(&self) -> String {
        self.device.facts.ip.map_or_else(|| "not recorded".to_owned(), |ip| ip.to_string())
    }

    pub(super) fn auth_method(&self) -> &str {
        self.device.facts.auth_method.as_deref().unwrap_or("not recorded")
    }

    /// How it is, in a word for people.
    pub(super) fn status(&self) -> &'static str {
        match &self.device.ended {
            None if self.is_live => "Live",
            None => "Expired",
            Some(ending) => in_words(ending.end),
        }
    }

    /// What happened to it, and what will, in the order of time.
    pub(super) fn timeline(&self, now: SystemTime) -> Vec<Happened> {
        let device = &self.device;
        let happened = |time, what: &str| Happened { at: Moment::seen_at(now, time), what: what.to_owned(), time };
        let mut all = vec![happened(device.created_at, "Signed in")];
        all.extend(
            device
                .authenticated_at
                .filter(|at| *at > device.created_at)
                .map(|at| happened(at, "Proved again who they are")),
        );
        all.push(happened(device.last_seen_at, "Last used"));
        all.push(match &device.ended {
            Some(ending) => happened(ending.at, &why(in_words(ending.end), ending.reason.as_deref())),
            None if self.is_live => happened(device.expires_at, "Ends, unless it is used before"),
            None => happened(device.expires_at, "Expired; the next sweep removes it"),
        });
        all.sort_by_key(|happened| happened.time);
        all
    }
}

fn why(how: &str, reason: Option<&str>) -> String {
    reason.map_or_else(|| how.to_owned(), |reason| format!("{how}: {reason}"))
}

/// How a session is, in the word that addresses use too.
pub(super) fn status(device: &Device, now: SystemTime) -> &'static str {
    match &device.ended {
        Some(ending) => ending.end.as_str(),
        None if device.expires_at >= now => "live",
        None => End::Expired.as_str(),
    }
}

fn in_words(end: End) -> &'static str {
    match end {
        End::LoggedOut => "Signed out",
        End::Revoked => "Revoked",
        End::Expired => "Expired",
        End::Evicted => "Replaced by a newer sign-in",
    }
}
