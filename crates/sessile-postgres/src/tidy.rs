//! Bringing the registry and the sessions back into step, a part at a time. Where each table was left is remembered here,
//! in the process: every instance walks for itself, and finds nothing to do where another one has been.

use std::collections::{HashMap, HashSet};
use std::sync::PoisonError;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sessile_core::{
    Alignment, CutOff, Device, DeviceFacts, End, Ending, Error, StoreKey, TableKind, Tidied, Tidy, UserId,
};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::PostgresStore;
use crate::private::Private;
use crate::rows::{count, ended, ending, get};
use crate::stored::Stored;
use crate::tidy_sql::TidySql;
use crate::time::{moment, whole_millis, whole_seconds};
use crate::transaction::{Transaction, Values};

/// So many rows are looked at by one statement.
const TOGETHER: u32 = 500;

/// So much history goes in one call.
const FORGOTTEN: u32 = 5_000;

/// Where the walk through the registry begins.
const FIRST: &str = "00000000-0000-0000-0000-000000000000";

/// How far the two tables have been walked through.
#[derive(Clone, Default)]
pub(crate) struct Walk {
    /// Everyone's cut-off for which this walk was begun.
    cut_off: Option<CutOff>,
    registry: Place,
    sessions: Place,
}

/// How far one table has been walked through.
#[derive(Clone, Default, PartialEq)]
enum Place {
    #[default]
    Start,
    After(String),
    End,
}

impl Place {
    /// After which row to look for the next ones; `None` at the end.
    fn after<'a>(&'a self, first: &'a str) -> Option<&'a str> {
        match self {
            Self::Start => Some(first),
            Self::After(row) => Some(row),
            Self::End => None,
        }
    }

    /// After a page that had as many rows as its first column says, up to the one that its second names.
    fn next(rows: &[Row], size: u32) -> Result<Self, Error> {
        let last = rows.first().map_or(Ok(None), |row| get::<Option<String>>(row, 1))?;
        Ok(last.filter(|_| count(rows, 0).is_ok_and(|count| count >= u64::from(size))).map_or(Self::End, Self::After))
    }
}

impl Walk {
    /// A cut-off that is new to this walk is swept from the start. One that is being swept is swept to the end; otherwise
    /// the walk begins anew after the last row.
    fn go_on(mut self, everyone: Option<CutOff>) -> Self {
        let cut_off = everyone.filter(|cut_off| !cut_off.swept);
        if cut_off.is_some() && cut_off != self.cut_off {
            self = Self::default();
        }
        for place in [&mut self.registry, &mut self.sessions] {
            if cut_off.is_none() && *place == Place::End {
                *place = Place::Start;
            }
        }
        Self { cut_off, ..self }
    }

    fn is_over(&self) -> bool {
        self.registry == Place::End && self.sessions == Place::End
    }
}

/// Everyone's cut-off, and what the registry shall say of those whom it ended.
struct Everyone {
    cut_off: CutOff,
    ending: Ending,
}

/// What has to be done about sessions.
#[derive(Default)]
struct Found {
    /// They ended, or are cut off.
    over: Vec<StoreKey>,
    /// The registry does not know them.
    unknown: Vec<(StoreKey, Device)>,
    /// Signed in to somebody else than the registry knows, or to nobody.
    changed: Vec<(StoreKey, Option<Device>)>,
}

impl PostgresStore {
    pub(crate) async fn tidies(&self, tidy: &Tidy<'_>) -> Result<Tidied, Error> {
        let sql = &self.table().await?.sql.tidy;
        let everyone = self.everyone(sql).await?;
        let cut_off = everyone.as_ref().map(|everyone| everyone.cut_off);
        let mut walk = self.walk().lock().unwrap_or_else(PoisonError::into_inner).clone().go_on(cut_off);
        let mut tidied = Tidied::default();
        // The sessions first: where an application gave one another key, the registry can follow.
        let pages = tidy.limit.div_ceil(TOGETHER).max(1);
        for _ in 0..pages {
            if walk.sessions != Place::End {
                walk.sessions = self.tidy_sessions(sql, walk.sessions, tidy, cut_off, &mut tidied).await?;
            }
        }
        for _ in 0..pages {
            if walk.registry != Place::End {
                walk.registry = self.tidy_registry(sql, walk.registry, tidy, everyone.as_ref(), &mut tidied).await?;
            }
        }
        self.forget(sql, tidy, &mut tidied).await?;
        match walk.cut_off {
            Some(_) if !walk.is_over() => tidied.more = true,
            Some(cut_off) => {
                self.query(&sql.swept, &[(&whole_millis(cut_off.before), Type::FLOAT8)]).await?;
            }
            None => {}
        }
        *self.walk().lock().unwrap_or_else(PoisonError::into_inner) = walk;
        Ok(tidied)
    }

    async fn everyone(&self, sql: &TidySql) -> Result<Option<Everyone>, Error> {
        let rows = self.query(&sql.everyone, &[]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let cut_off = CutOff { before: moment(get(row, 0)?), swept: get(row, 1)? };
        Ok(ending(row, 2)?.map(|ending| Everyone { cut_off, ending }))
    }

    /// The next rows of the registry: what is active there, and cut off or without a session, ends.
    async fn tidy_registry(
        &self,
        sql: &TidySql,
        place: Place,
        tidy: &Tidy<'_>,
        everyone: Option<&Everyone>,
        tidied: &mut Tidied,
    ) -> Result<Place, Error> {
        let Some(after) = place.after(FIRST) else { return Ok(place) };
        let size = tidy.limit.clamp(1, TOGETHER);
        let values: Values<'_> = &[
            (&after, Type::TEXT),
            (&i64::from(size), Type::INT8),
            (&whole_millis(tidy.now), Type::FLOAT8),
            (&everyone.map(|everyone| whole_millis(everyone.cut_off.before)), Type::FLOAT8),
            (&everyone.map(|everyone| whole_millis(everyone.ending.at)), Type::FLOAT8),
            (&everyone.and_then(|everyone| everyone.ending.reason.as_deref()), Type::TEXT),
        ];
        let rows = self.query(&sql.registry, values).await?;
        for row in &rows {
            tidied.ended.extend(ended(row, 3)?.zip(ending(row, 6)?));
        }
        // A cut-off that is swept is swept to the last row. Those that moved meanwhile are looked at again.
        let is_swept = everyone.is_none_or(|everyone| everyone.cut_off.swept);
        if count(&rows, 2)? > 0 && !is_swept { Ok(place) } else { Place::next(&rows, size) }
    }

    /// The next rows of the sessions: what is over is removed, and the registry follows what other programs did.
    async fn tidy_sessions(
        &self,
        sql: &TidySql,
        place: Place,
        tidy: &Tidy<'_>,
        cut_off: Option<CutOff>,
        tidied: &mut Tidied,
    ) -> Result<Place, Error> {
        let Some(after) = place.after("") else { return Ok(place) };
        let (size, now) = (tidy.limit.clamp(1, TOGETHER), whole_seconds(tidy.now));
        let values: Values<'_> = &[
            (&Private(after), Type::TEXT),
            (&i64::from(size), Type::INT8),
            (&now, Type::FLOAT8),
            (&tidy.user_key.map_or(vec!["sessile", "owner"], |key| vec![key]), Type::TEXT_ARRAY),
        ];
        let rows = self.query(&sql.sessions, values).await?;
        let kind = self.table().await?.names.columns.kind;
        let Found { mut over, unknown, changed } = found(kind, &rows, tidy, cut_off)?;
        if !unknown.is_empty() {
            tidied.registered += self.register_unknown(sql, unknown, tidy, &mut over).await?;
        }
        if !over.is_empty() {
            let keys: Vec<_> = over.iter().map(StoreKey::as_str).collect();
            tidied.removed += self.query(&sql.remove, &[(&Private(keys), Type::TEXT_ARRAY)]).await?.len() as u64;
        }
        for (key, device) in changed {
            let aligned = self.aligned(&key, device.as_ref(), tidy.now).await?;
            let ending = Ending { end: End::LoggedOut, at: tidy.now, reason: None };
            tidied.ended.extend(aligned.ended.into_iter().map(|ended| (ended, ending.clone())));
            tidied.registered += u64::from(matches!(aligned.alignment, Alignment::Device(_)));
            tidied.removed += u64::from(aligned.alignment == Alignment::Over);
        }
        Place::next(&rows, size)
    }

    /// Registers those of these sessions that are still there and that nobody else is busy with. Those whose owner's
    /// sessions were revoked since they began are over.
    async fn register_unknown(
        &self,
        sql: &TidySql,
        unknown: Vec<(StoreKey, Device)>,
        tidy: &Tidy<'_>,
        over: &mut Vec<StoreKey>,
    ) -> Result<u64, Error> {
        let transaction = self.begin(self.settings().statement_timeout, true).await?;
        let (late, live) = by_cut_off(&transaction, sql, unknown).await?;
        over.extend(late.into_iter().map(|(key, _)| key));
        let keys: Vec<_> = live.iter().map(|(key, _)| key.as_str()).collect();
        let alive: Values<'_> = &[(&Private(keys), Type::TEXT_ARRAY), (&whole_seconds(tidy.now), Type::FLOAT8)];
        let locked = transaction.query(&sql.lock, alive).await?;
        let locked = locked.iter().map(|row| get(row, 0)).collect::<Result<HashSet<&str>, _>>()?;
        let (keys, devices): (Vec<_>, Vec<_>) =
            live.iter().map(|(key, device)| (key.as_str(), device)).filter(|(key, _)| locked.contains(key)).unzip();
        let handles: Vec<_> = devices.iter().map(|device| device.handle.as_str()).collect();
        let owners: Vec<_> = devices.iter().map(|device| device.owner.as_str()).collect();
        let times = |time: fn(&Device) -> SystemTime| devices.iter().map(|device| whole_millis(time(device))).collect();
        let (ends, began): (Vec<_>, Vec<_>) = (times(|device| device.expires_at), times(Device::began));
        let proved: Vec<_> = devices.iter().map(|device| device.authenticated_at.map(whole_millis)).collect();
        let values: Values<'_> = &[
            (&Private(keys), Type::TEXT_ARRAY),
            (&handles, Type::TEXT_ARRAY),
            (&Private(owners), Type::TEXT_ARRAY),
            (&ends, Type::FLOAT8_ARRAY),
            (&proved, Type::FLOAT8_ARRAY),
            (&whole_millis(tidy.now), Type::FLOAT8),
            (&began, Type::FLOAT8_ARRAY),
        ];
        let registered = transaction.query(&sql.register, values).await?.len() as u64;
        transaction.commit().await?;
        Ok(registered)
    }

    /// Removes history, and the former keys of sessions, that are old enough.
    async fn forget(&self, sql: &TidySql, tidy: &Tidy<'_>, tidied: &mut Tidied) -> Result<(), Error> {
        let (now, limit) = (whole_millis(tidy.now), i64::from(FORGOTTEN));
        let (history, moves) = (before(tidy.now, tidy.history), before(tidy.now, Tidy::MOVES_KEPT));
        let values: Values<'_> = &[(&now, Type::FLOAT8), (&history, Type::FLOAT8), (&limit, Type::INT8)];
        tidied.forgotten = self.query(&sql.forget, values).await?.len() as u64;
        let moves = self.query(&sql.forget_moves, &[(&moves, Type::FLOAT8), (&limit, Type::INT8)]).await?.len() as u64;
        tidied.more = tidied.forgotten.max(moves) >= u64::from(FORGOTTEN);
        Ok(())
    }
}

/// Those of these sessions whose owner's were revoked since they began, and the others. A revocation that comes now waits for
/// the transaction.
async fn by_cut_off(
    transaction: &Transaction,
    sql: &TidySql,
    unknown: Vec<(StoreKey, Device)>,
) -> Result<(Vec<(StoreKey, Device)>, Vec<(StoreKey, Device)>), Error> {
    let owners: Vec<_> = unknown.iter().map(|(_, device)| device.owner.as_str()).collect();
    let rows = transaction.query(&sql.cut_offs, &[(&Private(owners), Type::TEXT_ARRAY)]).await?;
    let cut_offs = rows.iter().map(|row| Ok((get::<&str>(row, 0)?, get::<Option<f64>>(row, 1)?)));
    let cut_offs = cut_offs.collect::<Result<HashMap<_, _>, Error>>()?;
    let is_cut_off = |device: &Device| {
        let before = cut_offs.get(device.owner.as_str()).copied().flatten();
        before.is_some_and(|before| device.began() < moment(before))
    };
    Ok(unknown.into_iter().partition(|(_, device)| is_cut_off(device)))
}

/// What has to be done about the sessions of a page. Of one that cannot be read, whoever reads it says so.
fn found(kind: TableKind, rows: &[Row], tidy: &Tidy<'_>, cut_off: Option<CutOff>) -> Result<Found, Error> {
    let mut found = Found::default();
    for row in rows {
        let Some(key) = get::<Option<&str>>(row, 2)?.map(StoreKey::stored) else { continue };
        let stored = Stored::read(kind, row, 3, 4).and_then(|stored| stored.record(&key, tidy.now));
        let Ok(mut record) = stored else { continue };
        if let Some(user_key) = tidy.user_key {
            record.owner_is_under(user_key);
        }
        record.cut_off = cut_off;
        let (known, is_over): (Option<&str>, bool) = (get(row, 5)?, get(row, 6)?);
        if known.is_none() && (is_over || record.is_cut_off()) {
            found.over.push(key);
        } else if known != record.owner.as_ref().map(UserId::as_str) {
            match (known, record.device(DeviceFacts::default())?) {
                (Some(_), device) => found.changed.push((key, device)),
                (None, Some(device)) => found.unknown.push((key, device)),
                (None, None) => {}
            }
        }
    }
    Ok(found)
}

/// That long before this time; never what no timestamp could be.
fn before(now: SystemTime, span: Duration) -> f64 {
    now.checked_sub(span).filter(|at| *at > UNIX_EPOCH).map_or(f64::NEG_INFINITY, whole_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_off_is_swept_from_the_start_to_the_end_and_then_the_walk_goes_round() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let unswept = |seconds| Some(CutOff { before: at(seconds), swept: false });
        let somewhere = || Place::After("x".into());
        let walk = Walk { registry: somewhere(), ..Walk::default() }.go_on(None);
        assert!(walk.registry == somewhere(), "it goes on where it was");
        let mut walk = walk.go_on(unswept(1));
        assert!(walk.registry == Place::Start);
        walk.registry = Place::End;
        let mut walk = walk.go_on(unswept(1));
        assert!(walk.registry == Place::End && !walk.is_over());
        walk.sessions = Place::End;
        assert!(walk.is_over());
        assert!(walk.clone().go_on(unswept(2)).registry == Place::Start, "a later one is another one");
        let swept = Some(CutOff { before: at(1), swept: true });
        assert!(walk.go_on(swept).sessions == Place::Start);
    }
}
