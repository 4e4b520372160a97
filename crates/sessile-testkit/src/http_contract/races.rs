//! What happens when requests cross.

use super::{App, COOKIE, Pair, read, status};
use crate::http::Browser;

/// Sends a slow request, ends the session on the other instance while it works, and gives the slow one's answer.
async fn while_it_works(
    pair: &Pair<impl App>,
    browser: &Browser,
    method: &str,
    slow: &str,
    meanwhile: &str,
) -> crate::http::Response {
    let working = tokio::spawn(browser.clone().request(method, slow).send());
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    let answer = pair.elsewhere(browser).post(meanwhile).send().await;
    assert_eq!(answer.status, 200, "{meanwhile}");
    working.await.unwrap()
}

pub async fn a_late_write_never_revives_a_session(pair: Pair<impl App>) {
    let browser = pair.browser();
    browser.post("/login?user=alice").send().await;
    let answer = while_it_works(&pair, &browser, "POST", "/slow-set?k=a&v=1&ms=400", "/logout").await;
    assert_eq!(
        answer.header("set-cookie"),
        None,
        "neither a new session nor a removal: the browser may have another by now"
    );
    for instance in [browser.clone(), pair.elsewhere(&browser)] {
        assert_eq!(status(&instance, "/whoami").await, 401);
        assert_eq!(read(&instance, "a").await, serde_json::Value::Null);
    }
}

pub async fn a_late_read_never_revives_a_session(pair: Pair<impl App>) {
    let browser = pair.browser();
    browser.post("/login?user=alice").send().await;
    // Late enough that the read touches the session.
    pair.clock.advance(std::time::Duration::from_secs(500));
    let answer = while_it_works(&pair, &browser, "GET", "/slow-read?ms=400", "/logout").await;
    assert_eq!((answer.status, answer.header("set-cookie")), (200, None));
    assert_eq!(status(&browser, "/whoami").await, 401);
}

/// Rotation and end at the same moment, many times over: whichever is first, the session is dead afterwards.
pub async fn a_late_sign_in_never_revives_a_session(pair: Pair<impl App>) {
    for _ in 0..20 {
        let browser = pair.browser();
        browser.post("/login?user=alice").send().await;
        let (rotating, ending) = (browser.clone(), pair.elsewhere(&browser));
        let (rotated, ended) = tokio::join!(rotating.post("/regenerate").send(), ending.post("/logout").send());
        assert_eq!(ended.status, 200);
        assert!(matches!(rotated.status, 200 | 409), "{}", rotated.status);
        assert_eq!(status(&browser, "/whoami").await, 401, "the old id is dead either way");
        if rotated.status == 409 {
            assert_eq!(rotated.header("set-cookie"), None);
        }
    }
}

pub async fn a_session_that_ended_is_dead_for_the_very_next_request_everywhere(pair: Pair<impl App>) {
    for _ in 0..20 {
        let browser = pair.browser();
        browser.post("/login?user=alice").send().await;
        let elsewhere = pair.elsewhere(&browser);
        assert_eq!(status(&elsewhere, "/whoami").await, 200);
        let here = browser.clone();
        browser.post("/logout").send().await;
        assert_eq!((status(&elsewhere, "/whoami").await, status(&here, "/whoami").await), (401, 401));
    }
}

pub async fn two_requests_that_change_different_keys_both_count(pair: Pair<impl App>) {
    let browser = pair.browser();
    browser.post("/set?k=start&v=1").send().await;
    let slow = browser.clone();
    let working = tokio::spawn(slow.post("/slow-set?k=a&v=slow&ms=300").send());
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    pair.elsewhere(&browser).post("/set?k=b&v=quick").send().await;
    pair.elsewhere(&browser).post("/remove?k=start").send().await;
    assert_eq!(working.await.unwrap().status, 200);
    assert_eq!(browser.get("/data").send().await.json(), serde_json::json!({"b": "quick", "a": "slow"}));
}

pub async fn many_requests_that_count_are_all_counted(pair: Pair<impl App>) {
    let browser = pair.browser();
    browser.post("/set?k=a&v=1").send().await;
    let other = pair.elsewhere(&browser);
    let requests: Vec<_> =
        (0..60).map(|n| tokio::spawn(if n % 2 == 0 { &browser } else { &other }.post("/incr?k=n").send())).collect();
    for request in requests {
        assert_eq!(request.await.unwrap().status, 200);
    }
    assert_eq!(read(&browser, "n").await, 60);
}

pub async fn a_write_under_the_old_id_does_not_bring_it_back(pair: Pair<impl App>) {
    let browser = pair.browser();
    browser.post("/login?user=alice").send().await;
    let old = browser.clone();
    let answer = while_it_works(&pair, &old, "POST", "/slow-set?k=a&v=1&ms=400", "/regenerate").await;
    assert_eq!(answer.header("set-cookie"), None);
    assert!(old.cookie(COOKIE).is_some());
    assert_eq!(status(&old, "/whoami").await, 401);
}

/// The rotation is over, its cookie has not reached the browser, and the user signs out with the one that was there.
pub async fn a_sign_out_ends_the_session_that_a_rotation_moved_meanwhile(pair: Pair<impl App>) {
    for _ in 0..20 {
        let browser = pair.browser();
        browser.post("/login?user=alice").send().await;
        let (moving, ending) = (browser.clone(), pair.elsewhere(&browser));
        let (moved, ended) = tokio::join!(moving.post("/regenerate").send(), ending.post("/logout").send());
        assert_eq!(ended.status, 200, "after a rotation that answered {}", moved.status);
        assert_eq!(status(&moving, "/whoami").await, 401, "under the new id, if there is one");
    }
    let browser = pair.browser();
    browser.post("/login?user=alice").send().await;
    let before = pair.elsewhere(&browser);
    browser.post("/regenerate").send().await;
    pair.clock.advance(std::time::Duration::from_secs(10));
    assert_eq!(before.post("/logout").send().await.status, 200);
    assert_eq!(status(&browser, "/whoami").await, 200, "an old id is worth nothing later");
}

/// Requests that the browser sent before it heard of its new id.
pub async fn a_late_request_does_not_overwrite_the_browsers_new_cookie(pair: Pair<impl App>) {
    let browser = pair.browser();
    browser.post("/set?k=cart&v=book").send().await;
    let late = browser.clone();
    browser.post("/login?user=alice").send().await;
    for path in ["/set?k=a&v=1", "/incr?k=n", "/remove?k=cart", "/regenerate"] {
        let answer = late.post(path).send().await;
        assert_eq!((answer.status, answer.header("set-cookie")), (200, None), "{path}");
    }
    assert_eq!(read(&late, "cart").await, serde_json::Value::Null, "it never sees the new session");
    assert_eq!(browser.get("/data").send().await.json(), serde_json::json!({"cart": "book"}));
    pair.clock.advance(std::time::Duration::from_secs(31));
    assert!(late.post("/set?k=a&v=1").send().await.header("set-cookie").is_some(), "later it is any unknown id");
}
