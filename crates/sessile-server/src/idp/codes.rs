//! What a user granted, until the application exchanges the code for it: once, and within a minute.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use sessile_core::{Error, Handle};

/// How long a code is good for.
const GOOD_FOR: Duration = Duration::from_secs(60);

/// So many codes are out at most; a developer needs one.
const CAPACITY: usize = 1_000;

/// Who signed in, and for which request.
#[derive(Clone)]
pub(super) struct Grant {
    pub(super) user: String,
    pub(super) auth_time: SystemTime,
    /// The session at the provider, by its public name.
    pub(super) sid: Handle,
    pub(super) nonce: Option<String>,
    pub(super) challenge: String,
    pub(super) acr: Option<String>,
    pub(super) at: SystemTime,
}

#[derive(Default)]
pub(super) struct Codes {
    out: Mutex<HashMap<String, Grant>>,
}

impl Codes {
    pub(super) fn give(&self, grant: Grant) -> Result<String, Error> {
        let (code, now) = (super::random()?, grant.at);
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.retain(|_, grant| is_good(grant, now));
        if out.len() >= CAPACITY {
            return Err(Error::unavailable("too many sign-ins are under way"));
        }
        out.insert(code.clone(), grant);
        Ok(code)
    }

    /// What this code stands for; never a second time.
    pub(super) fn take(&self, code: &str, now: SystemTime) -> Option<Grant> {
        let taken = self.out.lock().unwrap_or_else(PoisonError::into_inner).remove(code);
        taken.filter(|grant| is_good(grant, now))
    }
}

fn is_good(grant: &Grant, now: SystemTime) -> bool {
    now.duration_since(grant.at).unwrap_or_default() <= GOOD_FOR
}
