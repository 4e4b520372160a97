//! Which sessions on a table that another program writes too are known to be in step with the registry, so that it is asked
//! once a minute for each and not with every request.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::{Handle, StoreKey, UserId};

/// How long what the registry said is believed.
const BELIEVED: Duration = Duration::from_secs(60);

/// So many are remembered at most; beyond that one is forgotten for each that comes.
const CAPACITY: usize = 50_000;

#[derive(Default)]
pub(crate) struct Aligned {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: HashMap<StoreKey, Known>,
    /// When what is not believed any more was last thrown away.
    cleared: Option<SystemTime>,
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

impl State {
    /// Throws away what is not believed any more, at most once in the time that it is.
    fn clear(&mut self, now: SystemTime) {
        let is_due = |cleared| now.duration_since(cleared).is_ok_and(|ago| ago >= BELIEVED);
        if self.cleared.is_none_or(is_due) {
            self.known.retain(|_, known| known.is_recent(now));
            self.cleared = Some(now);
        }
    }
}

impl Aligned {
    /// The handle of the session in the registry, if it is known that this owner, or nobody, is signed in there.
    pub(crate) fn get(&self, key: &StoreKey, owner: Option<&UserId>, now: SystemTime) -> Option<Option<Handle>> {
        let state = self.state();
        let known = state.known.get(key).filter(|known| known.owner.as_ref() == owner && known.is_recent(now))?;
        Some(known.handle.clone())
    }

    /// Whether somebody else, or anybody, was signed in to the session when this instance saw it last.
    pub(crate) fn had_another(&self, key: &StoreKey, owner: Option<&UserId>) -> bool {
        let state = self.state();
        state.known.get(key).is_some_and(|known| known.owner.is_some() && known.owner.as_ref() != owner)
    }

    pub(crate) fn put(&self, key: &StoreKey, owner: Option<&UserId>, handle: Option<Handle>, at: SystemTime) {
        let mut state = self.state();
        state.clear(at);
        if state.known.len() >= CAPACITY
            && let Some(any) = state.known.keys().next().cloned()
        {
            state.known.remove(&any);
        }
        state.known.insert(key.clone(), Known { owner: owner.cloned(), handle, at });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
