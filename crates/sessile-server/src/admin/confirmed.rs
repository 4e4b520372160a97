//! Operators whom the store confirmed, by the fingerprint of their token, and when: for the pages that are read while the store
//! is down. There are as many as operators used the dashboard in the last hour.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use sessile_core::Operator;

/// What is older is of no use to anybody.
const FORGOTTEN: Duration = Duration::from_secs(60 * 60);

#[derive(Debug, Default)]
pub(super) struct Confirmed(Mutex<HashMap<Box<str>, (SystemTime, Operator)>>);

impl Confirmed {
    /// The store answered now; an operator whom it does not know any more is forgotten.
    pub(super) fn note(&self, fingerprint: &str, operator: Option<&Operator>, now: SystemTime) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, (at, _)| is_within(*at, now, FORGOTTEN));
        match operator {
            Some(operator) => drop(all.insert(fingerprint.into(), (now, operator.clone()))),
            None => drop(all.remove(fingerprint)),
        }
    }

    /// Whom the store confirmed so lately.
    pub(super) fn since(&self, fingerprint: &str, now: SystemTime, span: Duration) -> Option<Operator> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(fingerprint).filter(|(at, _)| is_within(*at, now, span)).map(|(_, operator)| operator.clone())
    }
}

/// A clock that was set back makes it old.
fn is_within(at: SystemTime, now: SystemTime, span: Duration) -> bool {
    now.duration_since(at).is_ok_and(|age| age < span)
}
