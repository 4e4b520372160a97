//! What a sign-in costs PostgreSQL, as the server counts it.

use sessile_core::{AtLimit, Config};
use sessile_postgres::PostgresStore;
use sessile_testkit::postgres::Cluster;

use crate::support::{Browser, House, SECRET};

/// Statements since the last question, and which.
async fn statements(cluster: &Cluster) -> Vec<(i64, String)> {
    let client = cluster.superuser_client("postgres").await;
    let counted = "SELECT calls, left(regexp_replace(query, '\\s+', ' ', 'g'), 60) FROM pg_stat_statements \
        WHERE query NOT LIKE '%pg_stat%' ORDER BY query";
    let rows = client.query(counted, &[]).await.unwrap();
    client.batch_execute("SELECT pg_stat_statements_reset()").await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// How many statements it takes to begin a sign-in, and how many to complete it.
async fn cost(cluster: &Cluster, house: &House) -> [i64; 2] {
    let count = async || statements(cluster).await.iter().map(|(calls, _)| calls).sum();
    Browser::default().sign_in(house).await.unwrap();
    statements(cluster).await;
    let mut browser = Browser::default();
    let query = browser.begin(house).await;
    let begun = count().await;
    browser.complete(house, &query).await.unwrap();
    let completed = count().await;
    assert_eq!(browser.owner(house).await.as_deref(), Some("alice"));
    [begun, completed]
}

#[tokio::test]
async fn a_sign_in_costs_one_statement_to_begin_and_four_to_complete() {
    let cluster = Cluster::start_with(&[("shared_preload_libraries", "pg_stat_statements")]);
    let client = cluster.superuser_client("postgres").await;
    client.batch_execute("CREATE EXTENSION pg_stat_statements").await.unwrap();
    for kind in ["json", "jsonb"] {
        let table = format!(
            "CREATE TABLE {kind}s (sid varchar PRIMARY KEY, sess {kind} NOT NULL, expire timestamptz NOT NULL)"
        );
        client.batch_execute(&table).await.unwrap();
        let store = PostgresStore::builder(cluster.url("postgres")).table(format!("{kind}s")).connect().await.unwrap();
        let house = House::new().await;
        let config = || Config::new(SECRET).unwrap().clock(house.clock.clone());
        let plain = House { sessions: sessile_core::Sessions::new(store.clone(), config()), ..house.clone() };
        assert_eq!(cost(&cluster, &plain).await, [1, 4], "{kind}");
        let limited = config().max_sessions_per_user(5, AtLimit::EvictOldest);
        let limited = House { sessions: sessile_core::Sessions::new(store, limited), ..house };
        assert_eq!(cost(&cluster, &limited).await, [1, 8], "{kind}: a limit takes a transaction of five");
        plain.behave(|provider| provider.sid = None);
        assert_eq!(cost(&cluster, &plain).await, [1, 3], "{kind}: there is no session of the provider to ask about");
    }
}
