//! Every shape of table, in every time zone: what one side writes the other one reads, until the same second.

use serde_json::json;
use sessile_interop::{Both, SECRET, SIDES, config};
use sessile_testkit::postgres::Database;

const DAY: f64 = 86_400.0;

async fn shares_a_table(sess: &str, expire: &str, zone: &str) {
    let database = Database::new().await;
    database.set("TimeZone", zone).await;
    let sql = format!("CREATE TABLE session (sid varchar PRIMARY KEY, sess {sess} NOT NULL, expire {expire} NOT NULL)");
    database.client().await.batch_execute(&sql).await.unwrap();
    let both = Both::with(database, &json!({}), config(&[SECRET])).await;
    for side in SIDES {
        let what = format!("{sess}, {expire}, {zone}, begun by {side:?}");
        both.post(side, "/login?user=alice").await;
        both.post(side, "/set?k=first&v=1").await;
        assert_eq!(both.whoami(side.other()).await, Some(json!("alice")), "{what}");
        let (_, end) = both.row("session").await;
        assert!((end - DAY).abs() < 5.0, "{what}: ends in {end} s");
        both.post(side.other(), "/set?k=second&v=2").await;
        let (_, end) = both.row("session").await;
        assert!((end - DAY).abs() < 5.0, "{what}: ends in {end} s after the other side wrote");
        both.post(side, "/incr?k=n").await;
        both.post(side.other(), "/incr?k=n").await;
        both.post(side, "/remove?k=first").await;
        for reader in SIDES {
            let data = both.get(reader, "/data").await;
            let expected = json!({"userId": "alice", "second": "2", "n": 2});
            let seen = |key: &str| data[key].clone();
            assert_eq!(json!({"userId": seen("userId"), "second": seen("second"), "n": seen("n")}), expected, "{what}");
            assert!(data.get("first").is_none(), "{what}");
        }
        both.post(side.other(), "/logout").await;
        let sql = "SELECT count(*) FROM session";
        assert_eq!(both.database.client().await.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 0, "{what}");
        for reader in SIDES {
            assert_eq!(both.whoami(reader).await, None, "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_and_timestamp() {
    for zone in ["UTC", "America/New_York", "Asia/Kolkata"] {
        shares_a_table("json", "timestamp(6)", zone).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jsonb_and_timestamp() {
    for zone in ["UTC", "America/New_York", "Asia/Kolkata"] {
        shares_a_table("jsonb", "timestamp(6)", zone).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_and_timestamptz() {
    for zone in ["UTC", "America/New_York", "Asia/Kolkata"] {
        shares_a_table("json", "timestamptz", zone).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jsonb_and_timestamptz() {
    for zone in ["UTC", "America/New_York", "Asia/Kolkata"] {
        shares_a_table("jsonb", "timestamptz", zone).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_that_express_creates_is_adopted_and_the_other_way_round() {
    for (schema, table) in [(None, "session"), (Some("public"), "user_sessions"), (Some("schema_system"), "session")] {
        let database = Database::new().await;
        if let Some(schema) = schema {
            let sql = format!("CREATE SCHEMA IF NOT EXISTS {schema}");
            database.client().await.batch_execute(&sql).await.unwrap();
        }
        let options = json!({"table": table, "schema": schema.unwrap_or("public"), "createTableIfMissing": true});
        let first = sessile_interop::Express::start(&database, &options);
        let created_by_express = sessile_testkit::http::Browser::new(&first.url);
        assert_eq!(created_by_express.post("/login?user=alice").send().await.status, 200);
        let both = Both::with(database, &options, config(&[SECRET])).await;
        for side in SIDES {
            both.post(side, "/login?user=bob").await;
            assert_eq!(both.whoami(side.other()).await, Some(json!("bob")), "{schema:?} {table}");
        }
    }
}
