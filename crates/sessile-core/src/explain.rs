//! Why a session is alive or dead, in sentences: what the registry says, what lies under its key, and which clock decides.
//! The facts are gathered from the store; what they mean is a pure function, so that every case can be shown to be told.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock::iso_seconds;
use crate::registry::{Device, Ending, Fate, Page, Search};
use crate::{Error, Handle, Record, Sessions, StoreKey};

/// What the registry's times and a row's may be apart beside [`Config::touch_every`](crate::Config::touch_every): uses are
/// gathered for seconds, and ends are whole seconds.
const INEXACT: Duration = Duration::from_secs(10);

/// Why a session is alive or dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Whether a request with its cookie finds it.
    pub alive: bool,
    /// The reasons, for people, the decisive one last. Times are UTC. The names of users and the reasons of revocations in
    /// it are whatever somebody wrote: escape them.
    pub sentences: Vec<String>,
    /// What ends it next unless something else does, `idle timeout` or `absolute timeout`, and when.
    pub next: Option<(&'static str, SystemTime)>,
}

/// What is known of a session.
struct Facts {
    now: SystemTime,
    device: Device,
    row: Row,
}

/// What lies under its key.
enum Row {
    /// The registry knows no key: the key lives on as somebody else's session.
    NoKey,
    /// Nothing.
    Missing,
    /// Nothing: it was moved from there, and the registry did not follow.
    Moved(SystemTime),
    /// Something that nobody can read.
    Unreadable,
    /// A session.
    There(Limits),
}

/// What ends a session that is there.
struct Limits {
    expires_at: SystemTime,
    idle: Duration,
    /// By how much the last use that the registry knows and the end of the row may be apart.
    inexact: Duration,
    absolute_end: Option<SystemTime>,
    /// Everyone's sessions from before this time are over, and this is one of them.
    cut_off: Option<SystemTime>,
    /// Somebody else is signed in to it, or nobody is: another program wrote that.
    is_anothers: bool,
}

impl Sessions {
    /// Why the session with this handle is alive or dead, whoever's it is; `None` when the registry does not know it. For
    /// operators.
    ///
    /// # Errors
    /// When the store fails, or has no registry.
    pub async fn explain(&self, handle: &Handle) -> Result<Option<Explanation>, Error> {
        let Some(registry) = self.store().registry() else {
            return Err(Error::misuse("expected a store with a registry, found one without"));
        };
        let (search, now) = (Search { handle: Some(handle.clone()), ..Search::default() }, self.now());
        let Some(device) = registry.search(&search, now, &Page::first(1)).await?.pop() else { return Ok(None) };
        let row = match registry.key(handle).await? {
            None => Row::NoKey,
            Some(key) => self.row(&key, &device).await?,
        };
        Ok(Some(Facts { now, device, row }.explain()))
    }

    async fn row(&self, key: &StoreKey, device: &Device) -> Result<Row, Error> {
        // As of 1970 nothing has expired: a row that waits for the sweep is found too.
        match self.store().load(key, UNIX_EPOCH).await {
            Ok(Some(record)) => Ok(Row::There(self.limits(record, device))),
            Ok(None) => Ok(match self.store().fate(key).await? {
                Some(Fate::Moved { at, .. }) => Row::Moved(at),
                _ => Row::Missing,
            }),
            Err(error) if error.is_poisoned() => Ok(Row::Unreadable),
            Err(error) => Err(error),
        }
    }

    fn limits(&self, mut record: Record, device: &Device) -> Limits {
        let config = self.config();
        if let Some(user_key) = &config.user_key {
            record.owner_is_under(user_key);
        }
        let lifetime = config.lifetime_of(&record);
        Limits {
            expires_at: record.expires_at,
            idle: lifetime.idle,
            inexact: config.lifetime.touch_every + INEXACT,
            absolute_end: lifetime.absolute_end(record.began()),
            cut_off: record.cut_off.filter(|_| record.is_cut_off()).map(|cut_off| cut_off.before),
            is_anothers: record.owner.as_ref() != Some(&device.owner),
        }
    }
}

impl Facts {
    fn explain(&self) -> Explanation {
        let (alive, reasons, next) = match (&self.device.ended, &self.row) {
            (Some(ending), row) => (false, after_the_end(ending, row), None),
            (None, Row::There(limits)) => limits.explain(self.now, self.device.last_seen_at),
            (None, row) => (false, vec![self.without_a_row(row)], None),
        };
        let sentences = [vec![self.beginning()], reasons].concat();
        Explanation { alive, sentences, next }
    }

    fn beginning(&self) -> String {
        let Device { owner, created_at, last_seen_at, .. } = &self.device;
        let (created, seen) = (iso_seconds(*created_at), iso_seconds(*last_seen_at));
        format!("User {owner} signed in at {created} and last used the session at {seen}, as the registry has it.")
    }

    /// The registry believes in it, and there is nothing to load.
    fn without_a_row(&self, row: &Row) -> String {
        let is_expired = self.device.expires_at < self.now;
        match row {
            Row::NoKey => "The registry calls it active and knows no key for it: the next sweep ends it.".into(),
            Row::Unreadable => {
                "There is a row under its key, but it is no session's document: requests with its cookie fail until the \
                 row is repaired or removed."
                    .into()
            }
            Row::Moved(at) => format!(
                "Its row moved to another key at {}, and the registry did not follow: the next sweep brings it into step.",
                iso_seconds(*at)
            ),
            _ if is_expired => format!(
                "Its time was over at {}, and its row is gone: the next sweep records that.",
                iso_seconds(self.device.expires_at)
            ),
            _ => "Its row was removed without the registry: another program signed it out, or an operator deleted the row. \
                  The next sweep records it as logged out."
                .into(),
        }
    }
}

fn after_the_end(ending: &Ending, row: &Row) -> Vec<String> {
    let Ending { end, at, reason } = ending;
    let how = match end {
        crate::End::LoggedOut => "It was signed out",
        crate::End::Revoked => "It was revoked",
        crate::End::Expired => "Its time was over, and it was swept",
        crate::End::Evicted => {
            "It had to go for a sign-in elsewhere, because the user had as many sessions as allowed,"
        }
    };
    let why = reason.as_ref().map(|reason| format!(" The reason given: {reason}")).unwrap_or_default();
    let ended = format!("{how} at {}.{why}", iso_seconds(*at));
    match row {
        Row::NoKey => vec![ended, "Its key lives on as another user's session.".into()],
        Row::There(_) | Row::Unreadable => vec![
            ended,
            "Another program brought its row back. A session ends once: the next sweep removes the row.".into(),
        ],
        Row::Missing | Row::Moved(_) => vec![ended],
    }
}

impl Limits {
    /// Whether it lives, why, and what ends it next.
    fn explain(&self, now: SystemTime, used_at: SystemTime) -> (bool, Vec<String>, Option<(&'static str, SystemTime)>) {
        if let Some(over) = self.over(now) {
            let doubt = (self.expires_at < now).then(|| self.doubt(used_at)).flatten();
            return (false, doubt.into_iter().chain([over]).collect(), None);
        }
        let (what, at) = self.next();
        let there = "Its row is there, and a request with its cookie finds it.".to_owned();
        (true, vec![there, self.outlook(what, at)], Some((what, at)))
    }

    /// What has ended it, as far as a request can tell.
    fn over(&self, now: SystemTime) -> Option<String> {
        if let Some(before) = self.cut_off {
            let before = iso_seconds(before);
            return Some(format!(
                "Everyone's sessions from before {before} were revoked, and this is one of them: the next sweep removes it."
            ));
        }
        if let Some(end) = self.absolute_end.filter(|end| *end < now) {
            let end = iso_seconds(end);
            return Some(format!("Its absolute timeout was over at {end}: its row waits for the sweep."));
        }
        if self.expires_at < now {
            let end = iso_seconds(self.expires_at);
            return Some(format!("Its row names its end, {end}, and that is over: it waits for the sweep."));
        }
        self.is_anothers.then(|| {
            "Its row is there, but another program signed its user out or somebody else in: the next request or sweep \
             records that."
                .into()
        })
    }

    /// The end that the row names is not what the idle timeout that is set here makes of the last use.
    fn doubt(&self, used_at: SystemTime) -> Option<String> {
        let expected = used_at + self.idle;
        let apart = expected.duration_since(self.expires_at).unwrap_or_else(|earlier| earlier.duration());
        (self.absolute_end.is_none_or(|end| end > self.expires_at) && apart > self.inexact).then(|| {
            format!(
                "With the idle timeout that is set here, {}, that use would have kept it until {}: whoever wrote the row has \
                 another timeout, or the end was written by hand.",
                seconds(self.idle),
                iso_seconds(expected)
            )
        })
    }

    /// Stores keep ends in whole seconds, rounded up.
    fn next(&self) -> (&'static str, SystemTime) {
        match self.absolute_end {
            Some(end) if end <= self.expires_at => ("absolute timeout", end),
            _ => ("idle timeout", self.expires_at),
        }
    }

    fn outlook(&self, what: &str, at: SystemTime) -> String {
        let at = iso_seconds(at);
        if what == "absolute timeout" {
            return format!("Its absolute timeout ends it at {at}, used or not.");
        }
        let later = self.absolute_end.map(|end| format!(", and its absolute timeout at {}", iso_seconds(end)));
        format!("Its idle timeout ends it at {at} unless it is used{}.", later.unwrap_or_default())
    }
}

fn seconds(span: Duration) -> String {
    crate::config::span(span)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::{DeviceFacts, End};

    /// So many seconds after 2026-01-15 12:00:00.
    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_768_478_400 + seconds)
    }

    fn device(ended: Option<Ending>) -> Device {
        Device {
            handle: Handle::parse("00000000-0000-4000-8000-000000000001").unwrap(),
            owner: "alice".into(),
            facts: DeviceFacts::default(),
            created_at: at(0),
            authenticated_at: Some(at(0)),
            last_seen_at: at(10),
            expires_at: at(600),
            requests: 0,
            ended,
        }
    }

    fn limits() -> Limits {
        let idle = Duration::from_secs(600);
        let inexact = Duration::from_secs(20);
        Limits { expires_at: at(600), idle, inexact, absolute_end: None, cut_off: None, is_anothers: false }
    }

    fn explain(ended: Option<(End, Option<&str>)>, row: Row, now: u64) -> Explanation {
        let ended = ended.map(|(end, reason)| Ending { end, at: at(60), reason: reason.map(Box::from) });
        Facts { now: at(now), device: device(ended), row }.explain()
    }

    #[test]
    fn every_way_to_be_alive_or_dead_is_told() {
        let ended = |end| Some((end, None));
        let cases = [
            (None, Row::There(limits()), 100, true, "idle timeout ends it at 2026-01-15T12:10:00Z unless it is used."),
            (
                None,
                Row::There(Limits { absolute_end: Some(at(900)), ..limits() }),
                100,
                true,
                "unless it is used, and its absolute timeout at 2026-01-15T12:15:00Z.",
            ),
            (
                None,
                Row::There(Limits { absolute_end: Some(at(600)), ..limits() }),
                600,
                true,
                "absolute timeout ends it at 2026-01-15T12:10:00Z, used or not.",
            ),
            (None, Row::There(limits()), 601, false, "Its row names its end, 2026-01-15T12:10:00Z, and that is over"),
            (
                None,
                Row::There(Limits { absolute_end: Some(at(500)), ..limits() }),
                501,
                false,
                "absolute timeout was over at 2026-01-15T12:08:20Z",
            ),
            (
                None,
                Row::There(Limits { cut_off: Some(at(50)), ..limits() }),
                100,
                false,
                "Everyone's sessions from before 2026-01-15T12:00:50Z were revoked",
            ),
            (
                None,
                Row::There(Limits { is_anothers: true, ..limits() }),
                100,
                false,
                "another program signed its user out",
            ),
            (None, Row::Missing, 100, false, "removed without the registry"),
            (None, Row::Missing, 601, false, "Its time was over at 2026-01-15T12:10:00Z, and its row is gone"),
            (None, Row::Moved(at(30)), 100, false, "moved to another key at 2026-01-15T12:00:30Z"),
            (None, Row::Unreadable, 100, false, "no session's document"),
            (None, Row::NoKey, 100, false, "knows no key"),
            (ended(End::LoggedOut), Row::Missing, 100, false, "It was signed out at 2026-01-15T12:01:00Z."),
            (ended(End::Expired), Row::Missing, 100, false, "swept at 2026-01-15T12:01:00Z."),
            (ended(End::Evicted), Row::Missing, 100, false, "as many sessions as allowed, at 2026-01-15T12:01:00Z."),
            (
                Some((End::Revoked, Some("lost"))),
                Row::Moved(at(30)),
                100,
                false,
                "It was revoked at 2026-01-15T12:01:00Z. The reason given: lost",
            ),
            (ended(End::LoggedOut), Row::NoKey, 100, false, "lives on as another user's"),
            (ended(End::LoggedOut), Row::There(limits()), 100, false, "brought its row back"),
            (ended(End::LoggedOut), Row::Unreadable, 100, false, "brought its row back"),
        ];
        for (ended, row, now, alive, reason) in cases {
            let told = explain(ended, row, now);
            assert_eq!(told.alive, alive, "{told:?}");
            assert_eq!(told.next.is_some(), alive, "{told:?}");
            assert!(told.sentences.last().unwrap().contains(reason), "expected {reason:?}, found {told:?}");
            let beginning =
                "User alice signed in at 2026-01-15T12:00:00Z and last used the session at 2026-01-15T12:00:10Z";
            assert!(told.sentences[0].starts_with(beginning), "{told:?}");
        }
    }

    #[test]
    fn an_end_that_the_settings_here_do_not_explain_is_called_so() {
        let doubts = |idle| {
            let told = explain(None, Row::There(Limits { idle: Duration::from_secs(idle), ..limits() }), 700);
            told.sentences.iter().any(|one| one.contains("would have kept it until"))
        };
        assert_eq!([doubts(600), doubts(86_400), doubts(60)], [false, true, true]);
    }

    #[test]
    fn what_ends_it_next_is_the_earlier_limit() {
        let next = |absolute_end: Option<u64>| {
            explain(None, Row::There(Limits { absolute_end: absolute_end.map(at), ..limits() }), 100).next
        };
        assert_eq!(next(None), Some(("idle timeout", at(600))));
        assert_eq!(next(Some(601)), Some(("idle timeout", at(600))));
        assert_eq!(next(Some(600)), Some(("absolute timeout", at(600))));
        assert_eq!(next(Some(300)), Some(("absolute timeout", at(300))));
    }
}
