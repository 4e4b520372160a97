//! What the real gorilla/securecookie did (`vectors/gorilla.json`), against what the codec does.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use sessile_core::codec::{CookieCodec, GorillaCodec, KeyPair, Secret, Serializer};
use sessile_core::{Config, Cookie, MemoryStore, Secure, SessionId, Sessions};

use crate::support::{Browser, DAY, ManualClock};

fn vectors() -> Value {
    let path = format!("{}/../../vectors/gorilla.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn pair(auth: &str, encryption: Option<&str>) -> KeyPair {
    let pair = KeyPair::new(Secret::dangerous(bytes(auth))).unwrap();
    match encryption.filter(|key| !key.is_empty()) {
        Some(key) => pair.encrypting(bytes(key)).unwrap(),
        None => pair,
    }
}

/// A codec as the row says, for a row whose value is a string.
fn codec(row: &Value) -> Option<GorillaCodec> {
    let serializer = match row["serializer"].as_str()? {
        "gob" => Serializer::Gob,
        "json" => Serializer::Json,
        _ => return None,
    };
    let pair = pair(row["hash_key_hex"].as_str()?, row["block_key_hex"].as_str());
    let seconds = |name: &str| row[name].as_u64().map(Duration::from_secs);
    let mut codec = GorillaCodec::new([pair]).unwrap().serializer(serializer);
    if let (Some(max), Some(min), Some(length)) = (seconds("max_age"), seconds("min_age"), row["max_length"].as_u64()) {
        codec = codec
            .max_age(Some(max).filter(|max| !max.is_zero()))
            .min_age(min)
            .max_length(usize::try_from(length).ok().filter(|length| *length > 0));
    }
    Some(codec)
}

fn at(seconds: i64) -> SystemTime {
    let span = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { UNIX_EPOCH - span } else { UNIX_EPOCH + span }
}

fn found(codec: &GorillaCodec, name: &str, input: &str, now: SystemTime) -> Option<String> {
    codec.decode(name, input.as_bytes(), now).map(|decoded| decoded.id.expose().to_owned())
}

#[test]
fn every_id_that_is_only_signed_is_written_as_go_writes_it() {
    let mut written = 0;
    for row in vectors()["encode"].as_array().unwrap() {
        let (Some(text), Some(encoded)) = (row["value"].as_str(), row["encoded"].as_str()) else { continue };
        let Some(id) = SessionId::parse(text) else { continue };
        if row["block_key_hex"].as_str().is_some_and(|key| !key.is_empty()) {
            continue;
        }
        let (Some(codec), Some(time)) = (codec(row), row["timestamp"].as_i64()) else { continue };
        let name = row["cookie_name"].as_str().unwrap();
        assert_eq!(codec.encode(name, &id, at(time)), encoded, "{}", row["name"]);
        written += 1;
    }
    assert!(written >= 30, "{written} vectors");
}

#[test]
fn every_id_that_go_wrote_is_read_encrypted_or_not() {
    let (mut plain, mut encrypted) = (0, 0);
    for row in vectors()["encode"].as_array().unwrap() {
        let (Some(text), Some(encoded)) = (row["value"].as_str(), row["encoded"].as_str()) else { continue };
        let (Some(codec), Some(time)) = (codec(row), row["timestamp"].as_i64()) else { continue };
        let name = row["cookie_name"].as_str().unwrap();
        let expected = SessionId::parse(text).map(|_| text.to_owned());
        let codec = codec.max_length(None);
        assert_eq!(found(&codec, name, encoded, at(time)), expected, "{}", row["name"]);
        assert_eq!(found(&codec, "another", encoded, at(time)), None, "{}", row["name"]);
        *if row["iv_hex"].is_null() { &mut plain } else { &mut encrypted } += 1;
    }
    assert!(plain >= 30 && encrypted >= 30, "{plain} and {encrypted} vectors");
}

#[test]
fn every_cookie_is_judged_as_go_judges_it() {
    let (mut accepted, mut refused) = (0, 0);
    for row in vectors()["decode"].as_array().unwrap() {
        let codec = codec(row).unwrap();
        let now = at(row["now"].as_i64().unwrap());
        let expected = row["value"].as_str().filter(|id| SessionId::parse(id).is_some());
        let name = row["cookie_name"].as_str().unwrap();
        let input = row["input"].as_str().unwrap();
        assert_eq!(found(&codec, name, input, now).as_deref(), expected, "{}", row["name"]);
        *if expected.is_some() { &mut accepted } else { &mut refused } += 1;
    }
    assert_eq!(accepted + refused, 44);
    assert!(accepted > 10 && refused > 20, "{accepted} and {refused}");
}

#[test]
fn the_first_pair_signs_and_all_verify() {
    for row in vectors()["decode_multi"].as_array().unwrap() {
        let hex: Vec<_> = row["key_pairs_hex"].as_array().unwrap().iter().map(Value::as_str).collect();
        let pairs = hex.chunks(2).map(|keys| pair(keys[0].unwrap(), keys[1]));
        let codec = GorillaCodec::new(pairs).unwrap();
        let now = at(row["now"].as_i64().unwrap());
        let name = row["cookie_name"].as_str().unwrap_or("session-name");
        assert_eq!(found(&codec, name, row["input"].as_str().unwrap(), now).as_deref(), row["value"].as_str());
    }
}

#[test]
fn what_is_encrypted_comes_back_and_no_two_texts_start_from_the_same() {
    for length in [16, 24, 32] {
        let pair = KeyPair::new(Secret::dangerous("k".repeat(32))).unwrap().encrypting(vec![7; length]).unwrap();
        let codec = GorillaCodec::new([pair]).unwrap();
        let values: Vec<_> = ["one", "two", "one"]
            .iter()
            .zip([1, 1, 2])
            .map(|(id, time)| codec.encode("sid", &SessionId::parse(id).unwrap(), at(time)))
            .collect();
        assert!(values[0] != values[1] && values[0] != values[2]);
        assert_eq!(found(&codec, "sid", &values[1], at(5)).as_deref(), Some("two"));
    }
    let wrong = KeyPair::new(Secret::dangerous("k".repeat(32))).unwrap().encrypting(vec![7; 15]).unwrap_err();
    assert!(wrong.to_string().contains("16, 24 or 32"), "{wrong}");
}

/// In Go such a cookie dies while its session lives. Here the next write signs it anew.
#[test]
fn a_cookie_is_signed_anew_before_it_is_too_old() {
    let clock = ManualClock::new();
    let codec = GorillaCodec::new([KeyPair::new(Secret::dangerous("k".repeat(32))).unwrap()]).unwrap();
    let cookie = Cookie::new("session-name").secure(Secure::Never);
    let config = Config::new("gUnXRPzrkuQ0rDtBSHXmFJC2AbVBv4Ds")
        .unwrap()
        .codec(codec)
        .clock(clock.clone())
        .cookie(cookie)
        .unwrap()
        .idle(DAY * 40)
        .absolute(Some(DAY * 400));
    let sessions = Sessions::new(MemoryStore::new(), config);
    let mut browser = Browser::default();
    let mut count = || {
        browser.last = None;
        browser.visit(&sessions, |session| session.update("n", |n: Option<u32>| n.unwrap_or(0) + 1).unwrap());
        browser.last.is_some()
    };
    assert!(count());
    clock.advance(DAY);
    assert!(!count(), "a young cookie is not sent again");
    for _ in 0..4 {
        clock.advance(DAY * 20);
        assert!(count(), "one that has half of its age behind it is");
    }
    browser.visit(&sessions, |session| assert_eq!(session.get::<u32>("n").unwrap(), Some(6)));
}
