//! How a session begins, goes on and ends.

use std::time::Duration;

use super::{App, COOKIE, Pair, read, status};

pub async fn whoever_is_not_signed_in_gets_401(pair: Pair<impl App>) {
    let browser = pair.browser();
    browser.post("/set?k=a&v=1").send().await;
    let answer = browser.get("/whoami").send().await;
    assert_eq!(answer.status, 401);
    assert!(answer.json()["error"].is_string());
}

pub async fn signing_in_keeps_the_cart_and_changes_the_id(pair: Pair<impl App>) {
    let browser = pair.browser();
    browser.post("/set?k=cart&v=book").send().await;
    let planted = browser.clone();
    let answer = browser.post("/login?user=alice").send().await;
    assert_eq!(answer.json()["user"], "alice");
    assert_eq!(read(&browser, "cart").await, "book");
    assert_ne!(browser.cookie(COOKIE), planted.cookie(COOKIE));
    assert_eq!(status(&planted, "/whoami").await, 401);
    assert_eq!(read(&planted, "cart").await, serde_json::Value::Null, "the old id is dead");
    // The same user again: another id, the same data.
    let before = browser.clone();
    browser.post("/login?user=alice").send().await;
    assert_eq!(read(&browser, "cart").await, "book");
    assert_eq!(status(&before, "/whoami").await, 401);
}

pub async fn signing_in_as_somebody_else_drops_the_data(pair: Pair<impl App>) {
    let browser = pair.browser();
    browser.post("/login?user=alice").send().await;
    browser.post("/set?k=secret&v=hers").send().await;
    let hers = browser.clone();
    browser.post("/login?user=bob").send().await;
    assert_eq!(browser.get("/data").send().await.json(), serde_json::json!({}));
    assert_eq!(browser.get("/whoami").send().await.json()["user"], "bob");
    assert_eq!(status(&hers, "/whoami").await, 401);
}

pub async fn signing_out_forgets_the_cookie_with_the_attributes_it_was_set_with(pair: Pair<impl App>) {
    let browser = pair.browser();
    browser.post("/login?user=alice").send().await;
    let stolen = browser.clone();
    let answer = browser.post("/logout").send().await;
    let removal =
        "__Host-sid=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Secure; SameSite=Lax; Max-Age=0";
    assert_eq!(answer.header("set-cookie"), Some(removal));
    assert_eq!(browser.cookie(COOKIE), None);
    assert_eq!(status(&stolen, "/whoami").await, 401);
    assert_eq!(stolen.get("/read?k=a").send().await.header("set-cookie"), None);
    // Asked to sign out, an app makes the browser forget a dead cookie too.
    assert_eq!(stolen.post("/logout").send().await.header("set-cookie"), Some(removal));
}

pub async fn the_handle_survives_rotation(pair: Pair<impl App>) {
    let browser = pair.browser();
    let handle = browser.post("/login?user=alice").send().await.json()["handle"].clone();
    let old = browser.clone();
    browser.post("/regenerate").send().await;
    assert_eq!(browser.get("/whoami").send().await.json()["handle"], handle);
    assert_eq!(status(&old, "/whoami").await, 401);
    assert_eq!(handle.as_str().unwrap().len(), 36);
    let again = pair.browser();
    assert_ne!(again.post("/login?user=alice").send().await.json()["handle"], handle);
}

pub async fn a_removed_value_is_gone_for_good(pair: Pair<impl App>) {
    let browser = pair.browser();
    browser.post("/set?k=a&v=1").send().await;
    browser.post("/set?k=b&v=2").send().await;
    browser.post("/remove?k=a").send().await;
    assert_eq!(pair.elsewhere(&browser).get("/data").send().await.json(), serde_json::json!({"b": "2"}));
    browser.post("/remove?k=b").send().await;
    assert_eq!(browser.post("/set?k=c&v=3").send().await.header("set-cookie"), None, "an empty session goes on");
}

pub async fn a_handlers_failure_does_not_undo_its_edits(pair: Pair<impl App>) {
    let browser = pair.browser();
    let answer = browser.get("/fail-after-set?k=a&v=1").send().await;
    assert_eq!(answer.status, 500);
    assert_eq!(read(&browser, "a").await, "1");
}

pub async fn a_rotation_with_a_failing_handler_leaves_one_live_id(pair: Pair<impl App>) {
    let browser = pair.browser();
    browser.post("/login?user=alice").send().await;
    let old = browser.clone();
    assert_eq!(browser.post("/regenerate?fail=1").send().await.status, 500);
    assert_ne!(browser.cookie(COOKIE), old.cookie(COOKIE));
    assert_eq!((status(&browser, "/whoami").await, status(&old, "/whoami").await), (200, 401));
}

pub async fn an_unused_session_ends(pair: Pair<impl App>) {
    let browser = pair.browser();
    browser.post("/login?user=alice").send().await;
    pair.clock.advance(Duration::from_secs(999));
    let other = pair.elsewhere(&browser);
    assert_eq!(status(&other, "/whoami").await, 200);
    // That was use. From here on nothing happens for longer than the idle lifetime, and the second an end is rounded to.
    pair.clock.advance(Duration::from_secs(1_002));
    assert_eq!(status(&browser, "/whoami").await, 401);
    let answer = browser.post("/set?k=a&v=1").send().await;
    assert!(answer.header("set-cookie").is_some(), "a new session");
    assert_eq!(status(&browser, "/whoami").await, 401);
}

pub async fn a_used_session_goes_on_until_its_absolute_end(pair: Pair<impl App>) {
    let browser = pair.browser();
    browser.post("/login?user=alice").send().await;
    for used in 1..=9 {
        pair.clock.advance(Duration::from_secs(500));
        assert_eq!(status(&browser, "/whoami").await, 200, "after {} s", used * 500);
        if used % 2 == 0 {
            browser.post("/regenerate").send().await;
        }
    }
    pair.clock.advance(Duration::from_secs(500));
    assert_eq!(status(&browser, "/whoami").await, 200, "to the second");
    pair.clock.advance(Duration::from_secs(1));
    assert_eq!(status(&browser, "/whoami").await, 401, "use and rotation do not move the absolute end");
}

pub async fn a_value_that_is_too_large_is_refused_and_nothing_is_lost(pair: Pair<impl App>) {
    let browser = pair.browser();
    browser.post("/set?k=a&v=1").send().await;
    // The value travels in the address, which servers limit, so the session is filled piece by piece.
    let piece = "x".repeat(6_000);
    let mut statuses = Vec::new();
    for n in 0..12 {
        statuses.push(browser.post(&format!("/set?k=piece{n}&v={piece}")).send().await.status);
    }
    assert_eq!(statuses[..10], [200; 10], "60,000 bytes fit");
    assert_eq!(statuses[10..], [413; 2], "66,000 bytes do not");
    let data = browser.get("/data").send().await.json();
    assert_eq!((data["a"].as_str(), data["piece9"].as_str()), (Some("1"), Some(piece.as_str())));
    assert!(data.get("piece10").is_none());
    assert_eq!(browser.post("/set?k=a&v=2").send().await.status, 200);
}

pub async fn every_text_comes_back(pair: Pair<impl App>) {
    let browser = pair.browser();
    for (key, value) in [
        ("%C3%A9%F0%9F%98%80", "%F0%9F%A6%80%20%22quoted%22%20%5C%20%27%3B--"),
        ("a.b%5B0%5D", "%7B%22json%22%3A1%7D"),
        ("%20", "%09%0A"),
        ("__proto", "%E2%80%A8"),
    ] {
        assert_eq!(browser.post(&format!("/set?k={key}&v={value}")).send().await.status, 200);
        let decoded = percent_decode(value);
        assert_eq!(read(&pair.elsewhere(&browser), key).await, decoded);
    }
    for reserved in ["cookie", "sessile", "__proto__", "id"] {
        assert_eq!(browser.post(&format!("/set?k={reserved}&v=1")).send().await.status, 500, "{reserved}");
    }
    assert_eq!(browser.post("/set?k=nul&v=%00").send().await.status, 500, "jsonb cannot hold it");
    assert_eq!(status(&browser, "/data").await, 200);
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let hex = std::str::from_utf8(&rest[..2]).unwrap();
            bytes.push(u8::from_str_radix(hex, 16).unwrap());
            rest = &rest[2..];
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}
