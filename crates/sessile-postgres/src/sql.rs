//! The statements of a store, for the tables and columns that were found.
//!
//! Who locks several rows locks them in this order: the user's row of the cut-offs, rows of the registry by their id, rows
//! of sessions. A statement that has to do so has its parts in that order, each evaluated before the next because the next
//! one asks for its result. What is asked is always a value (`= ANY (ARRAY (SELECT …))`, `(SELECT …)`), for those are
//! computed once and hold when PostgreSQL looks again at a row for which it had to wait.

use crate::align::AlignSql;
use crate::columns::Columns;
use crate::registry::RegistrySql;
use crate::sign_in::SignInSql;
use crate::tidy_sql::TidySql;

/// The quoted names of the tables, and the columns of the sessions' table.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) data: String,
    pub(crate) registry: String,
    pub(crate) cutoffs: String,
    pub(crate) moves: String,
    pub(crate) columns: Columns,
    /// The registry has its column for counted requests.
    pub(crate) counts: bool,
}

impl Names {
    /// What lies under this key was brought back: a session that was there has ended, or has another key now.
    pub(crate) fn is_over(&self, key: &str) -> String {
        let Self { registry, moves, .. } = self;
        format!(
            "(NOT EXISTS (SELECT FROM {registry} WHERE sid = {key} AND status = 'active') \
              AND (EXISTS (SELECT FROM {registry} WHERE sid = {key}) OR EXISTS (SELECT FROM {moves} WHERE sid = {key})))"
        )
    }

    /// What began then is over for this user, or for everyone.
    pub(crate) fn is_cut_off(&self, user: &str, began: &str) -> String {
        let cutoffs = &self.cutoffs;
        format!("EXISTS (SELECT FROM {cutoffs} WHERE user_id IN ('', {user}) AND not_before > to_timestamp({began}))")
    }
}

/// The statements of [`Store`](sessile_core::Store). Every time is seconds since 1970 as a double, as node-postgres binds
/// them.
#[derive(Clone, Debug)]
pub(crate) struct Sql {
    pub(crate) load: String,
    pub(crate) load_many: String,
    pub(crate) alive: String,
    pub(crate) insert: String,
    pub(crate) update: String,
    pub(crate) rotate: String,
    pub(crate) touch: String,
    pub(crate) remove: String,
    pub(crate) fate: String,
    pub(crate) sweep: String,
    pub(crate) registry: RegistrySql,
    pub(crate) sign_in: SignInSql,
    pub(crate) align: AlignSql,
    pub(crate) tidy: TidySql,
}

impl Sql {
    pub(crate) fn new(names: &Names) -> Self {
        let Names { data, registry, cutoffs, moves, columns, .. } = names;
        let Columns { key, document, end, document_type: sess, .. } = columns;
        // No cast to a column without zone: that would compare what two clocks on the wall show, and those repeat an
        // hour each autumn. As it stands PostgreSQL compares moments, through the connection's zone, as for Express.
        let row = format!(
            "s.{document}::text, date_part('epoch', s.{end}::timestamptz), date_part('epoch', c.not_before), c.swept"
        );
        let (beside, read_beside, sid) = (columns.beside(), columns.read_beside("s"), columns.sid_text());
        let sessions = format!("{data} s LEFT JOIN {cutoffs} c ON c.user_id = ''");
        Self {
            load: format!(
                "SELECT {row}{read_beside} FROM {sessions} WHERE s.{key} = $1 AND s.{end} >= to_timestamp($2)"
            ),
            load_many: format!(
                "SELECT {row}, s.{key}::text{read_beside} FROM {sessions} \
                 WHERE s.{key} = ANY($1) AND s.{end} >= to_timestamp($2)"
            ),
            alive: format!("SELECT 1 FROM {data} WHERE {key} = $1 AND {end} >= to_timestamp($2)"),
            insert: format!(
                "INSERT INTO {data} ({key}, {document}, {end}{beside}) VALUES ($1, $2::text::{sess}, to_timestamp($3){given}) \
                 ON CONFLICT ({key}) DO NOTHING RETURNING 1",
                given = columns.given("$4", "to_timestamp($5)")
            ),
            update: format!(
                "UPDATE {data} SET {document} = $3::text::{sess}, {end} = to_timestamp($4){set} \
                 WHERE {key} = $1 AND {end} >= to_timestamp($2) AND {as_read} RETURNING 1",
                set = columns.set_owner("$6"),
                as_read = columns.is_as_read("$5", "$7")
            ),
            rotate: format!(
                "WITH locked AS MATERIALIZED ( \
                   SELECT id, status FROM {registry} WHERE sid = $1 ORDER BY id FOR UPDATE \
                 ), rotated AS ( \
                   UPDATE {data} SET {key} = $6, {document} = $3::text::{sess}, {end} = to_timestamp($4){set} \
                   WHERE {key} = $1 AND {end} >= to_timestamp($2) AND {as_read} \
                     AND (SELECT count(*) = 0 OR bool_or(status = 'active') FROM locked) \
                     AND NOT EXISTS (SELECT FROM {moves} WHERE sid = $1) RETURNING 1 \
                 ), followed AS ( \
                   UPDATE {registry} SET sid = $6, updated_at = to_timestamp($7) \
                   WHERE id = ANY (ARRAY (SELECT id FROM locked WHERE status = 'active')) \
                     AND EXISTS (SELECT FROM rotated) RETURNING 1 \
                 ), moved AS ( \
                   INSERT INTO {moves} (sid, moved_to, moved_at) SELECT $1, $6, to_timestamp($7) FROM rotated \
                   ON CONFLICT (sid) DO UPDATE SET moved_to = excluded.moved_to, moved_at = excluded.moved_at \
                 ) \
                 SELECT EXISTS (SELECT FROM rotated), \
                   (SELECT count(*) > 0 AND NOT bool_or(status = 'active') FROM locked) \
                   OR EXISTS (SELECT FROM {moves} WHERE sid = $1)",
                set = columns.set_beside("$8", "to_timestamp($10)"),
                as_read = columns.is_as_read("$5", "$9")
            ),
            touch: format!(
                "UPDATE {data} SET {end} = to_timestamp($3) WHERE {key} = $1 AND {end} >= to_timestamp($2) RETURNING 1"
            ),
            remove: format!(
                "WITH ended AS ( \
                   UPDATE {registry} SET status = $2, logged_out_at = to_timestamp($3), end_reason = $4, \
                     updated_at = to_timestamp($3) \
                   WHERE sid = $1 AND status = 'active' RETURNING 1 \
                 ) \
                 DELETE FROM {data} WHERE {key} = $1 AND (SELECT count(*) FROM ended) >= 0 RETURNING 1"
            ),
            fate: format!(
                "SELECT m.moved_to, date_part('epoch', m.moved_at), e.id::text, e.user_id, host(e.ip_address), e.status, \
                   date_part('epoch', e.logged_out_at), e.end_reason \
                 FROM (VALUES (1)) one LEFT JOIN {moves} m ON m.sid = $1 AND m.moved_to <> $1 \
                 LEFT JOIN (SELECT * FROM {registry} WHERE sid = $1 AND status <> 'active' \
                   AND logged_out_at IS NOT NULL ORDER BY logged_out_at DESC LIMIT 1) e ON m.sid IS NULL"
            ),
            sweep: format!(
                "WITH expired AS MATERIALIZED ( \
                   SELECT {sid} FROM {data} WHERE {end} < to_timestamp($1) ORDER BY {end} LIMIT $3 \
                   FOR UPDATE SKIP LOCKED \
                 ), locked AS MATERIALIZED ( \
                   SELECT id, sid::text FROM {registry} \
                   WHERE sid = ANY (ARRAY (SELECT sid FROM expired)) AND status = 'active' FOR UPDATE SKIP LOCKED \
                 ), busy AS MATERIALIZED ( \
                   SELECT id, sid::text FROM {registry} \
                   WHERE sid = ANY (ARRAY (SELECT sid FROM expired)) AND status = 'active' EXCEPT TABLE locked \
                 ), removed AS ( \
                   DELETE FROM {data} WHERE {key} = ANY (ARRAY (SELECT sid FROM expired EXCEPT SELECT sid FROM busy)) \
                     AND {end} < to_timestamp($1) RETURNING {sid} \
                 ), ended AS ( \
                   UPDATE {registry} SET status = 'expired', logged_out_at = to_timestamp($2), \
                     updated_at = to_timestamp($2) \
                   WHERE id = ANY (ARRAY (SELECT id FROM locked JOIN removed USING (sid))) RETURNING id, user_id, ip_address \
                 ) \
                 SELECT (SELECT count(*) FROM removed), ended.id::text, ended.user_id, host(ended.ip_address) \
                 FROM (VALUES (1)) one LEFT JOIN ended ON true"
            ),
            registry: RegistrySql::new(names),
            sign_in: SignInSql::new(names),
            align: AlignSql::new(names),
            tidy: TidySql::new(names),
        }
    }
}
