//! Who is signed in where, and who is not any more.

use std::time::Duration;

use serde_json::{Value, json};
use sessile_core::AtLimit;

use super::{App, COOKIE, Pair, config, status};
use crate::http::{Browser, Response};

async fn signed_in(browser: Browser, user: &str) -> Browser {
    assert_eq!(browser.post(&format!("/login?user={user}")).send().await.status, 200);
    browser
}

async fn devices(browser: &Browser) -> Vec<Value> {
    let answer = browser.get("/devices").send().await;
    assert_eq!(answer.status, 200);
    answer.json().as_array().unwrap().clone()
}

async fn handle(browser: &Browser) -> String {
    browser.get("/whoami").send().await.json()["handle"].as_str().unwrap().to_owned()
}

async fn revoke(browser: &Browser, handle: &str) -> Response {
    browser.delete(&format!("/devices/{handle}")).send().await
}

pub async fn the_devices_of_a_user_are_listed(pair: Pair<impl App>) {
    let first = pair.browser();
    let login = first
        .post("/login?user=alice")
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0");
    assert_eq!(login.send().await.status, 200);
    pair.clock.advance(Duration::from_secs(10));
    let second = signed_in(pair.elsewhere(&pair.browser()), "alice").await;
    let bob = signed_in(pair.browser(), "bob").await;
    pair.browser().post("/set?k=cart&v=1").send().await;
    assert_eq!(devices(&bob).await.len(), 1);
    let seen = devices(&second).await;
    assert_eq!(seen.len(), 2);
    let of = |current: bool| seen.iter().find(|device| device["current"] == current).unwrap();
    assert_eq!(of(true)["handle"], handle(&second).await.as_str());
    let other = of(false);
    assert_eq!(other["handle"], handle(&first).await.as_str());
    assert_eq!((&other["ip"], &other["device"]), (&json!("127.0.0.1"), &json!("Firefox on Linux")));
    assert!(other["user_agent"].as_str().unwrap().contains("Gecko/20100101"));
    assert_eq!(other["created_at"], "2040-01-01T12:00:00.000Z");
    assert_eq!(other["last_seen_at"], "2040-01-01T12:00:00.000Z");
    assert_eq!(pair.browser().get("/devices").send().await.status, 401);
}

pub async fn a_revoked_device_is_signed_out_for_the_very_next_request_everywhere(pair: Pair<impl App>) {
    let (here, there) = (signed_in(pair.browser(), "alice").await, signed_in(pair.browser(), "alice").await);
    let elsewhere = pair.elsewhere(&there);
    assert_eq!(status(&elsewhere, "/whoami").await, 200);
    let (own, other) = (handle(&here).await, handle(&there).await);
    assert_eq!(revoke(&here, &other).await.status, 204);
    assert_eq!((status(&there, "/whoami").await, status(&elsewhere, "/whoami").await), (401, 401));
    assert_eq!(revoke(&here, &other).await.status, 404, "twice is once");
    assert_eq!(there.post("/set?k=a&v=1").send().await.status, 200, "whoever was there is anybody now");
    assert_eq!(devices(&here).await.len(), 1);
    assert_eq!(revoke(&here, &own).await.status, 204);
    assert_eq!(status(&here, "/whoami").await, 401);
}

pub async fn a_device_of_somebody_else_is_not_there(pair: Pair<impl App>) {
    let (alice, bob) = (signed_in(pair.browser(), "alice").await, signed_in(pair.browser(), "bob").await);
    let handle = handle(&bob).await;
    let theirs = revoke(&alice, &handle).await;
    let unknown = revoke(&alice, "00000000-0000-4000-8000-000000000000").await;
    let nonsense = revoke(&alice, "%27%20OR%201=1").await;
    for answer in [&theirs, &nonsense] {
        assert_eq!((answer.status, answer.text()), (unknown.status, unknown.text()));
    }
    assert_eq!(unknown.status, 404);
    assert_eq!(status(&bob, "/whoami").await, 200);
    assert_eq!(revoke(&pair.browser(), &handle).await.status, 401);
}

pub async fn all_other_devices_are_signed_out_and_this_one_stays(pair: Pair<impl App>) {
    let here = signed_in(pair.browser(), "alice").await;
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(signed_in(pair.elsewhere(&pair.browser()), "alice").await);
    }
    let bob = signed_in(pair.browser(), "bob").await;
    let others_out = async || here.post("/devices/revoke-others").send().await.json();
    assert_eq!(others_out().await, json!({"revoked": 3}));
    assert_eq!(others_out().await, json!({"revoked": 0}));
    for other in &others {
        assert_eq!(status(other, "/whoami").await, 401);
    }
    assert_eq!((status(&here, "/whoami").await, status(&bob, "/whoami").await), (200, 200));
    assert_eq!(pair.browser().post("/devices/revoke-others").send().await.status, 401);
}

pub async fn what_is_in_flight_does_not_undo_a_revocation(pair: Pair<impl App>) {
    for slow in ["/slow-set?k=a&v=1&ms=300", "/slow-read?ms=300"] {
        let (here, there) = (signed_in(pair.browser(), "alice").await, signed_in(pair.browser(), "alice").await);
        // Late enough that the read touches the session.
        pair.clock.advance(Duration::from_secs(100));
        let victim = handle(&there).await;
        pair.clock.advance(Duration::from_secs(100));
        let method = if slow.contains("set") { "POST" } else { "GET" };
        let working = tokio::spawn(pair.elsewhere(&there).request(method, slow).send());
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(revoke(&here, &victim).await.status, 204);
        let late = working.await.unwrap();
        assert_eq!((late.status, late.header("set-cookie")), (200, None));
        assert_eq!((status(&there, "/whoami").await, status(&pair.elsewhere(&there), "/whoami").await), (401, 401));
    }
    for _ in 0..20 {
        let (here, there) = (signed_in(pair.browser(), "alice").await, signed_in(pair.browser(), "alice").await);
        let (victim, moving) = (handle(&there).await, pair.elsewhere(&there));
        let (rotated, revoked) = tokio::join!(moving.post("/regenerate").send(), revoke(&here, &victim));
        assert!(matches!(rotated.status, 200 | 409), "{}", rotated.status);
        assert_eq!(revoked.status, 204);
        assert_eq!((status(&moving, "/whoami").await, status(&there, "/whoami").await), (401, 401));
    }
}

pub async fn a_limit_holds_however_many_sign_in_at_once(pair: Pair<impl App>) {
    for (policy, user) in [(AtLimit::EvictOldest, "alice"), (AtLimit::Deny, "bob")] {
        let limited = || config(&pair.clock).max_sessions_per_user(3, policy);
        let (one, other) = (pair.app.serve(limited()).await, pair.app.serve(limited()).await);
        let browsers: Vec<_> = (0..20).map(|n| Browser::new(if n % 2 == 0 { &one } else { &other })).collect();
        let logins: Vec<_> =
            browsers.iter().map(|browser| tokio::spawn(browser.post(&format!("/login?user={user}")).send())).collect();
        let mut refused = 0;
        for login in logins {
            let answer = login.await.unwrap();
            assert!(matches!(answer.status, 200 | 409), "{}", answer.text());
            if answer.status == 409 {
                assert_eq!(answer.header("set-cookie"), None);
                refused += 1;
            }
        }
        let mut alive = Vec::new();
        for browser in &browsers {
            if status(browser, "/whoami").await == 200 {
                alive.push(browser);
            }
        }
        let expected = if policy == AtLimit::Deny { 17 } else { 0 };
        assert_eq!((alive.len(), refused), (3, expected), "{policy:?}");
        assert_eq!(devices(alive[0]).await.len(), 3);
    }
}

/// Twenty requests that the browser sent before it heard of its new id, and that arrive after it, on both instances.
pub async fn late_requests_do_not_sign_the_browser_out(pair: Pair<impl App>) {
    let browser = pair.browser();
    browser.post("/set?k=cart&v=book").send().await;
    let before = [browser.clone(), pair.elsewhere(&browser)];
    let underway: Vec<_> = (0..20)
        .map(|n| tokio::spawn(before[n % 2].post(&format!("/slow-set?k=k{n}&v=1&ms={}", 20 * n)).send()))
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(browser.post("/login?user=alice").send().await.status, 200);
    let cookie = browser.cookie(COOKIE);
    for late in underway {
        let answer = late.await.unwrap();
        assert_eq!((answer.status, answer.header("set-cookie")), (200, None));
    }
    let late = [browser.clone(), pair.elsewhere(&browser)];
    for n in 0..20 {
        late[n % 2].set_cookie(COOKIE, &before[0].cookie(COOKIE).unwrap());
        let answer = late[n % 2].post("/set?k=late&v=1").send().await;
        assert_eq!((answer.status, answer.header("set-cookie")), (200, None));
    }
    browser.set_cookie(COOKIE, &cookie.unwrap());
    assert_eq!(browser.get("/whoami").send().await.json()["user"], "alice");
    let data = browser.get("/data").send().await.json();
    assert_eq!((&data["cart"], &data["late"]), (&json!("book"), &Value::Null));
    assert_eq!(devices(&browser).await.len(), 1);
}
