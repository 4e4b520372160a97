//! The cookie's attributes and lifetimes: both sides send the same header for the same session.

use std::time::Duration;

use serde_json::{Value, json};
use sessile::{Config, Cookie, Priority, SameSite, Secure};
use sessile_interop::{Both, SECRET, SIDES, Side, config};
use sessile_testkit::postgres::Database;

/// The attributes of a response's cookie, with its end to the minute: the two sides answer a moment apart.
fn attributes(answer: &sessile_testkit::http::Response) -> Option<String> {
    let cookie = answer.header("set-cookie")?;
    let (_, attributes) = cookie.split_once("; ").unwrap_or((cookie, ""));
    let cut = |part: &str| match part.strip_prefix("Expires=") {
        Some(end) => format!("Expires={}", &end[..end.len() - 7]),
        None => part.to_owned(),
    };
    Some(attributes.split("; ").map(cut).collect::<Vec<_>>().join("; "))
}

/// The stored cookie object without its end. Express loses a millisecond of `originalMaxAge` when its clock ticks
/// between two readings, so that is told to the second.
fn stored_cookie(document: &str) -> Value {
    let mut cookie = serde_json::from_str::<Value>(document).unwrap()["cookie"].take();
    cookie["expires"].take();
    if let Some(millis) = cookie["originalMaxAge"].as_f64() {
        cookie["originalMaxAge"] = json!((millis / 1000.0).round());
    }
    cookie
}

async fn sends_what_express_sends(options: Value, config: Config) {
    let both = Both::with(Database::new().await, &options, config).await;
    let mut seen = Vec::new();
    for side in SIDES {
        let login = both.post(side, "/login?user=alice").await;
        let (document, _) = both.row("session").await;
        let cookie = stored_cookie(&document);
        let write = both.post(side, "/set?k=a&v=1").await;
        let foreign_write = both.post(side.other(), "/set?k=b&v=1").await;
        let read = both.request(side, "GET", "/read?k=a").await;
        seen.push((attributes(&login), attributes(&write), attributes(&foreign_write), attributes(&read), cookie));
        both.post(side, "/logout").await;
        both.database.client().await.execute("DELETE FROM session", &[]).await.unwrap();
    }
    assert!(seen[0].0.is_some(), "{options}: Express sends a cookie on a sign-in");
    assert_eq!(seen[0], seen[1], "{options}: Express first, Sessile second");
}

fn with_cookie(cookie: Cookie) -> Config {
    config(&[SECRET]).cookie(cookie).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn lifetimes_rolling_and_not() {
    for max_age in [None, Some(900_000_u64), Some(1_209_600_000)] {
        for rolling in [false, true] {
            let options = json!({"rolling": rolling, "cookie": {"maxAge": max_age}});
            let config = config(&[SECRET]).max_age(max_age.map(Duration::from_millis)).rolling(rolling);
            sends_what_express_sends(options, config).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_same_site_domain_priority_and_partition() {
    let plain = Cookie::express;
    let secure = || plain().secure(Secure::Always);
    for (options, cookie) in [
        (json!({"sameSite": "lax"}), plain().same_site(SameSite::Lax)),
        (json!({"sameSite": "strict"}), plain().same_site(SameSite::Strict)),
        (json!({"sameSite": "none", "secure": true}), secure().same_site(SameSite::None)),
        (json!({"domain": "example.com"}), plain().domain("example.com")),
        (json!({"domain": ".example.com"}), plain().domain(".example.com")),
        (json!({"path": "/"}), plain()),
        (json!({"httpOnly": false}), plain().http_only(false)),
        (json!({"priority": "high"}), plain().priority(Priority::High)),
        (json!({"priority": "low"}), plain().priority(Priority::Low)),
        (json!({"secure": true}), secure()),
        (json!({"secure": "auto"}), plain().secure(Secure::Auto)),
        (
            json!({"partitioned": true, "secure": true, "sameSite": "none"}),
            secure().same_site(SameSite::None).partitioned(true),
        ),
    ] {
        sends_what_express_sends(json!({"cookie": options, "trustProxy": true}), with_cookie(cookie)).await;
    }
}

/// Express keeps a session's own attributes whatever its settings say by now, and so does Sessile for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_keeps_the_attributes_it_was_made_with() {
    let options = json!({"cookie": {"maxAge": 900_000, "sameSite": "strict"}});
    let config = with_cookie(Cookie::express().same_site(SameSite::Lax)).max_age(Duration::from_secs(60));
    let both = Both::with(Database::new().await, &options, config).await;
    both.post(Side::Express, "/login?user=alice").await;
    let answer = both.post(Side::Sessile, "/set?k=a&v=1").await;
    assert!(attributes(&answer).unwrap().ends_with("HttpOnly; SameSite=Strict"));
    let (document, end) = both.row("session").await;
    assert!(document.contains(r#""originalMaxAge":900000"#), "{document}");
    assert!((end - 900.0).abs() < 5.0, "renewed by its own lifetime: {end}");
}

/// A lifetime that Express gave this one session is the one that counts, when Sessile writes and when it touches.
#[tokio::test(flavor = "multi_thread")]
async fn a_touch_renews_by_the_sessions_own_lifetime() {
    let options = json!({"cookie": {"maxAge": 900_000}});
    let both = Both::with(Database::new().await, &options, config(&[SECRET])).await;
    both.post(Side::Express, "/login?user=alice").await;
    let client = both.database.client().await;
    client.execute("UPDATE session SET expire = expire - interval '5 minutes'", &[]).await.unwrap();
    for side in SIDES {
        let before = both.row("session").await.0;
        both.get(side, "/read?k=a").await;
        let (after, end) = both.row("session").await;
        assert!((end - 900.0).abs() < 5.0, "{side:?}: {end}");
        assert_eq!(before, after, "a touch moves the column alone");
        client.execute("UPDATE session SET expire = expire - interval '5 minutes'", &[]).await.unwrap();
    }
}
