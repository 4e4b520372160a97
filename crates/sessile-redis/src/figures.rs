//! The figures of a store. How many end when is in the indexes; who has how many sessions, and how large those are, takes a
//! look at every row, some hundreds at a time.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use redis::Cmd;
use sessile_core::{End, Error, Interval, Stats, StoreStats, UserId};

use crate::RedisStore;
use crate::failure::Failure;
use crate::lists::scored;
use crate::names::PARTITIONS;
use crate::time::{from_millis, millis, millis_up};

/// How many minutes ahead ends are counted.
const MINUTES: i64 = 60;

/// How many rows are looked at together.
const CHUNK: usize = 500;

/// What is counted on the way.
#[derive(Default)]
struct Count {
    ends: Vec<i64>,
    sizes: Vec<u64>,
    owners: BTreeMap<String, u64>,
    /// What began before this was ended with everyone's.
    cut_off: Option<i64>,
    /// So many of those that have not expired.
    over: u64,
}

impl Count {
    fn figures(mut self, now: i64, top: u32) -> StoreStats {
        self.sizes.sort_unstable();
        let count = self.sizes.len() as u64;
        let mut expiring = vec![0; MINUTES as usize];
        for minute in self.ends.iter().filter(|end| **end >= now).map(|end| (end - now) / 60_000) {
            if minute < MINUTES {
                expiring[minute as usize] += 1;
            }
        }
        let active = self.ends.iter().filter(|end| **end >= now).count();
        let signed_in = self.owners.values().sum();
        let mut top_owners: Vec<_> =
            self.owners.into_iter().map(|(owner, count)| (UserId::from(owner), count)).collect();
        top_owners.sort_by_key(|(_, count)| Reverse(*count));
        top_owners.truncate(top as usize);
        StoreStats {
            active: active as u64 - self.over,
            signed_in,
            expired: (self.ends.len() - active) as u64,
            oldest_expiry: self.ends.iter().min().map(|end| from_millis(*end)),
            newest_expiry: self.ends.iter().max().map(|end| from_millis(*end)),
            expiring,
            average_bytes: self.sizes.iter().sum::<u64>().checked_div(count),
            p99_bytes: self.sizes.get((self.sizes.len() * 99).div_ceil(100).saturating_sub(1)).copied(),
            top_owners,
            storage: None,
        }
    }
}

fn between(index: &str, low: i64, high: &str) -> Cmd {
    redis::cmd("ZRANGEBYSCORE").arg(index).arg(low).arg(high).arg("WITHSCORES").to_owned()
}

fn earlier(index: &str, than: i64) -> Cmd {
    redis::cmd("ZCOUNT").arg(index).arg("-inf").arg(format!("({than}")).to_owned()
}

impl RedisStore {
    /// Rows of a partition: their sizes, and whose they are if they live.
    async fn count(
        &self,
        partition: usize,
        rows: &[(i64, String)],
        now: i64,
        count: &mut Count,
    ) -> Result<(), Failure> {
        let base = self.names.index(partition, "");
        let mut commands = Vec::new();
        for (_, member) in rows {
            let name = format!("{base}{member}");
            commands.push(redis::cmd("HSTRLEN").arg(&name).arg("doc").to_owned());
            commands.push(redis::cmd("HMGET").arg(name).arg(&["st", "owner", "auth"]).to_owned());
        }
        let mut values = self.link.ask_together(&commands, &base).await?.into_iter();
        for (end, member) in rows {
            let (Some(size), Some(row)) = (values.next(), values.next()) else { return Err(Failure::Odd) };
            let (status, owner, began): (Option<String>, Option<String>, Option<i64>) = redis::from_redis_value(row)?;
            if status.as_deref() != Some("live") {
                continue;
            }
            count.ends.push(*end);
            count.sizes.push(redis::from_redis_value(size)?);
            if let Some(owner) = owner.filter(|_| member.starts_with("d:") && *end >= now) {
                match began.zip(count.cut_off).is_some_and(|(began, cut_off)| began < cut_off) {
                    true => count.over += 1,
                    false => *count.owners.entry(owner).or_default() += 1,
                }
            }
        }
        Ok(())
    }

    /// The ends of devices of a partition in this span, each with when.
    async fn ends_between(&self, partition: usize, from: i64, to: i64) -> Result<Vec<(i64, End)>, Failure> {
        let gone = self.names.index(partition, "gone");
        let ended = scored(self.link.ask(between(&gone, from, &format!("({to}"))).await?)?;
        let status = |(_, handle): &(i64, String)| {
            redis::cmd("HGET").arg(self.names.device_in(partition, handle)).arg("st").to_owned()
        };
        let values = self.link.ask_together(&ended.iter().map(status).collect::<Vec<_>>(), &gone).await?;
        let mut ends = Vec::new();
        for ((at, _), value) in ended.iter().zip(values) {
            let status: Option<String> = redis::from_redis_value(value)?;
            ends.extend(status.as_deref().and_then(End::parse).map(|end| (*at, end)));
        }
        Ok(ends)
    }
}

#[async_trait]
impl Stats for RedisStore {
    async fn stats(&self, now: SystemTime, top: u32) -> Result<StoreStats, Error> {
        let cut_off = self.cut_off_of_everyone().await?;
        let (now, mut count) = (millis_up(now), Count { cut_off, ..Count::default() });
        let sizes = self.sizes("ends").await?;
        for partition in (0..PARTITIONS).filter(|partition| sizes[*partition] > 0) {
            let ends = self.names.index(partition, "ends");
            let rows = redis::cmd("ZRANGE").arg(ends).arg(0).arg(-1).arg("WITHSCORES").to_owned();
            let rows = scored(self.link.ask(rows).await?)?;
            for rows in rows.chunks(CHUNK) {
                self.count(partition, rows, now, &mut count).await?;
            }
        }
        Ok(count.figures(now, top))
    }

    async fn timeline(&self, from: SystemTime, step: Duration, count: u32) -> Result<Vec<Interval>, Error> {
        let (mut spans, to) = Interval::spans(from, step, count);
        let Some(begin) = spans.first().map(|span| millis(span.at)) else { return Ok(spans) };
        let (to, step) = (millis(to), i64::try_from(step.as_millis()).unwrap_or(i64::MAX).max(1));
        let number = |at: i64| usize::try_from((at - begin) / step).unwrap_or(usize::MAX);
        let mut before = 0;
        for partition in 0..PARTITIONS {
            let (born, gone) = (self.names.index(partition, "born"), self.names.index(partition, "gone"));
            let commands = [between(&born, begin, &format!("({to}")), earlier(&born, begin), earlier(&gone, begin)];
            let mut values = self.link.ask_together(&commands, &born).await?.into_iter();
            let (Some(signed_in), Some(were), Some(ended)) = (values.next(), values.next(), values.next()) else {
                return Err(Failure::Odd.into());
            };
            for (at, _) in scored(signed_in)? {
                spans.get_mut(number(at)).into_iter().for_each(|span| span.signed_in += 1);
            }
            for (at, end) in self.ends_between(partition, begin, to).await? {
                spans.get_mut(number(at)).into_iter().for_each(|span| span.add_ends(end, 1));
            }
            let (were, ended): (u64, u64) = (
                redis::from_redis_value(were).map_err(Failure::from)?,
                redis::from_redis_value(ended).map_err(Failure::from)?,
            );
            before += were.saturating_sub(ended);
        }
        Interval::add_up(&mut spans, before);
        Ok(spans)
    }
}
