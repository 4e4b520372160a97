//! Ids that were rotated away a moment ago. Requests that a browser sent before it heard of its new id arrive with the
//! old one, and what they write must not come back to the browser as yet another session, over its new cookie.
//! Remembered by this instance alone, for half a minute.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::StoreKey;

/// How long a browser's requests may be under way.
const REMEMBERED: Duration = Duration::from_secs(30);

/// So many are remembered at most; beyond that a late request is treated like any with an unknown id.
const CAPACITY: usize = 10_000;

#[derive(Default)]
pub(crate) struct Rotations {
    at: Mutex<HashMap<StoreKey, SystemTime>>,
}

impl Rotations {
    pub(crate) fn remember(&self, old: &StoreKey, now: SystemTime) {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        if at.len() >= CAPACITY / 2 {
            at.retain(|_, at| is_recent(*at, now));
        }
        if at.len() < CAPACITY {
            at.insert(old.clone(), now);
        }
    }

    pub(crate) fn is_recent(&self, key: &StoreKey, now: SystemTime) -> bool {
        let at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        at.get(key).is_some_and(|at| is_recent(*at, now))
    }
}

fn is_recent(at: SystemTime, now: SystemTime) -> bool {
    now.duration_since(at).unwrap_or_default() <= REMEMBERED
}
