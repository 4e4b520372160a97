//! The one door for changes: an edit is applied to the record in memory, logged, and applied again on a fresher record
//! when another request wrote first. Here is also what may be put under which key.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::record::{COOKIE, Record, SESSILE, UserId};
use crate::{Config, Error, Handle};

/// Top-level keys that express-session drops from a row when it loads it, so that they cannot hold anything.
const EXPRESS_DROPS: [&str; 20] = [
    "id",
    "req",
    "touch",
    "resetMaxAge",
    "save",
    "reload",
    "destroy",
    "regenerate",
    "constructor",
    "toString",
    "toLocaleString",
    "valueOf",
    "hasOwnProperty",
    "isPrototypeOf",
    "propertyIsEnumerable",
    "__proto__",
    "__defineGetter__",
    "__defineSetter__",
    "__lookupGetter__",
    "__lookupSetter__",
];

/// One change, in a form that can be applied again.
#[derive(Clone)]
pub(crate) enum Edit {
    Insert {
        key: Box<str>,
        json: Box<str>,
    },
    Update {
        key: Box<str>,
        change: Change,
    },
    /// Removes what was given out, and nothing else.
    Take {
        key: Box<str>,
        json: Box<str>,
    },
    Remove {
        key: Box<str>,
    },
    Clear,
    /// The handle is the session's, if it was another user's before.
    SignIn {
        owner: UserId,
        at: SystemTime,
        handle: Handle,
    },
    Authenticated {
        at: SystemTime,
    },
    /// The sign-in before it goes back to a proof of that time, or of one that nobody knows.
    Proved {
        at: Option<SystemTime>,
    },
    Idle {
        idle: Duration,
    },
    IdleUntilSignIn {
        idle: Duration,
        at: SystemTime,
    },
    Remember {
        span: Duration,
        at: SystemTime,
    },
    ForgetOnClose,
}

/// From the raw JSON that is there to the raw JSON that shall be, if any.
pub(crate) type Change = Arc<dyn Fn(Option<&str>) -> Result<Option<String>, Error> + Send + Sync>;

impl Edit {
    /// What was proved counts from this time.
    pub(crate) fn count_from(&mut self, time: SystemTime) {
        if let Self::SignIn { at, .. } | Self::Authenticated { at } = self {
            *at = time;
        }
    }

    pub(crate) fn apply(&self, record: &mut Record, config: &Config) -> Result<(), Error> {
        match self {
            Self::Insert { key, json } => put(record, config, key, json.clone())?,
            Self::Update { key, change } => match change(record.data.get(key))? {
                Some(json) => put(record, config, key, json.into())?,
                None => drop(record.data.remove(key)),
            },
            Self::Take { key, json } => {
                if record.data.get(key) != Some(json) {
                    return Err(Error::taken(key));
                }
                record.data.remove(key);
            }
            Self::Remove { key } => drop(record.data.remove(key)),
            Self::Clear => clear(record, config),
            Self::SignIn { owner, at, handle } => {
                if record.meta.until_sign_in.is_some() {
                    set_idle(record, config, None);
                }
                // Another program may have signed them out and left the session: that device has ended all the same.
                let former = record.owner.as_ref().map(UserId::as_str).or(record.meta.owner.as_deref());
                let is_another = former.is_some_and(|former| former != owner.as_str());
                if is_another {
                    clear(record, config);
                }
                if is_another || record.owner.is_none() && record.meta.owner.is_some() {
                    record.begin_anew(handle.clone(), *at);
                }
                record.owner = Some(owner.clone());
                if let Some(key) = config.user_key.as_deref() {
                    record.data.insert(key, owner.to_json());
                }
                record.meta.authenticate(*at);
            }
            Self::Authenticated { at } => record.meta.authenticate(*at),
            Self::Proved { at } => record.meta.prove(*at),
            Self::Idle { idle } => set_idle(record, config, Some(*idle)),
            Self::IdleUntilSignIn { idle, at } => until_sign_in(record, config, *idle, *at),
            Self::Remember { span, at } => {
                record.meta.until_sign_in = None;
                let age = at.duration_since(record.began().unwrap_or(record.created_at)).unwrap_or_default();
                record.meta.absolute = Some(millis(age.saturating_add(*span)));
                if config.express {
                    record.cookie.set_max_age(Some(*span));
                } else {
                    record.meta.idle = Some(millis(*span));
                    record.meta.persistent = Some(true);
                }
            }
            Self::ForgetOnClose => {
                record.meta.until_sign_in = None;
                record.meta.absolute = None;
                if config.express {
                    record.cookie.set_max_age(None);
                } else {
                    record.meta.idle = None;
                    record.meta.persistent = Some(false);
                }
            }
        }
        Ok(())
    }
}

/// Gives the session an idle lifetime of its own, or the configured one again.
fn set_idle(record: &mut Record, config: &Config, idle: Option<Duration>) {
    if record.meta.until_sign_in.take().is_some() {
        record.meta.absolute = None;
    }
    if config.express {
        let configured = config.cookie.persistent.then_some(config.lifetime.idle);
        record.cookie.set_max_age(idle.or(configured));
    } else {
        record.meta.idle = idle.map(millis);
    }
}

/// Gives the session a lifetime until somebody signs in. A session that is there for that alone ends with it, used or not.
fn until_sign_in(record: &mut Record, config: &Config, idle: Duration, at: SystemTime) {
    let was_until = record.meta.until_sign_in.is_some() && record.meta.absolute.is_some();
    let is_for_that_alone = record.revision.is_none() || was_until;
    let idle = idle.min(config.lifetime.idle);
    set_idle(record, config, Some(idle));
    record.meta.until_sign_in = Some(true);
    if is_for_that_alone {
        let age = at.duration_since(record.created_at).unwrap_or_default();
        let end = age.saturating_add(idle);
        record.meta.absolute = Some(millis(config.lifetime.absolute.map_or(end, |absolute| absolute.min(end))));
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Puts the value there unless the session would become too large; then everything stays as it was.
fn put(record: &mut Record, config: &Config, key: &str, json: Box<str>) -> Result<(), Error> {
    let others = record.data.iter().filter(|(own, _)| is_application_key(own) && *own != key);
    let size = others.map(|(key, json)| key.len() + json.len()).sum::<usize>() + key.len() + json.len();
    if size > config.max_data {
        return Err(Error::too_large(format!(
            "expected at most {} bytes of session data, found {size} with the key {key:?}; keep large things in a table of their own, or raise max_data",
            config.max_data
        )));
    }
    record.data.insert(key, json);
    Ok(())
}

fn clear(record: &mut Record, config: &Config) {
    record.data.retain(|key| !is_application_key(key) || config.user_key.as_deref() == Some(key));
}

pub(crate) fn is_application_key(key: &str) -> bool {
    key != COOKIE && key != SESSILE
}

/// Refuses keys that would not come back as they were put.
pub(crate) fn check_key(key: &str) -> Result<(), Error> {
    let why = if !is_application_key(key) {
        "keeps the session's own facts"
    } else if EXPRESS_DROPS.contains(&key) {
        "is dropped by express-session when it loads the row"
    } else if key.contains('\0') {
        "has U+0000, which PostgreSQL's jsonb cannot hold"
    } else {
        return Ok(());
    };
    Err(Error::key(format!("the key {key:?} {why}; choose another name")))
}

pub(crate) fn to_json<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<String, Error> {
    let json = serde_json::to_string(value).map_err(|error| {
        Error::value(format!("the value for the key {key:?} cannot be written as JSON")).with_source(error)
    })?;
    if has_nul(&json) {
        return Err(Error::value(format!(
            "the value for the key {key:?} has U+0000, which PostgreSQL's jsonb cannot hold"
        )));
    }
    Ok(json)
}

/// Whether JSON text has an escaped U+0000: `\u0000` behind an even number of backslashes.
fn has_nul(json: &str) -> bool {
    json.match_indices("\\u0000")
        .any(|(at, _)| json[..at].bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 0)
}

pub(crate) fn from_json<T: DeserializeOwned>(key: &str, json: &str) -> Result<T, Error> {
    serde_json::from_str(json).map_err(|error| {
        let (kind, column) = (error.classify(), error.column());
        Error::value(format!(
            "expected the value under {key:?} to be a {}; {kind:?} error at column {column}",
            std::any::type_name::<T>()
        ))
    })
}
