//! The registry: who is signed in where. Lists are one statement; whoever revokes takes a transaction, for the row of a
//! session that is about to move can only be found once nobody moves it any more.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use sessile_core::{
    Alignment, Cursor, Device, DeviceFacts, EndedSession, Ending, Error, Handle, Page, Record, Registry, Search, Seen,
    SignIn, SignedIn, Store as _, StoreKey, TableKind, Tidied, Tidy, UserId,
};
use tokio_postgres::types::{ToSql, Type};

use crate::PostgresStore;
use crate::columns::Columns;
use crate::private::Private;
use crate::rows::{all_ended, device, device_columns, get};
use crate::sign_in::user;
use crate::sql::Names;
use crate::time::{whole_millis, whole_millis_up, whole_seconds};
use crate::transaction::Values;

/// How long each statement may take that concerns all of a user's sessions, however many they are.
const BULK: Duration = Duration::from_secs(60);

/// The greatest handle there can be: what a list begins before.
const LAST: &str = "ffffffff-ffff-ffff-ffff-ffffffffffff";

/// The statements of lists and revocations.
#[derive(Clone, Debug)]
pub(crate) struct RegistrySql {
    list: String,
    find: String,
    history: String,
    seen: String,
    lock: String,
    revoke: String,
    cut_off: String,
    /// Where a column says whose a session is.
    unknown_of: Option<String>,
    lock_all: String,
    revoke_all: String,
    lock_from: String,
    revoke_from: String,
    revoke_everyone: String,
}

impl RegistrySql {
    pub(crate) fn new(names: &Names) -> Self {
        let Names { data, registry, cutoffs, columns: Columns { key, end, .. }, .. } = names;
        let device = device_columns(names);
        Self {
            list: format!(
                "SELECT {device} FROM {registry} r JOIN {data} s ON s.{key} = r.sid \
                 WHERE r.user_id = $1 AND r.status = 'active' AND s.{end} >= to_timestamp($2) \
                   AND (r.created_at, r.id) < (to_timestamp($3), $4::text::uuid) \
                 ORDER BY r.created_at DESC, r.id DESC LIMIT $5"
            ),
            find: format!(
                "SELECT {device} FROM {registry} r JOIN {data} s ON s.{key} = r.sid \
                 WHERE r.id = $1::text::uuid AND r.user_id = $2 AND r.status = 'active' AND s.{end} >= to_timestamp($3)"
            ),
            history: format!(
                "SELECT {device} FROM {registry} r WHERE r.user_id = $1 AND r.status <> 'active' \
                   AND (r.logged_out_at, r.id) < (to_timestamp($2), $3::text::uuid) \
                 ORDER BY r.logged_out_at DESC, r.id DESC LIMIT $4"
            ),
            seen: if names.counts { seen_and_counted(registry) } else { seen(registry) },
            lock: format!("SELECT 1 FROM {registry} WHERE id = $1::text::uuid AND user_id = $2 FOR UPDATE"),
            revoke: revocation(names, "r.user_id = $1 AND r.id = $6::text::uuid"),
            cut_off: format!(
                "INSERT INTO {cutoffs} AS c (user_id, not_before, revoked_at, end_reason) \
                 VALUES ($1, to_timestamp($2), to_timestamp($3), $4) ON CONFLICT (user_id) DO UPDATE \
                 SET not_before = greatest(c.not_before, excluded.not_before), revoked_at = excluded.revoked_at, \
                   end_reason = excluded.end_reason"
            ),
            unknown_of: (names.columns.kind == TableKind::Columns).then(|| {
                format!(
                    "SELECT s.{key}::text FROM {data} s WHERE s.user_id = $1 AND s.{end} >= to_timestamp($2) \
                       AND NOT EXISTS (SELECT FROM {registry} r WHERE r.sid = s.{key} AND r.user_id = $1 AND r.status = 'active')"
                )
            }),
            lock_all: format!(
                "SELECT count(*) FROM (SELECT id FROM {registry} WHERE user_id = $1 AND status = 'active' \
                 ORDER BY id FOR UPDATE) locked"
            ),
            revoke_all: revocation(names, "r.user_id = $1 AND r.id IS DISTINCT FROM $6::text::uuid"),
            lock_from: format!(
                "SELECT count(*) FROM (SELECT id FROM {registry} WHERE provider_session = $1 AND status = 'active' \
                 ORDER BY id FOR UPDATE) locked"
            ),
            revoke_from: revocation(names, "r.provider_session = $1"),
            revoke_everyone: format!(
                "INSERT INTO {cutoffs} AS c (user_id, not_before, revoked_at, end_reason) \
                 VALUES ('', to_timestamp($1), to_timestamp($2), $3) ON CONFLICT (user_id) DO UPDATE \
                 SET not_before = excluded.not_before, swept = false, revoked_at = excluded.revoked_at, \
                   end_reason = excluded.end_reason \
                 WHERE c.not_before IS NULL OR c.not_before < excluded.not_before"
            ),
        }
    }
}

/// Moves the times of active sessions forward, where the registry has no place for a count.
fn seen(registry: &str) -> String {
    format!(
        "WITH seen AS MATERIALIZED ( \
           SELECT r.id, u.at, u.ends FROM {registry} r JOIN ( \
             SELECT DISTINCT ON (id) id::uuid AS id, to_timestamp(at) AS at, to_timestamp(ends) AS ends \
             FROM unnest($1::text[], $2::float8[], $3::float8[]) AS u (id, at, ends) \
             ORDER BY id, u.at DESC \
           ) u ON u.id = r.id \
           WHERE r.status = 'active' AND r.last_seen_at < u.at ORDER BY r.id FOR UPDATE OF r \
         ) \
         UPDATE {registry} r SET last_seen_at = seen.at, expires_at = seen.ends, updated_at = seen.at \
         FROM seen WHERE r.id = seen.id AND r.status = 'active' AND r.last_seen_at < seen.at"
    )
}

/// The same, and adds up the requests, also of a session that has ended meanwhile.
fn seen_and_counted(registry: &str) -> String {
    const LATER: &str = "r.status = 'active' AND r.last_seen_at < seen.at";
    format!(
        "WITH told AS MATERIALIZED ( \
           SELECT id::uuid AS id, to_timestamp(max(at)) AS at, \
             to_timestamp((array_agg(ends ORDER BY at DESC))[1]) AS ends, sum(requests)::int8 AS requests \
           FROM unnest($1::text[], $2::float8[], $3::float8[], $4::int8[]) AS u (id, at, ends, requests) GROUP BY 1 \
         ), seen AS MATERIALIZED ( \
           SELECT seen.* FROM {registry} r JOIN told seen ON seen.id = r.id \
           WHERE {LATER} OR seen.requests > 0 ORDER BY r.id FOR UPDATE OF r \
         ) \
         UPDATE {registry} r SET requests = coalesce(r.requests, 0) + seen.requests, \
           last_seen_at = CASE WHEN {LATER} THEN seen.at ELSE r.last_seen_at END, \
           expires_at = CASE WHEN {LATER} THEN seen.ends ELSE r.expires_at END, \
           updated_at = CASE WHEN {LATER} THEN seen.at ELSE r.updated_at END \
         FROM seen WHERE r.id = seen.id AND ({LATER} OR seen.requests > 0)"
    )
}

/// Ends those live sessions, in both tables.
fn revocation(names: &Names, those: &str) -> String {
    let Names { data, registry, columns: Columns { key, end, .. }, .. } = names;
    format!(
        "WITH ended AS ( \
           UPDATE {registry} r SET status = $3, logged_out_at = to_timestamp($4), end_reason = $5, \
             updated_at = to_timestamp($4) \
           WHERE r.status = 'active' AND {those} \
             AND EXISTS (SELECT FROM {data} s WHERE s.{key} = r.sid AND s.{end} >= to_timestamp($2)) \
           RETURNING id, sid, user_id, ip_address \
         ), removed AS ( \
           DELETE FROM {data} WHERE {key} = ANY (ARRAY (SELECT sid FROM ended)) \
         ) \
         SELECT id::text, user_id, host(ip_address) FROM ended"
    )
}

/// The parameters of [`revocation`].
struct Revocation<'a> {
    /// The user, or the provider's session.
    whose: Private<&'a str>,
    now: f64,
    end: &'a str,
    at: f64,
    reason: Option<&'a str>,
    handle: Option<&'a str>,
}

impl<'a> Revocation<'a> {
    fn new(whose: &'a str, handle: Option<&'a Handle>, ending: &'a Ending) -> Self {
        Self {
            whose: Private(whose),
            now: whole_seconds(ending.at),
            end: ending.end.as_str(),
            at: whole_millis(ending.at),
            reason: ending.reason.as_deref(),
            handle: handle.map(Handle::as_str),
        }
    }

    fn values(&self) -> [(&(dyn ToSql + Sync), Type); 6] {
        [
            (&self.whose, Type::TEXT),
            (&self.now, Type::FLOAT8),
            (&self.end, Type::TEXT),
            (&self.at, Type::FLOAT8),
            (&self.reason, Type::TEXT),
            (&self.handle, Type::TEXT),
        ]
    }
}

impl PostgresStore {
    /// Another program may have signed the user in where the registry knows of somebody else, or of nobody. It is told, so
    /// that what began before this time is among those that are about to end.
    async fn register_others(&self, owner: &UserId, before: SystemTime) -> Result<(), Error> {
        let Some(sql) = &self.table().await?.sql.registry.unknown_of else { return Ok(()) };
        let values: Values<'_> = &[(&Private(owner.as_str()), Type::TEXT), (&whole_seconds(before), Type::FLOAT8)];
        for row in self.query(sql, values).await? {
            let key = StoreKey::stored(get(&row, 0)?);
            let record = match self.load(&key, before).await {
                // It is left as it is, here as everywhere.
                Err(error) if error.is_poisoned() => None,
                record => record?,
            };
            let device = record.map(|record| record.device(DeviceFacts::default())).transpose()?.flatten();
            if let Some(device) = device.filter(|device| device.owner == *owner && device.began() < before) {
                self.aligned(&key, Some(&device), before).await?;
            }
        }
        Ok(())
    }

    async fn page(&self, sql: &str, values: Values<'_>) -> Result<Vec<Device>, Error> {
        let rows = self.query(sql, values).await?;
        rows.iter().map(device).collect()
    }
}

#[async_trait]
impl Registry for PostgresStore {
    async fn sign_in(
        &self,
        from: Option<&StoreKey>,
        to: &StoreKey,
        record: &Record,
        sign_in: &SignIn,
    ) -> Result<SignedIn, Error> {
        self.signs_in(from, to, record, sign_in).await
    }

    async fn align(&self, key: &StoreKey, device: Option<&Device>, at: SystemTime) -> Result<Alignment, Error> {
        self.aligned(key, device, at).await.map(|aligned| aligned.alignment)
    }

    async fn seen(&self, seen: &[Seen]) -> Result<(), Error> {
        let table = self.table().await?;
        let handles: Vec<_> = seen.iter().map(|seen| seen.handle.as_str()).collect();
        let at: Vec<_> = seen.iter().map(|seen| whole_millis(seen.at)).collect();
        let ends: Vec<_> = seen.iter().map(|seen| whole_millis(seen.expires_at)).collect();
        let requests: Vec<_> = seen.iter().map(|seen| i64::try_from(seen.requests).unwrap_or(i64::MAX)).collect();
        let values: Values<'_> = &[
            (&handles, Type::TEXT_ARRAY),
            (&at, Type::FLOAT8_ARRAY),
            (&ends, Type::FLOAT8_ARRAY),
            (&requests, Type::INT8_ARRAY),
        ];
        let values = if table.names.counts { values } else { &values[..3] };
        self.query(&table.sql.registry.seen, values).await?;
        Ok(())
    }

    async fn list(&self, owner: &UserId, now: SystemTime, page: &Page) -> Result<Vec<Device>, Error> {
        let sql = &self.table().await?.sql.registry.list;
        let (at, handle) = place(page);
        let values: Values<'_> = &[
            (&Private(owner.as_str()), Type::TEXT),
            (&whole_seconds(now), Type::FLOAT8),
            (&at, Type::FLOAT8),
            (&handle, Type::TEXT),
            (&i64::from(page.limit), Type::INT8),
        ];
        self.page(sql, values).await
    }

    async fn find(&self, owner: &UserId, handle: &Handle, now: SystemTime) -> Result<Option<Device>, Error> {
        let sql = &self.table().await?.sql.registry.find;
        let values: Values<'_> = &[
            (&handle.as_str(), Type::TEXT),
            (&Private(owner.as_str()), Type::TEXT),
            (&whole_seconds(now), Type::FLOAT8),
        ];
        Ok(self.page(sql, values).await?.pop())
    }

    async fn history(&self, owner: &UserId, page: &Page) -> Result<Vec<Device>, Error> {
        let sql = &self.table().await?.sql.registry.history;
        let (at, handle) = place(page);
        let values: Values<'_> = &[
            (&Private(owner.as_str()), Type::TEXT),
            (&at, Type::FLOAT8),
            (&handle, Type::TEXT),
            (&i64::from(page.limit), Type::INT8),
        ];
        self.page(sql, values).await
    }

    async fn search(&self, search: &Search, now: SystemTime, page: &Page) -> Result<Vec<Device>, Error> {
        self.searches(search, now, page).await
    }

    async fn count(&self, search: &Search, now: SystemTime) -> Result<u64, Error> {
        self.counts(search, now).await
    }

    async fn key(&self, handle: &Handle) -> Result<Option<StoreKey>, Error> {
        self.key_of(handle).await
    }

    async fn revoke(&self, owner: &UserId, handle: &Handle, ending: &Ending) -> Result<Option<EndedSession>, Error> {
        let sql = &self.table().await?.sql.registry;
        let limit = self.settings().statement_timeout;
        let row: Values<'_> = &[(&handle.as_str(), Type::TEXT), (&Private(owner.as_str()), Type::TEXT)];
        let revocation = Revocation::new(owner.as_str(), Some(handle), ending);
        let [_, ended] = self.together(limit, [(&sql.lock, row), (&sql.revoke, &revocation.values())]).await?;
        Ok(all_ended(&ended, 0)?.pop())
    }

    async fn revoke_all(
        &self,
        owner: &UserId,
        keep: Option<&Handle>,
        ending: &Ending,
    ) -> Result<Vec<EndedSession>, Error> {
        let sql = &self.table().await?.sql.registry;
        let limit = self.settings().statement_timeout.max(BULK);
        let (name, reason) = (Private(user(owner)?), ending.reason.as_deref());
        self.register_others(owner, ending.at).await?;
        let (before, at) = (whole_millis_up(ending.at), whole_millis(ending.at));
        let cut_off: Values<'_> =
            &[(&name, Type::TEXT), (&before, Type::FLOAT8), (&at, Type::FLOAT8), (&reason, Type::TEXT)];
        let rows: Values<'_> = &[(&name, Type::TEXT)];
        let revocation = Revocation::new(owner.as_str(), keep, ending);
        let statements = [(&*sql.cut_off, cut_off), (&sql.lock_all, rows), (&sql.revoke_all, &revocation.values())];
        let [_, _, ended] = self.together(limit, statements).await?;
        all_ended(&ended, 0)
    }

    async fn revoke_provider_session(
        &self,
        provider_session: &str,
        ending: &Ending,
    ) -> Result<Vec<EndedSession>, Error> {
        let sql = &self.table().await?.sql.registry;
        let limit = self.settings().statement_timeout.max(BULK);
        let whose = Private(provider_session);
        let revocation = Revocation::new(provider_session, None, ending);
        let statements: [(&str, Values<'_>); 2] =
            [(&sql.lock_from, &[(&whose, Type::TEXT)]), (&sql.revoke_from, &revocation.values()[..5])];
        let [_, ended] = self.together(limit, statements).await?;
        all_ended(&ended, 0)
    }

    async fn revoke_everyone(&self, before: SystemTime, ending: &Ending) -> Result<(), Error> {
        let sql = &self.table().await?.sql.registry.revoke_everyone;
        let values: Values<'_> = &[
            (&whole_millis(before), Type::FLOAT8),
            (&whole_millis(ending.at), Type::FLOAT8),
            (&ending.reason.as_deref(), Type::TEXT),
        ];
        self.query(sql, values).await?;
        Ok(())
    }

    async fn tidy(&self, tidy: &Tidy<'_>) -> Result<Tidied, Error> {
        self.tidies(tidy).await
    }
}

/// Where a page begins: before this time and handle.
pub(crate) fn place(page: &Page) -> (f64, &str) {
    page.after.as_ref().map_or((f64::INFINITY, LAST), |Cursor { at, handle }| (whole_millis(*at), handle.as_str()))
}
