//! The registry, as SQL sees it and as SQL can break it.

use std::time::Duration;

use sessile_core::{Cursor, Error, Fate, Page, Registry as _, SignedIn, Store as _, UserId, Written};
use sessile_testkit::contract::{key, signed_out};

use super::{Directory, at, devices, ends, handle, is_there, open, revoked, session_of, signed_in, signing_in};

#[tokio::test]
async fn the_sql_that_people_run_finds_what_they_expect() {
    let directory = Directory::new();
    let store = open(&directory).await;
    for (number, (name, user)) in [("a", "alice"), ("b", "alice"), ("c", "bob")].into_iter().enumerate() {
        signed_in(&store, name, user, number).await;
    }
    assert!(store.remove(&key("b"), &signed_out()).await.unwrap());

    let connection = directory.connection();
    let text = |sql: &str| -> String { connection.query_row(sql, ["alice"], |row| row.get(0)).unwrap() };
    let active = "SELECT * FROM sessions WHERE user_id = ?1 AND status = 'active'";
    assert_eq!(text(active), handle(0).as_str());
    assert_eq!(text(&format!("SELECT count(*) || '' FROM ({active})")), "1");
    connection.execute_batch("CREATE TABLE users (id TEXT PRIMARY KEY, name TEXT)").unwrap();
    connection.execute_batch("INSERT INTO users VALUES ('alice', 'Alice L.'), ('bob', 'Bob')").unwrap();
    let joined =
        "SELECT users.name || ', ' || sessions.ip_address FROM sessions JOIN users ON users.id = sessions.user_id
        WHERE sessions.status = 'active' AND users.id = ?1";
    assert_eq!(text(joined), "Alice L., 203.0.113.7");
    let document = "SELECT session.sess ->> 'userId' FROM session JOIN sessions USING (sid) WHERE user_id = ?1";
    assert_eq!(text(document), "alice");
    let times = "SELECT created_at || ' ' || strftime('%H:%M', last_seen_at, '+1 hour') || ' ' || expires_at
        FROM sessions WHERE user_id = ?1 AND status = 'active'";
    assert_eq!(text(times), "2040-01-01 12:00:00.000 13:00 2040-01-01 13:00:00.000");
    let ended = "SELECT status || ' ' || logged_out_at FROM sessions WHERE user_id = ?1 AND status <> 'active'";
    assert_eq!(text(ended), "logged_out 2040-01-01 12:00:00.000");
}

#[tokio::test]
async fn a_hundred_thousand_sessions_of_one_user_are_listed_by_the_page_and_end_at_once() {
    const COUNT: usize = 100_000;
    let directory = Directory::new();
    let store = open(&directory).await;
    let numbers = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 100000)";
    directory.execute(
        &format!(
            "{numbers} INSERT INTO session SELECT 'key' || n, '{{\"cookie\":{{}}}}', '2040-01-02 00:00:00' FROM numbers"
        ),
        [],
    );
    directory.execute(
        &format!(
            "{numbers} INSERT INTO sessions (id, sid, user_id, expires_at, created_at, updated_at, last_seen_at)
             SELECT printf('00000000-0000-4000-8000-%012x', n), 'key' || n, 'alice', '2040-01-02 00:00:00.000', t, t, t
             FROM (SELECT n, strftime('%Y-%m-%d %H:%M:%f', '2040-01-01', n || ' seconds') AS t FROM numbers)"
        ),
        [],
    );

    let (alice, mut page) = (UserId::from("alice"), Page::first(3));
    for newest in [COUNT, COUNT - 3, COUNT - 6] {
        let listed = store.list(&alice, at(0), &page).await.unwrap();
        let handles: Vec<_> = listed.iter().map(|device| device.handle.clone()).collect();
        assert_eq!(handles, [handle(newest), handle(newest - 1), handle(newest - 2)]);
        page.after = Some(Cursor { at: listed[2].created_at, handle: handles[2].clone() });
    }

    let ended = store.revoke_all(&alice, None, &revoked(0)).await.unwrap();
    assert_eq!(ended.len(), COUNT);
    assert_eq!(directory.number("SELECT count(*) FROM session"), 0);
    assert!(devices(&store, "alice").await.is_empty());
    let (first, last) = (ended.first().unwrap(), ended.last().unwrap());
    assert_eq!((&first.handle, &last.handle), (&handle(1), &handle(COUNT)), "the oldest first");
}

/// Each of these triggers fails a statement in the middle of a write.
#[tokio::test]
async fn a_write_that_fails_half_way_leaves_nothing() {
    let directory = Directory::new();
    let store = open(&directory).await;
    signed_in(&store, "a", "alice", 1).await;
    signed_in(&store, "b", "alice", 2).await;
    let before = dump(&directory);
    let (alice, one) = (UserId::from("alice"), handle(1));
    let moved = store.load(&key("a"), at(0)).await.unwrap().unwrap();

    let failing = Failing::new(&directory, "BEFORE UPDATE OF sid ON sessions");
    assert_failed(store.rotate(&key("a"), &key("c"), &moved).await);
    drop(failing);
    let failing = Failing::new(&directory, "BEFORE INSERT ON sessions");
    assert_failed(store.sign_in(None, &key("c"), &session_of("bob", 3), &signing_in(None)).await);
    assert_failed(store.sign_in(Some(&key("a")), &key("c"), &moved, &signing_in(None)).await);
    drop(failing);
    let failing = Failing::new(&directory, "BEFORE DELETE ON session WHEN old.sid = 'b'");
    assert_failed(store.remove(&key("b"), &signed_out()).await);
    assert_failed(store.revoke(&alice, &handle(2), &revoked(0)).await);
    assert_failed(store.revoke_all(&alice, Some(&handle(3)), &revoked(0)).await);
    drop(failing);
    let failing = Failing::new(&directory, "BEFORE UPDATE OF status ON sessions");
    assert_failed(store.sweep().unwrap().sweep(at(7_200_000), 10).await);
    drop(failing);
    assert_eq!(dump(&directory), before);

    let revoked = store.revoke(&alice, &one, &revoked(0)).await.unwrap();
    assert_eq!(revoked.map(|ended| ended.handle), Some(one));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_write_that_fails_half_way_leaves_those_beside_it_alone() {
    let directory = Directory::new();
    let store = open(&directory).await;
    let failing = Failing::new(&directory, "BEFORE INSERT ON sessions WHEN new.user_id = 'bob'");
    let tasks: Vec<_> = (0..40)
        .map(|number| {
            let store = store.clone();
            let user = if number % 2 == 0 { "alice" } else { "bob" };
            let record = session_of(user, number);
            tokio::spawn(async move {
                let to = key(&number.to_string());
                (user, store.sign_in(None, &to, &record, &signing_in(None)).await.is_ok())
            })
        })
        .collect();
    for task in tasks {
        let (user, is_done) = task.await.unwrap();
        assert_eq!(is_done, user == "alice");
    }
    drop(failing);
    assert_eq!(directory.number("SELECT count(*) FROM session"), 20);
    assert_eq!(devices(&store, "alice").await.len(), 20);
}

/// While it is there, a statement that does this fails.
struct Failing<'a>(&'a Directory);

impl<'a> Failing<'a> {
    fn new(directory: &'a Directory, when: &str) -> Self {
        directory.execute(&format!("CREATE TRIGGER failing {when} BEGIN SELECT RAISE (ABORT, 'half way'); END"), []);
        Self(directory)
    }
}

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        self.0.execute("DROP TRIGGER failing", []);
    }
}

fn assert_failed<T: std::fmt::Debug>(answer: Result<T, Error>) {
    let error = answer.expect_err("a trigger made a statement fail");
    let source = std::error::Error::source(&error).expect("SQLite's own words");
    assert!(error.is_unavailable() && source.to_string().contains("half way"), "{error:?}");
}

/// Everything in the tables.
fn dump(directory: &Directory) -> Vec<String> {
    let connection = directory.connection();
    let tables = [
        "SELECT json_array(sid, sess, expire) FROM session ORDER BY sid",
        "SELECT json_array(id, sid, user_id, status, expires_at, updated_at, logged_out_at) FROM sessions ORDER BY id",
        "SELECT json_array(user_id, not_before) FROM sessions_cutoffs ORDER BY user_id",
        "SELECT json_array(sid, moved_to) FROM sessions_moves ORDER BY sid",
    ];
    let rows = |sql| -> Vec<String> {
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    };
    tables.into_iter().flat_map(rows).collect()
}

#[tokio::test]
async fn an_operator_can_cut_everyone_off_by_sql() {
    let directory = Directory::new();
    let store = open(&directory).await;
    signed_in(&store, "a", "alice", 1).await;
    let is_cut_off = async || store.load(&key("a"), at(0)).await.map(|record| record.unwrap().is_cut_off());
    assert!(!is_cut_off().await.unwrap());
    for not_before in ["2040-01-01 12:00:00", "2040-01-01 12:00:01", "2040-01-01T13:00:01+01:00"] {
        let sql = "INSERT INTO sessions_cutoffs (user_id, not_before) VALUES ('', ?1)
            ON CONFLICT DO UPDATE SET not_before = excluded.not_before";
        directory.execute(sql, [not_before]);
        assert_eq!(is_cut_off().await.unwrap(), not_before != "2040-01-01 12:00:00", "{not_before}");
        let answer = store.sign_in(None, &key("b"), &session_of("bob", 2), &signing_in(None)).await.unwrap();
        assert_eq!(answer == SignedIn::CutOff, not_before != "2040-01-01 12:00:00", "{not_before}");
    }
    // What cannot be read must not pass for none.
    directory.execute("UPDATE sessions_cutoffs SET not_before = 'yesterday'", []);
    assert!(is_cut_off().await.unwrap_err().is_poisoned());
    let answer = store.sign_in(None, &key("c"), &session_of("bob", 3), &signing_in(None)).await;
    assert!(answer.unwrap_err().is_poisoned());
    directory.execute("UPDATE sessions_cutoffs SET not_before = NULL", []);
    assert!(!is_cut_off().await.unwrap());
}

#[tokio::test]
async fn a_cut_off_for_nobody_is_not_one_for_everyone() {
    let directory = Directory::new();
    let store = open(&directory).await;
    signed_in(&store, "a", "alice", 1).await;
    assert!(store.revoke_all(&UserId::from(""), None, &revoked(1_000)).await.unwrap().is_empty());
    assert!(store.load(&key("a"), at(0)).await.unwrap().unwrap().cut_off.is_none());
    assert!(store.sign_in(None, &key("b"), &session_of("", 2), &signing_in(None)).await.is_err());
}

#[tokio::test]
async fn a_row_of_the_registry_that_cannot_be_read_is_poisoned_and_ends_with_the_others() {
    let directory = Directory::new();
    let store = open(&directory).await;
    let alice = UserId::from("alice");
    for damage in ["id = 'mine'", "created_at = 'today'", "last_seen_at = ''", "expires_at = 'never'"] {
        signed_in(&store, "a", "alice", 1).await;
        directory.execute(&format!("UPDATE sessions SET {damage}"), []);
        let error = store.list(&alice, at(0), &Page::first(1)).await.unwrap_err();
        assert!(error.is_poisoned() && error.to_string().contains("a row of the registry"), "{damage}: {error:?}");
        store.revoke_all(&alice, None, &revoked(0)).await.unwrap();
        assert!(!is_there(&store, "a").await, "{damage}");
        directory.execute("DELETE FROM sessions", []);
    }
}

/// Express drops a session that Sessile then signs in under another handle: nobody is in the list twice.
#[tokio::test]
async fn a_sign_in_takes_the_place_of_whatever_was_registered_under_the_key() {
    let directory = Directory::new();
    let store = open(&directory).await;
    signed_in(&store, "a", "alice", 1).await;
    let mut record = store.load(&key("a"), at(0)).await.unwrap().unwrap();
    record.handle = handle(2);
    let mut sign_in = signing_in(None);
    sign_in.limit = Some(sessile_core::Limit { sessions: 1, policy: sessile_core::AtLimit::Deny });
    let answer = store.sign_in(Some(&key("a")), &key("b"), &record, &sign_in).await.unwrap();
    assert_eq!(answer, SignedIn::Done(Vec::new()));
    let listed = devices(&store, "alice").await;
    assert_eq!(listed.iter().map(|device| &device.handle).collect::<Vec<_>>(), [&handle(2)]);
    assert_eq!(ends(&store, "alice").await, [(handle(1), signed_out())]);
}

#[tokio::test]
async fn the_registry_may_have_any_name() {
    let directory = Directory::new();
    for name in ["who is where", "a\"b", "Sessions"] {
        let builder = sessile_sqlite::SqliteStore::builder(directory.file());
        let store = builder.table(format!("{name} data")).registry(name).open().await.unwrap();
        assert!(store.description().ends_with(&format!("registry {name} (created)")), "{}", store.description());
        signed_in(&store, "a", "alice", 1).await;
        let record = store.load(&key("a"), at(0)).await.unwrap().unwrap();
        assert_eq!(store.rotate(&key("a"), &key("b"), &record).await.unwrap(), Written::Done);
        assert!(matches!(store.fate(&key("a")).await.unwrap(), Some(Fate::Moved { to, .. }) if to == key("b")));
        assert_eq!(store.revoke_all(&UserId::from("alice"), None, &revoked(0)).await.unwrap().len(), 1);
        assert!(matches!(store.fate(&key("b")).await.unwrap(), Some(Fate::Ended(_, ending)) if ending == revoked(0)));
    }
}

/// A session ends at the second that its row says, so the last of its milliseconds do not matter.
#[tokio::test]
async fn times_are_kept_to_the_millisecond() {
    let directory = Directory::new();
    let store = open(&directory).await;
    let mut record = session_of("alice", 1);
    record.seen_at = at(1_234) + Duration::from_nanos(567_890);
    record.expires_at = at(60_789);
    let answer = store.sign_in(None, &key("a"), &record, &signing_in(None)).await.unwrap();
    assert_eq!(answer, SignedIn::Done(Vec::new()));
    let device = devices(&store, "alice").await.pop().unwrap();
    assert_eq!((device.created_at, device.last_seen_at, device.expires_at), (at(0), at(1_234), at(60_789)));
    assert_eq!(device.authenticated_at, Some(at(0)));
    let text = "SELECT expires_at = '2040-01-01 12:01:00.789' FROM sessions";
    assert_eq!(directory.number(text), 1);
}
