//! Following another program: what Express did to a session is put into the registry, once, however many instances see it
//! at the same time. They take turns on the session's row.

use std::time::SystemTime;

use sessile_core::{Device, EndedSession, Error, Handle, StoreKey};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::PostgresStore;
use crate::failure::Failure;
use crate::private::Private;
use crate::rows::{all_ended, get};
use crate::sql::Names;
use crate::time::{whole_millis, whole_seconds};
use crate::transaction::Values;

/// How often it is tried while others give the session to somebody else.
const TRIES: usize = 3;

/// The statements of [`Registry::align`](sessile_core::Registry::align).
#[derive(Clone, Debug)]
pub(crate) struct AlignSql {
    known: String,
    end: String,
    lock: String,
    register: String,
}

impl AlignSql {
    pub(crate) fn new(names: &Names) -> Self {
        let Names { data, registry, .. } = names;
        Self {
            known: format!(
                "SELECT r.id::text, r.user_id FROM {data} s LEFT JOIN {registry} r ON r.sid = s.sid AND r.status = 'active' \
                 WHERE s.sid = $1 AND s.expire >= to_timestamp($2)"
            ),
            end: format!(
                "UPDATE {registry} SET status = 'logged_out', sid = NULL, logged_out_at = to_timestamp($3), \
                   updated_at = to_timestamp($3) \
                 WHERE sid = $1 AND status = 'active' AND user_id IS DISTINCT FROM $4 \
                   AND EXISTS (SELECT FROM {data} WHERE sid = $1 AND expire >= to_timestamp($2)) \
                 RETURNING id::text, user_id, host(ip_address)"
            ),
            lock: format!("SELECT 1 FROM {data} WHERE sid = $1 AND expire >= to_timestamp($2) FOR UPDATE"),
            register: format!(
                "WITH known AS MATERIALIZED ( \
                   SELECT id, user_id FROM {registry} WHERE sid = $1 AND status = 'active' \
                 ), added AS ( \
                   INSERT INTO {registry} (id, sid, user_id, status, ip_address, user_agent, device, auth_method, \
                     expires_at, created_at, updated_at, last_seen_at, authenticated_at) \
                   SELECT CASE WHEN EXISTS (SELECT FROM {registry} WHERE id = $3::text::uuid) THEN gen_random_uuid() \
                       ELSE $3::text::uuid END, $1, $4, 'active', $5::text::inet, $6, $7, $8, \
                     to_timestamp($9), to_timestamp($10), to_timestamp($11), to_timestamp($11), to_timestamp($12) \
                   WHERE NOT EXISTS (SELECT FROM known) \
                     AND EXISTS (SELECT FROM {data} WHERE sid = $1 AND expire >= to_timestamp($2)) RETURNING id, user_id \
                 ) \
                 SELECT id::text, user_id FROM known UNION ALL SELECT id::text, user_id FROM added"
            ),
        }
    }
}

/// What was found, or done.
#[derive(Default)]
pub(crate) struct Aligned {
    /// The session's handle in the registry, if somebody is signed in.
    pub(crate) handle: Option<Handle>,
    /// Of others, to whom the session was signed in before.
    pub(crate) ended: Vec<EndedSession>,
}

impl PostgresStore {
    pub(crate) async fn aligned(
        &self,
        key: &StoreKey,
        device: Option<&Device>,
        at: SystemTime,
    ) -> Result<Aligned, Error> {
        let sql = &self.table().await?.sql.align;
        let session: Values<'_> = &[(&Private(key.as_str()), Type::TEXT), (&whole_seconds(at), Type::FLOAT8)];
        let mut ended = Vec::new();
        for _ in 0..TRIES {
            let known = self.query(&sql.known, session).await?;
            if let Some(handle) = settled(&known, device)? {
                return Ok(Aligned { handle, ended });
            }
            let (registered, gone) = self.register(sql, key, device, at).await?;
            ended.extend(all_ended(&gone, 0)?);
            if let Some(handle) = settled(&registered, device)? {
                return Ok(Aligned { handle, ended });
            }
        }
        Err(Error::unavailable("the session kept being given to other users while it was registered"))
    }

    /// Ends what is active under the session's key for others, and registers the device. The session's row is locked in
    /// between: what somebody else registers at the same time is seen afterwards, or waits. Gives what is registered, and
    /// what ended.
    async fn register(
        &self,
        sql: &AlignSql,
        key: &StoreKey,
        device: Option<&Device>,
        at: SystemTime,
    ) -> Result<(Vec<Row>, Vec<Row>), Failure> {
        let (limit, key, now) = (self.settings().statement_timeout, Private(key.as_str()), whole_seconds(at));
        let owner = Private(device.map(|device| device.owner.as_str()));
        let end: Values<'_> =
            &[(&key, Type::TEXT), (&now, Type::FLOAT8), (&whole_millis(at), Type::FLOAT8), (&owner, Type::TEXT)];
        let Some(device) = device else { return Ok((Vec::new(), self.query(&sql.end, end).await?)) };
        let facts = &device.facts;
        let lock: Values<'_> = &[(&key, Type::TEXT), (&now, Type::FLOAT8)];
        let register: Values<'_> = &[
            (&key, Type::TEXT),
            (&now, Type::FLOAT8),
            (&device.handle.as_str(), Type::TEXT),
            (&owner, Type::TEXT),
            (&Private(facts.ip.map(|ip| ip.to_string())), Type::TEXT),
            (&Private(facts.user_agent.as_deref()), Type::TEXT),
            (&Private(facts.device.as_deref()), Type::TEXT),
            (&facts.auth_method.as_deref(), Type::TEXT),
            (&whole_millis(device.expires_at), Type::FLOAT8),
            (&whole_millis(device.created_at), Type::FLOAT8),
            (&whole_millis(device.last_seen_at), Type::FLOAT8),
            (&device.authenticated_at.map(whole_millis), Type::FLOAT8),
        ];
        let statements = [(&*sql.end, end), (&sql.lock, lock), (&sql.register, register)];
        self.together(limit, statements).await.map(|[ended, _, registered]| (registered, ended))
    }
}

/// The registry's answer, if what it has of a live session is what it should have; no rows for one that is not alive.
fn settled(rows: &[Row], device: Option<&Device>) -> Result<Option<Option<Handle>>, Error> {
    let mut handle = None;
    for row in rows {
        let (id, user): (Option<&str>, Option<&str>) = (get(row, 0)?, get(row, 1)?);
        if user != device.map(|device| device.owner.as_str()) {
            return Ok(None);
        }
        handle = id.and_then(Handle::parse);
    }
    Ok(Some(handle))
}
