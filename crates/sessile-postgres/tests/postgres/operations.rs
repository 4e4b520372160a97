//! What is kept for operators: in tables that are there once something is in them.

use std::time::Duration;

use sessile_core::{Action, Operations, Operator, Role, SecretUse};
use sessile_postgres::PostgresStore;
use sessile_testkit::postgres::Database;

use crate::signed_in::at;

const COUNT: &str = "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'sessions\\_%'";

fn operator(name: &str) -> Operator {
    Operator { name: name.into(), role: Role::Viewer, token_hash: [7; 32], created_at: at(5) }
}

fn action(target: &str) -> Action {
    let (actor, action) = ("ada".into(), "session.revoke".into());
    Action {
        at: at(1),
        actor,
        action,
        target: target.into(),
        sessions: 3,
        reason: None,
        ip: Some("2001:db8::1".parse().unwrap()),
    }
}

fn used(fingerprint: &str, cookies: u64, millis: u64) -> SecretUse {
    SecretUse { fingerprint: fingerprint.into(), cookies, last_used_at: at(millis) }
}

#[tokio::test]
async fn the_operators_tables_are_made_by_the_first_write_and_empty_before() {
    let database = Database::new().await;
    let client = database.client().await;
    let store = PostgresStore::connect(database.url()).await.unwrap();
    let tables = async || client.query_one(COUNT, &[]).await.unwrap().get::<_, i64>(0);
    assert!(store.operators().await.unwrap().is_empty());
    assert!(store.actions(None, 10).await.unwrap().is_empty());
    assert!(store.secrets().await.unwrap().is_empty());
    assert!(!store.remove_operator("ada").await.unwrap());
    store.note_secrets(&[]).await.unwrap();
    assert_eq!(tables().await, 2, "only the registry's own");

    assert!(store.add_operator(&operator("ada")).await.unwrap());
    assert_eq!(tables().await, 3);
    assert!(!store.add_operator(&Operator { role: Role::Admin, ..operator("ada") }).await.unwrap());
    assert!(store.add_operator(&operator("Bob")).await.unwrap());
    let names: Vec<_> = store.operators().await.unwrap().into_iter().map(|operator| operator.name).collect();
    assert_eq!(names, ["Bob".into(), "ada".into()] as [Box<str>; 2]);
    assert_eq!(store.operators().await.unwrap()[1], operator("ada"));
    assert!(store.remove_operator("ada").await.unwrap());
    assert!(!store.remove_operator("ada").await.unwrap());
}

#[tokio::test]
async fn the_audit_is_paged_backwards_and_keeps_everything() {
    let database = Database::new().await;
    let store = PostgresStore::connect(database.url()).await.unwrap();
    for number in 0..5 {
        store.record(&action(&number.to_string())).await.unwrap();
    }
    let reasoned = Action { reason: Some("lost phone".into()), ip: None, ..action("last") };
    store.record(&reasoned).await.unwrap();
    let first = store.actions(None, 4).await.unwrap();
    assert_eq!(first[0].1, reasoned);
    let second = store.actions(Some(first[3].0), 4).await.unwrap();
    let targets: Vec<_> = first.iter().chain(&second).map(|(_, action)| &*action.target).collect();
    assert_eq!(targets, ["last", "4", "3", "2", "1", "0"]);
    assert_eq!(second[0].1, action("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_noted_by_many_instances_at_once_add_up() {
    let database = Database::new().await;
    let mut tasks = Vec::new();
    for instance in 0..8 {
        let store = PostgresStore::connect(database.url()).await.unwrap();
        tasks.push(tokio::spawn(async move {
            for round in 0..10 {
                // In another order each time, as maps have it.
                let mut uses = [used("aaaaaaaa", 2, instance), used("bbbbbbbb", 1, 100 + round)];
                uses.rotate_left(usize::try_from((instance + round) % 2).unwrap());
                store.note_secrets(&uses).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let store = PostgresStore::connect(database.url()).await.unwrap();
    assert_eq!(store.secrets().await.unwrap(), [used("bbbbbbbb", 80, 109), used("aaaaaaaa", 160, 7)]);
}

#[tokio::test]
async fn a_table_of_another_kind_in_the_operators_place_is_refused_with_the_remedy() {
    let database = Database::new().await;
    let store = PostgresStore::builder(database.url()).registry("who").connect().await.unwrap();
    database.client().await.batch_execute("CREATE TABLE who_operators (id bigint)").await.unwrap();
    assert!(store.add_operator(&operator("ada")).await.is_err());
    database.client().await.batch_execute("DROP TABLE who_operators").await.unwrap();
    assert!(store.add_operator(&operator("ada")).await.unwrap());
    store.record(&Action { at: at(0) + Duration::from_millis(1), ..action("x") }).await.unwrap();
}
