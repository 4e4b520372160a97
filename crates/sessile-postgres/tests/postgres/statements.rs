//! What reaches the server, as its own log has it: nothing that a pooler or a sharded server would not carry out.

use sessile_core::{Clock as _, Sweep as _, SystemClock};
use sessile_postgres::PostgresStore;
use sessile_testkit::postgres::Cluster;

use crate::browser;

/// Each with what it needs that is not there: one server for all statements of a client, or one for all rows.
const FORBIDDEN: [&str; 9] = [
    "ctid",
    "set_config",
    "pg_advisory",
    "pg_try_advisory",
    "listen ",
    "notify ",
    "lock table",
    "declare ",
    "create temp",
];

/// What each line of the log begins with, so that the lines of one statement stay together.
const PREFIX: &str = "@@ ";

/// The statements of a log, in lower case.
fn statements(log: &str) -> Vec<String> {
    let entries = log.split(PREFIX).filter_map(|entry| entry.strip_prefix("LOG:  "));
    let texts = entries.filter(|entry| entry.starts_with("statement: ") || entry.starts_with("execute "));
    let texts = texts.filter_map(|entry| entry.split_once(": ")).flat_map(|(_, text)| text.split(';'));
    texts.map(|text| text.trim().to_lowercase()).collect()
}

/// What an upsert assigns: up to the end of the statement or of the brackets that it is in.
fn assigned(sql: &str) -> Vec<&str> {
    let upserts = sql.split("do update set ").skip(1);
    upserts.map(|rest| within_brackets(rest.split(" where ").next().unwrap_or(rest))).collect()
}

fn within_brackets(text: &str) -> &str {
    let mut depth = 0;
    let end = text.find(|letter| {
        depth += i32::from(letter == '(') - i32::from(letter == ')');
        depth < 0
    });
    &text[..end.unwrap_or(text.len())]
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_send_nothing_that_is_tied_to_a_connection_or_to_a_place_on_the_disk() {
    let cluster = Cluster::start_with(&[("log_statement", "all"), ("log_line_prefix", PREFIX)]);
    let store = PostgresStore::connect(&cluster.url("postgres")).await.unwrap();
    let app = browser(store.clone()).await;
    let requests = [
        ("POST", "/set?k=a&v=1"),
        ("POST", "/login?user=alice"),
        ("POST", "/incr?k=n"),
        ("GET", "/whoami"),
        ("POST", "/regenerate"),
        ("GET", "/devices"),
        ("POST", "/devices/revoke-others"),
        ("POST", "/logout"),
    ];
    for (method, path) in requests {
        assert_eq!(app.request(method, path).send().await.status, 200, "{method} {path}");
    }
    store.sweep(SystemClock.now(), 100).await.unwrap();
    let log = cluster.log();
    let sent = statements(&log);
    for part in ["select s.sess", "update \"", "insert into", "delete from", "begin", "commit"] {
        assert!(sent.iter().any(|sql| sql.contains(part)), "expected {part:?} in the log, found none");
    }
    for sql in sent {
        assert!(!sql.starts_with("set "), "{sql}");
        let wrong = FORBIDDEN.iter().find(|word| sql.contains(**word));
        assert_eq!(wrong, None, "{sql}");
        let computed = assigned(&sql).into_iter().find(|assigned| assigned.contains(['$', '\'']));
        assert_eq!(computed, None, "expected an upsert to assign what stands in its row (excluded.…): {sql}");
    }
    for upsert in ["user_id = excluded.user_id", "moved_to = excluded.moved_to"] {
        assert!(log.to_lowercase().contains(upsert), "expected {upsert:?} in the log, found none");
    }
}
