//! The background task that removes expired sessions and watches the store's clock.

use std::time::{Duration, SystemTime};

use tracing::{info, warn};

use crate::registry::{End, Ending, Tidied, Tidy};
use crate::{Error, Sessions};

/// How many sessions one statement removes. Small enough that live traffic does not wait for it.
const BATCH: u32 = 100;

/// After a statement the sweeper rests so many times as long as that took. It costs a backlog time, which nobody waits for,
/// and leaves live traffic nine tenths of the store's.
#[cfg(feature = "tokio")]
const REST: u32 = 9;

/// The same between steps that bring the registry into step. Until everyone's cut-off is followed to the end, whose sign-in
/// nobody dated is refused.
#[cfg(feature = "tokio")]
const REST_OF_TIDYING: u32 = 2;

/// How many rows of each table are compared with the registry in a round: a few milliseconds of work.
const COMPARED: u32 = 5_000;

/// What has ended is kept so long at least.
const SHORTEST_HISTORY: Duration = Duration::from_secs(60 * 60);

impl Sessions {
    /// Removes every expired session, a batch at a time, and says how many. Then brings the registry into step, as far as
    /// one round goes, and to the end where everyone's sessions were revoked.
    ///
    /// # Errors
    /// When the store fails; what was done until then stays done.
    pub async fn sweep(&self) -> Result<u64, Error> {
        let mut total = 0;
        loop {
            let removed = self.sweep_batch(self.now(), BATCH).await?;
            total += removed;
            if removed < u64::from(BATCH) {
                break;
            }
        }
        while self.tidy().await?.more {}
        Ok(total)
    }

    /// One step of a sweep, for who decides the pace: removes at most `limit` sessions that had expired by then, and says
    /// how many. Fewer than `limit` means that it found no more.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sweep_batch(&self, expired_by: SystemTime, limit: u32) -> Result<u64, Error> {
        let Some(sweep) = self.store().sweep() else { return Ok(0) };
        let swept = sweep.sweep(expired_by, limit).await?;
        let ending = Ending { end: End::Expired, at: self.now(), reason: None };
        swept.expired.iter().for_each(|ended| self.tell_of_end(ended, &ending));
        self.meters().removed(swept.removed);
        Ok(swept.removed)
    }

    /// The other step: one round of bringing the registry into step. Says what it did, and whether there is
    /// [more](Tidied::more) to do at once.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn tidy(&self) -> Result<Tidied, Error> {
        self.write_secret_uses().await;
        let Some(registry) = self.store().registry() else { return Ok(Tidied::default()) };
        self.write_activity().await;
        let config = self.config();
        let user_key = config.user_key.as_deref();
        // What has just ended is remembered however short the history is: it is what keeps a session from coming back.
        let history = config.history.max(SHORTEST_HISTORY);
        let tidied = registry.tidy(&Tidy { now: self.now(), history, user_key, limit: COMPARED }).await?;
        tidied.ended.iter().for_each(|(ended, ending)| self.tell_of_end(ended, ending));
        let Tidied { ended, registered, removed, forgotten, .. } = &tidied;
        if !ended.is_empty() || *registered > 0 {
            let ended = ended.len();
            warn!(
                ended,
                registered,
                "registry and sessions were out of step, because another program writes sessions too or because of a revocation; repaired"
            );
        }
        if *removed > 0 {
            warn!(
                removed,
                "sessions that were over were brought back by another program, or not known when they were revoked; removed"
            );
        }
        if *forgotten > 0 {
            info!(forgotten, "history of ended sessions was old enough and is removed");
        }
        Ok(tidied)
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
}

fn distance(a: SystemTime, b: SystemTime) -> Duration {
    a.duration_since(b).unwrap_or_else(|earlier| earlier.duration())
}

#[cfg(feature = "tokio")]
mod background {
    use std::time::{Duration, Instant};

    use tracing::{debug, error, info, warn};

    use super::{BATCH, REST, REST_OF_TIDYING};
    use crate::meters::SweepRound;
    use crate::{Error, Sessions};

    /// How far this host's clock may be from the store's before it is reported.
    const SKEW: Duration = Duration::from_secs(2);

    impl Sessions {
        /// Sweeps every `every` (60 seconds are a good choice), give or take a fifth so that instances take turns, until
        /// the returned task is aborted or the runtime ends. After each batch it rests nine times as long as the batch
        /// took, so that live traffic has the store for itself nine tenths of the time. Errors are logged and outlived.
        ///
        /// # Panics
        /// Outside a tokio runtime.
        pub fn spawn_sweeper(&self, every: Duration) -> tokio::task::JoinHandle<()> {
            let sessions = self.clone();
            tokio::spawn(async move {
                loop {
                    sessions.sweep_and_report().await;
                    tokio::time::sleep(jittered(every)).await;
                }
            })
        }

        async fn sweep_and_report(&self) {
            let begun = Instant::now();
            let swept = self.sweep_gently().await;
            self.note_round(begun.elapsed(), swept.as_ref().ok().copied());
            match swept {
                Ok(0) => debug!("no session had expired"),
                Ok(removed) => info!(removed, "expired sessions were removed"),
                Err(error) => error!(?error, "expired sessions could not be removed; the next round tries again"),
            }
            if let Ok(Some(skew)) = self.clock_skew().await
                && skew > SKEW
            {
                let skew_ms = skew.as_millis();
                warn!(skew_ms, "this host's clock and the session store's differ; sessions may end early or late");
            }
        }

        /// `removed` is `None` when the round failed.
        fn note_round(&self, took: Duration, removed: Option<u64>) {
            let at = self.now();
            self.meters().sweep(at, took, removed.is_some());
            match removed {
                Some(removed) => self.remember_sweep(SweepRound { at, took, removed }),
                None => self.remember_failed_sweep(at),
            }
        }

        async fn sweep_gently(&self) -> Result<u64, Error> {
            let mut total = 0;
            loop {
                let begun = Instant::now();
                let removed = self.sweep_batch(self.now(), BATCH).await?;
                total += removed;
                if removed < u64::from(BATCH) {
                    break;
                }
                tokio::time::sleep(begun.elapsed() * REST).await;
            }
            loop {
                let begun = Instant::now();
                if !self.tidy().await?.more {
                    return Ok(total);
                }
                tokio::time::sleep(begun.elapsed() * REST_OF_TIDYING).await;
            }
        }
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
}
