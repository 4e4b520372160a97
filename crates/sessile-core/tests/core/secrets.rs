//! P9: no id, secret or stored value in any `Debug`, nor in any error down to its last source.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fmt::Debug;
use std::time::Duration;

use sessile_core::codec::{CookieCodec, Decoded, ExpressCodec, Keyring, Secret};
use sessile_core::{
    Clock, Config, Cookie, Data, Error, KeyForm, MemoryStore, Record, Session, SessionId, Sessions, Store, StoreKey,
};

use crate::support::{Browser, DAY, Head, at, block_on, config, express, house};

/// Each may be printed nowhere.
const ID: &str = "xK9-the-session-id-itself";
const KEY: &str = "the-secret-that-signs-9f3Qp7Lm2Zt8";
const VALUE: &str = "4111-1111-1111-1111";

fn assert_silent(what: &str, printed: &str) {
    let hashed = StoreKey::new(&id(), KeyForm::Sha256);
    for secret in [ID, KEY, VALUE, "4111", hashed.as_str()] {
        assert!(!printed.contains(secret), "{what} tells {secret:?}: {printed}");
    }
}

fn id() -> SessionId {
    SessionId::parse(ID).unwrap()
}

fn document() -> String {
    format!(r#"{{"cookie":{{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"}},"card":"{VALUE}"}}"#)
}

fn record() -> Record {
    Record::stored(&StoreKey::new(&id(), KeyForm::Raw), document(), at(u64::MAX >> 20), at(0)).unwrap()
}

#[test]
fn nothing_that_holds_a_secret_prints_it() {
    let keyring = || Keyring::new([Secret::new(KEY).unwrap()]).unwrap();
    let (codec, store) = (ExpressCodec::new(keyring()), MemoryStore::new());
    let key = StoreKey::new(&id(), KeyForm::Raw);
    let _ = block_on(store.insert(&key, &record())).unwrap();
    let sessions = Sessions::new(store.clone(), Config::express(KEY).unwrap());
    let value = codec.encode("connect.sid", &id(), std::time::UNIX_EPOCH);
    let decoded: Decoded = codec.decode("connect.sid", value.as_bytes(), std::time::UNIX_EPOCH).unwrap();

    let exchange = sessions.begin(&Head::with_cookie(format!("connect.sid={value}")));
    let before = format!("{exchange:?}{exchange:#?}");
    let session: Session = block_on(exchange.session()).unwrap();
    assert_eq!(session.get::<String>("card").unwrap().as_deref(), Some(VALUE), "it is there to be told");
    session.insert("other", &[VALUE]).unwrap();
    session.sign_in("alice").unwrap();
    let during = format!("{exchange:?}{session:#?}");
    let cookie = block_on(exchange.finish()).unwrap().unwrap();

    let printed: [(&str, &dyn Debug); 15] = [
        ("SessionId", &id()),
        ("StoreKey", &key),
        ("StoreKey, hashed", &StoreKey::new(&id(), KeyForm::Sha256)),
        ("Decoded", &decoded),
        ("Secret", &Secret::dangerous(KEY)),
        ("Keyring", &keyring()),
        ("ExpressCodec", &codec),
        ("Config", &Config::new(KEY).unwrap()),
        ("Sessions", &sessions),
        ("Exchange", &exchange),
        ("Session", &session),
        ("Record", &record()),
        ("Revision", &record().revision),
        ("Data", &Data::parse(document().into()).unwrap()),
        ("MemoryStore", &store),
    ];
    for (what, it) in printed {
        assert_silent(what, &format!("{it:?}{it:#?}"));
    }
    assert_silent("Exchange, before and during", &(before + &during));
    let new_id = cookie.header_value().split(['=', '.']).nth(1).unwrap();
    assert!(!format!("{cookie:?}").contains(new_id.trim_start_matches("s%3A")), "SetCookie");
    assert_silent("descriptions", &sessions.description().concat());
}

/// An error and everything below it, as a logger might print it.
fn told(error: &Error) -> String {
    let mut told = format!("{error}{error:?}{error:#?}{}{}", error.public_message(), error.public_json());
    let mut source = error.source();
    while let Some(below) = source {
        told += &format!("{below}{below:?}{below:#?}");
        source = below.source();
    }
    told
}

#[test]
fn no_error_tells_an_id_a_secret_or_a_stored_value() {
    let mut errors: Vec<(String, Error)> = Vec::new();
    let mut provoke = |what: &str, error: Option<Error>| {
        errors.push((what.to_owned(), error.unwrap_or_else(|| panic!("{what} went well"))));
    };

    // Values that are not what the handler takes them for.
    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Other {
        #[serde(rename = "x")]
        _x: u8,
    }
    #[derive(Debug, serde::Deserialize)]
    enum Kind {
        A,
    }
    let (sessions, store, clock) = house(config().max_data(200));
    let mut browser = Browser::default();
    browser.visit(&sessions, |session| {
        session.insert("card", VALUE).unwrap();
        session.insert("map", &BTreeMap::from([(VALUE, VALUE)])).unwrap();
        session.insert("flash", VALUE).unwrap();
        provoke("get a number", session.get::<u8>("card").err());
        provoke("get an enum", session.get::<Kind>("card").map(|kind| matches!(kind, Some(Kind::A))).err());
        provoke("get a struct", session.get::<Other>("map").err());
        provoke("get a duration", session.get::<Duration>("card").err());
        provoke("take a number", session.take::<u8>("card").err());
        provoke("update a number", session.update("card", |n: Option<u8>| n.unwrap_or(0)).err());
        provoke("flash", session.flash("info", VALUE).err());
        provoke("take flashes", session.take_flashes().err());
        provoke("too large", session.insert("big", &VALUE.repeat(100)).err());
        provoke("U+0000", session.insert("nul", &format!("{VALUE}\0")).err());
        provoke("a key that is none", session.insert("m", &BTreeMap::from([((VALUE, 1), VALUE)])).err());
        provoke("a reserved key", session.insert("cookie", VALUE).err());
        provoke("nobody", session.authenticate_again().err());
        session.end().unwrap();
        provoke("sign in after end", session.sign_in(VALUE).err());
    });

    // Rows that cannot be read.
    let key = StoreKey::new(&id(), KeyForm::Raw);
    let rows = [
        VALUE.to_owned(),
        format!("\"{VALUE}\""),
        format!("[\"{VALUE}\"]"),
        format!("{{\"card\":\"{VALUE}\"}}"),
        format!("{{\"card\":\"{VALUE}\""),
        format!("{{\"card\":\"{VALUE}\"}} {VALUE}"),
        format!("{{\"cookie\":\"{VALUE}\"}}"),
        format!("{{\"cookie\":{{\"originalMaxAge\":\"{VALUE}\"}}}}"),
        format!("{{\"cookie\":{{\"httpOnly\":\"{VALUE}\"}}}}"),
        format!("{{\"cookie\":{{\"partitioned\":\"{VALUE}\"}}}}"),
        format!("{{\"cookie\":{{}},\"sessile\":\"{VALUE}\"}}"),
        format!("{{\"cookie\":{{}},\"sessile\":{{\"idle\":\"{VALUE}\"}}}}"),
        format!("{{\"cookie\":{{}},\"{VALUE}\":\"{VALUE}\",\"deep\":{}1{}}}", "[".repeat(5_000), "]".repeat(5_000)),
    ];
    for row in rows {
        provoke(&format!("row {row:.40}"), Record::stored(&key, row, clock.now(), clock.now()).err());
    }

    // A store that fails in the middle, a session that is gone, a response that has left.
    for op in ["load", "update", "rotate", "remove"] {
        let (sessions, store, _) = house(express());
        let mut browser = Browser::default();
        browser.visit(&sessions, |session| session.insert("card", VALUE)).unwrap();
        store.fail(op, || Error::unavailable("the database is away").with_source("connection refused"));
        let edit = |session: &Session| match op {
            "rotate" => session.sign_in(VALUE),
            "remove" => session.end(),
            _ => session.insert("card", &[VALUE]),
        };
        provoke(op, browser.try_visit(&sessions, |session| edit(session).unwrap()).err());
    }
    let mut browser = Browser::default();
    browser.visit(&sessions, |session| session.insert("card", VALUE)).unwrap();
    let slow = browser.begin(&sessions);
    let late = block_on(slow.session()).unwrap();
    late.sign_in(VALUE).unwrap();
    browser.visit(&sessions, |session| session.end()).unwrap();
    provoke("gone", block_on(slow.finish()).err());
    provoke("late", late.insert("card", VALUE).err());
    provoke("finished twice", block_on(slow.finish()).err());
    assert_eq!(store.live(clock.now() + DAY).len(), 0);

    // Settings.
    for weak in [&KEY[..20], &VALUE.repeat(3), &format!("change-me-{KEY}")] {
        provoke("a weak secret", Secret::new(weak).err().filter(|error| !told(error).contains(weak)));
    }
    provoke("no secret", Keyring::new([]).err());
    provoke("a cookie", config().cookie(Cookie::new("__Host-sid").path("/x")).err());
    provoke("a user key", config().user_key("cookie").err());

    assert!(errors.len() > 30);
    for (what, error) in &errors {
        assert_silent(what, &told(error));
    }
}

#[test]
fn what_a_browser_is_told_says_nothing_of_the_store_or_the_program() {
    let (sessions, store, _) = house(config());
    let mut browser = Browser::default();
    browser.visit(&sessions, |session| session.insert("card", VALUE)).unwrap();
    type Failure = (fn() -> Error, &'static str);
    let failures: [Failure; 3] = [
        (
            || Error::unavailable("db1.internal:5432 is away"),
            r#"{"error":"the session store is not available, try again"}"#,
        ),
        (|| Error::poisoned("row 7 of table session"), r#"{"error":"this session cannot be read"}"#),
        (|| Error::config("SESSION_SECRET is 3 bytes"), r#"{"error":"internal error"}"#),
    ];
    for (failure, body) in failures {
        store.fail("load", failure);
        assert_eq!(browser.try_visit(&sessions, |_| ()).unwrap_err().public_json(), body);
    }
}
