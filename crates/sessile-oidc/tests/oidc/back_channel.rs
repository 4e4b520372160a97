//! Sign-outs that begin at the provider.

use std::time::Duration;

use serde_json::{Value, json};
use sessile_core::{End, MemoryStore, Page, UserId};
use sessile_oidc::{BackChannel, Callback, LoginError, LoginFlow};
use sessile_sqlite::SqliteStore;
use sessile_testkit::provider::{Behaviour, CLIENT_ID, Signature};
use sessile_testkit::spy::Call;

use crate::support::{Browser, DAY, HOUR, House, MINUTE, sessions, start};

fn receiver(house: &House) -> BackChannel {
    BackChannel::new(house.flow.clone(), |_: &str, subject: &str| Some(UserId::from(subject)))
}

/// How many sessions a logout token with these claims ended.
async fn log_out(house: &House, claims: Value) -> Result<u64, LoginError> {
    let token = house.provider.logout_token(claims);
    receiver(house).receive(&house.sessions, &token).await.map(|out| out.sessions)
}

/// A browser that is signed in as this user, from this session of the provider.
async fn signed_in(house: &House, subject: &str, sid: Option<&str>) -> Browser {
    house.behave(|provider| {
        provider.subject = subject.to_owned();
        provider.sid = sid.map(str::to_owned);
    });
    let mut browser = Browser::default();
    browser.sign_in(house).await.unwrap();
    browser
}

fn seconds(later: i64) -> i64 {
    i64::try_from(start().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()).unwrap() + later
}

#[tokio::test]
async fn a_session_of_the_provider_ends_what_was_signed_in_from_it() {
    let house = House::new().await;
    let mut one = signed_in(&house, "alice", Some("s 1")).await;
    let mut same = signed_in(&house, "alice", Some("s 1")).await;
    let mut other = signed_in(&house, "alice", Some("s 2")).await;
    assert_eq!(log_out(&house, json!({ "sid": "s 1", "sub": "alice" })).await.unwrap(), 2);
    assert_eq!([one.owner(&house).await, same.owner(&house).await], [None, None]);
    assert_eq!(other.owner(&house).await.as_deref(), Some("alice"));
    let history = house.sessions.devices().history(&"alice".into(), &Page::first(9)).await.unwrap().devices;
    let ending = history[0].ended.clone().unwrap();
    assert_eq!((ending.end, ending.reason.as_deref()), (End::Revoked, Some("signed out at the identity provider")));
    assert_eq!(log_out(&house, json!({ "sid": "s 1" })).await.unwrap(), 0, "again, in another token");
    assert_eq!(log_out(&house, json!({ "sid": "unknown" })).await.unwrap(), 0, "which tells nobody anything");
}

#[tokio::test]
async fn a_user_of_the_provider_ends_everywhere() {
    let house = House::new().await;
    let mut alices = Vec::new();
    for sid in [Some("s 1"), Some("s 2"), None] {
        alices.push(signed_in(&house, "alice", sid).await);
    }
    let mut bob = signed_in(&house, "bob", Some("s 3")).await;
    assert_eq!(log_out(&house, json!({ "sub": "alice" })).await.unwrap(), 3);
    for alice in &mut alices {
        assert_eq!(alice.owner(&house).await, None);
    }
    assert_eq!(bob.owner(&house).await.as_deref(), Some("bob"));
    assert_eq!(log_out(&house, json!({ "sub": "nobody" })).await.unwrap(), 0);
    let strict = BackChannel::new(house.flow.clone(), |_: &str, _: &str| None);
    let token = house.provider.logout_token(json!({ "sub": "bob" }));
    let out = strict.receive(&house.sessions, &token).await.unwrap();
    assert_eq!((out.sessions, out.by_session), (0, false), "a user who never signed in here");
}

#[tokio::test]
async fn what_is_in_flight_does_not_undo_a_logout() {
    let house = House::new().await;
    let mut browser = signed_in(&house, "alice", Some("s 1")).await;
    let in_flight = browser.request(&house);
    in_flight.session().await.unwrap().insert("late", &1).unwrap();
    log_out(&house, json!({ "sid": "s 1" })).await.unwrap();
    assert!(in_flight.finish().await.unwrap().is_none());
    assert_eq!(browser.owner(&house).await, None);
}

/// What becomes of a sign-in whose provider knew the user before this happened, and whose browser comes back after it.
async fn comes_back(house: &House, query: &str, browser: &Browser) -> Result<(), u16> {
    let exchange = browser.request(house);
    let identity = house.flow.complete(&exchange, &Callback::from_query(query)).await;
    let identity = identity.map_err(|error| error.status())?;
    identity.sign_in(&exchange.session().await.unwrap(), identity.subject.as_str()).unwrap();
    exchange.finish().await.map(|_| ()).map_err(|error| error.status())
}

#[tokio::test]
async fn a_sign_in_under_way_does_not_outlive_a_revocation() {
    let house = House::new().await;
    let mut browser = Browser::default();
    let query = browser.begin(&house).await;
    house.clock.advance(Duration::from_secs(5));
    house.sessions.devices().revoke_all(&"alice".into(), "stolen").await.unwrap();
    house.clock.advance(Duration::from_secs(5));
    assert_eq!(comes_back(&house, &query, &browser).await, Err(409));
    assert_eq!(browser.owner(&house).await, None);
    browser.sign_in(&house).await.unwrap();
    assert_eq!(browser.owner(&house).await.as_deref(), Some("alice"), "a sign-in that begins later is none of that");
}

#[tokio::test]
async fn a_sign_in_under_way_does_not_outlive_a_logout_at_the_provider() {
    for (claims, expected) in [
        (json!({ "sid": "session 1", "sub": "alice" }), Err(400)),
        (json!({ "sub": "alice" }), Err(409)),
        (json!({ "sid": "session 2" }), Ok(())),
        (json!({ "sub": "bob" }), Ok(())),
    ] {
        let house = House::new().await;
        let mut browser = Browser::default();
        let query = browser.begin(&house).await;
        house.clock.advance(Duration::from_secs(5));
        log_out(&house.another(), claims.clone()).await.unwrap();
        house.clock.advance(14 * MINUTE);
        assert_eq!(comes_back(&house, &query, &browser).await, expected, "{claims}");
        assert_eq!(browser.request(&house).session().await.unwrap().owner(), None, "under the old id");
    }
}

/// Of a token with `sid` this holds only until the callback has asked for it, which is milliseconds before its response leaves.
#[tokio::test]
async fn a_callback_that_is_being_answered_does_not_outlive_a_logout_of_the_user() {
    let house = House::new().await;
    let mut browser = Browser::default();
    let query = browser.begin(&house).await;
    let exchange = browser.request(&house);
    let identity = house.flow.complete(&exchange, &Callback::from_query(&query)).await.unwrap();
    house.clock.advance(Duration::from_millis(5));
    log_out(&house, json!({ "sub": "alice" })).await.unwrap();
    identity.sign_in(&exchange.session().await.unwrap(), "alice").unwrap();
    assert!(exchange.finish().await.unwrap_err().is_gone());
    assert_eq!(browser.owner(&house).await, None);
}

/// A password reset, say: the request that revokes what there was is the one that signs in.
#[tokio::test]
async fn a_callback_that_revokes_the_others_signs_in() {
    let house = House::new().await;
    let mut other = signed_in(&house, "alice", None).await;
    let mut browser = Browser::default();
    let query = browser.begin(&house).await;
    house.clock.advance(Duration::from_secs(5));
    let exchange = browser.request(&house);
    let identity = house.flow.complete(&exchange, &Callback::from_query(&query)).await.unwrap();
    assert_eq!(exchange.devices().revoke_all(&"alice".into(), "one device at a time").await.unwrap(), 1);
    identity.sign_in(&exchange.session().await.unwrap(), "alice").unwrap();
    browser.receive(exchange.finish().await.unwrap());
    assert_eq!([browser.owner(&house).await.as_deref(), other.owner(&house).await.as_deref()], [Some("alice"), None]);
}

#[tokio::test]
async fn equal_names_of_sessions_at_two_providers_are_two() {
    let one = House::new().await;
    let other = House { sessions: one.sessions.clone(), store: one.store.clone(), ..House::new().await };
    let mut here = signed_in(&one, "alice", Some("s 1")).await;
    let mut there = signed_in(&other, "bob", Some("s 1")).await;
    assert_eq!(log_out(&one, json!({ "sid": "s 1" })).await.unwrap(), 1);
    assert_eq!(here.owner(&one).await, None);
    assert_eq!(there.owner(&other).await.as_deref(), Some("bob"));
}

#[tokio::test]
async fn each_check_of_a_logout_token_refuses_what_it_is_for() {
    let house = House::new().await;
    let mut browser = signed_in(&house, "alice", Some("s 1")).await;
    let event = "http://schemas.openid.net/event/backchannel-logout";
    let cases = [
        (json!({ "sid": "s 1", "iss": "https://evil.example" }), "iss"),
        (json!({ "sid": "s 1", "iss": null }), "iss"),
        (json!({ "sid": "s 1", "aud": "another client" }), "aud"),
        (json!({ "sid": "s 1", "aud": [CLIENT_ID, "another"] }), "azp"),
        (json!({ "sid": "s 1", "iat": null }), "iat"),
        (json!({ "sid": "s 1", "iat": seconds(-90_000), "exp": seconds(90_000) }), "iat"),
        (json!({ "sid": "s 1", "iat": seconds(61) }), "clock_skew"),
        (json!({ "sid": "s 1", "exp": null }), "exp"),
        (json!({ "sid": "s 1", "exp": "soon" }), "exp"),
        (json!({ "sid": "s 1", "exp": seconds(-60) }), "exp"),
        (json!({ "sid": "s 1", "jti": null }), "jti"),
        (json!({ "sid": "s 1", "jti": "" }), "jti"),
        (json!({ "sid": "s 1", "jti": 7 }), "jti"),
        (json!({ "sid": "s 1", "events": null }), "events"),
        (json!({ "sid": "s 1", "events": {} }), "events"),
        (json!({ "sid": "s 1", "events": { event: true } }), "events"),
        (json!({ "sid": "s 1", "events": [event] }), "events"),
        (json!({ "sid": "s 1", "nonce": "a nonce" }), "nonce"),
        (json!({}), "sub"),
        (json!({ "sub": "" }), "sub"),
        (json!({ "sid": "" }), "sid"),
        (json!({ "sid": ["s 1"] }), "sid"),
        (json!({ "sid": 1, "sub": "alice" }), "sid"),
    ];
    for (claims, expected) in cases {
        let case = claims.to_string();
        let error = log_out(&house, claims).await.expect_err(&case);
        assert_eq!((error.failed_check().unwrap_or(error.code()), error.status()), (expected, 400), "{case}");
    }
    assert_eq!(browser.owner(&house).await.as_deref(), Some("alice"));
}

#[tokio::test]
async fn what_is_no_logout_token_ends_nothing() {
    let house = House::new().await;
    let mut browser = signed_in(&house, "alice", Some("s 1")).await;
    let identity = browser.sign_in(&house).await.unwrap();
    let receive = async |token: &str| receiver(&house).receive(&house.sessions, token).await.unwrap_err();
    assert_eq!(receive(identity.id_token().unwrap()).await.failed_check(), Some("typ"), "an ID token");
    let claims = json!({ "sid": "s 1", "sub": "alice" });
    type Changed = (fn(&mut Behaviour), &'static str);
    let change: [Changed; 4] = [
        (|provider| provider.signature = Signature::None, "alg"),
        (|provider| provider.signature = Signature::Hs256WithThePublicKey, "alg"),
        (|provider| provider.signature = Signature::ForeignKey, "signature"),
        (|provider| provider.header = Box::new(|header| header["typ"] = "JWT".into()), "typ"),
    ];
    for (change, expected) in change {
        house.provider.behave_well();
        house.behave(change);
        assert_eq!(receive(&house.provider.logout_token(claims.clone())).await.failed_check(), Some(expected));
    }
    for token in ["", "a.b.c", "not a token"] {
        assert_eq!(receive(token).await.failed_check(), Some("form"));
    }
    assert_eq!(browser.owner(&house).await.as_deref(), Some("alice"));
}

#[tokio::test]
async fn a_logout_token_works_once_on_all_instances() {
    let house = House::new().await;
    let token = house.provider.logout_token(json!({ "sub": "alice" }));
    let mut browser = signed_in(&house, "alice", None).await;
    assert_eq!(receiver(&house).receive(&house.sessions, &token).await.unwrap().sessions, 1);
    browser.sign_in(&house).await.unwrap();
    let other = house.another();
    for _ in 0..2 {
        let error = receiver(&other).receive(&other.sessions, &token).await.unwrap_err();
        assert!(error.is_replayed() && error.status() == 400);
    }
    assert_eq!(browser.owner(&house).await.as_deref(), Some("alice"), "who signed in after it stays signed in");
    house.clock.advance(Duration::from_secs(180));
    let error = receiver(&other).receive(&other.sessions, &token).await.unwrap_err();
    assert_eq!(error.failed_check(), Some("exp"), "until it is too old anyway");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_of_the_same_logout_token_at_once_one_is_accepted() {
    let house = House::new().await;
    let file = std::env::temp_dir().join(format!("sessile-oidc-back-channel-{}.db", std::process::id()));
    let house = House { sessions: sessions(SqliteStore::open(&file).await.unwrap(), &house.clock), ..house };
    for _ in 0..10 {
        let token = house.provider.logout_token(json!({ "sub": "alice" }));
        let racers: Vec<_> = (0..8)
            .map(|_| {
                let (house, token) = (house.clone(), token.clone());
                tokio::spawn(async move { receiver(&house).receive(&house.sessions, &token).await.is_ok() })
            })
            .collect();
        let mut accepted = 0;
        for racer in racers {
            accepted += usize::from(racer.await.unwrap());
        }
        assert_eq!(accepted, 1);
    }
    for ending in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{ending}", file.display()));
    }
}

/// The same token identifies the same logout for as long as it is accepted, however long that is.
#[tokio::test]
async fn a_long_lived_logout_token_is_remembered_as_long_as_it_is_accepted() {
    let house = House::new().await;
    let token = house.provider.logout_token(json!({ "sub": "alice", "exp": seconds(40 * 86_400) }));
    receiver(&house).receive(&house.sessions, &token).await.unwrap();
    for _ in 0..23 {
        house.clock.advance(HOUR);
        house.sessions.sweep().await.unwrap();
        assert!(receiver(&house).receive(&house.sessions, &token).await.unwrap_err().is_replayed());
    }
    house.clock.advance(DAY);
    house.sessions.sweep().await.unwrap();
    let error = receiver(&house).receive(&house.sessions, &token).await.unwrap_err();
    assert_eq!(error.failed_check(), Some("iat"), "then it is too old");
}

/// The token does nothing for good while the store refuses this call.
async fn fails(house: &House, call: Call, token: &str) {
    house.store.fail_all(call);
    let error = receiver(house).receive(&house.sessions, token).await.unwrap_err();
    assert!(error.is_unavailable(), "{call:?}: {error:?}");
    house.store.work();
}

#[tokio::test]
async fn a_logout_that_failed_can_be_sent_again() {
    let house = House::new().await;
    let mut browser = signed_in(&house, "alice", Some("s 1")).await;
    let token = house.provider.logout_token(json!({ "sid": "s 1" }));
    for call in [Call::Load, Call::Insert, Call::RevokeProviderSession] {
        fails(&house, call, &token).await;
    }
    assert_eq!(receiver(&house).receive(&house.sessions, &token).await.unwrap().sessions, 1);
    assert_eq!(browser.owner(&house).await, None);
    assert!(receiver(&house).receive(&house.sessions, &token).await.unwrap_err().is_replayed());
    let mut browser = signed_in(&house, "alice", Some("s 2")).await;
    let token = house.provider.logout_token(json!({ "sub": "alice" }));
    fails(&house, Call::Insert, &token).await;
    assert_eq!(browser.owner(&house).await, None, "it ended before the token was noted as used");
    assert_eq!(receiver(&house).receive(&house.sessions, &token).await.unwrap().sessions, 0);
}

#[tokio::test]
async fn a_receiver_works_before_anybody_signed_in() {
    let house = House::new().await;
    let fresh = House { sessions: sessions(MemoryStore::new(), &house.clock), ..house.another() };
    assert_eq!(log_out(&fresh, json!({ "sid": "s 1" })).await.unwrap(), 0);
    assert!(format!("{:?}", receiver(&fresh)).contains("issuer"));
    let public = LoginFlow::builder(house.provider.issuer(), CLIENT_ID, crate::support::CALLBACK).build().unwrap();
    assert_eq!(log_out(&House { flow: public, ..fresh }, json!({ "sub": "alice" })).await.unwrap(), 0);
}
