//! What one side stores comes back on the other, and what was not touched stays byte for byte.

use serde_json::json;
use sessile_interop::{Both, SIDES, Side};

#[tokio::test(flavor = "multi_thread")]
async fn what_express_wrote_and_sessile_did_not_touch_is_byte_identical() {
    let both = Both::start().await;
    both.post(Side::Express, "/login?user=alice").await;
    for (key, json) in [
        ("unicode", r#""é 🦀 \u2028 \"quoted\" \\ /""#),
        ("surrogate", r#""\ud83d""#),
        ("numbers", "[1e21,-0.5,9007199254740993,1e-7,123456789012345680000]"),
        ("nested", r#"{"z":1,"a":{"list":[null,true,{}],"":""},"10":"ten","2":"two"}"#),
        ("deep", &format!("{}{}", "[".repeat(300), "]".repeat(300))),
        ("date", r#""2026-01-15T12:34:56.789Z""#),
        ("nul", r#""\u0000""#),
    ] {
        let request = both.copy(Side::Express).post(&format!("/set-json?k={key}"));
        let answer = request.header("content-type", "application/json").body(json).send().await;
        assert_eq!(answer.status, 200, "{key}: {}", answer.text());
    }
    let before = both.row("session").await.0;
    both.post(Side::Sessile, "/set?k=ours&v=1").await;
    assert_eq!(both.request(Side::Sessile, "GET", "/data").await.status, 200);
    let after = both.row("session").await.0;
    // The cookie object comes first and moves its end; behind it nothing changes but what was added.
    let rest = |document: &str| document[document.find(",\"userId\"").unwrap()..].trim_end_matches('}').to_owned();
    assert!(rest(&after).starts_with(&rest(&before)), "{before}\n{after}");
    assert!(after.contains(r#","ours":"1","sessile":{"#), "{after}");
    // A removal leaves the neighbours alone as well.
    both.post(Side::Sessile, "/remove?k=ours").await;
    assert!(rest(&both.row("session").await.0).starts_with(&rest(&before)));
    // And Express still reads it all.
    assert_eq!(both.get(Side::Express, "/read?k=numbers").await["value"][0], json!(1e21));
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_of_either_side_come_back_on_the_other() {
    let both = Both::start().await;
    for side in SIDES {
        for (key, value, expected) in [
            ("a", "%C3%A9%F0%9F%A6%80", "é🦀"),
            ("%C3%A9", "%22%5C%2F%0A%09", "\"\\/\n\t"),
            ("a.b%5Bc%5D", "%E2%80%A8%E2%80%A9%3C%2Fscript%3E", "\u{2028}\u{2029}</script>"),
            ("10", "integer-like", "integer-like"),
            ("%20", "", ""),
        ] {
            both.post(side, &format!("/set?k={key}&v={value}")).await;
            let read = both.get(side.other(), &format!("/read?k={key}")).await;
            assert_eq!(read["value"], expected, "{key} by {side:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessile_never_writes_a_row_that_express_cannot_read() {
    let both = Both::start().await;
    for path in [
        "/set?k=a&v=1",
        "/incr?k=n",
        "/login?user=alice",
        "/regenerate",
        "/set?k=__proto&v=1",
        "/remove?k=a",
        "/login?user=bob",
        "/set?k=constructor2&v=1",
    ] {
        both.post(Side::Sessile, path).await;
        let (document, _) = both.row("session").await;
        assert!(
            document.starts_with(r#"{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"}"#),
            "{document}"
        );
        both.get(Side::Express, "/data").await;
        both.post(Side::Express, "/incr?k=by_express").await;
    }
    // Names that express-session drops on load are refused, so that nothing is lost silently.
    for reserved in ["constructor", "__proto__", "id", "cookie", "save", "toString"] {
        let answer = both.request(Side::Sessile, "POST", &format!("/set?k={reserved}&v=1")).await;
        assert_eq!(answer.status, 500, "{reserved}");
        both.get(Side::Express, "/data").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_no_session_fits_is_one_error_and_stays() {
    let both = Both::start().await;
    both.post(Side::Sessile, "/login?user=alice").await;
    let client = both.database.client().await;
    for poison in
        ["[]", "null", r#"{"userId":"alice"}"#, r#"{"cookie":7}"#, r#"{"cookie":{"originalMaxAge":"900000"}}"#]
    {
        client.execute("UPDATE session SET sess = $1::text::json", &[&poison]).await.unwrap();
        for (method, path) in
            [("GET", "/data"), ("POST", "/set?k=a&v=1"), ("POST", "/logout"), ("POST", "/login?user=bob")]
        {
            let answer = both.request(Side::Sessile, method, path).await;
            assert_eq!((answer.status, answer.header("set-cookie")), (500, None), "{poison} {path}");
        }
        assert_eq!(both.row("session").await.0, poison);
    }
}
