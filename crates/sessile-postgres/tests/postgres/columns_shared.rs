//! The columns table beside another program that reads and writes it, as services in Go do.

use std::collections::BTreeSet;
use std::time::SystemTime;

use sessile_core::codec::{Keyring, Secret};
use sessile_core::{
    Alignment, Config, End, Fate, IdForm, KeyForm, Place, Registry as _, RequestHead, Sessions, Store as _, Sweep,
    Transfer as _, Written,
};
use sessile_postgres::PostgresStore;
use sessile_testkit::conformance;
use sessile_testkit::contract::key;
use sessile_testkit::http::Browser;
use sessile_testkit::postgres::Database;
use tokio_postgres::Client;

use crate::columns::builder;
use crate::signed_in::{at, ends, found, handle, live, revoked, sign_in, tidy};

/// A database, a connection for the other program, and a store.
async fn start() -> (Database, Client, PostgresStore) {
    let database = Database::new().await;
    let (client, store) = (database.client().await, builder(&database).connect().await.unwrap());
    (database, client, store)
}

/// The other program makes a session.
async fn create(client: &Client, id: &str, user: Option<&str>, values: &str) {
    const INSERT: &str = "INSERT INTO sessions (id, user_id, values, created_at, expires_at) \
        VALUES ($1, $2, $3::text::jsonb, '2040-01-01 11:00:00Z', '2040-01-01 13:00:00Z')";
    client.execute(INSERT, &[&id, &user, &values]).await.unwrap();
}

async fn set_user(client: &Client, id: &str, user: Option<&str>) {
    assert_eq!(client.execute("UPDATE sessions SET user_id = $2 WHERE id = $1", &[&id, &user]).await.unwrap(), 1);
}

async fn user(client: &Client, id: &str) -> Option<String> {
    client.query_one("SELECT user_id FROM sessions WHERE id = $1", &[&id]).await.unwrap().get(0)
}

async fn values(client: &Client, id: &str) -> serde_json::Value {
    let row = client.query_one("SELECT values::text FROM sessions WHERE id = $1", &[&id]).await.unwrap();
    serde_json::from_str(row.get(0)).unwrap()
}

fn config() -> Config {
    Config::new(Keyring::new([Secret::dangerous("keyboard cat")]).unwrap()).unwrap().key_form(KeyForm::Raw)
}

#[tokio::test]
async fn a_row_of_another_program_is_a_session_and_a_save_keeps_what_is_in_it() {
    let (_database, client, store) = start().await;
    create(&client, "a", Some("bob"), r#"{"cart":[1]}"#).await;
    let mut read = found(&store, "a").await.unwrap();
    assert_eq!((read.owner.clone(), read.data.get("cart")), (Some("bob".into()), Some("[1]")));
    assert_eq!((read.created_at, read.expires_at), (at(0) - std::time::Duration::from_secs(3_600), at(3_600_000)));
    read.data.insert("views", "7");
    assert_eq!(store.update(&key("a"), &read).await.unwrap(), Written::Done);
    assert_eq!(values(&client, "a").await, serde_json::json!({"cart": [1], "views": 7}));
    assert_eq!(user(&client, "a").await.as_deref(), Some("bob"));
}

/// A write that was made from what another program has changed since is stale: what it says is not undone.
#[tokio::test]
async fn a_sign_out_by_another_program_is_not_overwritten() {
    let (_database, client, store) = start().await;
    create(&client, "a", Some("bob"), "{}").await;
    for (before, now) in [(Some("bob"), None), (None, Some("carol")), (Some("carol"), Some("dave"))] {
        set_user(&client, "a", before).await;
        let mut read = found(&store, "a").await.unwrap();
        read.data.insert("views", "1");
        set_user(&client, "a", now).await;
        assert_eq!(store.update(&key("a"), &read).await.unwrap(), Written::Stale, "{before:?} {now:?}");
        assert_eq!(store.rotate(&key("a"), &key("b"), &read).await.unwrap(), Written::Stale, "{before:?} {now:?}");
        assert_eq!(user(&client, "a").await.as_deref(), now);
        let again = found(&store, "a").await.unwrap();
        assert_eq!(again.owner.as_ref().map(|owner| owner.as_str()), now);
        assert_eq!(store.update(&key("a"), &again).await.unwrap(), Written::Done);
    }
}

/// A request's head with this cookie.
struct Head(Option<String>);

impl RequestHead for Head {
    fn header(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        self.0.iter().filter(|_| name == "cookie").for_each(|cookie| visit(cookie.as_bytes()));
    }
}

/// The same of a whole request: what it did was meant for the user who was there.
#[tokio::test]
async fn a_request_that_meets_a_sign_out_brings_nobody_back() {
    let (_database, client, store) = start().await;
    let sessions = Sessions::new(store, config());
    let exchange = sessions.begin(&Head(None));
    exchange.session().await.unwrap().sign_in("bob").unwrap();
    let cookie = exchange.finish().await.unwrap().unwrap();
    let cookie = cookie.header_value().split(';').next().unwrap().to_owned();
    let only = async || client.query_one("SELECT id, user_id FROM sessions", &[]).await.unwrap();
    assert_eq!(only().await.get::<_, Option<&str>>(1), Some("bob"));

    let exchange = sessions.begin(&Head(Some(cookie.clone())));
    let session = exchange.session().await.unwrap();
    assert_eq!(session.owner(), Some("bob".into()));
    session.insert("views", &1).unwrap();
    client.batch_execute("UPDATE sessions SET user_id = NULL").await.unwrap();
    exchange.finish().await.unwrap();
    let row = only().await;
    assert_eq!(row.get::<_, Option<&str>>(1), None);
    assert_eq!(values(&client, row.get(0)).await.get("views"), None);
    let exchange = sessions.begin(&Head(Some(cookie)));
    assert_eq!(exchange.session().await.unwrap().owner(), None);
}

/// Seen by a request, where ids are shared: the registry knows of a sign-in by another program at once, and of its end.
#[tokio::test]
async fn a_request_tells_the_registry_whom_another_program_signed_in() {
    let (_database, client, store) = start().await;
    let sessions = Sessions::new(store.clone(), config());
    let exchange = sessions.begin(&Head(None));
    exchange.session().await.unwrap().insert("views", &1).unwrap();
    let cookie = exchange.finish().await.unwrap().unwrap();
    let cookie = cookie.header_value().split(';').next().unwrap().to_owned();
    let look = async || {
        let exchange = sessions.begin(&Head(Some(cookie.clone())));
        exchange.session().await.unwrap().owner().map(|user| user.as_str().to_owned())
    };
    let known = async || {
        let sql = "SELECT user_id || ' ' || status FROM sessions_registry ORDER BY created_at, status";
        client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect::<Vec<String>>()
    };
    client.batch_execute("UPDATE sessions SET user_id = 'bob'").await.unwrap();
    assert_eq!(look().await.as_deref(), Some("bob"));
    assert_eq!(known().await, ["bob active"]);
    client.batch_execute("UPDATE sessions SET user_id = NULL").await.unwrap();
    assert_eq!(look().await, None);
    assert_eq!(known().await, ["bob logged_out"]);
}

/// Whatever an application keeps of its user in the data, and is told to keep there.
#[tokio::test]
async fn the_column_says_who_it_is_beside_a_user_key_too() {
    let (_database, client, store) = start().await;
    let sessions = Sessions::new(store, config().user_key("userId").unwrap());
    let exchange = sessions.begin(&Head(None));
    exchange.session().await.unwrap().sign_in("mallory").unwrap();
    let cookie = exchange.finish().await.unwrap().unwrap();
    let cookie = cookie.header_value().split(';').next().unwrap().to_owned();
    let look = async || sessions.begin(&Head(Some(cookie.clone()))).session().await.unwrap().owner();
    assert_eq!(look().await, Some("mallory".into()));
    for (user, owner) in [(Some("bob"), Some("bob".into())), (None, None)] {
        client.execute("UPDATE sessions SET user_id = $1", &[&user]).await.unwrap();
        assert_eq!(look().await, owner);
    }
}

#[tokio::test]
async fn the_sweeper_follows_the_column_of_the_user() {
    let (_database, client, store) = start().await;
    create(&client, "a", Some("bob"), r#"{"userId": "bob"}"#).await;
    create(&client, "b", None, "{}").await;
    assert_eq!(tidy(&store, 10, 100).await.registered, 1);
    assert_eq!(live(&store, "bob").await.len(), 1);
    set_user(&client, "a", Some("carol")).await;
    let tidied = tidy(&store, 20, 100).await;
    assert_eq!((tidied.registered, tidied.ended.len()), (1, 1));
    set_user(&client, "a", None).await;
    assert_eq!(tidy(&store, 30, 100).await.ended.len(), 1);
    assert_eq!((ends(&store, "bob").await, ends(&store, "carol").await), (vec![End::LoggedOut], vec![End::LoggedOut]));
    assert_eq!(store.align(&key("a"), None, at(40)).await.unwrap(), Alignment::Nobody);
}

/// Whoever signs out everywhere means what another program signed in, too.
#[tokio::test]
async fn what_another_program_signed_in_is_revoked_with_the_users_other_sessions() {
    let (_database, client, store) = start().await;
    for (name, user, number) in [("kept", "bob", 1), ("known", "bob", 2), ("was carol's", "carol", 3)] {
        sign_in(&store, name, user, number).await;
    }
    let theirs = [("unseen", Some("bob")), ("expired", Some("bob")), ("other", Some("alice")), ("nobody", None)];
    for (name, user) in theirs {
        create(&client, name, user, "{}").await;
    }
    set_user(&client, "was carol's", Some("bob")).await;
    client.batch_execute("UPDATE sessions SET expires_at = '2040-01-01 11:30:00Z' WHERE id = 'expired'").await.unwrap();
    assert_eq!(store.revoke_all(&"bob".into(), Some(&handle(1)), &revoked(5)).await.unwrap().len(), 3);
    let left = async || {
        let rows = client.query("SELECT id FROM sessions", &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect::<BTreeSet<String>>().into_iter().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(left().await, "expired kept nobody other");
    assert_eq!((ends(&store, "bob").await.len(), ends(&store, "carol").await), (3, vec![End::LoggedOut]));
    // Requests that were in flight save what they had, as if that had just begun.
    for name in ["unseen", "was carol's", "known"] {
        create(&client, name, Some("bob"), "{}").await;
        let began = "UPDATE sessions SET created_at = '2040-01-01 12:30:00Z' WHERE id = $1";
        client.execute(began, &[&name]).await.unwrap();
        assert!(matches!(store.fate(&key(name)).await.unwrap(), Some(Fate::Ended(..))), "{name}");
    }
    assert_eq!(tidy(&store, 10, 100).await.removed, 3);
    assert_eq!(left().await, "expired kept nobody other");
}

/// Ids as services in Go make them, and the keys are the ids.
#[tokio::test]
async fn ids_of_every_form_are_keys_of_the_table() {
    let (_database, client, store) = start().await;
    for (form, length) in [(IdForm::Uuid, 36), (IdForm::Base32, 52), (IdForm::Base64Url, 32)] {
        client.batch_execute("DELETE FROM sessions").await.unwrap();
        let app = conformance::start(Sessions::new(store.clone(), config().id_form(form))).await;
        let browser = Browser::new(&app);
        assert_eq!(browser.request("POST", "/login?user=alice").send().await.status, 200);
        let row = client.query_one("SELECT id, user_id FROM sessions", &[]).await.unwrap();
        assert_eq!((row.get::<_, &str>(0).len(), row.get(1)), (length, Some("alice")));
        assert!(browser.request("GET", "/whoami").send().await.text().contains("alice"));
        assert_eq!(browser.request("POST", "/logout").send().await.status, 200);
        assert!(client.query_opt("SELECT 1 FROM sessions WHERE user_id IS NOT NULL", &[]).await.unwrap().is_none());
    }
}

/// It means something else in every other store. Who is too long a name is nobody's mistake but the other program's.
#[tokio::test]
async fn what_is_no_session_is_an_error_and_left_as_it_is() {
    let (_database, client, store) = start().await;
    create(&client, "cookie", Some("bob"), r#"{"cookie": {"path": "/"}}"#).await;
    create(&client, "null", Some("bob"), "null").await;
    create(&client, "name", Some(&"n".repeat(256)), "{}").await;
    let rows = "SELECT string_agg(s::text, '' ORDER BY id) FROM sessions s";
    let before: String = client.query_one(rows, &[]).await.unwrap().get(0);
    for name in ["cookie", "null", "name"] {
        let error = store.load(&key(name), at(0)).await.unwrap_err();
        assert!(error.is_poisoned(), "{name}: {error:?}");
    }
    tidy(&store, 10, 100).await;
    let after: String = client.query_one(rows, &[]).await.unwrap().get(0);
    assert_eq!(after, before);
}

#[tokio::test]
async fn a_row_without_an_end_is_not_alive() {
    let database = Database::new().await;
    let client = database.client().await;
    let theirs = "CREATE TABLE sessions (id text PRIMARY KEY, user_id text, values jsonb, created_at timestamptz, \
        expires_at timestamptz); INSERT INTO sessions VALUES ('a', 'bob', '{}', now(), NULL), ('b', 'bob', '{}', NULL, '2041-01-01')";
    client.batch_execute(theirs).await.unwrap();
    let store = builder(&database).connect().await.unwrap();
    assert!(found(&store, "a").await.is_none());
    assert_eq!(store.touch(&key("a"), at(0), at(1)).await.unwrap(), Written::Gone);
    assert_eq!(found(&store, "b").await.unwrap().created_at, at(0), "nobody wrote down when it began");
    assert_eq!(Sweep::sweep(&store, at(0), 10).await.unwrap().removed, 0);
    assert_eq!(tidy(&store, 10, 10).await.registered, 1);
}

/// Everything that a store has to tell.
async fn moved(from: &PostgresStore, onto: &PostgresStore) {
    let mut place = Some(sessile_core::Place::default());
    while let Some(at_) = place {
        let (pieces, next) = from.export(&at_, at(0), 2).await.unwrap();
        onto.import(&pieces).await.unwrap();
        place = next;
    }
}

#[tokio::test]
async fn sessions_move_to_connect_pg_simples_table_and_back_and_nobody_is_signed_out() {
    let (_database, client, store) = start().await;
    create(&client, "theirs", Some("bob"), r#"{"cart":[1]}"#).await;
    create(&client, "cart", None, r#"{"cart":[2]}"#).await;
    sign_in(&store, "ours", "alice", 1).await;
    tidy(&store, 0, 100).await;
    let (other, third) = (Database::new().await, Database::new().await);
    let express = PostgresStore::connect(other.url()).await.unwrap();
    let back = builder(&third).connect().await.unwrap();
    moved(&store, &express).await;
    moved(&express, &back).await;
    for there in [&express, &back] {
        for (name, owner) in [("theirs", Some("bob")), ("ours", Some("alice")), ("cart", None)] {
            let (was, is) = (found(&store, name).await.unwrap(), found(there, name).await.unwrap());
            assert_eq!(is.owner.as_ref().map(|owner| owner.as_str()), owner, "{name}");
            let seen = |record: &sessile_core::Record| (record.created_at, record.expires_at, record.handle.clone());
            assert_eq!(seen(&is), seen(&was), "{name}");
            assert_eq!(is.data.get("cart").map(str::to_owned), was.data.get("cart").map(str::to_owned), "{name}");
            assert_eq!(is.authenticated_at(), was.authenticated_at(), "{name}");
        }
        assert_eq!((live(there, "alice").await.len(), live(there, "bob").await.len()), (1, 1));
    }
    assert_eq!(user(&third.client().await, "theirs").await.as_deref(), Some("bob"));
}

/// The other program saves with an upsert, and signs in and out in place.
#[tokio::test]
async fn the_guard_keeps_what_ended_and_follows_the_column_of_the_user() {
    let (_database, client, store) = start().await;
    let error = store.guard(Some("userId")).await.unwrap_err();
    assert!(error.is_config() && error.to_string().contains("leave session.user_key out"), "{error}");
    store.guard(None).await.unwrap().apply().await.unwrap();
    let save = async |id: &str, user: Option<&str>| {
        const UPSERT: &str = "INSERT INTO sessions (id, user_id, values, created_at, expires_at) \
            VALUES ($1, $2, '{}', now(), '2040-01-01 13:00:00Z') ON CONFLICT (id) DO UPDATE \
            SET user_id = excluded.user_id, values = excluded.values, expires_at = excluded.expires_at";
        client.execute(UPSERT, &[&id, &user]).await.unwrap();
    };
    save("a", Some("bob")).await;
    assert_eq!(live(&store, "bob").await.len(), 1, "a sign-in is known at once");
    save("a", Some("carol")).await;
    assert_eq!((ends(&store, "bob").await, live(&store, "carol").await.len()), (vec![End::LoggedOut], 1));
    let ending = revoked(5);
    assert_eq!(store.revoke_all(&"carol".into(), None, &ending).await.unwrap().len(), 1);
    save("a", Some("carol")).await;
    assert!(found(&store, "a").await.is_none(), "a request in flight does not bring it back");
    sign_in(&store, "b", "alice", 1).await;
    assert_eq!(live(&store, "alice").await.len(), 1, "the store's own sign-ins are left alone");
    save("b", None).await;
    assert_eq!(ends(&store, "alice").await, [End::LoggedOut]);
    client.batch_execute("DELETE FROM sessions").await.unwrap();
    store.unguard().await.unwrap().apply().await.unwrap();
    save("a", Some("carol")).await;
    assert!(store.load(&key("a"), SystemTime::UNIX_EPOCH).await.unwrap().is_some(), "without the guard it comes back");
}

/// What ended while it was exported has a row in the export, and an end behind it.
#[tokio::test]
async fn an_import_is_not_taken_for_sign_ins_by_the_guard() {
    let ((_theirs, _, from), (_ours, _, to)) = (start().await, start().await);
    to.guard(None).await.unwrap().apply().await.unwrap();
    sign_in(&from, "stays", "alice", 1).await;
    sign_in(&from, "leaves", "alice", 2).await;
    let all = async |kind| from.export(&Place { kind, after: None }, at(0), 100).await.unwrap().0;
    let sessions = all(0).await;
    assert!(from.remove(&key("leaves"), &revoked(5)).await.unwrap());
    to.import(&sessions).await.unwrap();
    for kind in 1..5 {
        to.import(&all(kind).await).await.unwrap();
    }
    assert_eq!(live(&to, "alice").await, live(&from, "alice").await, "with the handle that it had");
    assert!(found(&to, "leaves").await.is_none() && found(&to, "stays").await.is_some());
}
