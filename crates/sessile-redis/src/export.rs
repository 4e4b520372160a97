//! What is there, piece by piece. Each kind of piece has an index per partition; a page names its place by the partition and
//! the last member before it, in the order of their bytes, so that a session which is used meanwhile is neither missed nor
//! given twice.

use std::sync::Arc;
use std::time::SystemTime;

use redis::{Cmd, Value};
use sessile_core::{CutOff, Error, Handle, Piece, Place, StoreKey, UserId};

use crate::RedisStore;
use crate::device::{Entry, read};
use crate::failure::Failure;
use crate::lists::scored;
use crate::names::PARTITIONS;
use crate::time::{from_millis, millis_up};

/// The indexes of the kinds of pieces, in their order; everyone's cut-off has none.
const INDEXES: [&str; 5] = ["ends", "born", "cuts", "", "moves"];

const CUT_OFF: u8 = 3;

/// A place, as it is written down: a partition and a member.
fn parse(place: &Place) -> (usize, Option<&str>) {
    let Some((partition, member)) = place.after.as_deref().and_then(|after| after.split_once(' ')) else {
        return (0, None);
    };
    (partition.parse().unwrap_or(PARTITIONS), Some(member))
}

fn after(kind: u8, partition: usize, member: &str) -> Place {
    Place { kind, after: Some(format!("{partition} {member}").into()) }
}

fn next_kind(kind: u8) -> Option<Place> {
    Some(Place { kind: kind + 1, after: None }).filter(|next| usize::from(next.kind) < INDEXES.len())
}

fn session_of(key: Option<String>, document: Option<String>, end: i64) -> Option<Piece> {
    let (key, document) = (StoreKey::stored(&key?), Arc::from(document?));
    Some(Piece::Session { key, document, expires_at: from_millis(end) })
}

impl RedisStore {
    pub(crate) async fn next_pieces(
        &self,
        from: &Place,
        now: SystemTime,
        limit: u32,
    ) -> Result<(Vec<Piece>, Option<Place>), Error> {
        if from.kind == CUT_OFF {
            let cut_off = self.everyones_cut_off().await?;
            return Ok((cut_off.into_iter().collect(), next_kind(CUT_OFF)));
        }
        let Some(index) = INDEXES.get(usize::from(from.kind)) else { return Ok((Vec::new(), None)) };
        let (limit, mut pieces) = (limit as usize, Vec::new());
        let (first, mut last) = parse(from);
        let sizes = self.sizes(index).await?;
        for partition in (first..PARTITIONS).filter(|partition| sizes[*partition] > 0) {
            for members in self.members(partition, index, last.take()).await?.chunks(limit.max(1)) {
                let found = self.pieces(from.kind, partition, members, millis_up(now)).await?;
                for ((_, member), piece) in members.iter().zip(found) {
                    pieces.extend(piece.filter(|piece| piece.check().is_ok()));
                    if pieces.len() >= limit {
                        return Ok((pieces, Some(after(from.kind, partition, member))));
                    }
                }
            }
        }
        Ok((pieces, next_kind(from.kind)))
    }

    /// The members of an index after this one.
    async fn members(&self, partition: usize, index: &str, after: Option<&str>) -> Result<Vec<(i64, String)>, Failure> {
        let range =
            redis::cmd("ZRANGE").arg(self.names.index(partition, index)).arg(0).arg(-1).arg("WITHSCORES").to_owned();
        let mut members = scored(self.link.ask(range).await?)?;
        members.retain(|(_, member)| after.is_none_or(|after| member.as_str() > after));
        members.sort_by(|one, other| one.1.cmp(&other.1));
        Ok(members)
    }

    /// What these members of the kind's index stand for.
    async fn pieces(
        &self,
        kind: u8,
        partition: usize,
        members: &[(i64, String)],
        now: i64,
    ) -> Result<Vec<Option<Piece>>, Failure> {
        let base = self.names.index(partition, "");
        let fields = |name: String, fields: &[&str]| redis::cmd("HMGET").arg(name).arg(fields).to_owned();
        let ask = |(_, member): &(i64, String)| -> Cmd {
            match kind {
                0 => fields(format!("{base}{member}"), &["st", "key", "doc", "end"]),
                1 => read(&format!("{base}d:{member}")),
                2 => redis::cmd("ZSCORE").arg(format!("{base}cuts")).arg(member).to_owned(),
                _ => fields(format!("{base}k:{member}"), &["to", "at"]),
            }
        };
        let commands: Vec<_> = members.iter().map(ask).collect();
        let values = self.link.ask_together(&commands, &base).await?;
        let read = |((score, member), value): (&(i64, String), Value)| match kind {
            0 => session(value, now),
            1 => device(member, value),
            2 => Ok(Some(Piece::OwnerCutOff(UserId::from(member.as_str()), from_millis(*score)))),
            _ => moved(member, value),
        };
        members.iter().zip(values).map(read).collect()
    }

    async fn everyones_cut_off(&self) -> Result<Option<Piece>, Failure> {
        let cut_offs = self.cut_offs().await?;
        let swept = cut_offs.iter().flatten().all(|cut_off| cut_off.swept);
        let latest = cut_offs.into_iter().flatten().max_by_key(|cut_off| cut_off.before);
        let piece = |before| CutOff { before: from_millis(before), swept };
        Ok(latest.map(|cut_off| Piece::CutOff(piece(cut_off.before), cut_off.ending)))
    }
}

fn session(value: Value, now: i64) -> Result<Option<Piece>, Failure> {
    type Fields = (Option<String>, Option<String>, Option<String>, Option<i64>);
    let (status, key, document, end): Fields = redis::from_redis_value(value)?;
    let end = end.filter(|end| status.as_deref() == Some("live") && *end >= now);
    Ok(end.and_then(|end| session_of(key, document, end)))
}

fn device(handle: &str, value: Value) -> Result<Option<Piece>, Failure> {
    let Some(handle) = Handle::parse(handle) else { return Ok(None) };
    let entry = Entry::of(&handle, value)?.filter(|entry| !entry.pending);
    Ok(entry.map(|entry| Piece::Device(entry.key.as_deref().map(StoreKey::stored), entry.device)))
}

fn moved(from: &str, value: Value) -> Result<Option<Piece>, Failure> {
    let (to, at): (Option<String>, Option<i64>) = redis::from_redis_value(value)?;
    let piece = |(to, at): (String, i64)| Piece::Moved(StoreKey::stored(from), StoreKey::stored(&to), from_millis(at));
    Ok(to.zip(at).map(piece))
}
