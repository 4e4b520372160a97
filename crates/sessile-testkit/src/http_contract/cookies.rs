//! What crosses the wire.

use super::{App, COOKIE, FIRST_SECRET, Pair, SECOND_SECRET, read, status};
use crate::http::Browser;

pub async fn nothing_is_sent_or_stored_until_something_is_written(pair: Pair<impl App>) {
    for _ in 0..100 {
        let browser = pair.browser();
        for path in ["/anon", "/read?k=a", "/data", "/whoami"] {
            assert_eq!(browser.get(path).send().await.header("set-cookie"), None, "{path}");
        }
        assert_eq!(browser.post("/remove?k=a").send().await.header("set-cookie"), None);
        assert_eq!(browser.post("/logout").send().await.header("set-cookie"), None);
        assert_eq!(browser.post("/regenerate").send().await.header("set-cookie"), None);
    }
}

pub async fn the_first_write_sets_one_cookie_with_every_attribute(pair: Pair<impl App>) {
    let answer = pair.browser().post("/set?k=a&v=1").send().await;
    let cookies: Vec<_> = answer.headers("set-cookie").collect();
    assert_eq!(cookies.len(), 1);
    let (value, attributes) = cookies[0].split_once("; ").unwrap();
    assert!(value.starts_with("__Host-sid=s%3A") && value.len() < 128, "a short signed value");
    // The server decides about idleness; the cookie lives as long as the session may: 5,000 seconds from 12:00:00.
    assert_eq!(attributes, "Path=/; Expires=Sun, 01 Jan 2040 13:23:20 GMT; HttpOnly; Secure; SameSite=Lax");
}

pub async fn reading_and_writing_again_send_no_cookie(pair: Pair<impl App>) {
    let browser = pair.browser();
    browser.post("/set?k=a&v=1").send().await;
    for (method, path) in
        [("GET", "/read?k=a"), ("POST", "/set?k=a&v=1"), ("POST", "/set?k=b&v=2"), ("POST", "/incr?k=n")]
    {
        assert_eq!(browser.request(method, path).send().await.header("set-cookie"), None, "{path}");
    }
    assert_eq!(read(&browser, "b").await, "2");
}

pub async fn a_response_with_our_cookie_is_not_cached(pair: Pair<impl App>) {
    let browser = pair.browser();
    for path in ["/set?k=a&v=1", "/login?user=a", "/regenerate", "/logout"] {
        let answer = browser.post(path).send().await;
        assert!(answer.header("set-cookie").is_some(), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert!(answer.headers("vary").any(|vary| vary.eq_ignore_ascii_case("cookie")), "{path}");
    }
}

pub async fn an_unknown_forged_or_damaged_cookie_is_never_adopted(pair: Pair<impl App>) {
    let owner = pair.browser();
    owner.post("/login?user=alice").send().await;
    let good = owner.cookie(COOKIE).unwrap();
    let ended = pair.browser();
    ended.post("/set?k=a&v=1").send().await;
    let unknown = ended.cookie(COOKIE).unwrap();
    ended.post("/logout").send().await;
    let (id, signature) = good.rsplit_once('.').unwrap();
    let mut flipped = good.clone().into_bytes();
    flipped[5] = if flipped[5] == b'x' { b'y' } else { b'x' };
    let forged = [
        unknown.clone(),
        String::from_utf8(flipped).unwrap(),
        good[..good.len() - 1].to_owned(),
        format!("{good}A"),
        format!("{good}%3D"),
        id.to_owned(),
        id.trim_start_matches("s%3A").to_owned(),
        format!("{id}."),
        format!(".{signature}"),
        format!("s%3A.{signature}"),
        format!("s%3Achosen-by-the-client.{signature}"),
        good.replace("s%3A", "s%253A"),
        String::new(),
        "%00".into(),
        "s%3A".repeat(2_000),
    ];
    for cookie in forged {
        let browser = pair.browser();
        browser.set_cookie(COOKIE, &cookie);
        assert_eq!(status(&browser, "/whoami").await, 401, "{cookie}");
        let answer = browser.post("/set?k=a&v=1").send().await;
        assert_eq!(answer.status, 200);
        let given = browser.cookie(COOKIE).unwrap();
        assert!(given != cookie && given != good, "a new id");
    }
    assert_eq!(status(&owner, "/whoami").await, 200);
}

pub async fn a_junk_cookie_signs_nobody_out(pair: Pair<impl App>) {
    let browser = pair.browser();
    browser.post("/login?user=alice").send().await;
    let good = format!("{COOKIE}={}", browser.cookie(COOKIE).unwrap());
    let junk: [&[u8]; 9] =
        [b"a=\xff\xfe", b"\xc3\xa9=1", b"a=%FF", b"a", b"=", b";;;", b"\"", b"__Host-sid=junk", b"__Host-sid="];
    for junk in junk {
        for header in [[junk, b"; ", good.as_bytes()].concat(), [good.as_bytes(), b"; ", junk].concat()] {
            let browser = pair.browser();
            let answer = browser.get("/whoami").header("cookie", &header).send().await;
            assert_eq!(answer.status, 200, "{:?}", String::from_utf8_lossy(&header));
        }
    }
    // At most four of our name are tried, so that planted ones cost no more than that.
    let planted = |count: usize| format!("{}{good}", format!("{COOKIE}=junk; ").repeat(count));
    assert_eq!(pair.browser().get("/whoami").header("cookie", planted(3)).send().await.status, 200);
    assert_eq!(pair.browser().get("/whoami").header("cookie", planted(4)).send().await.status, 401);
}

pub async fn only_the_exact_name_is_ours(pair: Pair<impl App>) {
    let browser = pair.browser();
    browser.post("/login?user=alice").send().await;
    let value = browser.cookie(COOKIE).unwrap();
    let names: [&[u8]; 8] = [
        b"__%48ost-sid",
        "\u{2000}__Host-sid".as_bytes(),
        b"\x85__Host-sid",
        b"=__Host-sid",
        b"__HOST-SID",
        b"\"__Host-sid\"",
        b"$Version=1, __Host-sid",
        b"__Host-sid2",
    ];
    for name in names {
        let header = [name, b"=", value.as_bytes()].concat();
        let answer = pair.browser().get("/whoami").header("cookie", &header).send().await;
        assert_eq!(answer.status, 401, "{:?}", String::from_utf8_lossy(name));
    }
    assert_eq!(status(&browser, "/whoami").await, 200);
}

pub async fn a_cookie_signed_by_the_old_secret_is_signed_anew(pair: Pair<impl App>) {
    let browser = pair.browser();
    browser.post("/login?user=alice").send().await;
    let old = browser.cookie(COOKIE).unwrap();
    let rotated = Browser::new(&pair.signed_by(&[SECOND_SECRET, FIRST_SECRET]).await);
    rotated.set_cookie(COOKIE, &old);
    assert_eq!(rotated.get("/anon").send().await.header("set-cookie"), None, "a request that never asks costs nothing");
    let answer = rotated.get("/whoami").send().await;
    assert_eq!((answer.status, answer.headers("set-cookie").count()), (200, 1));
    let new = rotated.cookie(COOKIE).unwrap();
    assert_eq!(old.split('.').next(), new.split('.').next(), "the same id");
    assert_ne!(old, new);
    assert_eq!(rotated.get("/whoami").send().await.header("set-cookie"), None, "once is enough");
    let retired = Browser::new(&pair.signed_by(&[SECOND_SECRET]).await);
    retired.set_cookie(COOKIE, &new);
    assert_eq!(status(&retired, "/whoami").await, 200);
}

pub async fn a_retired_secret_is_worth_nothing(pair: Pair<impl App>) {
    let browser = pair.browser();
    browser.post("/login?user=alice").send().await;
    let retired = Browser::new(&pair.signed_by(&[SECOND_SECRET]).await);
    retired.set_cookie(COOKIE, &browser.cookie(COOKIE).unwrap());
    let answer = retired.get("/whoami").send().await;
    assert_eq!((answer.status, answer.header("set-cookie")), (401, None));
}

pub async fn no_response_repeats_the_id(pair: Pair<impl App>) {
    let browser = pair.browser();
    browser.post("/login?user=alice").send().await;
    let secret = |browser: &Browser| {
        let cookie = browser.cookie(COOKIE).unwrap();
        cookie.trim_start_matches("s%3A").split('.').next().unwrap().to_owned()
    };
    for (method, path) in [
        ("GET", "/whoami"),
        ("GET", "/data"),
        ("POST", "/set?k=a&v=1"),
        ("POST", "/set?k=cookie&v=1"),
        ("POST", "/regenerate"),
        ("POST", "/regenerate?fail=1"),
        ("POST", "/login?user=bob"),
    ] {
        let before = secret(&browser);
        let answer = browser.request(method, path).send().await;
        let after = secret(&browser);
        let elsewhere = answer.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("set-cookie"));
        let said: String = elsewhere.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect();
        for id in [before, after] {
            assert!(!answer.text().contains(&id) && !said.contains(&id), "{path}");
        }
    }
}
