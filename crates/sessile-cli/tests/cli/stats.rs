//! `sessile stats`.

use insta::assert_snapshot;
use sessile_testkit::http::Browser;

use crate::support::{Place, sign_in, steady};

/// Two of Ada's sessions and an anonymous one live; one ends within 20 and 21 minutes; one has expired.
async fn filled(place: &Place) {
    let demo = place.demo();
    for _ in 0..2 {
        assert_eq!(sign_in(&Browser::new(&demo.url)).await.status, 303);
    }
    let end = |seconds: i32| match place.kind() {
        "postgres" => format!("now() + interval '{seconds} seconds'"),
        _ => format!("datetime('now', '{seconds} seconds')"),
    };
    let row = |key: &str, seconds| format!("('{key}', '{{\"cookie\":{{}}}}', {})", end(seconds));
    let rows = [row("soon", 20 * 60 + 30), row("over", -3_600)].join(", ");
    place.sql(&format!("INSERT INTO session (sid, sess, expire) VALUES {rows}")).await;
}

/// Without numbers of bytes, which are the database's own.
fn without_sizes(screen: &str) -> String {
    let words = ["size", "on disk", "updates", "dead rows", "vacuum", "autovacuum"];
    let known = |line: &str| words.iter().find(|word| line.starts_with(*word)).copied();
    steady(screen).lines().map(|line| known(line).map_or(line.to_owned(), |word| format!("{word} …")) + "\n").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_figures_are_one_screen() {
    for place in Place::both().await {
        filled(&place).await;
        assert_snapshot!(format!("stats_{}", place.kind()), without_sizes(&place.prints(&["stats"])));
        let figures = &place.listed(&["stats", "--top", "1"])[0];
        assert_eq!((&figures["active"], &figures["signed_in"]), (&3.into(), &2.into()), "{figures}");
        assert_eq!((&figures["expired"], &figures["total"]), (&1.into(), &4.into()), "{figures}");
        assert_eq!(figures["expiring_per_minute"][20], 1, "{figures}");
        assert_eq!(figures["expiring_per_minute"].as_array().unwrap().len(), 60);
        assert_eq!(figures["top_users"], serde_json::json!([{ "user": "ada", "sessions": 2 }]));
        assert!(figures["storage"]["total_bytes"].as_u64().unwrap() > 0, "{figures}");
        assert_eq!(place.listed(&["stats", "--top", "0"])[0]["top_users"], serde_json::json!([]));
    }
}

#[test]
fn what_is_typed_wrongly_is_said() {
    for words in [&["stats", "--watch", "0"][..], &["stats", "--watch", "often"], &["stats", "--top", "-1"]] {
        assert_eq!(Place::sqlite().run(words).0, Some(2), "{words:?}");
    }
}
