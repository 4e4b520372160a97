//! Lists: of one user, from the user's two sorted sets, and of everybody, from one index a partition.

use std::cmp::Reverse;

use redis::{Cmd, Value};
use sessile_core::{Device, Error, Handle, Page, Search, Status};

use crate::RedisStore;
use crate::device::{Entry, read};
use crate::failure::Failure;
use crate::names::{Home, PARTITIONS};
use crate::time::millis;

/// A place in a sorted set.
type At = (i64, String);

/// At least so many are looked at in one go.
const CHUNK: usize = 50;

/// The part of a sorted set that is before this place, the highest first.
fn before(set: &str, place: Option<&At>, since: Option<i64>, count: usize) -> Cmd {
    let high = place.map_or_else(|| "+inf".into(), |(score, _)| score.to_string());
    let low = since.map_or_else(|| "-inf".into(), |since| since.to_string());
    let mut command = redis::cmd("ZREVRANGEBYSCORE");
    command.arg(set).arg(high).arg(low).arg("WITHSCORES").arg("LIMIT").arg(0).arg(count);
    command
}

fn place_of(page: &Page) -> Option<At> {
    page.after.as_ref().map(|cursor| (millis(cursor.at), cursor.handle.to_string()))
}

/// Members and their scores, however the protocol pairs them.
pub(crate) fn scored(value: Value) -> Result<Vec<At>, Failure> {
    let pairs: Vec<(String, f64)> = redis::from_redis_value(value)?;
    #[allow(clippy::cast_possible_truncation, reason = "whole milliseconds, far below 2^53")]
    Ok(pairs.into_iter().map(|(member, score)| (score as i64, member)).collect())
}

impl RedisStore {
    /// What follows this place in a sorted set, the highest first. Members with the place's own score come first and may be
    /// many, so it asks for more until there is something else.
    async fn following(
        &self,
        set: &str,
        place: Option<&At>,
        since: Option<i64>,
        count: usize,
    ) -> Result<Vec<At>, Failure> {
        let mut asked = count;
        loop {
            let all = scored(self.link.ask(before(set, place, since, asked)).await?)?;
            let is_all = all.len() < asked;
            let rest: Vec<_> = all.into_iter().filter(|at| place.is_none_or(|place| at < place)).collect();
            if is_all || rest.len() >= count {
                return Ok(rest);
            }
            asked *= 2;
        }
    }

    async fn entries(&self, found: &[(Handle, String)]) -> Result<Vec<Option<Entry>>, Failure> {
        let groups = found.iter().map(|(_, name)| (name.clone(), vec![read(name)])).collect();
        let values = self.link.ask_groups(groups).await?.into_iter().flatten();
        found.iter().zip(values).map(|((handle, _), value)| Entry::of(handle, value)).collect()
    }

    /// A page of one of a user's sorted sets.
    pub(crate) async fn part_of(
        &self,
        home: &Home,
        set: &str,
        page: &Page,
        is_wanted: impl Fn(&Entry) -> bool,
    ) -> Result<Vec<Device>, Failure> {
        let (limit, mut place, mut devices) = (page.limit as usize, place_of(page), Vec::new());
        while devices.len() < limit {
            let rest = self.following(set, place.as_ref(), None, limit.max(CHUNK)).await?;
            let Some(last) = rest.last().cloned() else { break };
            place = Some(last);
            let named = |(_, handle): &At| Some((Handle::parse(handle)?, home.device(handle)));
            let entries = self.entries(&rest.iter().filter_map(named).collect::<Vec<_>>()).await?;
            devices.extend(
                entries
                    .into_iter()
                    .flatten()
                    .filter(|entry| entry.is_of(home) && is_wanted(entry))
                    .map(|entry| entry.device),
            );
        }
        devices.truncate(limit);
        Ok(devices)
    }

    pub(crate) async fn search_all(&self, search: &Search, now: i64, page: &Page) -> Result<Vec<Device>, Error> {
        let (limit, mut place, mut devices) = (page.limit as usize, place_of(page), Vec::new());
        let cut_off = if search.status == Some(Status::Live) { self.cut_off_of_everyone().await? } else { None };
        while devices.len() < limit {
            let found = self.candidates(search, place.as_ref(), limit.max(CHUNK)).await?;
            let Some(((at, handle), _)) = found.last() else { break };
            place = Some((*at, handle.to_string()));
            let named: Vec<_> = found.into_iter().map(|((_, handle), name)| (handle, name)).collect();
            let entries = self.entries(&named).await?.into_iter().flatten();
            devices.extend(entries.filter(|entry| is_as_asked(search, entry, now, cut_off)).map(|entry| entry.device));
        }
        devices.truncate(limit);
        Ok(devices)
    }

    /// The next sessions that may be meant, with the names of their hashes, by the time of their sign-in, the latest first.
    async fn candidates(
        &self,
        search: &Search,
        place: Option<&At>,
        count: usize,
    ) -> Result<Vec<((i64, Handle), String)>, Failure> {
        let mut found = match (&search.handle, &search.owner) {
            (Some(handle), _) => match self.home_of(handle).await? {
                Some(home) => self.dated(vec![(handle.clone(), home.device(handle.as_str()))]).await?,
                None => Vec::new(),
            },
            (None, Some(owner)) => self.all_of(&self.names.home(owner.as_str())).await?,
            (None, None) => self.everybodys(place, search.since.map(millis), count).await?,
        };
        found.retain(|((at, handle), _)| {
            place.is_none_or(|(after, last)| (*at, handle.as_str()) < (*after, last.as_str()))
        });
        found.sort_by(|one, other| other.0.cmp(&one.0));
        found.truncate(count);
        Ok(found)
    }

    async fn all_of(&self, home: &Home) -> Result<Vec<((i64, Handle), String)>, Failure> {
        let mut handles = self.crowd(home, "").await?;
        let past = redis::cmd("ZRANGE").arg(home.past()).arg(0).arg(-1).to_owned();
        let past: Vec<String> = redis::from_redis_value(self.link.ask(past).await?)?;
        handles.extend(past);
        let named = handles.iter().filter_map(|handle| Some((Handle::parse(handle)?, home.device(handle))));
        self.dated(named.collect()).await
    }

    /// With the time of the sign-in, which a user's sorted sets do not all have.
    async fn dated(&self, named: Vec<(Handle, String)>) -> Result<Vec<((i64, Handle), String)>, Failure> {
        let entries = self.entries(&named).await?;
        let dated = named
            .into_iter()
            .zip(entries)
            .filter_map(|((handle, name), entry)| Some(((millis(entry?.device.created_at), handle), name)));
        Ok(dated.collect())
    }

    /// The next of every partition: the first so many of them all are among these.
    async fn everybodys(
        &self,
        place: Option<&At>,
        since: Option<i64>,
        count: usize,
    ) -> Result<Vec<((i64, Handle), String)>, Failure> {
        let mut found = Vec::new();
        let sizes = self.sizes("born").await?;
        for partition in (0..PARTITIONS).filter(|partition| sizes[*partition] > 0) {
            let rest = self.following(&self.names.index(partition, "born"), place, since, count).await?;
            let named = |(at, handle): At| {
                let name = self.names.device_in(partition, &handle);
                Some(((at, Handle::parse(&handle)?), name))
            };
            found.extend(rest.into_iter().filter_map(named));
        }
        found.sort_by_key(|((at, handle), _)| Reverse((*at, handle.clone())));
        Ok(found)
    }

    /// What commands on an index of each partition answer, in order.
    pub(crate) async fn of_each_partition(
        &self,
        index: &str,
        commands: impl Fn(&str) -> Vec<Cmd>,
    ) -> Result<Vec<Vec<Value>>, Failure> {
        let names = (0..PARTITIONS).map(|partition| self.names.index(partition, index));
        let groups = names.map(|name| {
            let commands = commands(&name);
            (name, commands)
        });
        self.link.ask_groups(groups.collect()).await
    }

    /// How many there are in an index of each partition.
    pub(crate) async fn sizes(&self, index: &str) -> Result<Vec<u64>, Failure> {
        let count = |name: &str| vec![redis::cmd("ZCARD").arg(name).to_owned()];
        let values = self.of_each_partition(index, count).await?.into_iter().flatten();
        values.map(|value| Ok(redis::from_redis_value(value)?)).collect()
    }
}

/// `cut_off` is everyone's, where only those are asked for that live.
fn is_as_asked(search: &Search, entry: &Entry, now: i64, cut_off: Option<i64>) -> bool {
    let device = &entry.device;
    let status = match search.status {
        None => !entry.pending,
        Some(Status::Live) => entry.is_alive(now) && cut_off.is_none_or(|cut_off| entry.began >= cut_off),
        Some(Status::Ended) => device.ended.is_some(),
        Some(Status::EndedBy(end)) => device.ended.as_ref().is_some_and(|ending| ending.end == end),
    };
    status
        && search.handle.as_ref().is_none_or(|handle| device.handle == *handle)
        && search.owner.as_ref().is_none_or(|owner| device.owner == *owner)
        && search.network.is_none_or(|network| device.facts.ip.is_some_and(|ip| network.contains(&ip)))
        && search.since.is_none_or(|since| device.created_at >= since)
        && search.before.is_none_or(|before| entry.began < millis(before))
}
