//! `sessile sweep`: what the sweeper of a server does, on request. It rests after each step as long as the step took, as
//! that one does, so that live traffic has the store for itself half of the time.

use std::time::{Duration, Instant, SystemTime};

use indicatif::ProgressBar;
use serde_json::json;
use sessile::{Sessions, Stats};

use super::Outcome;
use crate::args::SweepArgs;
use crate::output::{self, Found};
use crate::{progress, store, times};

pub(crate) async fn sweep(args: &SweepArgs) -> Outcome {
    let older_than = args.older_than.as_deref().map(times::span).transpose()?.unwrap_or_default();
    let sessions = store::sessions(&args.store).await?;
    let sweep = Sweeping { bar: bar(&sessions, older_than).await?, sessions, older_than, batch: args.batch };
    let mut removed = sweep.round().await?;
    let mut last = removed;
    while args.until_done && last > 0 {
        last = sweep.round().await?;
        removed += last;
    }
    sweep.bar.finish_and_clear();
    if args.output.json {
        output::print_json(&json!({ "removed": removed }))?;
    } else {
        output::print(&format!("{removed} expired and removed\n"))?;
    }
    Ok(Found::Something)
}

struct Sweeping {
    sessions: Sessions,
    older_than: Duration,
    batch: u32,
    bar: ProgressBar,
}

impl Sweeping {
    /// Removes until a step finds no more, then brings the registry into step, as far as one round goes.
    async fn round(&self) -> anyhow::Result<u64> {
        let mut removed = 0;
        loop {
            let begun = Instant::now();
            let batch = self.sessions.sweep_batch(expired_by(&self.sessions, self.older_than), self.batch).await?;
            removed += batch;
            self.bar.inc(batch);
            if batch < u64::from(self.batch) {
                break;
            }
            tokio::time::sleep(begun.elapsed()).await;
        }
        loop {
            let begun = Instant::now();
            if !self.sessions.tidy().await? {
                return Ok(removed);
            }
            tokio::time::sleep(begun.elapsed()).await;
        }
    }
}

fn expired_by(sessions: &Sessions, older_than: Duration) -> SystemTime {
    sessions.now().checked_sub(older_than).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// To know how many there are costs a look at every row: only for somebody who watches.
async fn bar(sessions: &Sessions, older_than: Duration) -> anyhow::Result<ProgressBar> {
    let bar = progress::bar("removing", None);
    if bar.is_hidden() {
        return Ok(bar);
    }
    let Some(stats) = sessions.store().stats() else { return Ok(bar) };
    let expired = Stats::stats(stats, expired_by(sessions, older_than), 0).await?.expired;
    bar.finish_and_clear();
    Ok(progress::bar("removing", Some(expired)))
}
