//! Signing in: the session under its new key, its row in the registry, and the end of whatever has to go for it, in one
//! statement. The user's row of the cut-offs is locked first, so that the sign-ins, caps and revocations of one user
//! happen one after the other.
//!
//! With a limit it takes a transaction. What the limit counts has to be read after that lock was got, and the rows of
//! evicted sessions be looked for after theirs, or a session that moved meanwhile would be missed.

use sessile_core::{AtLimit, Error, Handle, Record, SignIn, SignedIn, StoreKey, UserId, Written};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use crate::PostgresStore;
use crate::columns::Columns;
use crate::private::Private;
use crate::rows::{all_ended, says};
use crate::sql::Names;
use crate::table::Table;
use crate::time::{whole_millis, whole_seconds};
use crate::transaction::Values;

/// The statements of a sign-in.
#[derive(Clone, Debug)]
pub(crate) struct SignInSql {
    lock: String,
    /// For a session that has no row yet.
    insert: String,
    /// For a session that has one.
    rotate: String,
    remove: String,
}

impl SignInSql {
    pub(crate) fn new(names: &Names) -> Self {
        let Names { data, registry, cutoffs, columns, .. } = names;
        let Columns { key, document, end, document_type: sess, .. } = columns;
        let allowed = "(SELECT in_time AND NOT over AND NOT full_up FROM answer)";
        let insert = format!(
            "INSERT INTO {data} ({key}, {document}, {end}{beside}) \
             SELECT $1, $2::text::{sess}, to_timestamp($3){given} WHERE {allowed} \
             ON CONFLICT ({key}) DO NOTHING RETURNING 1",
            beside = columns.beside(),
            given = columns.given("$7", "to_timestamp($21)")
        );
        let rotate = format!(
            "UPDATE {data} SET {key} = $1, {document} = $2::text::{sess}, {end} = to_timestamp($3){set} \
             WHERE {key} = $5 AND {end} >= to_timestamp($4) AND {as_read} AND {allowed} RETURNING 1",
            set = columns.set_beside("$7", "to_timestamp($21)"),
            as_read = columns.is_as_read("$6", "$22")
        );
        Self {
            lock: lock(cutoffs, 1),
            insert: sign_in(names, &insert),
            rotate: sign_in(names, &rotate),
            remove: format!(
                "DELETE FROM {data} WHERE {key} = ANY (ARRAY ( \
                   SELECT sid FROM {registry} WHERE user_id = $1 AND status = 'evicted' AND logged_out_at = to_timestamp($2)))"
            ),
        }
    }
}

/// Locks the user's row of the cut-offs, which is made for the purpose.
pub(crate) fn lock(cutoffs: &str, user: u8) -> String {
    format!(
        "INSERT INTO {cutoffs} AS c (user_id) VALUES (${user}) \
         ON CONFLICT (user_id) DO UPDATE SET user_id = excluded.user_id RETURNING not_before"
    )
}

/// The statement around the one that writes the session. Sessions that are in the way end here, those that the limit
/// evicts as well as the one that is replaced: whatever else the registry has under the key that is left.
fn sign_in(names: &Names, write: &str) -> String {
    let Names { data, registry, cutoffs, moves, columns: Columns { key, end, .. }, .. } = names;
    let (lock, brought_back) = (lock(cutoffs, 7), names.is_over("$5"));
    format!(
        "WITH cut_off AS ({lock}), in_time AS MATERIALIZED ( \
           SELECT NOT EXISTS (SELECT FROM cut_off WHERE not_before > to_timestamp($10)) AND NOT EXISTS ( \
             SELECT FROM {cutoffs} WHERE user_id = '' AND not_before > to_timestamp($10)) AS yes \
         ), others AS MATERIALIZED ( \
           SELECT r.id, r.created_at FROM {registry} r JOIN {data} s ON s.{key} = r.sid \
           WHERE $18::int8 IS NOT NULL AND r.user_id = $7 AND r.status = 'active' AND r.id <> $8::text::uuid \
             AND r.sid IS DISTINCT FROM $5 AND s.{end} >= to_timestamp($4) \
         ), surplus AS MATERIALIZED ( \
           SELECT greatest(count(*) + 1 - $18, 0) AS count FROM others \
         ), victims AS MATERIALIZED ( \
           SELECT id FROM others WHERE NOT $19 ORDER BY created_at, id LIMIT (SELECT count FROM surplus) \
         ), locked AS MATERIALIZED ( \
           SELECT id, status FROM {registry} \
           WHERE (id = ANY (ARRAY (SELECT id FROM victims) || ARRAY[$8::text::uuid, $9::text::uuid]) \
             OR sid = $5 AND status = 'active') AND (SELECT yes FROM in_time) ORDER BY id FOR UPDATE \
         ), answer AS MATERIALIZED ( \
           SELECT yes AS in_time, $19 AND (SELECT count FROM surplus) > 0 AS full_up, EXISTS ( \
             SELECT FROM locked WHERE id = $8::text::uuid AND status <> 'active') OR {brought_back} AS over FROM in_time \
         ), written AS ({write}), ended AS ( \
           UPDATE {registry} r SET status = CASE WHEN id = ANY (ARRAY (SELECT id FROM victims)) \
               THEN 'evicted' ELSE 'logged_out' END, sid = CASE WHEN id = $9::text::uuid THEN $5 ELSE sid END, \
             logged_out_at = to_timestamp($11), updated_at = to_timestamp($11) \
           WHERE id = ANY (ARRAY (SELECT id FROM locked WHERE id <> $8::text::uuid AND status = 'active')) \
             AND EXISTS (SELECT FROM written) RETURNING id, sid, ip_address, status \
         ), registered AS ( \
           INSERT INTO {registry} AS r (id, sid, user_id, status, ip_address, user_agent, device, auth_method, \
             expires_at, created_at, updated_at, last_seen_at, authenticated_at, provider_session) \
           SELECT $8::text::uuid, $1, $7, 'active', $14::text::inet, $15, $16, $17, to_timestamp($13), to_timestamp($11), \
             to_timestamp($11), to_timestamp($11), to_timestamp($12), $20 FROM written \
           ON CONFLICT (id) DO UPDATE SET sid = excluded.sid, user_id = excluded.user_id, \
             ip_address = excluded.ip_address, user_agent = excluded.user_agent, device = excluded.device, \
             auth_method = coalesce(excluded.auth_method, r.auth_method), \
             provider_session = coalesce(excluded.provider_session, r.provider_session), \
             expires_at = excluded.expires_at, \
             updated_at = excluded.updated_at, last_seen_at = excluded.last_seen_at, \
             authenticated_at = excluded.authenticated_at \
           WHERE r.status = 'active' \
         ), moved AS ( \
           INSERT INTO {moves} (sid, moved_to, moved_at) SELECT $5, $1, to_timestamp($11) FROM written \
           WHERE $5 IS NOT NULL \
           ON CONFLICT (sid) DO UPDATE SET moved_to = excluded.moved_to, moved_at = excluded.moved_at \
         ) \
         SELECT in_time, over, full_up, EXISTS (SELECT FROM written), ended.id::text, $7, host(ended.ip_address), \
           ended.sid \
         FROM answer LEFT JOIN ended ON ended.status = 'evicted'"
    )
}

impl PostgresStore {
    pub(crate) async fn signs_in(
        &self,
        from: Option<&StoreKey>,
        to: &StoreKey,
        record: &Record,
        sign_in: &SignIn,
    ) -> Result<SignedIn, Error> {
        let Table { sql, names, .. } = self.table().await?;
        let columns = &names.columns;
        let Some(device) = record.device(sign_in.facts.clone())? else {
            return Err(Error::misuse("a sign-in without an owner"));
        };
        let owner = user(&device.owner)?;
        let main = if from.is_some() { &sql.sign_in.rotate } else { &sql.sign_in.insert };
        let (now, at) = (whole_seconds(record.seen_at), whole_millis(record.seen_at));
        let (document, revision) = (columns.text(record), columns.revision(record));
        let from_key = from.map(StoreKey::as_str);
        let replaces = sign_in.replaces.as_ref().filter(|replaced| **replaced != device.handle).map(Handle::as_str);
        let ip = device.facts.ip.map(|ip| ip.to_string());
        let values: Values<'_> = &[
            (&Private(to.as_str()), Type::TEXT),
            (&Private(&*document), Type::TEXT),
            (&whole_seconds(record.expires_at), Type::FLOAT8),
            (&now, Type::FLOAT8),
            (&Private(from_key), Type::TEXT),
            (&Private(revision.as_deref()), Type::TEXT),
            (&Private(owner), Type::TEXT),
            (&device.handle.as_str(), Type::TEXT),
            (&replaces, Type::TEXT),
            (&whole_millis(device.authenticated_at.unwrap_or(record.seen_at)), Type::FLOAT8),
            (&at, Type::FLOAT8),
            (&device.authenticated_at.map(whole_millis), Type::FLOAT8),
            (&whole_millis(device.expires_at), Type::FLOAT8),
            (&Private(ip), Type::TEXT),
            (&Private(device.facts.user_agent.as_deref()), Type::TEXT),
            (&Private(device.facts.device.as_deref()), Type::TEXT),
            (&device.facts.auth_method.as_deref(), Type::TEXT),
            (&sign_in.limit.map(|limit| i64::from(limit.sessions.max(1))), Type::INT8),
            (&sign_in.limit.is_some_and(|limit| limit.policy == AtLimit::Deny), Type::BOOL),
            (&Private(device.facts.provider_session.as_deref()), Type::TEXT),
            (&whole_millis(record.created_at), Type::FLOAT8),
            (&Private(owner_read(record)), Type::TEXT),
        ];
        let values = columns.fit(values, 20);
        let rows = match sign_in.limit {
            None => self.query(main, values).await,
            Some(_) => {
                let lock: Values<'_> = &[(&Private(owner), Type::TEXT)];
                let limit = self.settings().statement_timeout;
                let evicted: Values<'_> = &[(&Private(owner), Type::TEXT), (&at, Type::FLOAT8)];
                let statements = [(&*sql.sign_in.lock, lock), (main, values), (&sql.sign_in.remove, evicted)];
                self.together(limit, statements).await.map(|[_, rows, _]| rows)
            }
        };
        let rows = match rows {
            // The new key is taken.
            Err(failure) if failure.is(&SqlState::UNIQUE_VIOLATION) => return Ok(SignedIn::Stale),
            rows => rows?,
        };
        let says = |at| says(&rows, at);
        if !says(0)? {
            return Ok(SignedIn::CutOff);
        }
        match (says(1)?, says(2)?, says(3)?, from) {
            (true, ..) => Ok(SignedIn::Gone),
            (_, true, ..) => Ok(SignedIn::Full),
            (_, _, true, _) => all_ended(&rows, 4).map(SignedIn::Done),
            (.., None) => Ok(SignedIn::Stale),
            (.., Some(from)) => Ok(match self.gone_or_stale(&sql.alive, from, now).await? {
                Written::Gone => SignedIn::Gone,
                _ => SignedIn::Stale,
            }),
        }
    }
}

/// Whose session it was when it was read, where a column says so.
pub(crate) fn owner_read(record: &Record) -> Option<&str> {
    record.revision.as_ref()?.owner().map(UserId::as_str)
}

/// A user's name as the tables have it. The empty one stands for everybody there.
pub(crate) fn user(owner: &UserId) -> Result<&str, Error> {
    match owner.as_str() {
        "" => Err(Error::value("expected a user with a name, found an empty one")),
        name => Ok(name),
    }
}
