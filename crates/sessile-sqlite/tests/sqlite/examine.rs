//! The doctor: a store that is as it should be gets no warning, and each thing that can be wrong with a file is done to one
//! and named.

use std::io::{Seek as _, SeekFrom, Write as _};

use sessile_core::{Check, Examine, Verdict};

use super::*;

/// A file with a store's tables in it, a session and a user. The store is closed.
async fn healthy() -> Directory {
    let directory = Directory::new();
    let store = open(&directory).await;
    insert(&store, "a").await;
    signed_in(&store, "b", "alice", 1).await;
    signed_in(&store, "c", "alice", 2).await;
    assert!(store.remove(&key("c"), &revoked(0)).await.unwrap());
    directory
}

async fn examined(directory: &Directory) -> Vec<Check> {
    SqliteStore::builder(directory.file()).examine(at(0)).await
}

/// What is not good, by name.
fn troubles(checks: &[Check]) -> Vec<(&'static str, Verdict)> {
    let bad = checks.iter().filter(|check| check.verdict != Verdict::Good);
    bad.map(|check| (check.name, check.verdict)).collect()
}

/// The check of this name, which is not good.
fn trouble<'a>(checks: &'a [Check], name: &str) -> &'a Check {
    let check = checks.iter().find(|check| check.name == name && check.verdict != Verdict::Good);
    check.unwrap_or_else(|| panic!("expected {name} to be in trouble, found {checks:#?}"))
}

#[tokio::test]
async fn a_healthy_store_gets_no_warning() {
    let directory = healthy().await;
    let checks = examined(&directory).await;
    assert_eq!(troubles(&checks), [], "{checks:#?}");
    assert!(checks.iter().all(|check| check.remedy.is_none()));
    let names: Vec<_> = checks.iter().map(|check| check.name).collect();
    for name in [
        "sqlite.file",
        "sqlite.permissions",
        "sqlite.directory",
        "sqlite.writable",
        "sqlite.database",
        "sqlite.journal_mode",
        "sqlite.lock",
        "sqlite.integrity",
        "sqlite.wal_size",
        "sqlite.table",
        "sqlite.columns",
        "sqlite.primary_key",
        "sqlite.expire_index",
        "sqlite.backlog",
        "sqlite.registry",
        "sqlite.in_step",
    ] {
        assert!(names.contains(&name), "{name} is missing in {names:?}");
    }

    let store = open(&directory).await;
    let open_one = Examine::examine(&store, at(0)).await;
    assert_eq!(troubles(&open_one), [], "{open_one:#?}");
    assert_eq!(open_one.len(), checks.len() + 1);
    assert_eq!(open_one.last().unwrap().name, "sqlite.synchronous");

    let other_names = SqliteStore::builder(directory.file()).table("user_sessions").registry("who");
    assert_eq!(
        troubles(&other_names.examine(at(0)).await),
        [("sqlite.table", Verdict::Failed), ("sqlite.registry", Verdict::Failed)]
    );
    drop(other_names.clone().open().await.unwrap());
    assert_eq!(troubles(&other_names.examine(at(0)).await), []);
}

#[tokio::test]
async fn a_look_creates_nothing() {
    let directory = Directory::new();
    let checks = examined(&directory).await;
    assert_eq!(troubles(&checks), [("sqlite.file", Verdict::Failed)]);
    assert!(checks[0].remedy.is_some() && !directory.file().exists());
    let checks = SqliteStore::builder(&directory.0).examine(at(0)).await;
    assert_eq!(troubles(&checks), [("sqlite.file", Verdict::Failed)]);

    fs::File::create_new(directory.file()).unwrap();
    let checks = examined(&directory).await;
    assert_eq!(trouble(&checks, "sqlite.table").verdict, Verdict::Failed);
    assert_eq!(trouble(&checks, "sqlite.registry").verdict, Verdict::Failed);
    assert_eq!(fs::metadata(directory.file()).unwrap().len(), 0);
}

#[tokio::test]
async fn what_is_wrong_with_the_tables_is_named() {
    let old = "2040-01-01 11:40:00";
    let tables = [
        ("DROP TABLE session", "sqlite.table", Verdict::Failed, "found none"),
        ("DROP TABLE session; CREATE VIEW session AS SELECT 1", "sqlite.table", Verdict::Failed, "found a view"),
        ("ALTER TABLE session DROP COLUMN sess", "sqlite.columns", Verdict::Failed, "`sess`"),
        (
            "DROP TABLE session; CREATE TABLE session (sid TEXT, sess TEXT, expire REAL, UNIQUE (sid))",
            "sqlite.columns",
            Verdict::Failed,
            "found REAL",
        ),
        (
            "DROP TABLE session; CREATE TABLE session (sid TEXT, sess TEXT, expire TEXT)",
            "sqlite.primary_key",
            Verdict::Failed,
            "UNIQUE",
        ),
        (r#"DROP INDEX "IDX_session_expire""#, "sqlite.expire_index", Verdict::Warning, "every row"),
        ("DROP TABLE sessions", "sqlite.registry", Verdict::Failed, "found none"),
        ("DROP TABLE sessions_moves", "sqlite.registry", Verdict::Failed, "sessions_moves"),
        ("ALTER TABLE sessions DROP COLUMN end_reason", "sqlite.registry", Verdict::Failed, "end_reason"),
        (&format!("INSERT INTO session VALUES ('old', '{{}}', '{old}')"), "sqlite.backlog", Verdict::Warning, old),
        (
            "DELETE FROM session WHERE sid = 'b'",
            "sqlite.in_step",
            Verdict::Warning,
            "1 are signed in without a session",
        ),
        (
            "INSERT INTO session SELECT 'c', sess, expire FROM session WHERE sid = 'a'",
            "sqlite.in_step",
            Verdict::Warning,
            "1 sessions are over",
        ),
        (
            "DELETE FROM sessions WHERE status = 'active'",
            "sqlite.in_step",
            Verdict::Warning,
            "1 are signed in and not registered",
        ),
    ];
    for (sql, name, verdict, finding) in tables {
        let directory = healthy().await;
        directory.connection().execute_batch(&format!("PRAGMA foreign_keys = OFF; {sql}")).expect(sql);
        let checks = examined(&directory).await;
        let check = trouble(&checks, name);
        assert_eq!(check.verdict, verdict, "{sql}");
        assert!(check.finding.contains(finding), "{sql}: {}", check.finding);
        assert_eq!(troubles(&checks).len(), 1, "{sql} is named once: {checks:#?}");
    }
}

#[tokio::test]
async fn the_remedy_for_a_missing_index_helps() {
    let directory = healthy().await;
    directory.connection().execute_batch(r#"DROP INDEX "IDX_session_expire""#).unwrap();
    let remedy = trouble(&examined(&directory).await, "sqlite.expire_index").remedy.clone().unwrap();
    directory.connection().execute_batch(&remedy).unwrap();
    assert_eq!(troubles(&examined(&directory).await), []);
}

#[tokio::test]
async fn a_file_of_another_kind_and_a_damaged_one_are_named() {
    let directory = Directory::new();
    fs::write(directory.file(), "not a database, but long enough to have a header. ".repeat(50)).unwrap();
    let checks = examined(&directory).await;
    assert!(trouble(&checks, "sqlite.database").finding.contains("another kind"), "{checks:#?}");

    let directory = healthy().await;
    // In rollback mode everything is in the one file.
    let mut mode = String::new();
    while mode != "delete" {
        let ask = directory.connection().pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get(0));
        mode = ask.unwrap_or_default();
    }
    directory.connection().execute_batch("CREATE TABLE t AS SELECT randomblob(100000) AS b").unwrap();
    let page = directory.number("SELECT rootpage FROM sqlite_schema WHERE name = 'sessions'");
    let mut file = fs::File::options().write(true).open(directory.file()).unwrap();
    file.seek(SeekFrom::Start((u64::try_from(page).unwrap() - 1) * 4_096 + 100)).unwrap();
    file.write_all(&[0xAB; 3_900]).unwrap();
    let checks = examined(&directory).await;
    assert_eq!(trouble(&checks, "sqlite.integrity").verdict, Verdict::Failed);
    assert_eq!(trouble(&checks, "sqlite.journal_mode").verdict, Verdict::Warning);
}

#[tokio::test]
async fn a_lock_that_another_program_keeps_is_named() {
    let directory = healthy().await;
    let other = directory.connection();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let checks = examined(&directory).await;
    assert_eq!(troubles(&checks), [("sqlite.lock", Verdict::Failed)]);
    assert!(trouble(&checks, "sqlite.lock").finding.contains("for writing"));
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(troubles(&examined(&directory).await), []);

    let directory = Directory::new();
    let other = directory.connection();
    other.execute_batch("CREATE TABLE t (n); BEGIN EXCLUSIVE").unwrap();
    assert!(trouble(&examined(&directory).await, "sqlite.lock").finding.contains("even for reading"));
}

/// Also when it is the last to close the file, which would put the log back.
#[tokio::test]
async fn a_look_leaves_the_log_where_it_is() {
    let directory = healthy().await;
    let writer = directory.connection();
    writer.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    writer.execute_batch("CREATE TABLE t AS SELECT randomblob(100000) AS b").unwrap();
    drop(writer);
    let log = || fs::metadata(directory.0.join("app.sqlite-wal")).map_or(0, |metadata| metadata.len());
    let before = log();
    assert!(before > 100_000);
    examined(&directory).await;
    assert_eq!(log(), before);
}

/// A program that ended in the middle of its work leaves such a log, so nobody is accused.
#[tokio::test]
async fn a_long_log_that_nobody_holds_is_no_programs_fault() {
    let directory = healthy().await;
    let writer = directory.connection();
    writer.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    writer.execute_batch("PRAGMA wal_autocheckpoint = 0; CREATE TABLE t AS SELECT randomblob(20000000) AS b").unwrap();
    drop(writer);
    let checks = examined(&directory).await;
    let long = trouble(&checks, "sqlite.wal_size");
    assert!(long.finding.contains("or ended before it closed the file"), "{long:?}");
}

#[tokio::test]
async fn missing_indexes_of_the_registry_are_named_with_what_makes_them() {
    let directory = healthy().await;
    let names = ["sessions_sid", "sessions_active", "sessions_ended", "sessions_logged_out_at"];
    for name in names.into_iter().chain(["sessions_provider_session", "sessions_moves_moved_at"]) {
        directory.connection().execute_batch(&format!(r#"DROP INDEX "IDX_{name}""#)).unwrap();
        let checks = examined(&directory).await;
        assert_eq!(troubles(&checks), [("sqlite.registry_indexes", Verdict::Warning)], "{name}");
        let remedy = trouble(&checks, "sqlite.registry_indexes").remedy.clone().unwrap();
        directory.connection().execute_batch(&remedy).unwrap();
        assert_eq!(troubles(&examined(&directory).await), [], "{remedy}");
    }
    // One of another name does as well, one with other columns does not.
    let connection = directory.connection();
    connection.execute_batch(r#"DROP INDEX "IDX_sessions_sid"; CREATE INDEX mine ON sessions (sid, id)"#).unwrap();
    assert_eq!(troubles(&examined(&directory).await), []);
    connection.execute_batch(r#"DROP INDEX mine; CREATE INDEX "IDX_sessions_sid" ON sessions (id, sid)"#).unwrap();
    assert_eq!(troubles(&examined(&directory).await), [("sqlite.registry_indexes", Verdict::Warning)]);
}

/// Root may write anywhere, so as root the question is asked again by a process of another account.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_directory_that_this_account_may_not_write_to_is_named() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::os::unix::process::CommandExt as _;

    const FILE: &str = "SESSILE_TEST_EXAMINED_FILE";
    if let Some(file) = std::env::var_os(FILE) {
        let checks = SqliteStore::builder(PathBuf::from(file)).examine(at(0)).await;
        let directory = trouble(&checks, "sqlite.directory");
        assert!(directory.finding.contains("this account may not write"), "{directory:?}");
        return;
    }
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return;
    }
    let directory = healthy().await;
    let set = |path: &std::path::Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    set(&directory.0, 0o755);
    set(&directory.file(), 0o666);
    let program = directory.0.join("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    set(&program, 0o755);
    let mut other = std::process::Command::new(&program);
    other.args(["--exact", "examine::a_directory_that_this_account_may_not_write_to_is_named"]);
    let output = other.env(FILE, directory.file()).current_dir("/").uid(65_534).gid(65_534).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

/// A reader that never ends keeps the log from going back into the file.
#[tokio::test]
async fn a_log_that_only_grows_is_named() {
    let directory = healthy().await;
    let reader = directory.connection();
    reader.execute_batch("BEGIN; SELECT count(*) FROM session").unwrap();
    let writer = directory.connection();
    writer.execute_batch("CREATE TABLE t (b)").unwrap();
    for _ in 0..20 {
        writer.execute_batch("DELETE FROM t; INSERT INTO t VALUES (randomblob(1000000))").unwrap();
    }
    let checks = examined(&directory).await;
    assert_eq!(troubles(&checks), [("sqlite.wal_size", Verdict::Warning)], "{checks:#?}");
    reader.execute_batch("ROLLBACK").unwrap();
    writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    assert_eq!(troubles(&examined(&directory).await), []);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_accounts_may_and_may_not_do_is_named() {
    use std::os::unix::fs::PermissionsExt as _;

    let set = |path: &std::path::Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let directory = healthy().await;
    for (mode, verdict) in
        [(0o644, Verdict::Warning), (0o602, Verdict::Warning), (0o640, Verdict::Skipped), (0o660, Verdict::Skipped)]
    {
        set(&directory.file(), mode);
        let checks = examined(&directory).await;
        assert_eq!(troubles(&checks), [("sqlite.permissions", verdict)], "{mode:o}: {checks:#?}");
    }
    set(&directory.file(), 0o644);
    let remedy = trouble(&examined(&directory).await, "sqlite.permissions").remedy.clone().unwrap();
    assert!(remedy.starts_with("chmod o= '"), "{remedy}");

    set(&directory.0, 0o500);
    assert_eq!(trouble(&examined(&directory).await, "sqlite.directory").verdict, Verdict::Failed);
    set(&directory.0, 0o700);

    set(&directory.file(), 0o400);
    // Root may write to any file but to those of the kernel.
    let is_root = fs::File::options().write(true).open(directory.file()).is_ok();
    let path = if is_root { PathBuf::from("/sys/kernel/notes") } else { directory.file() };
    let checks = SqliteStore::builder(path).examine(at(0)).await;
    assert_eq!(trouble(&checks, "sqlite.writable").verdict, Verdict::Failed);
}
