//! The figures of a store. How many rows end when is in the indexes. Whose they are and how large takes a look at the row:
//! at every one while they are few, and at a sample of them beyond that, so that whoever looks every few seconds costs
//! a large store no more than a small one.

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

/// How many rows are looked at: all, where there are no more.
const SAMPLE: u64 = 2_000;

/// How many rows are looked at together.
const CHUNK: usize = 500;

/// How many users of the sample are asked for their sessions, for each that is to be told.
const CANDIDATES: usize = 4;

/// What the indexes say.
#[derive(Default)]
struct Ends {
    active: u64,
    expired: u64,
    oldest: Option<i64>,
    newest: Option<i64>,
    expiring: Vec<u64>,
}

/// What the rows say that were looked at.
#[derive(Default)]
struct Looks {
    sizes: Vec<u64>,
    owners: BTreeMap<String, u64>,
    /// What began before this was ended with everyone's.
    cut_off: Option<i64>,
    /// Rows that have not expired, and those of them that are over.
    active: u64,
    over: u64,
    expired: u64,
    /// Those that are not there yet.
    pending: u64,
}

impl Looks {
    /// So many of those that were looked at, as a number of all.
    fn of_all(&self, looks: u64, ends: &Ends) -> u64 {
        let (all, seen) = (ends.active + ends.expired, self.active + self.expired + self.pending);
        let share = u128::from(looks) * u128::from(all) / u128::from(seen.max(1));
        u64::try_from(share).unwrap_or(u64::MAX)
    }

    fn figures(mut self, ends: Ends, top_owners: Vec<(UserId, u64)>) -> StoreStats {
        self.sizes.sort_unstable();
        let count = self.sizes.len() as u64;
        let over = self.of_all(self.over + self.pending, &ends);
        StoreStats {
            active: ends.active.saturating_sub(over),
            signed_in: self.of_all(self.owners.values().sum(), &ends),
            expired: ends.expired,
            oldest_expiry: ends.oldest.map(from_millis),
            newest_expiry: ends.newest.map(from_millis),
            expiring: ends.expiring,
            average_bytes: self.sizes.iter().sum::<u64>().checked_div(count),
            p99_bytes: self.sizes.get((self.sizes.len() * 99).div_ceil(100).saturating_sub(1)).copied(),
            top_owners,
            storage: None,
        }
    }

    /// The users whose sessions were met most, the most first, then by name.
    fn most_met(&self, count: usize) -> Vec<(UserId, u64)> {
        let owners = self.owners.iter().map(|(owner, count)| (UserId::from(owner.as_str()), *count));
        most(owners.collect(), count)
    }
}

fn most(mut owners: Vec<(UserId, u64)>, count: usize) -> Vec<(UserId, u64)> {
    owners.sort_by(|(one, few), (other, many)| {
        Reverse(few).cmp(&Reverse(many)).then_with(|| one.as_str().cmp(other.as_str()))
    });
    owners.truncate(count);
    owners
}

fn count_between(index: &str, low: &str, high: &str) -> Cmd {
    redis::cmd("ZCOUNT").arg(index).arg(low).arg(high).to_owned()
}

/// The first of an index, or the last.
fn edge(index: &str, command: &str) -> Cmd {
    redis::cmd(command).arg(index).arg(0).arg(0).arg("WITHSCORES").to_owned()
}

/// The numbers that an index is asked for: what has not ended, what has, and what ends in each of the next minutes.
fn counts(index: &str, now: i64) -> Vec<Cmd> {
    let until = |time: i64| format!("({time}");
    let minute = |minute: i64| {
        let begin = now + minute * 60_000;
        count_between(index, &begin.to_string(), &until(begin + 60_000))
    };
    let whole = [count_between(index, &now.to_string(), "+inf"), count_between(index, "-inf", &until(now))];
    whole.into_iter().chain((0..MINUTES).map(minute)).collect()
}

fn between(index: &str, low: i64, high: &str) -> Cmd {
    redis::cmd("ZRANGEBYSCORE").arg(index).arg(low).arg(high).arg("WITHSCORES").to_owned()
}

fn earlier(index: &str, than: i64) -> Cmd {
    redis::cmd("ZCOUNT").arg(index).arg("-inf").arg(format!("({than}")).to_owned()
}

impl RedisStore {
    /// What the index of a partition says, added to what those before it said.
    async fn count_ends(&self, partition: usize, now: i64, ends: &mut Ends) -> Result<(), Failure> {
        let index = self.names.index(partition, "ends");
        let mut commands = vec![edge(&index, "ZRANGE"), edge(&index, "ZREVRANGE")];
        commands.extend(counts(&index, now));
        let mut values = self.link.ask_together(&commands, &index).await?.into_iter();
        let mut end_of = || scored(values.next().ok_or(Failure::Odd)?).map(|at| at.first().map(|(at, _)| *at));
        let (first, last) = (end_of()?, end_of()?);
        ends.oldest = ends.oldest.into_iter().chain(first).min();
        ends.newest = ends.newest.into_iter().chain(last).max();
        let counts = values.map(|value| Ok(redis::from_redis_value(value)?));
        let counts = counts.collect::<Result<Vec<u64>, Failure>>()?;
        let [active, expired, minutes @ ..] = counts.as_slice() else { return Err(Failure::Odd) };
        (ends.active, ends.expired) = (ends.active + active, ends.expired + expired);
        ends.expiring.iter_mut().zip(minutes).for_each(|(sum, count)| *sum += count);
        Ok(())
    }

    /// The rows of a partition to look at: its share of the sample, at random, or all.
    async fn sample(&self, partition: usize, size: u64, all: u64) -> Result<Vec<(i64, String)>, Failure> {
        let index = self.names.index(partition, "ends");
        let rows = if all <= SAMPLE {
            redis::cmd("ZRANGE").arg(index).arg(0).arg(SAMPLE).arg("WITHSCORES").to_owned()
        } else {
            redis::cmd("ZRANDMEMBER").arg(index).arg((SAMPLE * size).div_ceil(all)).arg("WITHSCORES").to_owned()
        };
        scored(self.link.ask(rows).await?)
    }

    /// Looks at rows of a partition: their sizes, and whose they are if they live.
    async fn look(&self, partition: usize, rows: &[(i64, String)], now: i64, looks: &mut Looks) -> Result<(), Failure> {
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
                looks.pending += 1;
                continue;
            }
            looks.sizes.push(redis::from_redis_value(size)?);
            if *end < now {
                looks.expired += 1;
                continue;
            }
            looks.active += 1;
            let Some(owner) = owner.filter(|_| member.starts_with("d:")) else { continue };
            match began.zip(looks.cut_off).is_some_and(|(began, cut_off)| began < cut_off) {
                true => looks.over += 1,
                false => *looks.owners.entry(owner).or_default() += 1,
            }
        }
        Ok(())
    }

    /// How many sessions these users have, as their own sets say.
    async fn ask_owners(&self, owners: Vec<(UserId, u64)>) -> Result<Vec<(UserId, u64)>, Failure> {
        let ask = |(owner, _): &(UserId, u64)| {
            let live = self.names.home(owner.as_str()).live();
            let count = redis::cmd("ZCARD").arg(&live).to_owned();
            (live, vec![count])
        };
        let counts = self.link.ask_groups(owners.iter().map(ask).collect()).await?.into_iter().flatten();
        owners.into_iter().zip(counts).map(|((owner, _), count)| Ok((owner, redis::from_redis_value(count)?))).collect()
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
        let mut looks = Looks { cut_off: self.cut_off_of_everyone().await?, ..Looks::default() };
        let (now, top) = (millis_up(now), top as usize);
        let mut ends = Ends { expiring: vec![0; MINUTES as usize], ..Ends::default() };
        let sizes = self.sizes("ends").await?;
        let all = sizes.iter().sum();
        for (partition, size) in sizes.into_iter().enumerate().filter(|(_, size)| *size > 0) {
            self.count_ends(partition, now, &mut ends).await?;
            for rows in self.sample(partition, size, all).await?.chunks(CHUNK) {
                self.look(partition, rows, now, &mut looks).await?;
            }
        }
        let owners = match all <= SAMPLE {
            true => looks.most_met(top),
            false => most(self.ask_owners(looks.most_met(top * CANDIDATES)).await?, top),
        };
        Ok(looks.figures(ends, owners))
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
