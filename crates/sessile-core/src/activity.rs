//! When each signed-in session was last used, and how often where that is asked for, gathered in this process and written
//! down together: no write per request. What is gathered is lost with the process, so a device may seem to have been idle a
//! little longer than it was, and to have been used a little less.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::Handle;
use crate::registry::Seen;

/// How long uses are gathered before they are written.
const GATHERED: Duration = Duration::from_secs(5);

/// So many are written at once.
pub(crate) const BATCH: usize = 1_000;

/// Of so many sessions it is remembered when they were noted. Beyond that uses are written sooner than they need be.
const REMEMBERED: usize = 100_000;

/// One use of a session.
pub(crate) struct Use<'a> {
    pub(crate) handle: &'a Handle,
    pub(crate) at: SystemTime,
    /// When the session ends unless it is used again.
    pub(crate) expires_at: SystemTime,
    /// It is one more request to count.
    pub(crate) counts: bool,
}

#[derive(Default)]
pub(crate) struct Activity {
    gathered: Mutex<Gathered>,
}

#[derive(Default)]
struct Gathered {
    noted: HashMap<Handle, Noted>,
    waiting: Vec<Seen>,
    written_at: Option<SystemTime>,
    /// Requests were counted that do not wait to be written yet.
    has_counted: bool,
}

/// What is known of a session that is in use.
struct Noted {
    /// When its use was noted last.
    at: SystemTime,
    /// Requests since then, and what the last of them says.
    requests: u64,
    last: SystemTime,
    expires_at: SystemTime,
}

impl Activity {
    /// Notes a use, unless one was noted less than `every` ago; and gives what is to be written now, if it is time. A request
    /// that counts is added to what its session will be noted with next.
    pub(crate) fn note(&self, used: &Use<'_>, every: Duration) -> Vec<Seen> {
        let mut gathered = self.lock();
        gathered.add(used, every);
        if !gathered.is_due(used.at) {
            return Vec::new();
        }
        gathered.forget(used.at, every);
        gathered.take(used.at)
    }

    /// How many wait to be written.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Everything that waits to be written, and every request that was counted.
    pub(crate) fn take(&self, now: SystemTime) -> Vec<Seen> {
        let mut gathered = self.lock();
        gathered.note_counted();
        gathered.take(now)
    }

    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gathered {
    fn add(&mut self, used: &Use<'_>, every: Duration) {
        if let Some(noted) = self.noted.get_mut(used.handle) {
            noted.count(used);
            if is_recent(noted.at, used.at, every) {
                self.has_counted |= used.counts;
            } else {
                self.waiting.push(noted.seen(used.handle, used.at, used.expires_at));
            }
            return;
        }
        let mut noted = Noted::new(used);
        self.waiting.push(noted.seen(used.handle, used.at, used.expires_at));
        self.noted.insert(used.handle.clone(), noted);
    }

    fn is_due(&mut self, now: SystemTime) -> bool {
        let since = *self.written_at.get_or_insert(now);
        !self.waiting.is_empty() && (since + GATHERED <= now || self.waiting.len() >= BATCH)
    }

    /// Forgets the sessions that were not noted lately, or all of them when they are too many, and lets wait what was
    /// counted of them.
    fn forget(&mut self, now: SystemTime, every: Duration) {
        let are_too_many = self.noted.len() > REMEMBERED;
        let waiting = &mut self.waiting;
        self.noted.retain(|handle, noted| {
            let stays = !are_too_many && is_recent(noted.at, now, every);
            if !stays {
                waiting.extend(noted.counted(handle));
            }
            stays
        });
    }

    /// Lets wait whatever was counted.
    fn note_counted(&mut self) {
        if std::mem::take(&mut self.has_counted) {
            self.waiting.extend(self.noted.iter_mut().filter_map(|(handle, noted)| noted.counted(handle)));
        }
    }

    fn take(&mut self, now: SystemTime) -> Vec<Seen> {
        self.written_at = Some(now);
        std::mem::take(&mut self.waiting)
    }
}

impl Noted {
    fn new(used: &Use<'_>) -> Self {
        Self { at: used.at, requests: u64::from(used.counts), last: used.at, expires_at: used.expires_at }
    }

    fn count(&mut self, used: &Use<'_>) {
        if used.counts {
            self.requests += 1;
            (self.last, self.expires_at) = (used.at, used.expires_at);
        }
    }

    /// Notes a use at this time, with everything that was counted.
    fn seen(&mut self, handle: &Handle, at: SystemTime, expires_at: SystemTime) -> Seen {
        self.at = at;
        Seen { handle: handle.clone(), at, expires_at, requests: std::mem::take(&mut self.requests) }
    }

    /// Notes what was counted and not noted yet.
    fn counted(&mut self, handle: &Handle) -> Option<Seen> {
        (self.requests > 0).then(|| self.seen(handle, self.last, self.expires_at))
    }
}

fn is_recent(at: SystemTime, now: SystemTime, every: Duration) -> bool {
    now.duration_since(at).unwrap_or_default() < every
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn so_many_sessions_are_remembered_and_every_request_is_told() {
        let (activity, at) = (Activity::default(), SystemTime::UNIX_EPOCH);
        let (mut told, mut most) = (0, 0);
        for number in 0..REMEMBERED + 2 * BATCH {
            let handle = Handle::parse(&format!("00000000-0000-4000-8000-{number:012x}")).unwrap();
            let used = Use { handle: &handle, at, expires_at: at, counts: true };
            let noted = [(); 3].map(|()| activity.note(&used, Duration::MAX));
            told += noted.into_iter().flatten().map(|seen| seen.requests).sum::<u64>();
            most = most.max(activity.lock().noted.len());
        }
        assert!(most <= REMEMBERED + BATCH, "{most}");
        told += activity.take(at).iter().map(|seen| seen.requests).sum::<u64>();
        assert_eq!(told, 3 * (REMEMBERED + 2 * BATCH) as u64);
    }
}
