//! Which connections still lead to the primary. A server can stop being it without closing a connection: it is made
//! read-only before another one is promoted, or another one is promoted while this one is cut off. What such a server
//! reads was true once; a session that ended since then is still alive there. So whoever learns of a change says it
//! here, and every connection that was opened before is given up before its next use.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Where one server is all there is, connections younger than this are kept even if it takes no writes: the next one
/// would lead to the same place.
const REST: Duration = Duration::from_secs(1);

/// What is known of the primary.
#[derive(Debug)]
pub(crate) struct Primary {
    demanded: bool,
    left: Mutex<Option<Instant>>,
    looked: Mutex<Option<Instant>>,
    timeline: AtomicU32,
}

impl Primary {
    /// `demanded`: a server that takes no writes is not used at all, not even for reads.
    pub(crate) fn new(demanded: bool) -> Self {
        Self { demanded, left: Mutex::default(), looked: Mutex::default(), timeline: AtomicU32::new(0) }
    }

    pub(crate) fn is_demanded(&self) -> bool {
        self.demanded
    }

    /// Whether a connection that was opened then is to be given up.
    pub(crate) fn was_left(&self, opened: Instant) -> bool {
        self.left().is_some_and(|left| opened <= left)
    }

    /// The server at the end of this connection takes no writes: it is left, and all connections of its time with it.
    pub(crate) fn leave(&self, opened: Instant) {
        if self.was_left(opened) || (!self.demanded && opened.elapsed() < REST) {
            return;
        }
        tracing::warn!("a PostgreSQL server takes no writes any more; its connections are replaced");
        self.leave_all();
    }

    /// A server on this timeline takes writes. Each promotion begins a timeline with a higher number: the first sight of
    /// one means that everything opened so far leads to a former primary.
    pub(crate) fn meet(&self, timeline: u32) {
        let known = self.timeline.fetch_max(timeline, Ordering::AcqRel);
        if known != 0 && known < timeline {
            tracing::warn!("another PostgreSQL server was promoted; connections to the former primary are replaced");
            self.leave_all();
        }
    }

    /// Whether a server on this timeline is a former primary.
    pub(crate) fn is_former(&self, timeline: u32) -> bool {
        timeline < self.timeline.load(Ordering::Acquire)
    }

    /// Forgets the timelines seen so far: all servers answered, and none is on them.
    pub(crate) fn start_over(&self, timeline: u32) {
        self.timeline.store(timeline, Ordering::Release);
    }

    /// Whether it is time to look around for another primary; at most once in a while.
    pub(crate) fn may_look(&self) -> bool {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let may = looked.is_none_or(|at| at.elapsed() >= REST);
        if may {
            *looked = Some(Instant::now());
        }
        may
    }

    fn leave_all(&self) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn left(&self) -> Option<Instant> {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
