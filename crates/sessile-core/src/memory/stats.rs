//! Figures of what is in memory: every row is looked at, every time.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::{MemoryStore, Tables};
use crate::record::UserId;
use crate::{Error, Interval, Stats, StoreStats};

/// How many minutes ahead ends are counted.
const MINUTES: u64 = 60;

impl Tables {
    fn expiring(&self, now: SystemTime) -> Vec<u64> {
        let minutes = self.rows.values().filter_map(|row| row.expires_at.duration_since(now).ok());
        let mut expiring = vec![0; MINUTES as usize];
        for minute in minutes.map(|left| left.as_secs() / 60).filter(|minute| *minute < MINUTES) {
            expiring[minute as usize] += 1;
        }
        expiring
    }

    /// The sizes of all documents, the smallest first.
    fn sizes(&self) -> Vec<u64> {
        let mut sizes: Vec<_> = self.rows.values().map(|row| row.document.len() as u64).collect();
        sizes.sort_unstable();
        sizes
    }

    /// How many live sessions each user has, and how many more everyone's cut-off ended whose rows are still there.
    fn owners(&self, now: SystemTime) -> (BTreeMap<&str, u64>, u64) {
        let (mut owners, mut cut_off) = (BTreeMap::new(), 0);
        for entry in self.devices.values().filter(|entry| self.is_alive(entry, now)) {
            match self.is_ended_with_everyone(&entry.device) {
                true => cut_off += 1,
                false => *owners.entry(entry.device.owner.as_str()).or_default() += 1,
            }
        }
        (owners, cut_off)
    }

    fn stats(&self, now: SystemTime, top: u32) -> StoreStats {
        let ends = || self.rows.values().map(|row| row.expires_at);
        let (sizes, (owners, cut_off)) = (self.sizes(), self.owners(now));
        let count = sizes.len() as u64;
        let mut top_owners: Vec<_> = owners.iter().map(|(owner, count)| (UserId::from(*owner), *count)).collect();
        top_owners.sort_by_key(|(_, count)| Reverse(*count));
        top_owners.truncate(top as usize);
        StoreStats {
            active: (ends().filter(|end| *end >= now).count() as u64).saturating_sub(cut_off),
            signed_in: owners.values().sum(),
            expired: ends().filter(|end| *end < now).count() as u64,
            oldest_expiry: ends().min(),
            newest_expiry: ends().max(),
            expiring: self.expiring(now),
            average_bytes: sizes.iter().sum::<u64>().checked_div(count),
            p99_bytes: sizes.get((sizes.len() * 99).div_ceil(100).saturating_sub(1)).copied(),
            top_owners,
            storage: None,
        }
    }

    fn timeline(&self, from: SystemTime, step: Duration, count: u32) -> Vec<Interval> {
        let (mut spans, _) = Interval::spans(from, step, count);
        let Some(begin) = spans.first().map(|span| span.at) else { return spans };
        let step = step.max(Duration::from_millis(1)).as_millis();
        let number = |time: SystemTime| time.duration_since(begin).ok().map(|since| since.as_millis() / step);
        let mut before = 0_u64;
        for device in self.devices.values().map(|entry| &entry.device) {
            match number(device.created_at) {
                None => before += 1,
                Some(number) => {
                    if let Some(span) = spans.get_mut(number as usize) {
                        span.signed_in += 1;
                    }
                }
            }
            let Some(ending) = &device.ended else { continue };
            match number(ending.at) {
                None => before = before.saturating_sub(1),
                Some(number) => {
                    if let Some(span) = spans.get_mut(number as usize) {
                        span.add_ends(ending.end, 1);
                    }
                }
            }
        }
        Interval::add_up(&mut spans, before);
        spans
    }
}

#[async_trait]
impl Stats for MemoryStore {
    async fn stats(&self, now: SystemTime, top: u32) -> Result<StoreStats, Error> {
        Ok(self.tables().stats(now, top))
    }

    async fn timeline(&self, from: SystemTime, step: Duration, count: u32) -> Result<Vec<Interval>, Error> {
        Ok(self.tables().timeline(from, step, count))
    }
}
