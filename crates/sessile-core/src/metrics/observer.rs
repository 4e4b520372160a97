//! Counts what happens to sessions.

use metrics::{Counter, counter};

use super::table;
use crate::registry::End;
use crate::{Event, EventKind, Observer, event::Refusal};

/// Counts every event by its kind. Install the recorder before one is made.
#[derive(Clone)]
pub struct MetricsObserver {
    created: Counter,
    signed_in: Counter,
    again: Counter,
    rotated: Counter,
    ended: [(End, Counter); 4],
    refused: [(Refusal, Counter); Refusal::ALL.len()],
}

impl Default for MetricsObserver {
    fn default() -> Self {
        let event = |kind: EventKind| counter!(table::EVENTS, "event" => kind.as_str());
        let ends = [End::LoggedOut, End::Revoked, End::Expired, End::Evicted];
        Self {
            created: event(EventKind::Created),
            signed_in: event(EventKind::SignedIn),
            again: event(EventKind::AuthenticatedAgain),
            rotated: event(EventKind::Rotated),
            ended: ends.map(|end| (end, counter!(table::ENDED, "reason" => end.as_str()))),
            refused: Refusal::ALL.map(|refusal| (refusal, counter!(table::REFUSED, "reason" => refusal.as_str()))),
        }
    }
}

impl Observer for MetricsObserver {
    fn observe(&self, event: &Event) {
        let counter = match event.kind {
            EventKind::Created => Some(&self.created),
            EventKind::SignedIn => Some(&self.signed_in),
            EventKind::AuthenticatedAgain => Some(&self.again),
            EventKind::Rotated => Some(&self.rotated),
            EventKind::Ended(end) => of(&self.ended, end),
            EventKind::Refused(refusal) => of(&self.refused, refusal),
        };
        if let Some(counter) = counter {
            counter.increment(1);
        }
    }
}

fn of<K: PartialEq>(counters: &[(K, Counter)], kind: K) -> Option<&Counter> {
    counters.iter().find(|(of, _)| *of == kind).map(|(_, counter)| counter)
}

impl std::fmt::Debug for MetricsObserver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MetricsObserver")
    }
}
