//! What happens to sessions, for those who want to know: mail to the user, an audit log, a counter.

use std::fmt;
use std::net::IpAddr;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::SystemTime;

use crate::record::UserId;
use crate::registry::End;
use crate::{Config, DeviceFacts, Handle};

/// Something that happened to a session. It holds no id and no data.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// When.
    pub at: SystemTime,
    /// The session's public name; `None` for one that does not exist.
    pub handle: Option<Handle>,
    /// The user it belongs to.
    pub owner: Option<UserId>,
    /// The client's address: of the request, or of the sign-in when there is no request of the session's own.
    pub ip: Option<IpAddr>,
    /// The name of the device, where the request tells: `Chrome on Windows`.
    pub device: Option<Box<str>>,
    /// Why, in words for people, where somebody said so.
    pub reason: Option<Box<str>>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// A session was stored for the first time.
    Created,
    /// A user signed in.
    SignedIn,
    /// The user who was signed in proved again who they are.
    AuthenticatedAgain,
    /// The id changed.
    Rotated,
    /// The session ended.
    Ended(End),
    /// What a request presented was not accepted.
    Refused(Refusal),
}

/// Why a request's cookie or sign-in was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// A cookie without a good signature.
    Forged,
    /// The id of a session that has ended.
    Reused,
    /// A write under an id that was rotated away a moment ago; it was dropped.
    Late,
    /// A sign-in whose credentials were presented before the user's sessions were revoked.
    CutOff,
    /// A sign-in of a user who has as many sessions as allowed.
    Full,
    /// More of something than [`Limits`](crate::Limits) allow one client. The reason says of what; where limits are only
    /// logged the request went on.
    RateLimited,
}

impl EventKind {
    /// The event in one word, for logs and counters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::SignedIn => "signed_in",
            Self::AuthenticatedAgain => "authenticated_again",
            Self::Rotated => "rotated",
            Self::Ended(End::LoggedOut) => "ended",
            Self::Ended(end) => end.as_str(),
            Self::Refused(_) => "refused",
        }
    }
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Forged, Self::Reused, Self::Late, Self::CutOff, Self::Full, Self::RateLimited];

    /// The refusal in one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forged => "forged",
            Self::Reused => "reused_after_end",
            Self::Late => "late",
            Self::CutOff => "cut_off",
            Self::Full => "too_many_sessions",
            Self::RateLimited => "rate_limited",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "refused: {}", refusal.as_str()),
            kind => f.write_str(kind.as_str()),
        }
    }
}

/// Is told what happens, after it is durable, on the way of the request that did it: it should take no time. Work that does
/// goes through a channel, which is an observer too.
///
/// ```
/// # use sessile_core::{Config, Event, EventKind, MemoryStore, Sessions};
/// # let secret = "gUnXRPzrkuQ0rDtBSHXmFJC2AbVBv4Ds";
/// let (sender, events) = std::sync::mpsc::sync_channel::<Event>(1_000);
/// let config = Config::new(secret)?.observer(sender).observer(|event: &Event| {
///     if event.kind == EventKind::SignedIn { /* count it */ }
/// });
/// std::thread::spawn(move || for event in events { /* write a mail */ });
/// # Ok::<(), sessile_core::Error>(())
/// ```
pub trait Observer: Send + Sync {
    /// Is told of one event.
    fn observe(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync> Observer for F {
    fn observe(&self, event: &Event) {
        self(event);
    }
}

/// Sends every event down a channel of the standard library. When the channel is full the event is dropped, and the log
/// says so: a slow receiver must not hold up requests.
impl Observer for SyncSender<Event> {
    fn observe(&self, event: &Event) {
        if let Err(TrySendError::Full(event)) = self.try_send(event.clone()) {
            tracing::warn!(event = event.kind.as_str(), "the channel for session events is full; an event was dropped");
        }
    }
}

/// Writes every event to the log, under the target `sessile::events`: sign-ins that were refused and ids that were used after
/// their end as warnings, the rest as information. Anybody can send forged cookies, as many as they like.
#[derive(Clone, Copy, Debug, Default)]
pub struct TracingObserver;

impl Observer for TracingObserver {
    fn observe(&self, event: &Event) {
        let Event { kind, handle, owner, ip, device, reason, .. } = event;
        let handle = handle.as_ref().map(tracing::field::display);
        let (owner, ip) = (owner.as_ref().map(tracing::field::debug), ip.map(tracing::field::display));
        match kind {
            EventKind::Refused(
                refusal @ (Refusal::Reused | Refusal::CutOff | Refusal::Full | Refusal::RateLimited),
            ) => {
                tracing::warn!(target: "sessile::events", event = kind.as_str(), why = refusal.as_str(), handle, owner, ip, "session refused");
            }
            kind => {
                let why = if let EventKind::Refused(refusal) = kind { Some(refusal.as_str()) } else { None };
                tracing::info!(target: "sessile::events", event = kind.as_str(), why, handle, owner, ip, device, reason, "session event");
            }
        }
    }
}

impl Event {
    pub(crate) fn new(kind: EventKind, at: SystemTime) -> Self {
        Self { kind, at, handle: None, owner: None, ip: None, device: None, reason: None }
    }

    pub(crate) fn of(self, handle: &Handle, owner: Option<&UserId>) -> Self {
        Self { handle: Some(handle.clone()), owner: owner.cloned(), ..self }
    }

    pub(crate) fn from(self, facts: &DeviceFacts) -> Self {
        Self { ip: facts.ip, device: facts.device.clone(), ..self }
    }
}

impl Config {
    pub(crate) fn tell(&self, event: &Event) {
        self.observers.iter().for_each(|observer| observer.observe(event));
    }
}
