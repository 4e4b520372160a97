//! `sessile sweep`: what the sweeper of a server does, on request. It rests after each step nine times as long as
//! the step took, as that one does, so that live traffic has the store for itself nine tenths of the time.

use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use indicatif::ProgressBar;
use serde_json::{Value, json};
use sessile::{Sessions, Stats, Tidied};

use super::{Outcome, Unswept};
use crate::args::SweepArgs;
use crate::output::{self, Found};
use crate::{progress, store, times};

/// Where the registry is brought into step, users may wait for that: there the rest is so many times as long at most.
const REST_OF_TIDYING: u32 = 2;

pub(crate) async fn sweep(args: &SweepArgs) -> Outcome {
    let older_than = args.older_than.as_deref().map(times::span).transpose()?.unwrap_or_default();
    let sessions = store::sessions(&args.store).await?;
    if args.dry_run {
        return foretell(&sessions, older_than, args.output.json).await;
    }
    let bar = bar(&sessions, older_than).await?;
    let sweep = Sweeping { bar, sessions, older_than, batch: args.batch, rest: args.rest };
    let mut swept = sweep.round().await?;
    let mut last = swept.removed;
    while args.until_done && last > 0 {
        let round = sweep.round().await?;
        last = round.removed;
        swept.add(&round);
    }
    sweep.bar.finish_and_clear();
    if args.output.json {
        output::print_json(&swept.described())?
    } else {
        output::print(&swept.text())?
    }
    Ok(Found::Something)
}

/// What would be removed as expired. What a look at the registry would find is known after the look only.
async fn foretell(sessions: &Sessions, older_than: Duration, is_json: bool) -> Outcome {
    Unswept::told(sessions).await?;
    let stats = sessions.store().stats().context("this session store does not count what has expired")?;
    let expired = Stats::stats(stats, expired_by(sessions, older_than), 0).await?.expired;
    if is_json {
        output::print_json(&json!({ "would_remove": expired }))?;
    } else {
        output::print(&format!("{expired} expired, would be removed\n"))?;
    }
    Ok(Found::Something)
}

/// What a sweep did.
#[derive(Default)]
struct Swept {
    /// Rows that had expired.
    removed: u64,
    /// Sessions that the registry called active, and that were revoked with everyone's, or gone.
    ended: u64,
    /// Rows of sessions that were over, and were there all the same.
    over: u64,
}

impl Swept {
    fn add(&mut self, more: &Self) {
        self.removed += more.removed;
        self.ended += more.ended;
        self.over += more.over;
    }

    fn described(&self) -> Value {
        json!({ "removed": self.removed, "ended": self.ended, "over": self.over })
    }

    fn text(&self) -> String {
        let Self { removed, ended, over } = self;
        let mut text = format!("{removed} expired and removed");
        if *ended > 0 {
            text += &format!(", {ended} that were revoked or gone ended in the registry");
        }
        if *over > 0 {
            text += &format!(", {over} that were over removed");
        }
        text + "\n"
    }
}

struct Sweeping {
    sessions: Sessions,
    older_than: Duration,
    batch: u32,
    /// How many times as long as a step took.
    rest: u32,
    bar: ProgressBar,
}

impl Sweeping {
    /// Removes until a step finds no more, then brings the registry into step, as far as one round goes.
    async fn round(&self) -> anyhow::Result<Swept> {
        let mut swept = Swept::default();
        loop {
            let begun = Instant::now();
            let batch = self.sessions.sweep_batch(expired_by(&self.sessions, self.older_than), self.batch).await?;
            swept.removed += batch;
            self.bar.inc(batch);
            if batch < u64::from(self.batch) {
                break;
            }
            tokio::time::sleep(begun.elapsed() * self.rest).await;
        }
        loop {
            let begun = Instant::now();
            let Tidied { ended, removed, more, .. } = self.sessions.tidy().await?;
            swept.ended += ended.len() as u64;
            swept.over += removed;
            if !more {
                return Ok(swept);
            }
            tokio::time::sleep(begun.elapsed() * self.rest.min(REST_OF_TIDYING)).await;
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
