//! The guard, in the database of an unmodified Express: what has ended stays so, and the registry follows Express.

use serde_json::{Value, json};
use sessile::{PostgresStore, Record, StoreKey};
use sessile_interop::{Both, SECRET, SIDES, Side, config};
use sessile_testkit::postgres::Database;
use std::time::Duration;

/// Both sides, the guard installed if that is wanted.
async fn both(resave: bool, guarded: bool) -> Both {
    let options = json!({"resave": resave, "cookie": {"maxAge": 900_000}});
    let both = Both::with(Database::new().await, &options, config(&[SECRET])).await;
    if guarded {
        install(&both.database).await;
    }
    both
}

async fn install(database: &Database) {
    let store = PostgresStore::connect(database.url()).await.unwrap();
    store.guard(Some("userId")).await.unwrap().apply().await.unwrap();
}

/// Sends a slow request to Express, does something else meanwhile, and lets the slow one end.
async fn while_express_works(both: &Both, slow: &str, side: Side, meanwhile: &str) {
    let browser = both.copy(Side::Express);
    let method = if slow.contains("set") { "POST" } else { "GET" };
    let late = tokio::spawn(browser.request(method, slow).send());
    tokio::time::sleep(Duration::from_millis(150)).await;
    both.post(side, meanwhile).await;
    assert_eq!(late.await.unwrap().status, 200);
}

/// Whether anybody is still signed in with the cookie from before.
async fn is_revived(both: &Both, slow: &str, side: Side, meanwhile: &str) -> bool {
    both.post(Side::Express, "/login?user=alice").await;
    both.post(Side::Express, "/set?k=b&v=1").await;
    let stolen = SIDES.map(|side| both.copy(side));
    while_express_works(both, slow, side, meanwhile).await;
    let mut revived = false;
    for stolen in stolen {
        revived |= stolen.get("/whoami").send().await.status == 200;
    }
    revived
}

const SLOW_WRITE: &str = "/slow-set?k=b&v=2&ms=500";
const SLOW_READ: &str = "/slow-read?ms=500";

/// The race that an unmodified Express loses, and what is left of it with the guard.
#[tokio::test(flavor = "multi_thread")]
async fn an_unmodified_express_cannot_revive_a_session_that_ended() {
    for (resave, slow, loses) in
        [(false, SLOW_WRITE, true), (true, SLOW_WRITE, true), (true, SLOW_READ, true), (false, SLOW_READ, false)]
    {
        let unguarded = both(resave, false).await;
        let guarded = both(resave, true).await;
        for side in SIDES {
            let revived = is_revived(&unguarded, slow, side, "/logout").await;
            assert_eq!(revived, loses, "without the guard, resave {resave}, {slow}, signed out at {side:?}");
            let revived = is_revived(&guarded, slow, side, "/logout").await;
            assert!(!revived, "resave {resave}, {slow}, signed out at {side:?}");
        }
        let rows = guarded.database.client().await.query("SELECT 1 FROM session", &[]).await.unwrap();
        assert_eq!(rows.len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_was_rotated_away_is_not_written_back_by_express() {
    for resave in [false, true] {
        let both = both(resave, true).await;
        assert!(!is_revived(&both, SLOW_WRITE, Side::Sessile, "/regenerate").await, "resave {resave}");
        assert!(!is_revived(&both, SLOW_WRITE, Side::Sessile, "/login?user=bob").await, "resave {resave}");
    }
}

/// Many at once, so that the save also meets the sign-out between its statement and its commit.
#[tokio::test(flavor = "multi_thread")]
async fn saves_and_sign_outs_at_the_same_moment_leave_nothing_alive() {
    let both = both(true, true).await;
    for round in 0..30_u64 {
        both.post(Side::Express, "/login?user=alice").await;
        let stolen = SIDES.map(|side| both.copy(side));
        let saves: Vec<_> = (0..6)
            .map(|n| tokio::spawn(both.copy(Side::Express).post(&format!("/slow-set?k=k{n}&v=1&ms={}", n * 2)).send()))
            .collect();
        tokio::time::sleep(Duration::from_millis(round % 10)).await;
        let side = if round % 2 == 0 { Side::Sessile } else { Side::Express };
        both.post(side, "/logout").await;
        for save in saves {
            save.await.unwrap();
        }
        for stolen in stolen {
            assert_eq!(stolen.get("/whoami").send().await.status, 401, "round {round}");
        }
    }
}

/// The registry's rows: user, status, whether the key is remembered; the oldest first.
async fn registry(both: &Both) -> Vec<(String, String, bool)> {
    let sql = "SELECT user_id, status, sid IS NOT NULL FROM sessions ORDER BY created_at, updated_at";
    let rows = both.database.client().await.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

fn entry(user: &str, status: &str, has_key: bool) -> (String, String, bool) {
    (user.into(), status.into(), has_key)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_registry_follows_express_at_once() {
    let both = both(false, true).await;
    both.post(Side::Express, "/set?k=cart&v=1").await;
    assert_eq!(registry(&both).await, []);
    both.post(Side::Express, "/login?user=alice").await;
    assert_eq!(registry(&both).await, [entry("alice", "active", true)]);
    for _ in 0..2 {
        let devices = both.get(Side::Sessile, "/devices").await;
        assert_eq!((devices.as_array().unwrap().len(), &devices[0]["current"]), (1, &json!(true)));
    }
    assert_eq!(registry(&both).await.len(), 1, "Sessile took the row that was there");
    both.post(Side::Express, "/set?k=a&v=1").await;
    both.post(Side::Express, "/regenerate").await;
    assert_eq!(registry(&both).await, [entry("alice", "logged_out", true), entry("alice", "active", true)]);
    assert_eq!(both.get(Side::Sessile, "/devices").await.as_array().unwrap().len(), 1);
    both.post(Side::Express, "/logout").await;
    assert_eq!(registry(&both).await, [entry("alice", "logged_out", true), entry("alice", "logged_out", true)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_whom_express_changes_in_place_is_followed_too() {
    let both = both(false, true).await;
    both.post(Side::Express, "/login?user=alice").await;
    both.post(Side::Express, "/set?k=userId&v=bob").await;
    assert_eq!(registry(&both).await, [entry("alice", "logged_out", false), entry("bob", "active", true)]);
    both.post(Side::Express, "/remove?k=userId").await;
    both.post(Side::Express, "/set?k=userId&v=alice").await;
    let expected =
        [entry("alice", "logged_out", false), entry("bob", "logged_out", false), entry("alice", "active", true)];
    assert_eq!(registry(&both).await, expected);
    assert_eq!(both.whoami(Side::Sessile).await, Some(json!("alice")), "a key that lives on is no tombstone");
}

/// Sessile's own statements meet the guard too, and say what they always said.
#[tokio::test(flavor = "multi_thread")]
async fn the_guard_leaves_sessiles_own_work_alone() {
    let both = both(false, true).await;
    both.post(Side::Sessile, "/set?k=cart&v=1").await;
    both.post(Side::Sessile, "/login?user=42").await;
    both.post(Side::Sessile, "/regenerate").await;
    both.post(Side::Sessile, "/set?k=a&v=1").await;
    assert_eq!(registry(&both).await, [entry("42", "active", true)]);
    both.post(Side::Sessile, "/login?user=43").await;
    assert_eq!(registry(&both).await, [entry("42", "logged_out", true), entry("43", "active", true)]);
    let handle = both.get(Side::Sessile, "/devices").await[0]["handle"].as_str().unwrap().to_owned();
    assert_eq!(both.request(Side::Sessile, "DELETE", &format!("/devices/{handle}")).await.status, 204);
    assert_eq!(registry(&both).await[1], entry("43", "revoked", true));
}

/// A session that Express signed in is listed when Sessile first sees it, and Sessile can end it.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_guard_a_session_of_express_is_listed_when_it_is_seen() {
    let both = both(false, false).await;
    both.post(Side::Express, "/login?user=alice").await;
    assert_eq!(registry(&both).await, []);
    let devices = both.get(Side::Sessile, "/devices").await;
    assert_eq!((devices.as_array().unwrap().len(), &devices[0]["current"]), (1, &json!(true)));
    assert_eq!(both.get(Side::Sessile, "/devices").await[0]["handle"], devices[0]["handle"], "it keeps its handle");
    let stolen = both.copy(Side::Express);
    let (_, elsewhere) = both.stranger();
    elsewhere.post("/login?user=alice").send().await;
    let out: Value = elsewhere.post("/devices/revoke-others").send().await.json();
    assert_eq!(out, json!({"revoked": 1}));
    assert_eq!(stolen.get("/whoami").send().await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guard_can_be_installed_twice_and_removed() {
    let both = both(false, true).await;
    install(&both.database).await;
    assert!(!is_revived(&both, SLOW_WRITE, Side::Express, "/logout").await);
    let store = PostgresStore::connect(both.database.url()).await.unwrap();
    for _ in 0..2 {
        store.unguard().await.unwrap().apply().await.unwrap();
    }
    assert!(is_revived(&both, SLOW_WRITE, Side::Express, "/logout").await, "Express by itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_are_only_names() {
    let database = Database::new().await;
    let table = r#"ses"sion'; DROP TABLE x; -- $guard$"#;
    let store = PostgresStore::builder(database.url()).table(table).connect().await.unwrap();
    let guard = store.guard(Some("us'er\"Id $guard$")).await.unwrap();
    guard.apply().await.unwrap();
    store.unguard().await.unwrap().apply().await.unwrap();
}

/// Whoever is busy with a session's row in the registry does not hold up Express, and does not help a save that is late.
#[tokio::test(flavor = "multi_thread")]
async fn a_sign_out_that_meets_a_locked_registry_is_final_too() {
    let both = both(true, true).await;
    both.post(Side::Express, "/login?user=alice").await;
    both.post(Side::Express, "/set?k=b&v=1").await;
    let mut client = both.database.client().await;
    let busy = client.transaction().await.unwrap();
    busy.query("SELECT 1 FROM sessions FOR UPDATE", &[]).await.unwrap();
    let stolen = both.copy(Side::Express);
    while_express_works(&both, SLOW_WRITE, Side::Express, "/logout").await;
    assert_eq!(stolen.get("/whoami").send().await.status, 401);
    busy.commit().await.unwrap();
    assert_eq!(stolen.get("/whoami").send().await.status, 401);
    let rows = client.query("SELECT 1 FROM session", &[]).await.unwrap();
    assert_eq!(rows.len(), 0);
}

/// What Express can store without the guard it can store with it, and who is signed in there is the same to both.
#[tokio::test(flavor = "multi_thread")]
async fn the_guard_reads_the_user_as_sessile_does_and_refuses_no_document() {
    let database = Database::new().await;
    install(&database).await;
    let client = database.client().await;
    let [longest, too_long, huge] = [255, 256, 9_000].map(|length| format!("\"{}\"", "u".repeat(length)));
    let users = [
        r#""alice""#,
        r#""o'brien""#,
        r#""ünï 🦀""#,
        &longest,
        "42",
        "-7",
        "0",
        "18446744073709551615",
        "9223372036854775808",
        "-9223372036854775808",
        "18446744073709551616",
        "-9223372036854775809",
        &too_long,
        &huge,
        r#""""#,
        "-0",
        "1E3",
        "1.0",
        "1e400",
        "null",
        "true",
        "{}",
        "[1]",
        r#""\ud83d""#,
        r#""a\u0000b""#,
    ];
    let mut seen = 0;
    for (number, user) in users.into_iter().enumerate() {
        let (sid, document) =
            (number.to_string(), format!(r#"{{"cookie":{{"originalMaxAge":900000}},"userId":{user}}}"#));
        let save = "INSERT INTO session VALUES ($1, $2::text::json, now() + '1 hour') \
            ON CONFLICT (sid) DO UPDATE SET sess = excluded.sess";
        for _ in 0..2 {
            client.execute(save, &[&sid, &document]).await.unwrap_or_else(|error| panic!("{user}: {error}"));
        }
        let now = std::time::SystemTime::UNIX_EPOCH;
        let mut record = Record::stored(&StoreKey::stored(&sid), document, now, now).unwrap();
        record.owner_is_under("userId");
        let expected: Vec<_> = record.owner.iter().map(|owner| owner.as_str().to_owned()).collect();
        let rows = client.query("SELECT user_id FROM sessions WHERE sid = $1", &[&sid]).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<String>>(), expected, "{user}");
        seen += expected.len();
    }
    assert_eq!(seen, 10);
}

/// A session that was brought back before the guard was there is found out when Express saves it again.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_brought_back_before_is_taken_out_with_its_next_save() {
    let both = both(false, false).await;
    assert!(is_revived(&both, SLOW_WRITE, Side::Sessile, "/logout").await);
    let client = both.database.client().await;
    let install_only = PostgresStore::connect(both.database.url()).await.unwrap().guard(Some("userId")).await.unwrap();
    install_only.apply().await.unwrap();
    client.execute("UPDATE session SET sess = sess", &[]).await.unwrap();
    assert_eq!(client.query("SELECT 1 FROM session", &[]).await.unwrap().len(), 0);
}

/// The function has its owner's rights. Nobody else may put it on a table of theirs.
#[tokio::test(flavor = "multi_thread")]
async fn the_guards_function_is_of_no_use_to_others() {
    let database = Database::new().await;
    install(&database).await;
    let client = database.client().await;
    let forge = "CREATE TEMP TABLE mine (sid varchar, sess json, expire timestamp); \
        CREATE TRIGGER mine AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION session_sessile_guard(); \
        INSERT INTO mine VALUES ('x', '{\"userId\":\"alice\"}', now())";
    client.batch_execute(forge).await.unwrap();
    assert_eq!(client.query("SELECT 1 FROM sessions", &[]).await.unwrap().len(), 0, "another table is ignored");
    let role = format!("app_{}", database.url().rsplit('/').next().unwrap().split('?').next().unwrap());
    client.batch_execute(&format!("CREATE ROLE {role}; SET ROLE {role}")).await.unwrap();
    let refused = client.batch_execute(&forge.replace("mine", "other")).await.unwrap_err();
    assert!(refused.to_string().contains("db error"), "{refused}");
    assert_eq!(refused.code().map(|code| code.code()), Some("42501"));
}
