//! Rows that another program writes while Sessile does.

use sessile_core::{
    Alignment, Fate, IdForm, KeyForm, Place, RequestHead, Search, Session, SessionId, SetCookie, Status, StoreKey,
    Tidy, Transfer as _,
};
use sessile_testkit::clock::ManualClock;
use sessile_testkit::contract::signed_out;
use sessile_testkit::spy::{Call, SpyStore};

use super::*;

async fn load(store: &SqliteStore, name: &str) -> Record {
    store.load(&key(name), at(0)).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_row_that_another_program_inserted_is_a_session() {
    let columns = Columns::new();
    let store = columns.store().await;
    columns.row("a", Some("bob"), r#"{"cart":[1],  "theme" : "dark"}"#);
    let record = load(&store, "a").await;
    assert_eq!((record.owner.as_ref().map(UserId::as_str), record.data.get("cart")), (Some("bob"), Some("[1]")));
    assert_eq!((record.created_at, record.expires_at), (at(0) - Duration::from_millis(3_599_750), at(3_600_000)));
    assert_eq!(record.authenticated_at(), None, "nobody knows when bob proved who he is");

    let mut changed = record;
    changed.data.insert("seen", "true");
    assert_eq!(store.update(&key("a"), &changed).await.unwrap(), Written::Done);
    let (user, values, created_at) = columns.read("a");
    assert_eq!(user.as_deref(), Some("bob"));
    assert_eq!(values, r#"{"cart":[1],"theme":"dark","seen":true}"#);
    assert_eq!(created_at, "2040-01-01 11:00:00.250", "an update leaves the beginning as it was written");
}

/// As a program in Go does that hands over what `json.Marshal` gave: SQLite keeps bytes as bytes, whatever the column's type.
#[tokio::test]
async fn values_that_another_program_wrote_as_bytes_are_values() {
    let columns = Columns::new();
    let store = columns.store().await;
    columns.row("a", Some("bob"), r#"{"cart":[1]}"#);
    columns.0.execute("UPDATE sessions SET \"values\" = CAST(\"values\" AS BLOB)", []);
    let mut record = load(&store, "a").await;
    assert_eq!(record.data.get("cart"), Some("[1]"));
    assert_eq!(store.export(&Place::default(), at(0), 10).await.unwrap().0.len(), 1);
    store.tidy(&Tidy { now: at(0), history: Duration::MAX, user_key: None, limit: 100 }).await.unwrap();
    assert_eq!(devices(&store, "bob").await.len(), 1, "the sweeper finds whom it signed in");
    record.data.insert("cart", "[1,2]");
    assert_eq!(store.update(&key("a"), &record).await.unwrap(), Written::Done);
    columns.0.execute("UPDATE sessions SET \"values\" = CAST(\"values\" AS BLOB)", []);
    let record = load(&store, "a").await;
    assert_eq!(store.rotate(&key("a"), &key("b"), &record).await.unwrap(), Written::Done);
}

/// Each of a request's writes compares the user, whichever way another program wrote that nobody is signed in any more.
#[tokio::test]
async fn a_user_whom_another_program_signed_out_is_not_brought_back() {
    for nobody in ["NULL", "''", "'carol'"] {
        let columns = Columns::new();
        let store = columns.store().await;
        columns.row("a", Some("bob"), r#"{"cart":[1]}"#);
        let mut record = load(&store, "a").await;
        columns.0.execute(&format!("UPDATE sessions SET user_id = {nobody} WHERE id = 'a'"), []);
        let before = columns.read("a");
        record.data.insert("cart", "[1,2]");
        assert_eq!(store.update(&key("a"), &record).await.unwrap(), Written::Stale, "{nobody}");
        assert_eq!(store.rotate(&key("a"), &key("b"), &record).await.unwrap(), Written::Stale, "{nobody}");
        record.owner = Some("dave".into());
        let answer = store.sign_in(Some(&key("a")), &key("b"), &record, &signing_in(None)).await.unwrap();
        assert_eq!(answer, SignedIn::Stale, "{nobody}");
        assert_eq!(columns.read("a"), before, "{nobody}");
        assert!(!is_there(&store, "b").await && devices(&store, "dave").await.is_empty(), "{nobody}");
        // Read again, it can be written.
        let fresh = load(&store, "a").await;
        assert_eq!(fresh.owner.as_ref().map(UserId::as_str), Some("carol").filter(|_| nobody.contains("carol")));
        assert_eq!(store.update(&key("a"), &fresh).await.unwrap(), Written::Done, "{nobody}");
    }
}

/// A request's head with this cookie, or without one.
struct Head(Option<String>);

impl RequestHead for Head {
    fn header(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        self.0.iter().filter(|_| name == "cookie").for_each(|cookie| visit(cookie.as_bytes()));
    }
}

fn cookie(set_cookie: Option<SetCookie>) -> Option<String> {
    set_cookie.and_then(|cookie| cookie.header_value().split(';').next().map(str::to_owned))
}

/// One request; the cookie that came back.
async fn request(sessions: &Sessions, with: Option<&String>, handler: impl FnOnce(&Session)) -> Option<String> {
    let exchange = sessions.begin(&Head(with.cloned()));
    handler(&exchange.session().await.unwrap());
    cookie(exchange.finish().await.unwrap())
}

async fn shared(columns: &Columns, id_form: IdForm) -> (Sessions, ManualClock) {
    let (config, clock) = (Config::new("a secret that is long enough to sign with").unwrap(), ManualClock::new(at(0)));
    let config = config.clock(clock.clone()).key_form(KeyForm::Raw).id_form(id_form);
    (Sessions::new(columns.store().await, config), clock)
}

/// How many devices bob has.
async fn bobs(sessions: &Sessions) -> usize {
    sessions.devices().list(&"bob".into(), &Page::first(9)).await.unwrap().devices.len()
}

/// A browser's way through both programs, with the ids that the other one expects.
#[tokio::test]
async fn sessions_are_shared_with_a_program_that_signs_users_in_and_out() {
    for (id_form, length) in [(IdForm::Uuid, 36), (IdForm::Base32, 52), (IdForm::Base64Url, 32)] {
        let columns = Columns::new();
        let (sessions, _) = shared(&columns, id_form).await;
        let browser = request(&sessions, None, |session| session.insert("cart", &[1]).unwrap()).await;
        let id: String = columns.0.connection().query_row("SELECT id FROM sessions", [], |row| row.get(0)).unwrap();
        assert_eq!(id.len(), length, "the row's key is the id itself");
        assert_eq!(columns.user(&id), None);

        columns.0.execute("UPDATE sessions SET user_id = 'bob'", []);
        request(&sessions, browser.as_ref(), |session| {
            assert_eq!(session.owner(), Some("bob".into()));
            assert_eq!(session.get::<Vec<u8>>("cart").unwrap(), Some(vec![1]));
            session.insert("more", &true).unwrap();
        })
        .await;
        let (user, values, _) = columns.read(&id);
        assert!(user.as_deref() == Some("bob") && values.contains(r#""more":true"#), "{user:?} {values}");
        assert_eq!(bobs(&sessions).await, 1, "whoever the other program signed in is in the list");

        columns.0.execute("UPDATE sessions SET user_id = NULL", []);
        request(&sessions, browser.as_ref(), |session| assert_eq!(session.owner(), None)).await;
        assert_eq!(bobs(&sessions).await, 0);

        let new = request(&sessions, browser.as_ref(), |session| session.sign_in("carol").unwrap()).await;
        assert!(new.is_some() && new != browser);
        let sql = "SELECT count(*) FROM sessions WHERE user_id = 'carol' AND id <> ?1";
        let carols: i64 = columns.0.connection().query_row(sql, [&id], |row| row.get(0)).unwrap();
        assert_eq!((carols, columns.0.number("SELECT count(*) FROM sessions")), (1, 1));
        request(&sessions, new.as_ref(), |session| session.end().unwrap()).await;
        assert_eq!(columns.0.number("SELECT count(*) FROM sessions"), 0);
    }
}

/// A request that began while the user was signed in does not sign them in again, and what it wrote for them goes.
#[tokio::test]
async fn a_sign_out_by_another_program_in_the_middle_of_a_request_holds() {
    let columns = Columns::new();
    let (sessions, _) = shared(&columns, IdForm::Uuid).await;
    let browser = request(&sessions, None, |session| session.sign_in("bob").unwrap()).await;
    let exchange = sessions.begin(&Head(browser.clone()));
    let session = exchange.session().await.unwrap();
    session.insert("balance", &100).unwrap();
    columns.0.execute("UPDATE sessions SET user_id = NULL", []);
    exchange.finish().await.unwrap();
    assert_eq!(columns.0.number("SELECT count(*) FROM sessions WHERE user_id IS NULL"), 1);
    request(&sessions, browser.as_ref(), |session| {
        assert_eq!((session.owner(), session.get::<u8>("balance").unwrap()), (None, None));
    })
    .await;
}

/// No try more: what was written is known, though the table has another spelling of it than the record.
#[tokio::test]
async fn what_was_saved_in_the_middle_of_a_request_is_what_its_end_compares() {
    let columns = Columns::new();
    let spy = SpyStore::new(columns.store().await);
    let sessions = Sessions::new(spy.clone(), Config::new("a secret that is long enough to sign with").unwrap());
    let browser = request(&sessions, None, |session| session.insert("cart", &[1]).unwrap()).await;
    spy.clear();
    let exchange = sessions.begin(&Head(browser));
    for cart in [[1, 2], [3, 4]] {
        exchange.session().await.unwrap().insert("cart", &cart).unwrap();
        exchange.save().await.unwrap();
    }
    exchange.finish().await.unwrap();
    assert_eq!(spy.calls(), [Call::Load, Call::Update, Call::Update]);
}

#[tokio::test]
async fn the_beginning_stays_with_a_session_until_it_is_another_users() {
    let columns = Columns::new();
    let (sessions, clock) = shared(&columns, IdForm::Uuid).await;
    let begun = || -> String {
        columns.0.connection().query_row("SELECT created_at FROM sessions", [], |row| row.get(0)).unwrap()
    };
    let mut browser = request(&sessions, None, |session| session.insert("cart", &[1]).unwrap()).await;
    for (user, expected) in [("alice", "12:00:00.000"), ("alice", "12:00:00.000"), ("bob", "12:03:00.000")] {
        clock.advance(Duration::from_secs(60));
        browser = request(&sessions, browser.as_ref(), |session| session.sign_in(user).unwrap()).await;
        assert_eq!(begun(), format!("2040-01-01 {expected}"), "{user}");
    }
}

#[tokio::test]
async fn a_key_of_every_form_fits() {
    let columns = Columns::new();
    let store = columns.store().await;
    for id_form in [IdForm::Uuid, IdForm::Base32, IdForm::Base64Url] {
        for key_form in [KeyForm::Raw, KeyForm::Sha256] {
            let key = StoreKey::new(&SessionId::of_form(id_form).unwrap(), key_form);
            columns.row(key.as_str(), Some("bob"), "{}");
            let record = store.load(&key, at(0)).await.unwrap().unwrap();
            assert_eq!(store.update(&key, &record).await.unwrap(), Written::Done);
            assert!(store.remove(&key, &signed_out()).await.unwrap());
        }
    }
}

#[tokio::test]
async fn a_row_that_is_no_session_is_an_error_and_is_left() {
    let long = "u".repeat(256);
    let rows = [
        (None, r#"{"cookie":{"path":"/"},"secret":1}"#, "`cookie`"),
        (None, r#"[{"secret":1}]"#, "one JSON object"),
        (None, "no JSON: secret", "one JSON object"),
        (Some(long.as_str()), r#"{"secret":1}"#, "1 to 255 bytes"),
    ];
    for (user, values, told) in rows {
        let columns = Columns::new();
        let store = columns.store().await;
        columns.row("a", user, values);
        for _ in 0..2 {
            let error = store.load(&key("a"), at(0)).await.unwrap_err();
            assert!(error.is_poisoned() && error.to_string().contains(told), "{values}: {error}");
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
        let tidied = store.tidy(&tidy(None)).await.unwrap();
        assert_eq!((tidied.registered, tidied.removed, sweep(&store, at(0)).await), (0, 0, 0));
        assert_eq!(columns.read("a").1, values);
        assert!(store.remove(&key("a"), &signed_out()).await.unwrap());
    }
}

/// PostgreSQL's columns take NULL, so a table that comes from there does.
#[tokio::test]
async fn what_is_null_is_told_from_what_is_there() {
    let columns = Columns::with(NULLABLE);
    let store = columns.store().await;
    for set in ["created_at = NULL", "created_at = 'long ago'"] {
        columns.row("a", None, "{}");
        columns.0.execute(&format!("UPDATE sessions SET {set}"), []);
        assert_eq!(load(&store, "a").await.created_at, at(0), "nobody knows, so it is now");
        assert!(store.remove(&key("a"), &signed_out()).await.unwrap());
    }
    columns.row("a", None, "{}");
    columns.0.execute(r#"UPDATE sessions SET "values" = NULL"#, []);
    assert!(store.load(&key("a"), at(0)).await.unwrap_err().is_poisoned());
}

#[tokio::test]
async fn a_row_without_an_end_is_not_alive_and_is_left() {
    let columns = Columns::with(NULLABLE);
    let store = columns.store().await;
    columns.row("a", Some("bob"), "{}");
    let record = load(&store, "a").await;
    columns.0.execute("UPDATE sessions SET expires_at = NULL", []);
    assert!(store.load(&key("a"), at(0)).await.unwrap().is_none());
    assert_eq!(store.update(&key("a"), &record).await.unwrap(), Written::Gone);
    assert_eq!(store.rotate(&key("a"), &key("b"), &record).await.unwrap(), Written::Gone);
    assert_eq!(store.touch(&key("a"), at(0), at(60_000)).await.unwrap(), Written::Gone);
    assert_eq!(store.insert(&key("a"), &record).await.unwrap(), Written::Stale);
    let device = record.device(DeviceFacts::default()).unwrap();
    assert_eq!(store.align(&key("a"), device.as_ref(), at(0)).await.unwrap(), Alignment::Over);
    assert_eq!(store.tidy(&tidy(None)).await.unwrap().registered, 0);
    assert_eq!((sweep(&store, at(9_000_000)).await, columns.user("a").as_deref()), (0, Some("bob")));
    assert!(store.remove(&key("a"), &signed_out()).await.unwrap());
}

/// As drivers for Go write them.
#[tokio::test]
async fn times_count_in_every_form_that_sqlite_knows() {
    let columns = Columns::new();
    let store = columns.store().await;
    for (begun, end) in [
        ("2040-01-01 11:00:00+00:00", "2040-01-01 12:00:10+00:00"),
        ("2040-01-01T11:00:00Z", "2040-01-01T12:00:10.000Z"),
        ("2040-01-01 13:00:00.000000000+02:00", "2040-01-01 14:00:10.000000000+02:00"),
    ] {
        columns.row("a", Some("bob"), "{}");
        columns.0.execute("UPDATE sessions SET created_at = ?1, expires_at = ?2", (begun, end));
        let record = store.load(&key("a"), at(10_000)).await.unwrap().unwrap();
        assert_eq!((record.created_at, record.expires_at), (at(0) - Duration::from_secs(3_600), at(10_000)), "{end}");
        assert!(store.load(&key("a"), at(10_001)).await.unwrap().is_none(), "{end}");
        assert_eq!(sweep(&store, at(10_000)).await, 0, "{end}");
        assert_eq!(sweep(&store, at(24 * 60 * 60 * 1_000)).await, 1, "{end}");
    }
    columns.row("a", None, "{}");
    columns.0.execute("UPDATE sessions SET expires_at = 'tomorrow'", []);
    let error = store.load(&key("a"), at(0)).await.unwrap_err();
    assert!(error.is_poisoned() && error.to_string().contains("`expires_at`"), "{error}");
}

fn tidy(user_key: Option<&str>) -> Tidy<'_> {
    Tidy { now: at(1_000), history: Duration::from_secs(86_400), user_key, limit: 1_000 }
}

/// The column counts, whatever lies under a key that Express apps use.
#[tokio::test]
async fn whom_another_program_signed_in_and_out_is_registered_by_the_sweeper() {
    let columns = Columns::new();
    let store = columns.store().await;
    columns.row("a", Some("bob"), r#"{"userId":"alice"}"#);
    columns.row("b", Some(""), r#"{"userId":"alice"}"#);
    columns.row("c", None, r#"{"userId":"alice"}"#);
    signed_in(&store, "d", "dave", 1).await;
    for user_key in [Some("userId"), None] {
        let tidied = store.tidy(&tidy(user_key)).await.unwrap();
        assert_eq!(tidied.registered, u64::from(user_key.is_some()), "bob, once");
        assert!(tidied.ended.is_empty() && devices(&store, "alice").await.is_empty());
    }
    let bobs = devices(&store, "bob").await;
    assert_eq!((bobs.len(), bobs[0].created_at), (1, at(0) - Duration::from_millis(3_599_750)));

    columns.0.execute(
        "UPDATE sessions SET user_id = CASE id WHEN 'a' THEN NULL ELSE 'carol' END WHERE id IN ('a', 'd')",
        [],
    );
    let tidied = store.tidy(&tidy(None)).await.unwrap();
    assert_eq!((tidied.registered, tidied.ended.len()), (1, 2));
    assert_eq!((ends(&store, "bob").await[0].1.end, ends(&store, "dave").await.len()), (End::LoggedOut, 1));
    let live = Search { status: Some(Status::Live), ..Search::default() };
    let found = store.search(&live, at(0), &Page::first(9)).await.unwrap();
    assert_eq!(found.iter().map(|device| device.owner.as_str()).collect::<Vec<_>>(), ["carol"]);
}

/// Whoever signs out everywhere means those sign-ins, too.
#[tokio::test]
async fn what_another_program_signed_in_is_revoked_with_the_users_other_sessions() {
    let columns = Columns::new();
    let store = columns.store().await;
    for (name, user, number) in [("kept", "bob", 1), ("known", "bob", 2), ("was carol's", "carol", 3)] {
        signed_in(&store, name, user, number).await;
    }
    let theirs = [("unseen", Some("bob")), ("expired", Some("bob")), ("other", Some("alice")), ("nobody", None)];
    for (name, user) in theirs {
        columns.row(name, user, "{}");
    }
    columns.0.execute("UPDATE sessions SET user_id = 'bob' WHERE id = 'was carol''s'", []);
    columns.0.execute("UPDATE sessions SET expires_at = '2040-01-01 11:30:00' WHERE id = 'expired'", []);
    assert_eq!(store.revoke_all(&"bob".into(), Some(&handle(1)), &revoked(5)).await.unwrap().len(), 3);
    let left = || {
        let sql = "SELECT group_concat(id, ' ') FROM (SELECT id FROM sessions ORDER BY id)";
        columns.0.connection().query_row(sql, [], |row| row.get::<_, String>(0)).unwrap()
    };
    assert_eq!(left(), "expired kept nobody other");
    assert_eq!((ends(&store, "bob").await.len(), ends(&store, "carol").await[0].1.end), (3, End::LoggedOut));
    // Requests that were in flight save what they had, as if that had just begun.
    for name in ["unseen", "was carol's", "known"] {
        columns.row(name, Some("bob"), "{}");
        columns.0.execute("UPDATE sessions SET created_at = '2040-01-01 12:30:00' WHERE id = ?1", [name]);
        assert!(matches!(store.fate(&key(name)).await.unwrap(), Some(Fate::Ended(..))), "{name}");
    }
    assert_eq!(store.tidy(&tidy(None)).await.unwrap().removed, 3);
    assert_eq!(left(), "expired kept nobody other");
}
