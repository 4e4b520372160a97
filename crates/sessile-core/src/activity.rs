//! When each signed-in session was last used, gathered in this process and written down together: no write per request.
//! What is gathered is lost with the process, so a device may seem to have been idle a little longer than it was.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::registry::Seen;
use crate::{Handle, Record};

/// How long uses are gathered before they are written.
const GATHERED: Duration = Duration::from_secs(5);

/// So many are written at once.
const BATCH: usize = 1_000;

#[derive(Default)]
pub(crate) struct Activity {
    gathered: Mutex<Gathered>,
}

#[derive(Default)]
struct Gathered {
    /// When each session's use was noted last.
    noted: HashMap<Handle, SystemTime>,
    waiting: Vec<Seen>,
    written_at: Option<SystemTime>,
}

impl Activity {
    /// Notes a use, unless one was noted less than `every` ago; and gives what is to be written now, if it is time.
    pub(crate) fn note(&self, record: &Record, expires_at: SystemTime, now: SystemTime, every: Duration) -> Vec<Seen> {
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = |at: SystemTime| now.duration_since(at).unwrap_or_default() < every;
        match gathered.noted.get_mut(&record.handle) {
            Some(at) if recent(*at) => {}
            Some(at) => {
                *at = now;
                gathered.waiting.push(Seen { handle: record.handle.clone(), at: now, expires_at });
            }
            None => {
                gathered.noted.insert(record.handle.clone(), now);
                gathered.waiting.push(Seen { handle: record.handle.clone(), at: now, expires_at });
            }
        }
        let due = *gathered.written_at.get_or_insert(now) + GATHERED <= now || gathered.waiting.len() >= BATCH;
        if !due || gathered.waiting.is_empty() {
            return Vec::new();
        }
        gathered.noted.retain(|_, at| recent(*at));
        gathered.take(now)
    }

    /// How many wait to be written.
    pub(crate) fn waiting(&self) -> usize {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner).waiting.len()
    }

    /// Everything that waits to be written.
    pub(crate) fn take(&self, now: SystemTime) -> Vec<Seen> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner).take(now)
    }
}

impl Gathered {
    fn take(&mut self, now: SystemTime) -> Vec<Seen> {
        self.written_at = Some(now);
        std::mem::take(&mut self.waiting)
    }
}
