//! Reads that are joined: everyone gets the own session or none, whatever happens to the others.

use std::time::{Duration, SystemTime};

use sessile_core::Store;
use sessile_postgres::PostgresStore;
use sessile_testkit::contract::key;
use sessile_testkit::postgres::Database;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

/// The stored sessions are k0 to k49; every fifth of them has expired.
const STORED: usize = 50;

/// A table that nobody can read until told, so that reads pile up, and a store with one connection for them.
struct Locked {
    database: Database,
    holder: Client,
    store: PostgresStore,
}

impl Locked {
    async fn new() -> Self {
        let database = Database::new().await;
        let store = PostgresStore::builder(database.url()).connections(1).connect().await.unwrap();
        let holder = database.client().await;
        let plant = format!(
            r#"INSERT INTO session SELECT 'k' || n, json_build_object('cookie', '{{}}'::json, 'n', n),
               now() + interval '1 hour' * (CASE n % 5 WHEN 0 THEN -1 ELSE 1 END) FROM generate_series(0, {}) n"#,
            STORED - 1
        );
        holder.batch_execute(&plant).await.unwrap();
        assert!(store.load(&key("k1"), SystemTime::now()).await.unwrap().is_some());
        holder.batch_execute("BEGIN; LOCK TABLE session").await.unwrap();
        Self { database, holder, store }
    }

    /// Begins to read this session; the task is the number that was found.
    fn read(&self, n: usize) -> JoinHandle<Option<usize>> {
        let store = self.store.clone();
        tokio::spawn(async move {
            let record = store.load(&key(&format!("k{n}")), SystemTime::now()).await.unwrap()?;
            Some(record.data.get("n").unwrap().parse().unwrap())
        })
    }

    async fn release(&self) {
        tokio::time::sleep(Duration::from_millis(200)).await;
        self.holder.batch_execute("COMMIT").await.unwrap();
    }
}

fn alive(n: usize) -> Option<usize> {
    (n < STORED && !n.is_multiple_of(5)).then_some(n)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_gets_its_own_session_and_few_statements_do_for_all() {
    let locked = Locked::new().await;
    // Several ask for the same one, some for what has expired or never was; and there are more than are joined at once.
    let reads: Vec<_> = (0..400).map(|n| (n % 60, locked.read(n % 60))).collect();
    locked.release().await;
    for (n, read) in reads {
        assert_eq!(read.await.unwrap(), alive(n), "k{n}");
    }
    let last = "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%ANY($1)%' \
        AND pid <> pg_backend_pid()";
    assert_eq!(locked.database.client().await.query(last, &[]).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_given_up_keep_nobody_waiting() {
    let locked = Locked::new().await;
    let reads: Vec<_> = (0..300).map(|n| (n % 50, locked.read(n % 50))).collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    // Those that are with the server, and all but every third of those that wait.
    let (kept, given_up): (Vec<_>, Vec<_>) = reads.into_iter().enumerate().partition(|(at, _)| *at > 20 && at % 3 == 0);
    given_up.iter().for_each(|(_, (_, read))| read.abort());
    locked.release().await;
    for (_, (n, read)) in kept {
        assert_eq!(read.await.unwrap(), alive(n), "k{n}");
    }
    assert_eq!(locked.read(1).await.unwrap(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_under_them_is_replaced_unnoticed() {
    let locked = Locked::new().await;
    let reads: Vec<_> = (0..100).map(|n| (n, locked.read(n))).collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    assert_eq!(locked.database.client().await.query(end, &[]).await.unwrap().len(), 1);
    locked.release().await;
    for (n, read) in reads {
        assert_eq!(read.await.unwrap(), alive(n), "k{n}");
    }
}

#[test]
fn a_runtime_that_ends_leaves_the_other_ones_users_in_peace() {
    let (one, other) = (runtime(), runtime());
    let locked = one.block_on(Locked::new());
    // The first ones are with the server when their runtime ends; the others wait for them.
    let first = other.block_on(async { (0..4).map(|n| locked.read(n)).collect::<Vec<_>>() });
    std::thread::sleep(Duration::from_millis(100));
    let waiting = one.block_on(async { (0..50).map(|n| (n, locked.read(n))).collect::<Vec<_>>() });
    std::thread::sleep(Duration::from_millis(100));
    other.shutdown_background();
    drop(first);
    one.block_on(async {
        locked.release().await;
        for (n, read) in waiting {
            assert_eq!(read.await.unwrap(), alive(n), "k{n}");
        }
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}
