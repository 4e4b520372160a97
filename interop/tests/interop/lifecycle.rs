//! Sign-in, rotation and sign-out on either side hold on both.

use serde_json::{Value, json};
use sessile_interop::{Both, SECRET, SIDES, Side, config};
use sessile_testkit::postgres::Database;

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_one_side_rotated_away_is_dead_on_both() {
    let both = Both::start().await;
    for side in SIDES {
        both.post(side, "/login?user=alice").await;
        both.post(side, "/set?k=cart&v=book").await;
        let old = SIDES.map(|side| both.copy(side));
        both.post(side.other(), "/regenerate").await;
        for reader in SIDES {
            assert_eq!(both.whoami(reader).await, Some(json!("alice")));
            assert_eq!(both.get(reader, "/read?k=cart").await["value"], "book");
        }
        for old in old {
            assert_eq!(old.get("/whoami").send().await.status, 401, "the old id");
        }
        both.post(side, "/logout").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_out_on_one_side_ends_the_session_on_both_at_once() {
    let both = Both::start().await;
    for side in SIDES {
        for other in SIDES {
            both.post(side, "/login?user=alice").await;
            let stolen = SIDES.map(|side| both.copy(side));
            both.post(other, "/logout").await;
            for stolen in stolen {
                assert_eq!(stolen.get("/whoami").send().await.status, 401);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessile_never_revives_what_express_ended() {
    let both = Both::start().await;
    both.post(Side::Express, "/login?user=alice").await;
    let copy = both.copy(Side::Sessile);
    let late = tokio::spawn(copy.post("/slow-set?k=a&v=1&ms=400").send());
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    both.post(Side::Express, "/logout").await;
    assert_eq!(late.await.unwrap().header("set-cookie"), None);
    assert_eq!(copy.get("/whoami").send().await.status, 401);
    let rows = both.database.client().await.query("SELECT 1 FROM session", &[]).await.unwrap();
    assert!(rows.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_express_changes_while_sessile_works_is_not_lost() {
    let both = Both::start().await;
    both.post(Side::Express, "/login?user=alice").await;
    let copy = both.copy(Side::Sessile);
    let late = tokio::spawn(copy.post("/slow-set?k=ours&v=1&ms=400").send());
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    both.post(Side::Express, "/set?k=express&v=2").await;
    assert_eq!(late.await.unwrap().status, 200);
    let data = both.get(Side::Express, "/data").await;
    assert_eq!((&data["ours"], &data["express"]), (&json!("1"), &json!("2")), "{data}");
    assert_eq!(both.get(Side::Sessile, "/read?k=express").await["value"], "2");
}

/// Express keeps the row of a session it never changes with `resave`, and writes an empty one with `saveUninitialized`.
#[tokio::test(flavor = "multi_thread")]
async fn an_express_with_its_own_old_defaults_shares_its_sessions_too() {
    let options = json!({"resave": true, "saveUninitialized": true, "rolling": true, "cookie": {"maxAge": 900_000}});
    let both = Both::with(Database::new().await, &options, config(&[SECRET])).await;
    both.request(Side::Express, "GET", "/data").await;
    assert_eq!(both.get(Side::Sessile, "/data").await, json!({}));
    both.post(Side::Sessile, "/login?user=alice").await;
    for _ in 0..3 {
        assert_eq!(both.whoami(Side::Express).await, Some(json!("alice")));
        both.post(Side::Sessile, "/incr?k=n").await;
    }
    assert_eq!(both.get(Side::Express, "/read?k=n").await["value"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_shared_rotated_and_retired() {
    let [old, new] = ["keyboard cat", "another short secret"];
    let database = Database::new().await;
    let before = Both::with(database.clone(), &json!({"secrets": [old]}), config(&[old])).await;
    before.post(Side::Express, "/login?user=alice").await;
    let cookie = before.copy(Side::Express).cookie("connect.sid").unwrap();
    let during = Both::with(database.clone(), &json!({"secrets": [new, old]}), config(&[new, old])).await;
    for side in SIDES {
        during.copy(side).clear();
        let browser = during.copy(side);
        browser.set_cookie("connect.sid", &cookie);
        assert_eq!(browser.get("/whoami").send().await.status, 200, "{side:?}");
        if side == Side::Sessile {
            assert_ne!(browser.cookie("connect.sid"), Some(cookie.clone()), "signed anew");
            let after = Both::with(database.clone(), &json!({"secrets": [new]}), config(&[new])).await;
            let retired = after.copy(Side::Express);
            retired.set_cookie("connect.sid", &browser.cookie("connect.sid").unwrap());
            assert_eq!(retired.get("/whoami").send().await.status, 200, "Express accepts what Sessile signed anew");
            retired.set_cookie("connect.sid", &cookie);
            assert_eq!(retired.get("/whoami").send().await.status, 401);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_raw_bytes_signs_the_same() {
    use sessile::codec::{Keyring, Secret};
    let keys = Keyring::new([Secret::dangerous([0_u8, 0xff, 0x80, 0x0a])]).unwrap();
    let config = sessile::Config::express(keys).unwrap().user_key("userId").unwrap();
    let both = Both::with(Database::new().await, &json!({"secrets": [{"hex": "00ff800a"}]}), config).await;
    for side in SIDES {
        both.post(side, "/login?user=alice").await;
        assert_eq!(both.whoami(side.other()).await, Some(json!("alice")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_of_another_name_is_shared() {
    let options = json!({"name": "app.sid"});
    let cookie = sessile::Cookie::express().named("app.sid");
    let both = Both::with(Database::new().await, &options, config(&[SECRET]).cookie(cookie).unwrap()).await;
    for side in SIDES {
        both.post(side, "/login?user=alice").await;
        assert_eq!(both.whoami(side.other()).await, Some(json!("alice")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn express_sees_a_changed_user_and_sessile_a_cleared_one() {
    let both = Both::start().await;
    both.post(Side::Express, "/login?user=alice").await;
    let request =
        both.copy(Side::Express).post("/set-json?k=userId").header("content-type", "application/json").body("42");
    assert_eq!(request.send().await.status, 200);
    assert_eq!(both.whoami(Side::Sessile).await, Some(json!("42")), "a numeric user");
    both.post(Side::Sessile, "/set?k=a&v=1").await;
    assert_eq!(both.get(Side::Express, "/read?k=userId").await["value"], 42, "still a number");
    both.post(Side::Express, "/remove?k=userId").await;
    assert_eq!(both.whoami(Side::Sessile).await, None::<Value>);
}
