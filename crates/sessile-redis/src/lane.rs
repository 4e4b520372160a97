//! Opening a road and replacing it. A connection that broke is an error at once; one whose other end is gone without a word,
//! or hangs, or became a replica, is not. So it is replaced as well when several answers in a row did not come in time,
//! and when the server says that it is not the one to ask. The address is looked up anew and the role asked for anew each
//! time: whoever has the address now is talked to.
//!
//! A road is opened by a task of its own, for all who wait for it, however soon they give up. When that fails all of them
//! are told, and for a moment nobody tries again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::builder::Opener;
use crate::failure::Failure;
use crate::road::Road;

/// So many answers in a row that did not come in time are not chance.
const SLOW: u32 = 3;

/// How long nobody tries again when a road could not be opened, and how old one has to be to be replaced because the server
/// is not ready.
const PAUSE: Duration = Duration::from_millis(250);

#[derive(Clone)]
enum Opening {
    UnderWay,
    Open(Road),
    Failed(Failure, Instant),
}

/// The road that is used now.
struct Current {
    number: u64,
    opening: watch::Receiver<Opening>,
    since: Instant,
    /// How many answers in a row did not come in time, for each part that some did not come from.
    slow: HashMap<u16, u32>,
}

/// A road that is replaced when it is of no use any more. Cloning it shares the road.
#[derive(Clone)]
pub(crate) struct Lane {
    opener: Arc<Opener>,
    current: Arc<Mutex<Current>>,
}

/// A road, and which one it is.
pub(crate) struct Taken {
    pub(crate) road: Road,
    number: u64,
}

fn open(opener: &Arc<Opener>, number: u64) -> Current {
    let ((tell, opening), opener) = (watch::channel(Opening::UnderWay), opener.clone());
    tokio::spawn(async move {
        let opened = match opener.open().await {
            Ok(road) => Opening::Open(road),
            Err(failure) => Opening::Failed(failure, Instant::now()),
        };
        tell.send_replace(opened);
    });
    Current { number, opening, since: Instant::now(), slow: HashMap::new() }
}

impl Lane {
    pub(crate) fn new(opener: Opener) -> Self {
        let opener = Arc::new(opener);
        let current = Arc::new(Mutex::new(open(&opener, 0)));
        Self { opener, current }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The road to use now, as soon as it is open.
    pub(crate) async fn road(&self) -> Result<Taken, Failure> {
        let (number, mut opening) = self.opening();
        let opened =
            opening.wait_for(|opening| !matches!(opening, Opening::UnderWay)).await.map(|opened| opened.clone());
        match opened {
            Ok(Opening::Open(road)) => Ok(Taken { road, number }),
            Ok(Opening::Failed(failure, _)) => Err(failure),
            Ok(Opening::UnderWay) | Err(_) => Err(Failure::Odd),
        }
    }

    /// The attempt that is under way or succeeded, or another one where it failed some time ago or will not come to an end.
    fn opening(&self) -> (u64, watch::Receiver<Opening>) {
        let mut current = self.current();
        let is_over = match &*current.opening.borrow() {
            Opening::Failed(_, at) => at.elapsed() >= PAUSE,
            Opening::UnderWay => current.opening.has_changed().is_err(),
            Opening::Open(_) => false,
        };
        if is_over {
            *current = open(&self.opener, current.number + 1);
        }
        (current.number, current.opening.clone())
    }

    /// Hears what became of a question on a road, and replaces that if it is to be.
    pub(crate) fn heed<T>(&self, taken: &Taken, part: u16, outcome: &Result<T, Failure>) {
        let mut current = self.current();
        if current.number != taken.number {
            return;
        }
        if self.is_useless(&mut current, taken, part, outcome.as_ref().err()) {
            *current = open(&self.opener, taken.number + 1);
        }
    }

    fn is_useless(&self, current: &mut Current, taken: &Taken, part: u16, failure: Option<&Failure>) -> bool {
        match failure {
            // A part that answers says nothing about the others.
            Some(failure) if failure.is_slow() => {
                *current.slow.entry(part).or_default() += 1;
                current.slow.values().sum::<u32>() >= SLOW
            }
            // Those of a cluster are found again by its client.
            Some(failure) if failure.is_disconnect() => matches!(taken.road, Road::Server(..)),
            Some(Failure::Replica) => true,
            Some(failure) if failure.is_not_ready() => current.since.elapsed() >= PAUSE,
            _ => {
                current.slow.remove(&part);
                false
            }
        }
    }
}
