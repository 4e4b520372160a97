//! The example for teams that come from Go, over a table that a Go service made: whoever signed in there is signed in here,
//! and the other way round.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking")]

#[path = "../../sessile/examples/beside_go.rs"]
#[allow(dead_code, reason = "its `main` is for those who run it")]
mod beside_go;

use std::time::SystemTime;

use sessile::codec::{CookieCodec as _, GorillaCodec, KeyPair, Secret};
use sessile::{PostgresStore, SessionId, Sessions, TableKind};
use sessile_testkit::http::Browser;
use sessile_testkit::postgres::Database;

const AUTH_KEY: &str = "gUnXRPzrkuQ0rDtBSHXmFJC2AbVBv4Ds";

/// As a Go service makes it, with a session that it began.
const TABLE: &str = r#"
    CREATE TABLE sessions (
      id text PRIMARY KEY,
      user_id text NOT NULL,
      "values" jsonb NOT NULL,
      created_at timestamptz NOT NULL,
      expires_at timestamptz NOT NULL
    );
    INSERT INTO sessions VALUES
      ('ONXW2ZJAON2HE2LOM4QG6ZRAMZUWM5DZFV2HO3ZAMNUGC4TBMN2A', 'bob', '{"visits": 41}', now(), now() + interval '1 hour');
"#;

/// As `securecookie.New(authKey, nil)` writes it.
fn cookie_of_go(id: &str) -> String {
    let codec = GorillaCodec::new([KeyPair::new(Secret::new(AUTH_KEY).unwrap()).unwrap()]).unwrap();
    codec.encode("session", &SessionId::parse(id).unwrap(), SystemTime::now())
}

async fn served(database: &Database) -> String {
    let store = PostgresStore::builder(database.url()).table("sessions").table_kind(TableKind::Columns);
    let sessions = Sessions::new(store.connect().await.unwrap(), beside_go::config(AUTH_KEY).unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, beside_go::app(sessions)).await });
    format!("http://{address}")
}

#[tokio::test]
async fn who_signed_in_with_go_goes_on_in_rust() {
    let database = Database::new().await;
    database.client().await.batch_execute(TABLE).await.unwrap();
    let browser = Browser::new(&served(&database).await);
    assert_eq!(browser.get("/profile").send().await.status, 303, "nobody is signed in");
    browser.set_cookie("session", &cookie_of_go("ONXW2ZJAON2HE2LOM4QG6ZRAMZUWM5DZFV2HO3ZAMNUGC4TBMN2A"));
    assert!(browser.get("/profile").send().await.text().starts_with("bob, visit 42, "));

    assert_eq!(browser.post("/logout").send().await.text(), "signed out");
    let left = database.client().await.query_one("SELECT count(*) FROM sessions", &[]).await.unwrap();
    assert_eq!(left.get::<_, i64>(0), 0, "Go finds no session either");
}

#[tokio::test]
async fn who_signs_in_with_rust_is_known_to_go() {
    let database = Database::new().await;
    database.client().await.batch_execute(TABLE).await.unwrap();
    let browser = Browser::new(&served(&database).await);
    let login = browser.post("/login").header("Content-Type", "application/x-www-form-urlencoded");
    assert_eq!(login.body("user=ada&password=analytical").send().await.status, 303);
    assert!(browser.get("/profile").send().await.text().starts_with("ada, visit 1, "));

    let row = "SELECT id, values->>'visits' FROM sessions WHERE user_id = 'ada' AND expires_at > now()";
    let row = database.client().await.query_one(row, &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(1), "1");
    let id: &str = row.get(0);
    assert!(id.len() == 52 && id.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()), "base32");
    let codec = GorillaCodec::new([KeyPair::new(Secret::new(AUTH_KEY).unwrap()).unwrap()]).unwrap();
    let cookie = browser.cookie("session").unwrap();
    assert_eq!(codec.decode("session", cookie.as_bytes(), SystemTime::now()).unwrap().id.expose(), id);
}
