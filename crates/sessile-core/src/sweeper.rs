//! The background task that removes expired sessions and watches the store's clock.

use std::time::{Duration, SystemTime};

use tracing::{debug, error, info, warn};

use crate::{Error, Sessions};

/// How many sessions one statement removes. Small enough that live traffic does not wait for it.
const BATCH: u32 = 1_000;

/// How far this host's clock may be from the store's before it is reported.
const SKEW: Duration = Duration::from_secs(2);

impl Sessions {
    /// Removes every expired session, a batch at a time, and says how many.
    ///
    /// # Errors
    /// When the store fails; what was removed until then stays removed.
    pub async fn sweep(&self) -> Result<u64, Error> {
        let Some(sweep) = self.store().sweep() else { return Ok(0) };
        let mut total = 0;
        loop {
            let removed = sweep.sweep(self.now(), BATCH).await?;
            total += removed;
            if removed < u64::from(BATCH) {
                return Ok(total);
            }
        }
    }

    /// How far this host's clock is from the store's; `None` for a store without a clock of its own.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn clock_skew(&self) -> Result<Option<Duration>, Error> {
        let before = self.now();
        let Some(theirs) = self.store().time().await? else { return Ok(None) };
        let after = self.now();
        Ok(Some(distance(theirs, before).min(distance(theirs, after))))
    }

    /// Sweeps every `every` (60 seconds are a good choice), give or take a fifth so that instances take turns, until
    /// the returned task is aborted or the runtime ends. Errors are logged and outlived.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[cfg(feature = "tokio")]
    pub fn spawn_sweeper(&self, every: Duration) -> tokio::task::JoinHandle<()> {
        let sessions = self.clone();
        tokio::spawn(async move {
            loop {
                sessions.sweep_and_report().await;
                tokio::time::sleep(jittered(every)).await;
            }
        })
    }

    /// One round of the background task.
    pub(crate) async fn sweep_and_report(&self) {
        match self.sweep().await {
            Ok(0) => debug!("no session had expired"),
            Ok(removed) => info!(removed, "expired sessions were removed"),
            Err(error) => error!(?error, "expired sessions could not be removed; the next round tries again"),
        }
        match self.clock_skew().await {
            Ok(Some(skew)) if skew > SKEW => {
                warn!(
                    skew_ms = skew.as_millis(),
                    "this host's clock and the session store's differ; sessions may end early or late"
                );
            }
            Ok(_) | Err(_) => {}
        }
    }
}

fn distance(a: SystemTime, b: SystemTime) -> Duration {
    a.duration_since(b).unwrap_or_else(|earlier| earlier.duration())
}

/// Between four and six fifths of the span.
fn jittered(span: Duration) -> Duration {
    let mut byte = [128];
    // Without randomness the middle is as good.
    let _ = getrandom::fill(&mut byte);
    span.mul_f64(0.8 + 0.4 * f64::from(byte[0]) / 255.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jitter_is_a_fifth() {
        let span = Duration::from_secs(60);
        let spans: Vec<_> = (0..200).map(|_| jittered(span)).collect();
        assert!(spans.iter().all(|s| (Duration::from_secs(48)..=Duration::from_secs(72)).contains(s)));
        assert!(spans.iter().any(|s| *s < span) && spans.iter().any(|s| *s > span));
    }
}
