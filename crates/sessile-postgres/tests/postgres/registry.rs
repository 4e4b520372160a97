//! The registry as SQL sees it and as people change it, and what it costs to bring it back into step.

use sessile_core::{CutOff, End, Registry as _, SignedIn, Tidied};
use sessile_postgres::PostgresStore;
use sessile_testkit::contract::key;
use sessile_testkit::postgres::Database;
use tokio_postgres::Client;

use crate::signed_in::{at, ends, found, handle, live, plain, revoked, session_of, sign_in, tidy};

/// A database, a connection for SQL of our own, and a store.
async fn start() -> (Database, Client, PostgresStore) {
    let database = Database::new().await;
    let client = database.client().await;
    let store = PostgresStore::connect(database.url()).await.unwrap();
    (database, client, store)
}

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// The blocks of SQL on the page about devices, as they stand there.
#[tokio::test]
async fn the_sql_in_the_documentation_runs_and_finds_what_it_says() {
    const PAGE: &str = include_str!("../../../../docs/src/devices.md");
    let (_database, client, store) = start().await;
    client
        .batch_execute("CREATE TABLE users (id int, email text); INSERT INTO users VALUES (42, 'a@b.c')")
        .await
        .unwrap();
    sign_in(&store, "a", "42", 1).await;
    sign_in(&store, "b", "43", 2).await;
    let blocks = PAGE.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next());
    let statements: Vec<_> = blocks.flat_map(|block| block.split_terminator(";\n")).map(str::trim).collect();
    let mut counts = Vec::new();
    for statement in &statements {
        counts.push(client.query(*statement, &[]).await.unwrap_or_else(|error| panic!("{statement}: {error}")).len());
    }
    assert_eq!(counts, [1, 1, 1, 2], "{statements:#?}");
}

#[tokio::test]
async fn an_operator_can_cut_everyone_off_by_sql() {
    let (_database, client, store) = start().await;
    sign_in(&store, "a", "alice", 1).await;
    assert_eq!(found(&store, "a").await.unwrap().cut_off, None);
    for (not_before, is_over) in [("2040-01-01 12:00:00Z", false), ("2040-01-01 13:00:01+01", true)] {
        let sql = format!(
            "INSERT INTO sessions_cutoffs (user_id, not_before) VALUES ('', '{not_before}') \
             ON CONFLICT (user_id) DO UPDATE SET not_before = excluded.not_before"
        );
        client.batch_execute(&sql).await.unwrap();
        assert_eq!(found(&store, "a").await.unwrap().is_cut_off(), is_over, "{not_before}");
        let answer = store.sign_in(None, &key("b"), &session_of("bob", 2, 0), &plain()).await.unwrap();
        assert_eq!(answer == SignedIn::CutOff, is_over, "{not_before}");
    }
    client.batch_execute("UPDATE sessions_cutoffs SET not_before = NULL").await.unwrap();
    assert!(!found(&store, "a").await.unwrap().is_cut_off());
}

/// Many sessions, cut off by one row and removed bit by bit.
#[tokio::test]
async fn what_a_cut_off_ended_is_cleared_up_in_as_many_calls_as_it_takes() {
    let (_database, client, store) = start().await;
    for number in 0..40 {
        sign_in(&store, &format!("{number:02}"), "alice", number).await;
    }
    let ending = revoked(1);
    store.revoke_everyone(at(1), &ending).await.unwrap();
    assert_eq!(number(&client, "SELECT count(*) FROM session").await, 40, "it is one row");
    assert_eq!(found(&store, "00").await.unwrap().cut_off, Some(CutOff { before: at(1), swept: false }));
    let (mut calls, mut over) = (0, Vec::new());
    loop {
        let tidied = tidy(&store, 2, 15).await;
        calls += 1;
        over.extend(tidied.ended);
        if !tidied.more {
            break;
        }
        assert!(calls < 20, "it comes to an end");
    }
    assert!(calls > 1 && over.len() == 40 && over.iter().all(|(_, how)| *how == ending), "{calls} {over:?}");
    assert_eq!(number(&client, "SELECT count(*) FROM session").await, 0);
    assert_eq!(ends(&store, "alice").await, [End::Revoked; 40]);
    let answer = store.sign_in(None, &key("new"), &session_of("alice", 99, 1), &plain()).await.unwrap();
    assert_eq!(answer, SignedIn::Done(Vec::new()), "whoever signs in after it is in");
}

/// What an operator took apart: a status alone, a data row alone, a registry row alone.
#[tokio::test]
async fn what_was_taken_apart_by_sql_is_repaired_and_reported() {
    let (_database, client, store) = start().await;
    for (number, name) in ["ended", "deleted", "unknown", "fine"].into_iter().enumerate() {
        sign_in(&store, name, "alice", number).await;
    }
    let key = |name: &str| sessile_testkit::contract::key(name).as_str().to_owned();
    for (sql, name) in [
        ("UPDATE sessions SET status = 'revoked' WHERE sid = $1", "ended"),
        ("DELETE FROM session WHERE sid = $1", "deleted"),
        ("DELETE FROM sessions WHERE sid = $1", "unknown"),
    ] {
        assert_eq!(client.execute(sql, &[&key(name)]).await.unwrap(), 1);
    }
    let Tidied { ended, registered, removed, .. } = tidy(&store, 10, 100).await;
    let reported: Vec<_> = ended.iter().map(|(ended, how)| (&ended.handle, how.end)).collect();
    assert_eq!((reported, registered, removed), (vec![(&handle(1), End::LoggedOut)], 1, 1));
    assert!(found(&store, "ended").await.is_none() && found(&store, "unknown").await.is_some());
    let mut listed = live(&store, "alice").await;
    listed.sort();
    assert_eq!(listed, [handle(2), handle(3)]);
    let again = tidy(&store, 11, 100).await;
    assert_eq!((again.ended.len(), again.registered, again.removed), (0, 0, 0));
}
