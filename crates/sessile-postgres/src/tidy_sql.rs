//! The statements that bring the registry and the sessions back into step. Each looks at the next rows of one table and
//! says how far it came. What it compares them with is asked for row by row (`(SELECT … LIMIT 1)`): PostgreSQL, which
//! does not know how few rows these are, would rather read all of the other table.

use crate::columns::Columns;
use crate::sql::Names;

#[derive(Clone, Debug)]
pub(crate) struct TidySql {
    pub(crate) everyone: String,
    pub(crate) registry: String,
    pub(crate) sessions: String,
    pub(crate) remove: String,
    pub(crate) cut_offs: String,
    pub(crate) lock: String,
    pub(crate) register: String,
    pub(crate) swept: String,
    pub(crate) forget: String,
    pub(crate) forget_moves: String,
}

impl TidySql {
    pub(crate) fn new(names: &Names) -> Self {
        let Names { data, registry, cutoffs, moves, columns, .. } = names;
        let Columns { key, end, .. } = columns;
        let (sid, sid_text) = (columns.sid(), columns.sid_text());
        Self {
            everyone: format!(
                "SELECT date_part('epoch', not_before), swept, 'revoked', date_part('epoch', coalesce(revoked_at, not_before)), \
                   end_reason \
                 FROM {cutoffs} WHERE user_id = '' AND not_before IS NOT NULL"
            ),
            registry: registry_page(names),
            sessions: sessions_page(names),
            remove: format!(
                "WITH locked AS MATERIALIZED (SELECT {sid} FROM {data} WHERE {key} = ANY ($1) ORDER BY {key} FOR UPDATE) \
                 DELETE FROM {data} s WHERE {key} = ANY (ARRAY (SELECT sid FROM locked)) \
                   AND NOT EXISTS (SELECT FROM {registry} r WHERE r.sid = s.{key} AND r.status = 'active') RETURNING 1"
            ),
            // Revocations of these users wait for those who lock these rows, or are seen by them.
            cut_offs: format!(
                "INSERT INTO {cutoffs} AS c (user_id) SELECT DISTINCT unnest($1::text[]) ORDER BY 1 \
                 ON CONFLICT (user_id) DO UPDATE SET user_id = excluded.user_id \
                 RETURNING user_id, date_part('epoch', not_before)"
            ),
            lock: format!(
                "SELECT {sid_text} FROM {data} WHERE {key} = ANY ($1) AND {end} >= to_timestamp($2) FOR UPDATE SKIP LOCKED"
            ),
            register: register(names),
            swept: format!(
                "UPDATE {cutoffs} SET swept = true WHERE user_id = '' AND not_before = to_timestamp($1) RETURNING 1"
            ),
            // Who ends a session by hand may forget to say when.
            forget: format!(
                "WITH dated AS ( \
                   UPDATE {registry} SET logged_out_at = to_timestamp($1), updated_at = to_timestamp($1) \
                   WHERE status <> 'active' AND logged_out_at IS NULL \
                 ), forgotten AS ( \
                   DELETE FROM {registry} WHERE id = ANY (ARRAY ( \
                     SELECT id FROM {registry} WHERE status <> 'active' AND logged_out_at < to_timestamp($2) \
                     ORDER BY logged_out_at LIMIT $3 FOR UPDATE SKIP LOCKED)) RETURNING id, user_id \
                 ), users AS ( \
                   DELETE FROM {cutoffs} WHERE user_id = ANY (ARRAY (SELECT user_id FROM forgotten f WHERE NOT EXISTS ( \
                       SELECT FROM {registry} r WHERE r.user_id = f.user_id AND r.status = 'active') AND NOT EXISTS ( \
                       SELECT FROM {registry} r WHERE r.user_id = f.user_id AND r.status <> 'active' \
                         AND r.id <> ALL (ARRAY (SELECT id FROM forgotten))))) \
                     AND user_id <> '' AND (not_before IS NULL OR not_before < to_timestamp($2)) \
                 ) \
                 SELECT 1 FROM forgotten"
            ),
            forget_moves: format!(
                "DELETE FROM {moves} WHERE sid = ANY (ARRAY ( \
                   SELECT sid FROM {moves} WHERE moved_at < to_timestamp($1) ORDER BY moved_at LIMIT $2 \
                   FOR UPDATE SKIP LOCKED)) RETURNING 1"
            ),
        }
    }
}

/// Ends what is active in the next rows of the registry, and is cut off or has lost its session. A session that is being
/// moved is under its new key in both tables or under its old one in both; one that moved since is left for the next time.
fn registry_page(names: &Names) -> String {
    let Names { data, registry, columns: Columns { key, .. }, .. } = names;
    format!(
        "WITH page AS MATERIALIZED ( \
           SELECT id, sid, status, (coalesce(authenticated_at, created_at) < to_timestamp($4)) IS TRUE AS cut_off \
           FROM {registry} WHERE id > $1::text::uuid ORDER BY id LIMIT $2 \
         ), found AS MATERIALIZED ( \
           SELECT id, sid, cut_off FROM page WHERE status = 'active' \
             AND (cut_off OR (SELECT true FROM {data} s WHERE s.{key} = page.sid LIMIT 1) IS NULL) \
         ), locked AS MATERIALIZED ( \
           SELECT r.id FROM {registry} r JOIN found ON found.id = r.id \
           WHERE r.status = 'active' AND r.sid IS NOT DISTINCT FROM found.sid ORDER BY r.id FOR UPDATE OF r \
         ), ended AS ( \
           UPDATE {registry} r SET updated_at = to_timestamp($3), \
             status = CASE WHEN found.cut_off THEN 'revoked' WHEN r.expires_at < to_timestamp($3) THEN 'expired' \
               ELSE 'logged_out' END, \
             logged_out_at = CASE WHEN found.cut_off THEN to_timestamp($5) ELSE to_timestamp($3) END, \
             end_reason = CASE WHEN found.cut_off THEN $6 END \
           FROM found WHERE r.id = found.id AND r.id = ANY (ARRAY (SELECT id FROM locked)) \
           RETURNING r.id, r.user_id, r.ip_address, r.status, r.logged_out_at, r.end_reason, r.sid, found.cut_off \
         ), removed AS ( \
           DELETE FROM {data} WHERE {key} = ANY (ARRAY (SELECT sid FROM ended WHERE cut_off)) \
         ) \
         SELECT (SELECT count(*) FROM page), (SELECT id::text FROM page ORDER BY id DESC LIMIT 1), \
           (SELECT count(*) FROM found) - (SELECT count(*) FROM ended), ended.id::text, ended.user_id, \
           host(ended.ip_address), ended.status, date_part('epoch', ended.logged_out_at), ended.end_reason \
         FROM (VALUES (1)) one LEFT JOIN ended ON true"
    )
}

/// What is alive in the next rows of the sessions, and not known by the registry as what it is: under another owner, under
/// none, or as over. `$4` is where the owner is in the document, if no column says who it is. PostgreSQL cannot look into
/// every document, so one with escapes is always among them.
fn sessions_page(names: &Names) -> String {
    let Names { data, registry, moves, columns, .. } = names;
    let (sid, sess, expire) = (columns.sid(), columns.sess(), columns.expire());
    let (key, unclear, owner) = (columns.key, columns.is_unclear(), columns.owner("$4"));
    let (beside, read_beside) = (columns.beside(), columns.read_beside("found"));
    format!(
        "WITH page AS MATERIALIZED ( \
           SELECT {sid}, {sess}, {unclear} AS is_unclear, {expire}{beside} \
           FROM {data} WHERE {key} > $1 ORDER BY {key} LIMIT $2 \
         ), found AS MATERIALIZED ( \
           SELECT sid, sess, date_part('epoch', expire::timestamptz) AS ends, is_unclear, \
             {owner} AS owner{beside}, \
             (SELECT user_id FROM {registry} r WHERE r.sid = page.sid AND status = 'active' LIMIT 1) AS known, \
             coalesce((SELECT true FROM {registry} r WHERE r.sid = page.sid LIMIT 1), \
               (SELECT true FROM {moves} m WHERE m.sid = page.sid LIMIT 1)) AS was_known \
           FROM page WHERE expire >= to_timestamp($3) \
         ) \
         SELECT (SELECT count(*) FROM page), (SELECT sid::text FROM page ORDER BY sid DESC LIMIT 1), \
           found.sid::text, found.sess::text, found.ends, found.known, found.known IS NULL AND was_known IS TRUE{read_beside} \
         FROM (VALUES (1)) one \
         LEFT JOIN found ON is_unclear OR owner IS DISTINCT FROM known OR known IS NULL AND was_known"
    )
}

/// Registers sessions that the registry does not know, whose rows are locked. One whose handle it knows, as that of a
/// session that ended, gets another one there: there is one end to a session.
fn register(names: &Names) -> String {
    let Names { registry, moves, .. } = names;
    let is_cut_off = names.is_cut_off("u.owner", "u.began");
    format!(
        "INSERT INTO {registry} (id, sid, user_id, status, expires_at, created_at, updated_at, last_seen_at, \
           authenticated_at) \
         SELECT CASE WHEN EXISTS (SELECT FROM {registry} r WHERE r.id = u.id::uuid) THEN gen_random_uuid() \
             ELSE u.id::uuid END, u.sid, u.owner, 'active', to_timestamp(u.ends), to_timestamp(u.began), to_timestamp($6), \
           to_timestamp($6), to_timestamp(u.proved) \
         FROM unnest($1::text[], $2::text[], $3::text[], $4::float8[], $5::float8[], $7::float8[]) \
           AS u (sid, id, owner, ends, proved, began) \
         WHERE NOT EXISTS (SELECT FROM {registry} r WHERE r.sid = u.sid) \
           AND NOT EXISTS (SELECT FROM {moves} m WHERE m.sid = u.sid) AND NOT {is_cut_off} \
         ON CONFLICT DO NOTHING RETURNING 1"
    )
}
