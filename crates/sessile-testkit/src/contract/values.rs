//! What can be kept: any JSON under any key, and rows that are not sessions at all.

use std::time::Duration;

use sessile_core::{Store as _, Written};

use super::{Fixture, at, changed, document, found, key, later, load, record, signed_out, stored, value};

/// The values and, where the store keeps text, nothing else about them changed either.
async fn comes_back(fixture: impl Fixture, values: &[&str]) {
    let (store, keeps_bytes) = (fixture.open().await, fixture.keeps_bytes());
    let parsed = |json: &str| serde_json::from_str::<serde_json::Value>(json).unwrap();
    for (name, value) in values.iter().enumerate() {
        let name = name.to_string();
        let inserted = stored(&store, &name, value).await;
        let rewritten = changed(&changed(&inserted, "0"), value);
        assert_eq!(store.update(&key(&name), &rewritten).await.unwrap(), Written::Done);
        for read in [inserted, found(&store, &name).await] {
            let read = read.data.get("v").unwrap();
            assert_eq!(parsed(read), parsed(value));
            assert!(!keeps_bytes || read == *value, "the bytes changed");
        }
    }
}

/// Every kind of JSON value.
pub async fn every_json_value_comes_back(fixture: impl Fixture) {
    let values = ["null", "true", "0", "-1.5", "9007199254740993", r#""""#, "[]", "{}", r#"[{"a":[null,{"b":""}]}]"#];
    comes_back(fixture, &values).await;
}

/// Text beyond the basic plane, right to left, combined, and what SQL and JSON escape.
pub async fn unicode_comes_back(fixture: impl Fixture) {
    let values = [
        r#""Grüße, 世界 👩‍👩‍👧‍👦""#,
        "\"مرحبا e\u{301} \u{202e}\u{feff}\u{ffff}\u{10ffff}\"",
        r#""it's \"quoted\" \\ 100% $1 ?1 :a @b -- /* */ ; DROP""#,
        r#""\n\r\t\b\f\u001f\u2028""#,
    ];
    comes_back(fixture, &values).await;
}

/// One value of a million characters.
pub async fn a_megabyte_comes_back(fixture: impl Fixture) {
    comes_back(fixture, &[&format!("\"{}\"", "ü0123456789".repeat(100_000))]).await;
}

/// Ids come from other programs' generators. Each names one session, and nothing in it is SQL, a pattern or an escape.
pub async fn hostile_session_keys_are_only_names(fixture: impl Fixture) {
    let store = fixture.open().await;
    let (long, longer) = ("k".repeat(511), "k".repeat(512));
    let names = [
        "'",
        "''",
        "\"",
        "'; DROP TABLE \"session\"; --",
        "%",
        "_",
        "a%",
        "aa",
        "A",
        "a",
        "a ",
        " a",
        "\\",
        "\\'",
        "\\x61",
        "$1",
        "?1",
        ":a",
        "\u{1f600}",
        "é",
        "e\u{301}",
        "\n",
        "\t",
        "0",
        "00",
        "1e1",
        "10",
        "null",
        "a/../b",
        "{a}",
        "a:b",
        &long,
        &longer,
    ];
    for (value, name) in names.iter().enumerate() {
        stored(&store, name, &value.to_string()).await;
    }
    for (expected, name) in names.iter().enumerate() {
        assert_eq!(value(&store, name).await, Some(expected.to_string()), "{name:?}");
        assert_eq!(store.touch(&key(name), at(0), at(60_000)).await.unwrap(), Written::Done, "{name:?}");
        let (read, moved) = (found(&store, name).await, key(&format!("moved {expected}")));
        assert_eq!(store.update(&key(name), &read).await.unwrap(), Written::Done, "{name:?}");
        assert_eq!(store.rotate(&key(name), &moved, &read).await.unwrap(), Written::Done, "{name:?}");
        assert_eq!(store.rotate(&moved, &key(name), &read).await.unwrap(), Written::Done, "{name:?}");
    }
    for name in names {
        assert!(store.remove(&key(name), &signed_out()).await.unwrap(), "{name:?}");
        assert!(load(&store, name).await.is_none(), "{name:?}");
    }
}

/// Keys of the application's data are as free.
pub async fn hostile_data_keys_come_back(fixture: impl Fixture) {
    let store = fixture.open().await;
    let names =
        ["", "'", "\"", "\\", "a.b", "$.a", "#>>", "__proto__", "constructor", "👩‍👩‍👧", "\n", "sid", "expire", "%s"];
    let mut record = record(&document("1"), later());
    for name in names {
        record.data.insert(name, "[1]");
    }
    assert_eq!(store.insert(&key("a"), &record).await.unwrap(), Written::Done);
    let read = found(&store, "a").await;
    for name in names {
        assert_eq!(read.data.get(name).map(|json| json.replace(' ', "")).as_deref(), Some("[1]"), "{name:?}");
    }
    let left_out = usize::from(!fixture.keeps_cookies());
    assert_eq!(read.data.iter().count() + left_out, record.data.iter().count());
}

/// A row as express-session with passport writes it, without a word of Sessile's in it.
pub async fn an_express_session_is_read_and_written_back(fixture: impl Fixture) {
    const EXPRESS: &str = concat!(
        r#"{"cookie":{"originalMaxAge":86400000,"expires":"2040-01-02T12:00:00.000Z","secure":true,"httpOnly":true,"#,
        r#""path":"/","sameSite":"lax"},"passport":{"user":42}}"#
    );
    let store = fixture.open().await;
    if !fixture.keeps_cookies() || !fixture.plant("a", EXPRESS, later()).await {
        assert_eq!(store.insert(&key("a"), &record(EXPRESS, later())).await.unwrap(), Written::Done);
    }
    let read = found(&store, "a").await;
    assert_eq!(read.expires_at, later());
    assert!(read.data.get("passport").unwrap().contains("42"));
    let mut record = read.clone();
    record.data.insert("views", "1");
    assert_eq!(store.update(&key("a"), &record).await.unwrap(), Written::Done);
    let read = found(&store, "a").await;
    assert_eq!(read.data.get("views"), Some("1"));
    if fixture.keeps_cookies() {
        assert!(read.data.get("cookie").unwrap().contains("originalMaxAge"));
    }
    if fixture.keeps_bytes() && fixture.keeps_cookies() {
        let expected = format!("{},\"views\":1}}", EXPRESS.strip_suffix('}').unwrap());
        assert_eq!(read.revision.unwrap().as_str(), expected);
    }
}

/// What other programs wrote is what they read again. Stores that keep a tree are not asked.
pub async fn the_document_keeps_its_bytes_and_order(fixture: impl Fixture) {
    if !fixture.keeps_bytes() {
        return;
    }
    let store = fixture.open().await;
    let document = r#"{"z":1,"cookie":{"path":"/"},"a":1E400,"b":"\ud83d","c":[ 1,  2 ],"d":-0.0,"e":12345678901234567890123,"f":"\u00e9","g":"\u0000"}"#;
    assert_eq!(store.insert(&key("a"), &record(document, later())).await.unwrap(), Written::Done);
    let read = found(&store, "a").await;
    let document =
        if fixture.keeps_cookies() { document.to_owned() } else { document.replace(r#""cookie":{"path":"/"},"#, "") };
    assert_eq!(read.revision.as_ref().unwrap().as_str(), document);
    let mut record = read.clone();
    record.data.insert("z", "2");
    assert_eq!(store.update(&key("a"), &record).await.unwrap(), Written::Done);
    let expected = document.replace("\"z\":1", "\"z\":2");
    assert_eq!(found(&store, "a").await.revision.unwrap().as_str(), expected);
    if fixture.keeps_cookies() && fixture.plant("b", "  { \"cookie\" : {\"path\":\"/\"},\n\"x\": 1}", later()).await {
        let planted = found(&store, "b").await;
        assert_eq!(store.update(&key("b"), &changed(&planted, "1")).await.unwrap(), Written::Done);
        assert_eq!(found(&store, "b").await.data.get("v"), Some("1"));
    }
}

/// A row that another program broke answers a poisoned error, at every reading, and stays for an operator to look at. A
/// store whose database refuses such a row is as good.
pub async fn a_row_that_is_no_session_is_poisoned_and_left_alone(fixture: impl Fixture) {
    let store = fixture.open().await;
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let broken = [("cookie", "true"), ("cookie", r#"{"path":7}"#), ("sessile", "7"), ("v", "}"), ("v", &deep)];
    let kept = |part: &str| fixture.keeps_cookies() || part != "cookie";
    for (name, (part, json)) in broken.into_iter().filter(|(part, _)| kept(part)).enumerate() {
        let mut record = record(&document("1"), later());
        record.data.insert(part, json);
        poisoned(&store, &name.to_string(), &record).await;
    }
    if fixture.keeps_cookies() {
        let mut record = record(&document("1"), later());
        record.data.remove("cookie");
        poisoned(&store, "without a cookie", &record).await;
    }
}

async fn poisoned(store: &impl sessile_core::Store, name: &str, record: &sessile_core::Record) {
    let Ok(written) = store.insert(&key(name), record).await else { return };
    assert_eq!(written, Written::Done);
    for _ in 0..2 {
        let error = store.load(&key(name), at(0)).await.expect_err("the row is no session");
        assert!(error.is_poisoned(), "{error:?}");
    }
    let expired = later() + Duration::from_secs(2);
    assert!(store.load(&key(name), expired).await.unwrap().is_none(), "an expired row is absent, whatever it holds");
    assert_eq!(store.touch(&key(name), at(0), later()).await.unwrap(), Written::Done);
    assert!(store.remove(&key(name), &signed_out()).await.unwrap(), "the row was still there");
}

/// The same for rows that only another program can write.
pub async fn a_row_that_is_no_object_is_poisoned_and_left_alone(fixture: impl Fixture) {
    let store = fixture.open().await;
    for (name, document) in ["null", "[]", "\"secret\"", "7"].into_iter().enumerate() {
        let name = name.to_string();
        if !fixture.plant(&name, document, later()).await {
            return;
        }
        let error = store.load(&key(&name), at(0)).await.expect_err("the row is no session");
        assert!(error.is_poisoned() && !format!("{error:?}").contains("secret"), "{error:?}");
        assert!(store.remove(&key(&name), &signed_out()).await.unwrap(), "the row was still there");
    }
}

/// Ending a session does not need to understand it, and neither does sweeping it.
pub async fn a_poisoned_row_can_be_removed(fixture: impl Fixture) {
    let store = fixture.open().await;
    let mut record = record(&document("1"), at(10_000));
    record.data.remove("cookie");
    for name in ["a", "b"] {
        assert_eq!(store.insert(&key(name), &record).await.unwrap(), Written::Done);
    }
    assert!(store.remove(&key("a"), &signed_out()).await.unwrap());
    if let Some(sweep) = store.sweep() {
        assert_eq!(sweep.sweep(at(11_000), 10).await.unwrap().removed, 1);
    }
}

/// A description is for a log line. A record's debug output shows neither values nor the revision.
pub async fn neither_description_nor_debug_shows_a_secret(fixture: impl Fixture) {
    let store = fixture.open().await;
    let description = store.description();
    assert!(!description.is_empty() && !description.contains('\n'), "{description}");
    let credentials = description.split_once("://").and_then(|(_, rest)| rest.split('/').next()?.split_once('@'));
    assert!(credentials.is_none_or(|(user, _)| !user.contains(':')), "the description shows a password");
    assert!(!description.to_ascii_lowercase().contains("password"), "{description}");
    let read = stored(&store, "the key", "\"the value\"").await;
    let printed = format!("{read:?}");
    assert!(!printed.contains("the value") && !printed.contains("the key"), "{printed}");
}
