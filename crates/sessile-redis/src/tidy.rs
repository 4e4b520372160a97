//! Sweeping what has expired, and bringing sessions and registry into step. A user's session and its row in the registry
//! are one hash, so they cannot differ; what there is to repair are sessions that nobody told the registry of, those that a
//! cut-off ended, and what a process that died left in waiting.
//!
//! Both walk the partitions' indexes, so neither scans the keys of the server, and each partition's part is short.

use std::sync::{MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use redis::Value;
use sessile_core::{
    Alignment, DeviceFacts, End, EndedSession, Ending, Error, Handle, StoreKey, Sweep, Swept, Tidied, Tidy,
};

use crate::RedisStore;
use crate::device::{Entry, read};
use crate::failure::Failure;
use crate::lists::scored;
use crate::names::PARTITIONS;
use crate::revoke::Only;
use crate::rows::Place;
use crate::script::{FORGET, REMOVE, SWEPT, UNCLAIM, Word};
use crate::time::{KEPT, MOVED, from_millis, millis, millis_up};

/// How many rows are looked at together.
const CHUNK: usize = 100;

/// Where the last round stopped, and for which cut-off the partition has been looked at from its beginning.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cursor {
    partition: usize,
    after: Option<(i64, String)>,
    whole_for: Option<i64>,
}

/// Everyone's cut-off, as a partition has it.
#[derive(Clone)]
pub(crate) struct Everyone {
    pub(crate) before: i64,
    pub(crate) swept: bool,
    pub(crate) ending: Ending,
}

/// A round of tidying.
struct Round<'a> {
    tidy: &'a Tidy<'a>,
    tidied: Tidied,
    left: usize,
}

fn everyone(value: Value) -> Result<Option<Everyone>, Failure> {
    type Fields = (Option<i64>, Option<String>, Option<String>, Option<i64>, Option<String>);
    let (before, swept, how, at, why): Fields = redis::from_redis_value(value)?;
    let reason = why.filter(|why| !why.is_empty()).map(String::into_boxed_str);
    Ok(before.zip(at).map(|(before, at)| Everyone {
        before,
        swept: swept.as_deref() == Some("1"),
        ending: Ending {
            end: how.and_then(|how| End::parse(&how)).unwrap_or(End::Revoked),
            at: from_millis(at),
            reason,
        },
    }))
}

/// So often a sweep that found much, and of that too little to remove, looks again.
const PASSES: usize = 8;

#[async_trait]
impl Sweep for RedisStore {
    async fn sweep(&self, now: SystemTime, limit: u32) -> Result<Swept, Error> {
        let (now, limit, mut swept) = (millis_up(now), limit as usize, Swept::default());
        // A backlog is spread over the partitions, so a small share of each is mostly enough; but of what is found some may be
        // gone already, and other sweepers take of the same.
        let mut share = limit.div_ceil(16);
        for _ in 0..PASSES {
            let found = self.expired(now, share).await?;
            let is_all = found.iter().all(|members| members.len() < share);
            for (partition, members) in found.iter().enumerate() {
                for member in members {
                    if swept.removed >= limit as u64 {
                        return Ok(swept);
                    }
                    let (removed, ended) = self.remove_expired(partition, member, now).await?;
                    swept.removed += u64::from(removed);
                    swept.expired.extend(ended);
                }
            }
            if is_all {
                break;
            }
            share = limit;
        }
        Ok(swept)
    }
}

impl RedisStore {
    fn cursor(&self) -> MutexGuard<'_, Cursor> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What ended before this time in each partition, at most so much of each.
    async fn expired(&self, now: i64, limit: usize) -> Result<Vec<Vec<String>>, Failure> {
        let range = |ends: &str| {
            let mut command = redis::cmd("ZRANGEBYSCORE");
            command.arg(ends).arg("-inf").arg(format!("({now}")).arg("LIMIT").arg(0).arg(limit);
            vec![command]
        };
        let values = self.of_each_partition("ends", range).await?.into_iter().flatten();
        values.map(|value| Ok(redis::from_redis_value(value)?)).collect()
    }

    async fn remove_expired(
        &self,
        partition: usize,
        member: &str,
        now: i64,
    ) -> Result<(bool, Option<EndedSession>), Error> {
        if let Some(key) = member.strip_prefix("k:") {
            let place = self.names.key(&StoreKey::stored(key));
            let arguments = [key.to_owned(), member.to_owned(), now.to_string(), String::new()];
            let answer = self.link.run(&REMOVE, &place.keys(), &arguments).await?;
            return Ok((answer.word == Word::Done, None));
        }
        let Some(entry) = self.member_entry(partition, member).await? else { return Ok((false, None)) };
        let (home, handle) = (self.names.home(entry.device.owner.as_str()), &entry.device.handle);
        if entry.pending {
            self.clear_stuck(&home, handle, now).await?;
        }
        let ending = Ending { end: End::Expired, at: from_millis(now), reason: None };
        let ended = self.end(&home, handle, &ending, Only { expired: Some(now), ..Only::default() }).await?;
        Ok((ended.is_some(), ended))
    }

    /// The device that an index names; one that is not there any more is taken out of it.
    async fn member_entry(&self, partition: usize, member: &str) -> Result<Option<Entry>, Failure> {
        let handle = member.strip_prefix("d:").and_then(Handle::parse);
        let entry = match &handle {
            Some(handle) => {
                let name = self.names.device_in(partition, handle.as_str());
                Entry::of(handle, self.link.ask(read(&name)).await?)?
            }
            None => None,
        };
        if entry.is_none() {
            let handle = handle.as_ref().map_or("", Handle::as_str);
            self.take_out(partition, &[("ends", member), ("born", handle)]).await?;
        }
        Ok(entry)
    }

    /// Takes out of indexes what is not there any more.
    async fn take_out(&self, partition: usize, members: &[(&str, &str)]) -> Result<(), Failure> {
        let take = |(index, member): &(&str, &str)| {
            redis::cmd("ZREM").arg(self.names.index(partition, index)).arg(member).to_owned()
        };
        let commands: Vec<_> = members.iter().map(take).collect();
        self.link.ask_together(&commands, &self.names.index(partition, "")).await.map(drop)
    }

    pub(crate) async fn bring_into_step(&self, tidy: &Tidy<'_>) -> Result<Tidied, Error> {
        let mut round = Round { tidy, tidied: Tidied::default(), left: tidy.limit as usize };
        self.forget_history(&mut round).await?;
        let cut_offs = self.cut_offs().await?;
        let unswept = |cut_off: &Option<Everyone>| cut_off.as_ref().is_some_and(|cut_off| !cut_off.swept);
        let mut cursor = self.cursor().clone();
        if let Some(first) = cut_offs.iter().position(unswept)
            && cursor.whole_for != cut_offs[first].as_ref().map(|cut_off| cut_off.before)
        {
            cursor = Cursor { partition: first, after: None, whole_for: None };
        }
        let sizes = self.sizes("ends").await?;
        let mut done = cut_offs.clone();
        while round.left > 0 && cursor.partition < PARTITIONS {
            let partition = cursor.partition;
            let cut_off = cut_offs[partition].as_ref();
            if cursor.after.is_none() {
                cursor.whole_for = cut_off.map(|cut_off| cut_off.before);
            }
            let is_through = sizes[partition] == 0 || self.tidy_part(&mut cursor, cut_off, &mut round).await?;
            if !is_through {
                continue;
            }
            if let Some(cut_off) = cut_off.filter(|cut_off| !cut_off.swept && cursor.whole_for == Some(cut_off.before))
            {
                let all = self.names.index(partition, "all");
                self.link.run(&SWEPT, &[all], &[cut_off.before.to_string()]).await?;
                done[partition] = None;
            }
            (cursor.partition, cursor.after) = (partition + 1, None);
        }
        if cursor.partition >= PARTITIONS {
            cursor = Cursor { partition: 0, after: None, whole_for: cursor.whole_for };
        }
        *self.cursor() = cursor;
        round.tidied.more |= done.iter().any(unswept);
        Ok(round.tidied)
    }

    /// When the last cut-off of everyone is, in milliseconds.
    pub(crate) async fn cut_off_of_everyone(&self) -> Result<Option<i64>, Failure> {
        Ok(self.cut_offs().await?.into_iter().flatten().map(|cut_off| cut_off.before).max())
    }

    pub(crate) async fn cut_offs(&self) -> Result<Vec<Option<Everyone>>, Failure> {
        let ask = |all: &str| {
            let mut command = redis::cmd("HMGET");
            command.arg(all).arg(&["before", "swept", "how", "at", "why"]);
            vec![command]
        };
        let values = self.of_each_partition("all", ask).await?.into_iter().flatten();
        values.map(everyone).collect()
    }

    /// The next rows of a partition, by when they end; whether those were the last.
    async fn tidy_part(
        &self,
        cursor: &mut Cursor,
        cut_off: Option<&Everyone>,
        round: &mut Round<'_>,
    ) -> Result<bool, Error> {
        let rows = self.next_rows(cursor, CHUNK).await?;
        // A user's session is in step with itself, unless the application says in its data whose it is.
        let all = round.tidy.user_key.is_some() || cut_off.is_some_and(|cut_off| !cut_off.swept);
        let waiting = if all { Vec::new() } else { self.waiting(cursor.partition, &rows).await? };
        for (number, (_, member)) in rows.iter().enumerate() {
            if all || member.starts_with("k:") || waiting[number] {
                self.tidy_row(cursor.partition, member, cut_off, round).await?;
            }
        }
        round.left = round.left.saturating_sub(rows.len());
        let is_last = rows.len() < CHUNK;
        cursor.after = rows.into_iter().last().or(cursor.after.take());
        Ok(is_last)
    }

    async fn next_rows(&self, cursor: &Cursor, count: usize) -> Result<Vec<(i64, String)>, Failure> {
        let low = cursor.after.as_ref().map_or_else(|| "-inf".into(), |(score, _)| score.to_string());
        let mut asked = count;
        loop {
            let mut range = redis::cmd("ZRANGEBYSCORE");
            range.arg(self.names.index(cursor.partition, "ends")).arg(&low).arg("+inf");
            range.arg("WITHSCORES").arg("LIMIT").arg(0).arg(asked);
            let all = scored(self.link.ask(range).await?)?;
            let is_all = all.len() < asked;
            let mut rest: Vec<_> =
                all.into_iter().filter(|at| cursor.after.as_ref().is_none_or(|after| at > after)).collect();
            if is_all || rest.len() >= count {
                rest.truncate(count);
                return Ok(rest);
            }
            asked *= 2;
        }
    }

    async fn tidy_row(
        &self,
        partition: usize,
        member: &str,
        cut_off: Option<&Everyone>,
        round: &mut Round<'_>,
    ) -> Result<(), Error> {
        if let Some(key) = member.strip_prefix("k:") {
            return self.tidy_session(&StoreKey::stored(key), round).await;
        }
        let Some(entry) = self.member_entry(partition, member).await? else { return Ok(()) };
        let (home, handle) = (self.names.home(entry.device.owner.as_str()), &entry.device.handle);
        if entry.pending {
            self.clear_stuck(&home, handle, millis(round.tidy.now)).await?;
            return Ok(());
        }
        if let Some(cut_off) = cut_off.filter(|cut_off| entry.began < cut_off.before) {
            let only = Only { since: Some(cut_off.before), ..Only::default() };
            let ended = self.end(&home, handle, &cut_off.ending, only).await?;
            round.tidied.ended.extend(ended.map(|ended| (ended, cut_off.ending.clone())));
            return Ok(());
        }
        match (round.tidy.user_key, entry.key) {
            (Some(_), Some(key)) => self.tidy_session(&StoreKey::stored(&key), round).await,
            _ => Ok(()),
        }
    }

    /// Which of these rows are on their way.
    async fn waiting(&self, partition: usize, rows: &[(i64, String)]) -> Result<Vec<bool>, Failure> {
        let base = self.names.index(partition, "");
        let status =
            |(_, member): &(i64, String)| redis::cmd("HGET").arg(format!("{base}{member}")).arg("st").to_owned();
        let values = self.link.ask_together(&rows.iter().map(status).collect::<Vec<_>>(), &base).await?;
        let is_waiting = |value| Ok(redis::from_redis_value::<Option<String>>(value)?.as_deref() == Some("pend"));
        values.into_iter().map(is_waiting).collect()
    }

    /// Makes the registry say what the session does.
    async fn tidy_session(&self, key: &StoreKey, round: &mut Round<'_>) -> Result<(), Error> {
        let now = round.tidy.now;
        let Some(row) = self.locate(key).await?.filter(|row| row.end >= millis_up(now)) else { return Ok(()) };
        let (place, cut_off) = (row.place.clone(), row.cut_off);
        let Ok(mut record) = row.record(key, now) else { return Ok(()) };
        record.cut_off = cut_off;
        if let Some(user_key) = round.tidy.user_key {
            record.owner_is_under(user_key);
        }
        let known = match &place {
            Place::Home { home, .. } => Some(&*home.owner),
            Place::Key { .. } => None,
        };
        if known.is_some() && known == record.owner.as_ref().map(|owner| owner.as_str()) {
            return Ok(());
        }
        let is_over = known.is_none() && record.is_cut_off();
        let device = record.device(DeviceFacts::default())?;
        let (alignment, former) = self.follow(key, device.as_ref(), is_over, now).await?;
        round.tidied.ended.extend(former);
        round.tidied.registered += u64::from(matches!(alignment, Alignment::Device(_)));
        round.tidied.removed += u64::from(alignment == Alignment::Over);
        Ok(())
    }

    /// Forgets what ended long enough ago, and what still leads to it.
    async fn forget_history(&self, round: &mut Round<'_>) -> Result<(), Error> {
        let before = millis(round.tidy.now) - i64::try_from(round.tidy.history.as_millis()).unwrap_or(i64::MAX);
        let sizes = self.trim_indexes(millis(round.tidy.now)).await?;
        let mut left = round.tidy.limit as usize;
        for partition in (0..PARTITIONS).filter(|partition| sizes[*partition] > 0) {
            let mut range = redis::cmd("ZRANGEBYSCORE");
            range.arg(self.names.index(partition, "gone")).arg("-inf").arg(format!("({before}"));
            range.arg("LIMIT").arg(0).arg(left);
            let handles: Vec<String> = redis::from_redis_value(self.link.ask(range).await?).map_err(Failure::from)?;
            for handle in handles.iter().filter_map(|handle| Handle::parse(handle)) {
                round.tidied.forgotten += u64::from(self.forget(partition, &handle, before).await?);
                left -= 1;
            }
            if left == 0 {
                round.tidied.more = true;
                break;
            }
        }
        Ok(())
    }

    /// When the last of all sessions ends. A cut-off concerns what began before it, which may be as old as others get.
    async fn last_end(&self) -> Result<Option<i64>, Failure> {
        let last = |ends: &str| vec![redis::cmd("ZREVRANGE").arg(ends).arg(0).arg(0).arg("WITHSCORES").to_owned()];
        let values = self.of_each_partition("ends", last).await?.into_iter().flatten();
        let ends = values.map(scored).collect::<Result<Vec<_>, _>>()?;
        Ok(ends.into_iter().flatten().map(|(end, _)| end).max())
    }

    /// Takes out of the indexes what nobody asks for any more, and tells how much history each partition has.
    async fn trim_indexes(&self, now: i64) -> Result<Vec<u64>, Failure> {
        let trim = |partition, index: &str, before: i64| {
            let index = self.names.index(partition, index);
            redis::cmd("ZREMRANGEBYSCORE").arg(index).arg("-inf").arg(format!("({before}")).to_owned()
        };
        let lives_on = self.last_end().await?.map_or(0, |end| (end - now).max(0));
        let groups = (0..PARTITIONS).map(|partition| {
            let gone = self.names.index(partition, "gone");
            let count = redis::cmd("ZCARD").arg(&gone).to_owned();
            (gone, vec![count, trim(partition, "moves", now - MOVED), trim(partition, "cuts", now - KEPT - lives_on)])
        });
        let values = self.link.ask_groups(groups.collect()).await?.into_iter();
        values.map(|mut values| Ok(redis::from_redis_value(values.swap_remove(0))?)).collect()
    }

    async fn forget(&self, partition: usize, handle: &Handle, before: i64) -> Result<bool, Error> {
        let name = self.names.device_in(partition, handle.as_str());
        let Some(entry) = Entry::of(handle, self.link.ask(read(&name)).await?)? else {
            self.take_out(partition, &[("gone", handle.as_str()), ("born", handle.as_str())]).await?;
            return Ok(false);
        };
        let home = self.names.home(entry.device.owner.as_str());
        let arguments = [handle.to_string(), before.to_string()];
        let answer = self.link.run(&FORGET, &home.keys(Some(handle.as_str()), &[]), &arguments).await?;
        if answer.word != Word::Done {
            return Ok(false);
        }
        self.drop_leads(handle, &entry).await?;
        Ok(true)
    }

    /// What led to a device that is not there any more. Whatever stays behind leads nowhere, and expires.
    async fn drop_leads(&self, handle: &Handle, entry: &Entry) -> Result<(), Error> {
        self.link.ask(redis::cmd("DEL").arg(self.names.handle(handle)).to_owned()).await?;
        if let Some(provider_session) = entry.device.facts.provider_session.as_deref() {
            let member = format!("{handle}:{}", entry.device.owner);
            let set = self.names.provider(provider_session);
            self.link.ask(redis::cmd("SREM").arg(set).arg(member).to_owned()).await?;
        }
        let Some(key) = entry.key.as_deref().map(StoreKey::stored) else { return Ok(()) };
        let place = self.names.key(&key);
        let (pointer, _) = self.pointer(&place).await?;
        if let Some(lead) = pointer.home.filter(|lead| lead.handle == *handle) {
            self.link.run(&UNCLAIM, &[place.name], &[lead.claim]).await?;
        }
        Ok(())
    }
}
