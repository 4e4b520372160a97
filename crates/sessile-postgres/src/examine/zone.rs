//! Time zones. In a column of type `timestamp` a value means what the writer's zone makes of it, so whoever writes in
//! another zone means another moment, and a zone with daylight saving has an hour twice each autumn.

use sessile_core::{Check, Error, TableKind};
use tokio_postgres::types::Type;

use super::Look;
use super::tables::Found;
use crate::migrate::timestamptz::{NEW, REMARK};
use crate::names::literal;
use crate::rows::get;
use crate::sql::Names;

const NAME: &str = "postgres.time_zone";

/// What is set for roles that write the table, and for the database. Roles are named as they are.
pub(crate) const SETTINGS: &str = "SELECT coalesce('the role ' || quote_ident(r.rolname), 'the database'), split_part(setting, '=', 2) \
    FROM pg_catalog.pg_db_role_setting s CROSS JOIN LATERAL unnest(s.setconfig) AS setting \
    LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole \
    WHERE lower(split_part(setting, '=', 1)) = 'timezone' \
      AND s.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())) \
      AND (s.setrole = 0 OR has_table_privilege(s.setrole, to_regclass($1), 'INSERT')) ORDER BY 1, 2";

/// The connection's zone, where it is set, and whether its distance from UTC changes in the course of a year.
const ZONE: &str = "SELECT setting, source, reset_val, \
      (SELECT count(DISTINCT date_part('timezone', at)) > 1 \
       FROM generate_series(now() - interval '1 year', now(), interval '1 month') AS at) \
    FROM pg_catalog.pg_settings WHERE name = 'TimeZone'";

pub(super) async fn examine(look: &Look<'_>, found: &Found, checks: &mut Vec<Check>) -> Result<(), Error> {
    let row = look.ask(ZONE, &[]).await?;
    let (zone, source): (&str, &str) = (get(&row, 0)?, get(&row, 1)?);
    let columns = &found.names.columns;
    if columns.end_type == "timestamp with time zone" {
        checks.push(Check::good(
            NAME,
            format!("{} is timestamptz: right in every zone. This connection's is {zone}.", columns.end),
        ));
        return Ok(());
    }
    if let Some(begun) = begun(look, found).await? {
        checks.push(Check::warning(
            NAME,
            format!("The change of expire to timestamptz was begun, in {begun}, and not ended: each write does its work twice."),
            "sessile migrate --timestamptz",
        ));
        return Ok(());
    }
    let mut others = Vec::new();
    for row in look.query(SETTINGS, &[(&found.names.data, Type::TEXT)]).await? {
        let (whose, other): (&str, &str) = (get(&row, 0)?, get(&row, 1)?);
        if !is_same(zone, other) {
            others.push(format!("{whose} has {other}"));
        }
    }
    checks.push(judge(&found.names, zone, source, get(&row, 3)?, &others));
    Ok(())
}

/// The zone of a change to `timestamptz` that was broken off.
async fn begun(look: &Look<'_>, found: &Found) -> Result<Option<String>, Error> {
    const BEGUN: &str = "SELECT col_description(attrelid, attnum) FROM pg_catalog.pg_attribute \
        WHERE attrelid = to_regclass($1) AND attname = $2 AND NOT attisdropped";
    let rows = look.query(BEGUN, &[(&found.names.data, Type::TEXT), (&NEW, Type::TEXT)]).await?;
    let remark = rows.first().map_or(Ok(None), |row| get::<Option<&str>>(row, 0))?;
    Ok(remark.and_then(|remark| remark.strip_prefix(REMARK)).map(str::to_owned))
}

fn judge(names: &Names, zone: &str, source: &str, has_summer: bool, others: &[String]) -> Check {
    let Names { data, columns, .. } = names;
    // Whoever runs it may have another zone.
    let remedy = match columns.kind {
        TableKind::Express => format!("sessile migrate --timestamptz --zone {zone}"),
        TableKind::Columns => columns.conversion(data, &literal(zone)),
    };
    let here =
        format!("{} is timestamp without zone, and this connection's zone is {zone} (set by: {source})", columns.end);
    if !others.is_empty() {
        let finding = format!("{here}, while {}: what one writes the other reads as another time.", others.join(", "));
        return Check::warning(
            NAME,
            finding,
            format!(
                "{remedy} (or another zone, if the sessions were written in it), or the same TimeZone for all of them"
            ),
        );
    }
    if has_summer {
        let finding =
            format!("{here}, which has daylight saving: each autumn an hour is there twice, and ends in it shift.");
        return Check::warning(NAME, finding, remedy);
    }
    Check::good(NAME, format!("{here}, which never changes."))
}

/// Whether both names are of one zone, as far as names tell.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    let plain = |name: &str| {
        let name = name.trim_matches(['"', '\'']).to_lowercase();
        if ["utc", "etc/utc", "gmt", "etc/gmt", "zulu", "etc/zulu"].contains(&&*name) { "utc".into() } else { name }
    };
    plain(one) == plain(other)
}
