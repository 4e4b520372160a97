//! The server itself: its version, whether it can be written to, whether what it acknowledged stays, its clock, and the
//! connections that are left.

use std::time::{Duration, Instant, SystemTime};

use sessile_core::{Check, Error};

use super::Look;
use crate::rows::get;
use crate::time::time;

/// The oldest version whose SQL has all that is used: `gen_random_uuid()` came with 13.
const OLDEST: i32 = 130_000;

/// What the clocks may differ by: beyond the first limit sessions end early or late, beyond the second promises break.
const SKEW: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(60)];

pub(super) async fn examine(look: &Look<'_>, checks: &mut Vec<Check>) -> Result<(), Error> {
    const SETTINGS: &str = "SELECT current_setting('server_version_num')::int4, current_setting('server_version'), \
        pg_is_in_recovery(), current_setting('transaction_read_only') = 'on', current_setting('synchronous_commit'), \
        current_setting('fsync')";
    let asked = Instant::now();
    let row = look.ask(SETTINGS, &[]).await?;
    checks.push(version(get(&row, 0)?, get(&row, 1)?));
    checks.push(writable(get(&row, 2)?, get(&row, 3)?));
    checks.push(synchronous_commit(get(&row, 4)?));
    checks.push(fsync(get(&row, 5)?));
    let clock = look.ask("SELECT date_part('epoch', clock_timestamp())", &[]).await?;
    checks.push(skew(look.now + asked.elapsed(), time(get(&clock, 0)?)));
    checks.push(connections(look).await?);
    Ok(())
}

fn version(number: i32, name: &str) -> Check {
    const NAME: &str = "postgres.version";
    if number >= OLDEST {
        return Check::good(NAME, format!("PostgreSQL {name}."));
    }
    Check::failed(NAME, format!("PostgreSQL {name} is older than 13."), "Upgrade the server to PostgreSQL 13 or later.")
}

fn writable(is_standby: bool, is_read_only: bool) -> Check {
    const NAME: &str = "postgres.writable";
    match (is_standby, is_read_only) {
        (true, _) => Check::failed(
            NAME,
            "This server is a standby: it can be read and not written.",
            "Name the primary in the database's URL; after a failover that is the other host.",
        ),
        (_, true) => Check::failed(
            NAME,
            "Transactions of this role or database are read-only.",
            "ALTER ROLE CURRENT_USER RESET default_transaction_read_only; -- or the same with ALTER DATABASE; then connect anew",
        ),
        _ => Check::good(NAME, "The server takes writes."),
    }
}

fn synchronous_commit(setting: &str) -> Check {
    const NAME: &str = "postgres.synchronous_commit";
    if setting != "off" {
        return Check::good(NAME, format!("synchronous_commit is {setting}: what was acknowledged is on the disk."));
    }
    Check::warning(
        NAME,
        "synchronous_commit is off: a sign-out that was acknowledged can be lost when the server crashes.",
        "ALTER ROLE CURRENT_USER SET synchronous_commit = on; -- or the same with ALTER DATABASE; then connect anew",
    )
}

fn fsync(setting: &str) -> Check {
    const NAME: &str = "postgres.fsync";
    if setting != "off" {
        return Check::good(NAME, "fsync is on.");
    }
    Check::failed(
        NAME,
        "fsync is off: a power cut can lose sign-outs and damage every table.",
        "Set fsync = on in postgresql.conf and restart the server.",
    )
}

fn skew(ours: SystemTime, theirs: SystemTime) -> Check {
    const NAME: &str = "postgres.clock";
    const REMEDY: &str = "Have both hosts keep their time with NTP (timedatectl set-ntp true).";
    let (difference, which) = match theirs.duration_since(ours) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    let finding = format!("The server's clock is {:.1} s {which} this host's", difference.as_secs_f64());
    match SKEW.map(|limit| difference > limit) {
        [_, true] => Check::failed(NAME, format!("{finding}: sessions end too early or too late."), REMEDY),
        [true, _] => Check::warning(NAME, format!("{finding}."), REMEDY),
        _ => Check::good(NAME, format!("{finding}.")),
    }
}

async fn connections(look: &Look<'_>) -> Result<Check, Error> {
    const NAME: &str = "postgres.connections";
    const CONNECTIONS: &str = "SELECT (SELECT sum(numbackends) FROM pg_catalog.pg_stat_database)::int8, \
        current_setting('max_connections')::int8 - current_setting('superuser_reserved_connections')::int8";
    let row = look.ask(CONNECTIONS, &[]).await?;
    let (used, most): (i64, i64) = (get(&row, 0)?, get(&row, 1)?);
    let finding = format!("{used} of the server's {most} connections are in use.");
    if used * 10 < most * 9 {
        return Ok(Check::good(NAME, finding));
    }
    Ok(Check::warning(
        NAME,
        finding,
        "Raise max_connections, put a pooler in between, or set a smaller database.pool.max for each instance.",
    ))
}

#[cfg(test)]
mod tests {
    use sessile_core::Verdict;

    use super::*;

    #[test]
    fn a_version_that_lacks_what_is_used_is_failed() {
        assert_eq!(version(120_022, "12.22").verdict, Verdict::Failed);
        assert_eq!(version(130_000, "13.0").verdict, Verdict::Good);
    }

    #[test]
    fn a_standby_is_told_from_a_read_only_role() {
        assert!(writable(true, true).finding.contains("standby"));
        assert!(!writable(false, true).finding.contains("standby"));
    }
}
