//! The guard: a trigger on the data table for databases that Express writes to as well. Express saves a session with an
//! upsert, so a request that was in flight while the user signed out writes the row back, and the user is in again. The
//! guard takes such a row out within the same statement. It also keeps the registry in step with Express's own sign-ins and
//! sign-outs, which otherwise is done when Sessile sees the session, or by the sweeper.
//!
//! Why it fires after the statement: Sessile's own statements write the row and the registry together, and what the
//! registry says is whole only then; and an upsert that waited for a sign-out to commit is looked at once it has waited.
//! Why it skips what is locked: whoever holds a row of the registry is about to end or to move the session, wants the row
//! of the session next, and would wait for the statement that waits here.

use std::time::{Duration, SystemTime};

use sessile_core::{Error, TableKind};
use tokio_postgres::types::Type;

use crate::PostgresStore;
use crate::columns::Columns;
use crate::migrate::{Migration, Step};
use crate::names::{derived, literal, qualified, quote};
use crate::rows::count;
use crate::sql::Names;
use crate::table::Table;
use crate::time::whole_seconds;

/// How long a look at every session may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a user key fits the live sessions that the registry knows: [`PostgresStore::user_key_fit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserKeyFit {
    /// Sessions that somebody is signed in to. One whose document PostgreSQL cannot look into is not counted.
    pub signed_in: u64,
    /// Those of them that have anything under the key.
    pub with_key: u64,
    /// Those that have somebody else under it, or nobody: the registry will end them.
    pub others: u64,
}

impl PostgresStore {
    /// How this user key fits the sessions that are live now, to be asked before the guard or a sweeper follows it. Looks
    /// at every session.
    ///
    /// # Errors
    /// When the server cannot be reached, or the existing table is not a session table.
    pub async fn user_key_fit(&self, user_key: &str, now: SystemTime) -> Result<UserKeyFit, Error> {
        let sql = fit(&self.table().await?.names);
        let values: crate::transaction::Values<'_> =
            &[(&whole_seconds(now), Type::FLOAT8), (&vec![user_key], Type::TEXT_ARRAY)];
        let [rows] = self.together(PATIENCE, [(&sql, values)]).await?;
        Ok(UserKeyFit { signed_in: count(&rows, 0)?, with_key: count(&rows, 1)?, others: count(&rows, 2)? })
    }

    /// The change that installs the guard. `user_key` is the top-level key under which Express keeps the signed-in user;
    /// without one the guard still refuses to bring ended sessions back, and follows sign-outs.
    ///
    /// On a table with a column for the user that is followed, and a user key is refused.
    ///
    /// PostgreSQL 13 or later. The role that applies it owns the table; Express's role needs no rights on the registry.
    ///
    /// # Errors
    /// When the server cannot be reached, or the existing table is not a session table.
    pub async fn guard(&self, user_key: Option<&str>) -> Result<Migration, Error> {
        let table = self.table().await?;
        if table.names.columns.kind == TableKind::Columns && user_key.is_some() {
            return Err(Error::config(format!(
                "expected no user key for the table {}, which has its users in the column user_id, found one; leave \
                 session.user_key out",
                table.names.data
            )));
        }
        let sql = install(table, &self.settings().table, user_key);
        Ok(Migration::new(self, "", vec![Step::Transaction(sql)]))
    }

    /// The change that removes the guard.
    ///
    /// # Errors
    /// When the server cannot be reached, or the existing table is not a session table.
    pub async fn unguard(&self) -> Result<Migration, Error> {
        let sql = format!(
            "BEGIN;\nSET LOCAL lock_timeout = '1s';\n{}COMMIT;\n",
            remove(self.table().await?, &self.settings().table)
        );
        Ok(Migration::new(self, "", vec![Step::Transaction(sql)]))
    }
}

/// PostgreSQL cannot look into every document (see the sweeper's statements), so one with escapes is left out.
fn fit(names: &Names) -> String {
    let Names { data, registry, columns: Columns { key, document, end, .. }, .. } = names;
    format!(
        "SELECT count(*), count(found), count(*) FILTER (WHERE found IS DISTINCT FROM user_id) FROM ( \
           SELECT r.user_id, CASE WHEN strpos(s.{document}::text, chr(92) || 'u') = 0 THEN s.{document} #>> $2 END AS found \
           FROM {registry} r JOIN {data} s ON s.{key} = r.sid \
           WHERE r.status = 'active' AND s.{end} >= to_timestamp($1) \
             AND strpos(s.{document}::text, chr(92) || 'u') = 0) live"
    )
}

fn remove(table: &Table, name: &str) -> String {
    let (trigger, function) = names(table, name);
    format!("DROP TRIGGER IF EXISTS {trigger} ON {};\nDROP FUNCTION IF EXISTS {function}();\n", table.names.data)
}

/// What the trigger is called, on a table with this name.
pub(crate) fn trigger(name: &str) -> String {
    derived("", name, "_sessile_guard")
}

/// The names of the trigger and its function.
fn names(table: &Table, name: &str) -> (String, String) {
    let name = trigger(name);
    (quote(&name), qualified(Some(&table.schema), &name))
}

/// Who is signed in to this row (`NEW`, `OLD`), in SQL: what the core takes for a user's name, text or a 64-bit integer.
fn owner(row: &str, columns: &Columns, user_key: &str) -> String {
    if columns.kind == TableKind::Columns {
        return format!("CASE WHEN octet_length({row}.user_id) BETWEEN 1 AND 255 THEN {row}.user_id END");
    }
    let (key, sess) = (literal(user_key), &columns.document_type);
    let text = format!("{row}.sess ->> {key}");
    format!(
        "CASE {sess}_typeof({row}.sess -> {key}) \
         WHEN 'string' THEN CASE WHEN octet_length({text}) BETWEEN 1 AND 255 THEN {text} END \
         WHEN 'number' THEN CASE WHEN {text} ~ '^(0|-?[1-9][0-9]{{0,19}})$' \
           AND ({text})::numeric BETWEEN -9223372036854775808 AND 18446744073709551615 THEN {text} END END"
    )
}

fn install(table: &Table, name: &str, user_key: Option<&str>) -> String {
    let (trigger, function) = names(table, name);
    let (data, removal) = (&table.names.data, remove(table, name));
    let body = body(&table.names, user_key);
    let watched = table.names.columns.watched();
    // What ends the text of the function may not be in it.
    let quotes = (0..).map(|number| format!("$guard{number}$"));
    let quote = quotes.into_iter().find(|quote| !body.contains(quote.as_str())).unwrap_or_default();
    format!(
        "BEGIN;
SET LOCAL lock_timeout = '1s';
{removal}CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS {quote}
{body}{quote};
REVOKE ALL ON FUNCTION {function}() FROM PUBLIC;
CREATE TRIGGER {trigger} AFTER INSERT OR DELETE OR UPDATE OF {watched} ON {data}
  FOR EACH ROW EXECUTE FUNCTION {function}();
COMMIT;
"
    )
}

/// The setting that keeps the guard from doing anything, until the end of the transaction that sets it.
pub(crate) const ASIDE: &str = "sessile.guard_aside";

/// What the guard does when a row was inserted, written or deleted. Its rights are its owner's, so it works for its own
/// table alone.
fn body(names: &Names, user_key: Option<&str>) -> String {
    let Names { data, registry, moves, columns, .. } = names;
    let Columns { key, end, .. } = columns;
    let table = literal(data);
    let user_key = user_key.or((columns.kind == TableKind::Columns).then_some("user_id"));
    let follow = user_key.map(|key| follow(registry, columns, key)).unwrap_or_default();
    format!(
        "DECLARE
  moment timestamptz := date_trunc('milliseconds', clock_timestamp());
  former text;
  owner text;
  was text;
BEGIN
  IF TG_RELID <> {table}::regclass THEN
    RETURN NULL;
  END IF;
  -- An import brings its own registry along.
  IF current_setting('{ASIDE}', true) = 'on' THEN
    RETURN NULL;
  END IF;
  IF TG_OP = 'DELETE' THEN
    -- Signed out, or expired and pruned. What Sessile removed has its end already.
    UPDATE {registry} SET status = CASE WHEN OLD.{end} < moment THEN 'expired' ELSE 'logged_out' END,
        logged_out_at = moment, updated_at = moment
      WHERE id IN (SELECT id FROM {registry} WHERE sid = OLD.{key} AND status = 'active' FOR UPDATE SKIP LOCKED);
    IF EXISTS (SELECT FROM {registry} WHERE sid = OLD.{key} AND status = 'active') THEN
      -- Somebody is busy with its row in the registry, so the sweeper will end that. The key is dead from now on.
      INSERT INTO {moves} (sid, moved_to, moved_at) VALUES (OLD.{key}, OLD.{key}, moment) ON CONFLICT (sid) DO NOTHING;
    END IF;
    RETURN NULL;
  END IF;
  SELECT user_id INTO former FROM {registry} WHERE sid = NEW.{key} AND status = 'active';
  IF EXISTS (SELECT FROM {moves} WHERE sid = NEW.{key})
    OR former IS NULL AND EXISTS (SELECT FROM {registry} WHERE sid = NEW.{key}) THEN
    -- It has ended, or has another id now: it stays so.
    DELETE FROM {data} WHERE {key} = NEW.{key};
    RETURN NULL;
  END IF;
{follow}  RETURN NULL;
END
"
    )
}

/// The part that follows sign-ins and sign-outs that another program makes in place. What was never under the key was
/// signed in by Sessile without one, and is its own business.
fn follow(registry: &str, columns: &Columns, user_key: &str) -> String {
    let (now, before) = (owner("NEW", columns, user_key), owner("OLD", columns, user_key));
    let Columns { key, end, .. } = columns;
    format!(
        "  BEGIN
    owner := {now};
    IF TG_OP = 'UPDATE' THEN
      was := {before};
    END IF;
  EXCEPTION WHEN data_exception THEN
    -- JSON that PostgreSQL cannot look into. It is Express's to store; the sweeper reads it.
    RETURN NULL;
  END;
  IF owner IS NOT DISTINCT FROM former OR owner IS NULL AND was IS NULL THEN
    RETURN NULL;
  END IF;
  -- The key lives on, so it is no tombstone.
  UPDATE {registry} SET status = 'logged_out', logged_out_at = moment, updated_at = moment, sid = NULL
    WHERE id IN (SELECT id FROM {registry} WHERE sid = NEW.{key} AND status = 'active' FOR UPDATE SKIP LOCKED);
  IF owner IS NOT NULL THEN
    INSERT INTO {registry} (id, sid, user_id, status, expires_at, created_at, updated_at, last_seen_at)
      VALUES (gen_random_uuid(), NEW.{key}, owner, 'active', coalesce(NEW.{end}, moment), moment, moment, moment) ON CONFLICT DO NOTHING;
  END IF;
"
    )
}
