//! Taking turns at one session. Writes are optimistic and need no turn; but when many requests of one instance write the
//! same session at once, all but one would fail and read again in each round. Those that lost a race queue here, so that
//! each instance sends one contender at a time and none starves.
//!
//! No runtime is needed and no lock is held while anybody waits: a turn is an entry in a map.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use crate::StoreKey;

/// Who waits for which session. An entry without waiters is a turn that somebody has.
#[derive(Default)]
pub(crate) struct Turns {
    queues: Mutex<HashMap<StoreKey, VecDeque<Arc<Ticket>>>>,
}

/// The turn at one session; passed on when dropped.
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    key: StoreKey,
}

#[derive(Default)]
struct Ticket(Mutex<Call>);

#[derive(Default)]
struct Call {
    called: bool,
    waker: Option<Waker>,
}

/// A place in the queue; given up when dropped before it was called.
struct Place<'a> {
    turns: &'a Turns,
    key: &'a StoreKey,
    ticket: Arc<Ticket>,
    taken: bool,
}

impl Turns {
    /// Waits for the turn at this session, first come first served.
    pub(crate) async fn wait(&self, key: &StoreKey) -> Turn<'_> {
        let ticket = Arc::new(Ticket::default());
        {
            let mut queues = self.queues();
            let Some(queue) = queues.get_mut(key) else {
                queues.insert(key.clone(), VecDeque::new());
                return Turn { turns: self, key: key.clone() };
            };
            queue.push_back(ticket.clone());
        }
        let mut place = Place { turns: self, key, ticket, taken: false };
        poll_fn(|context| place.ticket.poll(context.waker())).await;
        place.taken = true;
        Turn { turns: self, key: key.clone() }
    }

    fn pass_on(&self, key: &StoreKey) {
        let mut queues = self.queues();
        let next = queues.get_mut(key).and_then(VecDeque::pop_front);
        match next {
            Some(ticket) => ticket.call(),
            None => drop(queues.remove(key)),
        }
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<StoreKey, VecDeque<Arc<Ticket>>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    fn call(&self) {
        let waker = {
            let mut call = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            call.called = true;
            call.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll(&self, waker: &Waker) -> Poll<()> {
        let mut call = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if call.called {
            return Poll::Ready(());
        }
        call.waker = Some(waker.clone());
        Poll::Pending
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.pass_on(&self.key);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        let mut queues = self.turns.queues();
        let Some(queue) = queues.get_mut(self.key) else { return };
        let before = queue.len();
        queue.retain(|ticket| !Arc::ptr_eq(ticket, &self.ticket));
        let was_called = queue.len() == before;
        drop(queues);
        // The turn came between the last look and giving up: it is the next one's.
        if was_called {
            self.turns.pass_on(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Context;

    use super::*;
    use crate::{KeyForm, SessionId};

    fn key(name: &str) -> StoreKey {
        StoreKey::new(&SessionId::parse(name).unwrap(), KeyForm::Raw)
    }

    #[test]
    fn turns_are_passed_on_in_order_also_past_those_who_gave_up() {
        let (turns, a, b) = (Turns::default(), key("a"), key("b"));
        let mut context = Context::from_waker(Waker::noop());
        let mut first = Box::pin(turns.wait(&a));
        let Poll::Ready(held) = first.as_mut().poll(&mut context) else { panic!("the turn was free") };
        assert!(pin!(turns.wait(&b)).poll(&mut context).is_ready(), "sessions do not wait for each other");
        let [mut second, mut third, mut fourth] = [&a, &a, &a].map(|key| Box::pin(turns.wait(key)));
        for waiting in [&mut second, &mut third, &mut fourth] {
            assert!(waiting.as_mut().poll(&mut context).is_pending());
        }
        drop(second);
        drop(held);
        assert!(fourth.as_mut().poll(&mut context).is_pending());
        // Called, and gone before it looked.
        drop(third);
        let Poll::Ready(held) = fourth.as_mut().poll(&mut context) else { panic!("it was the fourth one's turn") };
        drop(held);
        assert!(turns.queues().is_empty(), "nothing is left behind");
    }
}
