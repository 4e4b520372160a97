//! The file as SQLite sees it: whether it can be opened, written, and trusted.

use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, MAIN_DB};
use sessile_core::Check;

use super::{PATIENCE, blind, within};
use crate::builder::SqliteBuilder;
use crate::failure;

/// How long the file is read in search of damage.
const INTEGRITY: Duration = Duration::from_secs(2);

/// A connection that can read the file, or what keeps it from that.
pub(super) fn open(builder: &SqliteBuilder, checks: &mut Vec<Check>) -> Result<Connection, Check> {
    let connection = builder.connection().map_err(|error| {
        Check::failed(
            "sqlite.database",
            error.to_string(),
            "let this account read and write the file and its directory",
        )
    })?;
    // Nothing in the file changes, also when this is the last program to close it.
    let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    checks.extend(writable(&connection));
    let read = connection
        .busy_timeout(PATIENCE)
        .and_then(|()| connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0)));
    match read {
        Ok(_) => {
            checks.push(Check::good("sqlite.database", format!("SQLite {} can read the file", rusqlite::version())));
            Ok(connection)
        }
        Err(error) => Err(unreadable(error)),
    }
}

fn writable(connection: &Connection) -> Option<Check> {
    match connection.is_readonly(MAIN_DB) {
        Ok(false) => Some(Check::good("sqlite.writable", "this account may write to the file")),
        Ok(true) => Some(Check::failed(
            "sqlite.writable",
            "this account may not write to the file, so no session can be kept",
            "give the file to the account that the application runs as, with `chown`, or run this as that account",
        )),
        Err(error) => Some(blind("sqlite.writable", error)),
    }
}

fn unreadable(error: rusqlite::Error) -> Check {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => Check::failed(
            "sqlite.database",
            "expected an SQLite database, found a file of another kind",
            "correct DATABASE_URL, or restore the file from a backup",
        ),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => locked("even for reading"),
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) => Check::failed(
            "sqlite.database",
            "SQLite could not put its write-ahead log beside the file",
            "let this account write to the directory of the file",
        ),
        _ => Check::failed("sqlite.database", failure::of(error).to_string(), "restore the file from a backup"),
    }
}

pub(super) fn examine(connection: &Connection) -> Vec<Check> {
    vec![journal_mode(connection), lock(connection), integrity(connection)]
}

fn journal_mode(connection: &Connection) -> Check {
    match connection.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0)) {
        Ok(mode) if mode == "wal" => {
            Check::good("sqlite.journal_mode", "readers and the writer do not wait for each other (WAL)")
        }
        Ok(mode) => Check::warning(
            "sqlite.journal_mode",
            format!("expected journal mode `wal`, found `{mode}`: whoever reads waits for whoever writes"),
            "restart the application, which sets it, and keep other programs from changing it",
        ),
        Err(error) => blind("sqlite.journal_mode", error),
    }
}

/// Takes the place of the one who writes, and gives it back.
fn lock(connection: &Connection) -> Check {
    match connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK") {
        Ok(()) => Check::good("sqlite.lock", "no other program keeps the file locked"),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => locked("for writing"),
        // That it cannot be written is said already.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ReadOnly) => Check::skipped(
            "sqlite.lock",
            "this account may only read, so whether writing is locked was not looked at",
            "run this as the account that the application runs as",
        ),
        Err(error) => blind("sqlite.lock", error),
    }
}

fn locked(how: &str) -> Check {
    let seconds = PATIENCE.as_secs();
    Check::failed(
        "sqlite.lock",
        format!("another program has kept the file locked {how} for more than {seconds} s"),
        "find the program with `fuser -v` on the file, and end its transaction",
    )
}

fn integrity(connection: &Connection) -> Check {
    let ask =
        |connection: &Connection| connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    match within(connection, INTEGRITY, ask) {
        None => Check::skipped(
            "sqlite.integrity",
            format!("the file is too large to be read in {} s; no damage was found until then", INTEGRITY.as_secs()),
            "run `PRAGMA quick_check` on the file, or on a backup of it",
        ),
        Some(Ok(answer)) if answer == "ok" => Check::good("sqlite.integrity", "no damage was found"),
        Some(Ok(_)) => damaged(),
        Some(Err(error)) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => damaged(),
        Some(Err(error)) => blind("sqlite.integrity", error),
    }
}

/// What SQLite says of it may quote what stands there.
fn damaged() -> Check {
    Check::failed(
        "sqlite.integrity",
        "the file is damaged, `PRAGMA quick_check` says where",
        "stop the application, save what `sqlite3 FILE .recover` can read, or restore a backup",
    )
}
