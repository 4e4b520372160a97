//! Which sessions that another program signed in are known to the registry, so that it is asked once a minute for each and
//! not with every request.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::{Handle, StoreKey, UserId};

/// How long what the registry said is believed.
const BELIEVED: Duration = Duration::from_secs(60);

/// So many are remembered at most.
const CAPACITY: usize = 10_000;

#[derive(Default)]
pub(crate) struct Aligned {
    known: Mutex<HashMap<StoreKey, Known>>,
}

struct Known {
    owner: Option<UserId>,
    handle: Option<Handle>,
    at: SystemTime,
}

impl Known {
    fn is_recent(&self, now: SystemTime) -> bool {
        now.duration_since(self.at).unwrap_or_default() < BELIEVED
    }
}

impl Aligned {
    /// The handle of the session in the registry, if it is known that this owner, or nobody, is signed in there.
    pub(crate) fn get(&self, key: &StoreKey, owner: Option<&UserId>, now: SystemTime) -> Option<Option<Handle>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get(key).filter(|known| known.owner.as_ref() == owner && known.is_recent(now))?;
        Some(known.handle.clone())
    }

    /// Whether somebody else, or anybody, was signed in to the session when this instance saw it last.
    pub(crate) fn had_another(&self, key: &StoreKey, owner: Option<&UserId>) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(key).is_some_and(|known| known.owner.is_some() && known.owner.as_ref() != owner)
    }

    pub(crate) fn put(&self, key: &StoreKey, owner: Option<&UserId>, handle: Option<Handle>, at: SystemTime) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= CAPACITY {
            known.retain(|_, known| known.is_recent(at));
        }
        if known.len() < CAPACITY {
            known.insert(key.clone(), Known { owner: owner.cloned(), handle, at });
        }
    }
}
