//! Ends of sessions, in every time zone: as connect-pg-simple stores, reads and prunes them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use sessile_core::{Store as _, Sweep};
use sessile_postgres::PostgresStore;
use sessile_testkit::contract::{key, record};
use sessile_testkit::postgres::Database;

const DOCUMENT: &str = r#"{"cookie":{"originalMaxAge":900000,"path":"/"}}"#;

fn vectors(name: &str) -> Vec<Value> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/expiry_time.json");
    let all: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let vectors = all[name].as_array().unwrap().clone();
    assert!(vectors.len() > 30, "{name} has {} vectors", vectors.len());
    vectors
}

fn text<'a>(vector: &'a Value, name: &str) -> &'a str {
    vector[name].as_str().unwrap_or_else(|| panic!("{name} in {vector}"))
}

/// The moment that this text names, as PostgreSQL reads it.
async fn moment(client: &tokio_postgres::Client, iso: &str) -> SystemTime {
    let row = client.query_one("SELECT date_part('epoch', $1::text::timestamptz)", &[&iso]).await.unwrap();
    UNIX_EPOCH + Duration::from_secs_f64(row.get::<_, f64>(0))
}

async fn found_and_pruned(store: &PostgresStore, now: SystemTime) -> (bool, bool) {
    let found = store.load(&key("cli"), now).await.unwrap().is_some();
    (found, Sweep::sweep(store, now, 10).await.unwrap().removed == 1)
}

#[tokio::test]
async fn a_session_ends_at_the_millisecond_at_which_express_ends_it() {
    let database = Database::new().await;
    database.set("TimeZone", "UTC").await;
    let store = PostgresStore::connect(database.url()).await.unwrap();
    let client = database.client().await;
    for vector in vectors("boundaries") {
        client.execute("DELETE FROM session", &[]).await.unwrap();
        let sql = "INSERT INTO session VALUES ('cli', $1::text::json, $2::text::timestamp)";
        client.execute(sql, &[&DOCUMENT, &text(&vector, "expire_text_utc")]).await.unwrap();
        let now = moment(&client, text(&vector, "clock_iso")).await;
        let expected = (vector["get_finds_it"].as_bool().unwrap(), vector["prune_deletes_it"].as_bool().unwrap());
        assert_eq!(found_and_pruned(&store, now).await, expected, "{vector}");
    }
}

/// Writer and reader in zones of their own, at the edges of daylight saving too: wherever connect-pg-simple finds and
/// prunes a session, so does Sessile, on either kind of column.
async fn agrees_in_all_zones(name: &str, column: &str) {
    let database = Database::new().await;
    let client = database.client().await;
    let sql = format!("CREATE TABLE session (sid varchar PRIMARY KEY, sess json NOT NULL, expire {column} NOT NULL)");
    client.batch_execute(&sql).await.unwrap();
    for vector in vectors(name) {
        let in_zone = async |which: &str| {
            let url = database.url_with("options", &format!("-c TimeZone={}", text(&vector, which)));
            PostgresStore::connect(&url).await.unwrap()
        };
        let (writer, reader) = (in_zone("writer_timezone").await, in_zone("reader_timezone").await);
        client.execute("DELETE FROM session", &[]).await.unwrap();
        let end = moment(&client, text(&vector, "true_expiry")).await;
        let now = moment(&client, text(&vector, "clock_iso")).await;
        let written = writer.insert(&key("cli"), &record(DOCUMENT, end)).await.unwrap();
        assert_eq!(written, sessile_core::Written::Done);
        let expected = (vector["get_finds_it"].as_bool().unwrap(), vector["prune_deletes_it"].as_bool().unwrap());
        assert_eq!(found_and_pruned(&reader, now).await, expected, "{vector}");
    }
}

#[tokio::test]
async fn timestamp_columns_mean_in_every_zone_what_they_mean_to_express() {
    agrees_in_all_zones("timezones", "timestamp(6)").await;
}

#[tokio::test]
async fn timestamptz_columns_are_right_in_every_zone() {
    agrees_in_all_zones("timestamptz_column", "timestamptz").await;
}
