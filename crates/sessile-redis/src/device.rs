//! A user's session as its hash has it: the fields of the registry, read without trust.

use redis::{Cmd, Value};
use sessile_core::{Device, DeviceFacts, End, EndedSession, Ending, Handle, UserId};

use crate::failure::Failure;
use crate::names::Home;
use crate::time::from_millis;

/// What is asked for, in this order.
const FIELDS: [&str; 19] = [
    "st", "key", "end", "owner", "made", "proof", "seen", "till", "ip", "ua", "dev", "how", "ps", "ended", "why",
    "from", "auth", "moved", "to",
];

/// A row of the registry.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) device: Device,
    /// The session's key, after its end too; `None` where that lives on as another's.
    pub(crate) key: Option<String>,
    /// It went on under this key, as another's.
    pub(crate) to: Option<String>,
    /// It moved from this key, last.
    pub(crate) from: Option<String>,
    /// When it did.
    pub(crate) moved: Option<i64>,
    /// When the session ends; nothing unless it is active.
    end: Option<i64>,
    /// It is not here yet.
    pub(crate) pending: bool,
    /// What cut-offs are compared with.
    pub(crate) began: i64,
}

/// The command that reads it.
pub(crate) fn read(name: &str) -> Cmd {
    let mut command = redis::cmd("HMGET");
    command.arg(name).arg(&FIELDS);
    command
}

impl Entry {
    /// What that command answered; `None` where there is nothing, or nothing that can be understood.
    pub(crate) fn of(handle: &Handle, value: Value) -> Result<Option<Self>, Failure> {
        let fields: Vec<Option<String>> = redis::from_redis_value(value)?;
        Ok(Self::parse(handle, fields))
    }

    fn parse(handle: &Handle, mut fields: Vec<Option<String>>) -> Option<Self> {
        let mut text = |name: &str| {
            let at = FIELDS.iter().position(|field| *field == name)?;
            fields.get_mut(at)?.take().filter(|text| !text.is_empty())
        };
        let status = text("st")?;
        let boxed = |text: Option<String>| text.map(String::into_boxed_str);
        let time = |text: Option<String>| text.and_then(|text| text.parse().ok()).map(from_millis);
        let facts = DeviceFacts {
            ip: text("ip").and_then(|ip| ip.parse().ok()),
            user_agent: boxed(text("ua")),
            device: boxed(text("dev")),
            auth_method: boxed(text("how")),
            provider_session: boxed(text("ps")),
        };
        let ended = match End::parse(&status) {
            Some(end) => Some(Ending { end, at: time(text("ended"))?, reason: boxed(text("why")) }),
            None => None,
        };
        let (key, to, from, end) =
            (text("key"), text("to"), text("from"), text("end").and_then(|end| end.parse().ok()));
        let began = text("auth")?.parse().ok()?;
        let moved = text("moved").and_then(|at| at.parse().ok());
        let device = Device {
            handle: handle.clone(),
            owner: UserId::from(text("owner")?),
            facts,
            created_at: time(text("made"))?,
            authenticated_at: time(text("proof")),
            last_seen_at: time(text("seen"))?,
            expires_at: time(text("till"))?,
            ended,
        };
        Some(Self { device, key, to, from, moved, end, pending: status == "pend", began })
    }

    /// Whether it is this user's; others have theirs in the same partition.
    pub(crate) fn is_of(&self, home: &Home) -> bool {
        self.device.owner.as_str() == &*home.owner
    }

    pub(crate) fn is_active(&self) -> bool {
        self.device.ended.is_none() && !self.pending
    }

    pub(crate) fn is_alive(&self, now: i64) -> bool {
        self.is_active() && self.end.is_some_and(|end| end >= now)
    }
}

/// A session that a script ended; it says where that was signed in.
pub(crate) fn ended(handle: Handle, owner: &str, ip: &str) -> EndedSession {
    EndedSession { handle, owner: UserId::from(owner), ip: ip.parse().ok() }
}

/// The same for many: handles and addresses follow each other.
pub(crate) fn all_ended(owner: &str, rest: &[String]) -> Vec<EndedSession> {
    let pairs = rest.chunks_exact(2);
    pairs.filter_map(|pair| Some(ended(Handle::parse(&pair[0])?, owner, &pair[1]))).collect()
}
