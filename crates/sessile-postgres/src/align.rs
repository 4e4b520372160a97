//! Following another program: what Express did to a session is put into the registry, once, however many instances see it
//! at the same time. They take turns on the session's row.

use std::time::SystemTime;

use sessile_core::{Alignment, Device, EndedSession, Error, Handle, StoreKey};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::PostgresStore;
use crate::columns::Columns;
use crate::failure::Failure;
use crate::private::Private;
use crate::rows::{all_ended, get, says};
use crate::sign_in::lock;
use crate::sql::{Names, Sql};
use crate::time::{whole_millis, whole_seconds};
use crate::transaction::Values;

/// How often it is tried while others give the session to somebody else.
const TRIES: usize = 3;

/// The statements of [`Registry::align`](sessile_core::Registry::align).
#[derive(Clone, Debug)]
pub(crate) struct AlignSql {
    known: String,
    /// Locks the owner's row of the cut-offs: sign-ins, registrations and revocations of one user take turns.
    pub(crate) turn: String,
    end: String,
    lock: String,
    register: String,
}

impl AlignSql {
    pub(crate) fn new(names: &Names) -> Self {
        let Names { data, registry, cutoffs, columns: Columns { key, end, .. }, .. } = names;
        let is_over = names.is_over("$1");
        Self {
            known: format!(
                "SELECT r.id::text, r.user_id, {is_over} OR {} \
                 FROM {data} s LEFT JOIN {registry} r ON r.sid = s.{key} AND r.status = 'active' \
                 WHERE s.{key} = $1 AND s.{end} >= to_timestamp($2)",
                names.is_cut_off("$3", "$4")
            ),
            turn: lock(cutoffs, 1),
            end: format!(
                "UPDATE {registry} SET status = 'logged_out', sid = NULL, logged_out_at = to_timestamp($3), \
                   updated_at = to_timestamp($3) \
                 WHERE sid = $1 AND status = 'active' AND user_id IS DISTINCT FROM $4 \
                   AND EXISTS (SELECT FROM {data} WHERE {key} = $1 AND {end} >= to_timestamp($2)) \
                 RETURNING id::text, user_id, host(ip_address)"
            ),
            lock: format!("SELECT 1 FROM {data} WHERE {key} = $1 AND {end} >= to_timestamp($2) FOR UPDATE"),
            register: format!(
                "WITH known AS MATERIALIZED ( \
                   SELECT id, user_id FROM {registry} WHERE sid = $1 AND status = 'active' \
                 ), added AS ( \
                   INSERT INTO {registry} (id, sid, user_id, status, ip_address, user_agent, device, auth_method, \
                     expires_at, created_at, updated_at, last_seen_at, authenticated_at) \
                   SELECT CASE WHEN EXISTS (SELECT FROM {registry} WHERE id = $3::text::uuid) THEN gen_random_uuid() \
                       ELSE $3::text::uuid END, $1, $4, 'active', $5::text::inet, $6, $7, $8, \
                     to_timestamp($9), to_timestamp($10), to_timestamp($11), to_timestamp($11), to_timestamp($12) \
                   WHERE NOT EXISTS (SELECT FROM known) AND NOT {is_over} AND NOT {is_cut_off} \
                     AND EXISTS (SELECT FROM {data} WHERE {key} = $1 AND {end} >= to_timestamp($2)) \
                   ON CONFLICT DO NOTHING RETURNING id, user_id \
                 ) \
                 SELECT id::text, user_id FROM known UNION ALL SELECT id::text, user_id FROM added",
                is_cut_off = names.is_cut_off("$4", "$13")
            ),
        }
    }
}

/// What was found, or done.
pub(crate) struct Aligned {
    pub(crate) alignment: Alignment,
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
        let sql = &self.table().await?.sql;
        let owner = device.map(|device| device.owner.as_str());
        let session: Values<'_> = &[
            (&Private(key.as_str()), Type::TEXT),
            (&whole_seconds(at), Type::FLOAT8),
            (&Private(owner), Type::TEXT),
            (&device.map(|device| whole_millis(device.began())), Type::FLOAT8),
        ];
        let mut ended = Vec::new();
        for _ in 0..TRIES {
            let known = self.query(&sql.align.known, session).await?;
            let alignment = match settled(&known, owner)? {
                None if says(&known, 2)? => Some(Alignment::Over),
                Some(Alignment::Nobody) if says(&known, 2)? => Some(Alignment::Over),
                alignment => alignment,
            };
            if alignment == Some(Alignment::Over) {
                self.end_and_remove(sql, key, at, &mut ended).await?;
            }
            if let Some(alignment) = alignment {
                return Ok(Aligned { alignment, ended });
            }
            let (registered, gone) = self.register(&sql.align, key, device, at).await?;
            ended.extend(all_ended(&gone, 0)?);
            if let Some(alignment @ Alignment::Device(_)) = settled(&registered, owner)? {
                return Ok(Aligned { alignment, ended });
            }
        }
        Err(Error::unavailable("the session kept being given to other users while it was registered"))
    }

    /// Removes a session that is over, and whoever is signed in to it.
    async fn end_and_remove(
        &self,
        sql: &Sql,
        key: &StoreKey,
        at: SystemTime,
        ended: &mut Vec<EndedSession>,
    ) -> Result<(), Error> {
        ended.extend(all_ended(&self.end_others(&sql.align, key, None, at).await?, 0)?);
        let keys = vec![key.as_str()];
        self.query(&sql.tidy.remove, &[(&Private(keys), Type::TEXT_ARRAY)]).await?;
        Ok(())
    }

    /// Ends what is active under the session's key for others than this owner.
    async fn end_others(
        &self,
        sql: &AlignSql,
        key: &StoreKey,
        owner: Option<&str>,
        at: SystemTime,
    ) -> Result<Vec<Row>, Failure> {
        let values: Values<'_> = &[
            (&Private(key.as_str()), Type::TEXT),
            (&whole_seconds(at), Type::FLOAT8),
            (&whole_millis(at), Type::FLOAT8),
            (&Private(owner), Type::TEXT),
        ];
        self.query(&sql.end, values).await
    }

    /// Ends what is active under the session's key for others, and registers the device. The session's row is locked in
    /// between: what somebody else registers at the same time is seen afterwards, or waits; and so does a revocation, for
    /// the owner's row of the cut-offs was locked first. Gives what is registered, and what ended.
    async fn register(
        &self,
        sql: &AlignSql,
        key: &StoreKey,
        device: Option<&Device>,
        at: SystemTime,
    ) -> Result<(Vec<Row>, Vec<Row>), Failure> {
        let Some(device) = device else { return Ok((Vec::new(), self.end_others(sql, key, None, at).await?)) };
        let (limit, key, now) = (self.settings().statement_timeout, Private(key.as_str()), whole_seconds(at));
        let (owner, facts) = (Private(device.owner.as_str()), &device.facts);
        let turn: Values<'_> = &[(&owner, Type::TEXT)];
        let end: Values<'_> =
            &[(&key, Type::TEXT), (&now, Type::FLOAT8), (&whole_millis(at), Type::FLOAT8), (&owner, Type::TEXT)];
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
            (&whole_millis(device.began()), Type::FLOAT8),
        ];
        let statements = [(&*sql.turn, turn), (&sql.end, end), (&sql.lock, lock), (&sql.register, register)];
        self.together(limit, statements).await.map(|[_, ended, _, registered]| (registered, ended))
    }
}

/// What the registry says of the session, if it is what it should say: this owner is signed in, or nobody is. Without rows
/// the session is not alive.
fn settled(rows: &[Row], owner: Option<&str>) -> Result<Option<Alignment>, Error> {
    let Some(row) = rows.first() else { return Ok(Some(Alignment::Over)) };
    let (id, user): (Option<&str>, Option<&str>) = (get(row, 0)?, get(row, 1)?);
    if user != owner {
        return Ok(None);
    }
    Ok(Some(id.and_then(Handle::parse).map_or(Alignment::Nobody, Alignment::Device)))
}
