//! `sessile sweep`.

use crate::support::Place;

/// 2,100 rows that expired a day ago, 100 that did two days ago, and 300 that live.
async fn fill(place: &Place) {
    drop(place.demo());
    let age = "CASE WHEN n > 2200 THEN 1 WHEN n > 2100 THEN -2 ELSE -1 END";
    let fill = match place.kind() {
        "postgres" => format!(
            "INSERT INTO session SELECT 'k' || n, json '{{\"cookie\":{{}}}}', now() + {age} * interval '1 day'
             FROM generate_series(1, 2500) n"
        ),
        _ => format!(
            "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 2500)
             INSERT INTO session SELECT 'k' || n, '{{\"cookie\":{{}}}}', datetime('now', ({age}) || ' days') FROM numbers"
        ),
    };
    place.sql(&fill).await;
}

async fn sweeps(place: &Place) {
    fill(place).await;
    assert_eq!(place.prints(&["sweep", "--older-than", "3d"]), "0 expired and removed\n");
    assert_eq!(place.prints(&["sweep", "--older-than", "36h", "--json"]), "{\"ended\":0,\"over\":0,\"removed\":100}\n");
    assert_eq!(place.prints(&["sweep", "--dry-run"]), "2100 expired, would be removed\n");
    assert_eq!(place.listed(&["sweep", "--dry-run", "--older-than", "3d"])[0]["would_remove"], 0);
    assert_eq!(place.prints(&["sweep", "--batch", "999", "--until-done"]), "2100 expired and removed\n");
    assert_eq!(place.listed(&["stats"])[0]["total"], 300);
    assert_eq!(place.prints(&["sweep", "--json"]), "{\"ended\":0,\"over\":0,\"removed\":0}\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_expired_is_removed_and_counted() {
    for place in Place::both().await {
        assert!(
            place.run(&["sweep"]).2.contains("x.sqlite") || place.kind() == "postgres",
            "there is nothing to sweep"
        );
        sweeps(&place).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_round_goes_to_the_end() {
    for place in Place::both().await {
        fill(&place).await;
        assert_eq!(place.prints(&["sweep", "--rest", "0", "--json"]), "{\"ended\":0,\"over\":0,\"removed\":2200}\n");
    }
}

#[test]
fn what_is_typed_wrongly_is_said() {
    for (words, told) in [
        (&["sweep", "--older-than", "yesterday"][..], "expected a span like 90s, 30m, 1h or 7d, found \"yesterday\""),
        (&["sweep", "--batch", "0"], "0 is not in 1..=100000"),
        (&["sweep", "--rest", "1001"], "1001 is not in 0..=1000"),
    ] {
        let (code, out, err) = Place::sqlite().run(words);
        assert_eq!((code, &*out), (Some(2), ""), "{words:?}: {err}");
        assert!(err.contains(told), "{told:?} is not in {err}");
    }
}
