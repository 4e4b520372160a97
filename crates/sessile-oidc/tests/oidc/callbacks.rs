//! Browsers that come back with something else than they were sent for.

use std::time::Duration;

use sessile_oidc::{Begin, Callback};
use sessile_testkit::provider::{Endpoint, Trouble};
use sessile_testkit::spy::Call;

use crate::support::{Browser, House, MINUTE, param, refused};

/// The query with one parameter replaced, added or taken away.
fn with(query: &str, name: &str, value: Option<&str>) -> String {
    let pairs = url::form_urlencoded::parse(query.as_bytes()).filter(|(own, _)| own != name);
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .extend_pairs(value.map(|value| (name, value)))
        .finish()
}

#[tokio::test]
async fn another_browser_cannot_complete_a_sign_in() {
    let house = House::new().await;
    let mut victim = Browser::default();
    let query = victim.begin(&house).await;
    let error = Browser::default().complete(&house, &query).await.unwrap_err();
    assert_eq!((error.code(), error.status()), ("no_session_cookie", 400));
    assert!(error.is_without_cookie() && error.what_to_check().contains("SameSite=Strict"));
    let mut attacker = Browser::default();
    attacker.begin(&house).await;
    let error = attacker.complete(&house, &query).await.unwrap_err();
    assert!(error.is_unknown_state() && error.code() == "unknown_state");
    assert_eq!(house.provider.requests(Endpoint::Token), 0);
    assert_eq!(victim.complete(&house, &query).await.unwrap().subject, "alice", "the victim's own goes on");
}

#[tokio::test]
async fn a_foreign_or_missing_state_costs_no_token_request() {
    let house = House::new().await;
    let mut browser = Browser::default();
    let query = browser.begin(&house).await;
    let state = param(&query, "state").unwrap();
    for (changed, code) in [
        (with(&query, "state", None), "bad_callback"),
        (with(&query, "state", Some("")), "bad_callback"),
        (with(&query, "state", Some("foreign")), "unknown_state"),
        (with(&query, "state", Some(&state.to_uppercase())), "unknown_state"),
        (format!("{query}&state=second"), "bad_callback"),
        (String::new(), "bad_callback"),
    ] {
        assert_eq!(browser.complete(&house, &changed).await.unwrap_err().code(), code, "{changed}");
    }
    assert_eq!(house.provider.requests(Endpoint::Token), 0);
    browser.complete(&house, &query).await.unwrap();
}

#[tokio::test]
async fn a_callback_works_once() {
    let house = House::new().await;
    let mut browser = Browser::default();
    let query = browser.begin(&house).await;
    let mut before = browser.clone();
    browser.complete(&house, &query).await.unwrap();
    for browser in [&mut browser, &mut before] {
        let error = browser.complete(&house, &query).await.unwrap_err();
        assert!(error.is_unknown_state(), "{error:?}");
    }
    assert_eq!(house.provider.requests(Endpoint::Token), 1);
    assert_eq!(browser.owner(&house).await.as_deref(), Some("alice"), "the back button signs nobody out");
}

#[tokio::test]
async fn a_callback_works_once_even_while_the_first_one_hangs() {
    let house = House::new().await;
    let mut browser = Browser::default();
    let query = browser.begin(&house).await;
    house.behave(|provider| drop(provider.trouble.insert(Endpoint::Token, Trouble::Slow(Duration::from_millis(500)))));
    let first = tokio::spawn({
        let (mut browser, house, query) = (browser.clone(), house.clone(), query.clone());
        async move { browser.complete(&house, &query).await.map(|identity| identity.subject) }
    });
    while house.provider.requests(Endpoint::Token) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let error = browser.complete(&house.another(), &query).await.unwrap_err();
    assert!(error.is_unknown_state(), "{error:?}");
    assert_eq!(first.await.unwrap().unwrap(), "alice");
    assert_eq!(house.provider.requests(Endpoint::Token), 1);
}

#[tokio::test]
async fn of_many_callbacks_at_once_one_goes_on() {
    let house = House::new().await;
    for round in 1..=10 {
        let mut browser = Browser::default();
        let query = browser.begin(&house).await;
        let racers: Vec<_> = (0..8)
            .map(|racer| {
                let (mut browser, query) = (browser.clone(), query.clone());
                let house = if racer % 2 == 0 { house.clone() } else { house.another() };
                tokio::spawn(async move { browser.complete(&house, &query).await })
            })
            .collect();
        let mut winners = 0;
        for racer in racers {
            match racer.await.unwrap() {
                Ok(_) => winners += 1,
                Err(error) => assert!(error.is_unknown_state(), "{error:?}"),
            }
        }
        assert_eq!((winners, house.provider.requests(Endpoint::Token)), (1, round));
    }
}

#[tokio::test]
async fn a_sign_in_has_fifteen_minutes() {
    let house = House::new().await;
    let mut browser = Browser::default();
    browser.visit(&house, |session| session.insert("cart", &1)).await.unwrap();
    let [in_time, late] = [browser.begin(&house).await, browser.begin(&house).await];
    house.clock.advance(15 * MINUTE);
    browser.complete(&house, &in_time).await.unwrap();
    house.clock.advance(Duration::from_millis(1));
    let error = browser.complete(&house, &late).await.unwrap_err();
    assert_eq!((error.code(), error.return_to()), ("unknown_state", Some("/orders")));
    assert_eq!(house.provider.requests(Endpoint::Token), 1);
}

#[tokio::test]
async fn a_provider_that_says_no_is_heard_once_and_tamed() {
    let house = House::new().await;
    let denied = ("access_denied".to_owned(), "the user\r\nsaid <b>no</b>\u{1b}[2J".repeat(20));
    house.behave(|provider| provider.denial = Some(denied));
    let mut browser = Browser::default();
    let query = browser.begin(&house).await;
    let error = browser.complete(&house, &query).await.unwrap_err();
    assert_eq!((error.code(), error.status(), error.return_to()), ("denied", 400, Some("/orders")));
    let refusal = error.refusal().unwrap();
    assert_eq!(refusal.error, "access_denied");
    let words = refusal.description.as_deref().unwrap();
    assert!(words.starts_with("the user\u{fffd}\u{fffd}said <b>no</b>\u{fffd}[2J") && words.chars().count() <= 201);
    assert!(!error.to_string().contains(['\r', '\n', '\u{1b}']));
    assert!(!error.public_message().contains("said"), "the page has words of its own");
    assert!(browser.complete(&house, &query).await.unwrap_err().is_unknown_state(), "it was taken");
    assert_eq!(house.provider.requests(Endpoint::Token), 0);
}

#[tokio::test]
async fn a_provider_that_says_that_it_is_in_trouble_may_be_tried_again() {
    for (error, status) in [("server_error", 503), ("temporarily_unavailable", 503), ("invalid_client", 400)] {
        let house = House::new().await;
        house.behave(|provider| provider.denial = Some((error.to_owned(), String::new())));
        let refused = refused(&house).await;
        assert_eq!((refused.status(), refused.is_unavailable()), (status, status == 503), "{refused:?}");
        assert_eq!(refused.refusal().unwrap().error, error);
    }
}

#[tokio::test]
async fn a_callback_with_neither_code_nor_error_is_refused() {
    let house = House::new().await;
    let mut browser = Browser::default();
    let query = with(&browser.begin(&house).await, "code", None);
    assert_eq!(browser.complete(&house, &query).await.unwrap_err().code(), "bad_callback");
}

#[tokio::test]
async fn a_code_of_another_sign_in_is_worth_nothing() {
    let house = House::new().await;
    let (mut attacker, mut victim) = (Browser::default(), Browser::default());
    let stolen = param(&victim.begin(&house).await, "code").unwrap();
    let query = with(&attacker.begin(&house).await, "code", Some(&stolen));
    let error = attacker.complete(&house, &query).await.unwrap_err();
    assert_eq!(error.refusal().unwrap().error, "invalid_grant", "PKCE: the verifier is another");
}

#[tokio::test]
async fn a_callback_of_another_issuer_costs_no_token_request() {
    let house = House::new().await;
    let own = house.provider.issuer().to_owned();
    let others = [
        format!("{own}/"),
        own.to_uppercase(),
        own.replace("127.0.0.1", "localhost"),
        own.replace(':', "%3A"),
        "https://evil.example".into(),
        String::new(),
    ];
    for announced in [false, true] {
        house.behave(|provider| {
            provider.metadata = Box::new(move |metadata| {
                metadata["authorization_response_iss_parameter_supported"] = announced.into();
            });
        });
        for issuer in &others {
            house.behave(|provider| provider.callback_issuer = Some(issuer.clone()));
            let error = refused(&house.another()).await;
            assert!(error.is_issuer_mismatch() && error.status() == 400, "{issuer}");
        }
        house.behave(|provider| {
            provider.callback_issuer = Some("https://evil.example".into());
            provider.denial = Some(("access_denied".into(), String::new()));
        });
        assert!(refused(&house.another()).await.is_issuer_mismatch(), "an error of another issuer is not believed");
        house.behave(|provider| provider.denial = None);
    }
    assert_eq!(house.provider.requests(Endpoint::Token), 0);
    house.behave(|provider| provider.callback_issuer = Some(own));
    Browser::default().sign_in(&house.another()).await.unwrap();
}

#[tokio::test]
async fn a_callback_without_the_announced_issuer_is_refused() {
    let house = House::new().await;
    house.behave(|provider| {
        provider.metadata =
            Box::new(|metadata| metadata["authorization_response_iss_parameter_supported"] = true.into());
    });
    let error = refused(&house).await;
    assert!(error.is_issuer_mismatch() && error.to_string().contains("announced"), "{error}");
    assert_eq!(house.provider.requests(Endpoint::Token), 0);
}

/// The browser begins at the attacker's provider, which sends it on to the honest one; the code comes back to the callback
/// of the attacker's.
#[tokio::test]
async fn a_sign_in_begun_at_one_provider_is_not_completed_by_another() {
    let (honest, attacker) = (House::new().await, House::new().await);
    let attacker = House { sessions: honest.sessions.clone(), ..attacker };
    let mut browser = Browser::default();
    let query = browser.begin(&honest).await;
    let error = browser.complete(&attacker, &query).await.unwrap_err();
    assert!(error.is_issuer_mismatch(), "{error:?}");
    assert_eq!(attacker.provider.requests(Endpoint::Token), 0, "the code went nowhere");
    let query = browser.begin(&honest).await;
    let query = with(&query, "iss", Some(attacker.provider.issuer()));
    assert!(browser.complete(&honest, &query).await.unwrap_err().is_issuer_mismatch());
    assert_eq!(honest.provider.requests(Endpoint::Token), 0);
}

#[tokio::test]
async fn two_providers_are_used_side_by_side() {
    let one = House::new().await;
    let other = House { sessions: one.sessions.clone(), store: one.store.clone(), ..House::new().await };
    other.behave(|provider| provider.subject = "bob".into());
    let mut browser = Browser::default();
    let [first, second] = [browser.begin(&one).await, browser.begin(&other).await];
    let first = browser.complete(&one, &first).await.unwrap();
    let second = browser.complete(&other, &second).await.unwrap();
    assert_ne!((first.issuer, first.subject), (second.issuer, second.subject));
}

#[tokio::test]
async fn equal_subjects_of_two_issuers_are_two_identities() {
    let (one, other) = (House::new().await, House::new().await);
    let first = Browser::default().sign_in(&one).await.unwrap();
    let second = Browser::default().sign_in(&other).await.unwrap();
    assert_eq!(first.subject, second.subject);
    assert_ne!(first.issuer, second.issuer);
}

#[tokio::test]
async fn a_store_that_is_down_is_said_to_be_and_the_code_stays_unused() {
    let house = House::new().await;
    let mut browser = Browser::default();
    let query = browser.begin(&house).await;
    house.store.fail_all(Call::Update);
    let exchange = browser.request(&house);
    let error = house.flow.complete(&exchange, &Callback::from_query(&query)).await.unwrap_err();
    assert_eq!((error.code(), error.status(), error.is_unavailable()), ("session", 503, true));
    assert_eq!(house.provider.requests(Endpoint::Token), 0);
    house.store.work();
    browser.complete(&house, &query).await.unwrap();
}

#[tokio::test]
async fn a_session_that_was_ended_meanwhile_is_not_signed_in() {
    let house = House::new().await;
    let mut browser = Browser::default();
    let query = browser.begin(&house).await;
    let exchange = browser.request(&house);
    exchange.session().await.unwrap();
    browser.clone().visit(&house, |session| session.end()).await.unwrap();
    let error = house.flow.complete(&exchange, &Callback::from_query(&query)).await.unwrap_err();
    assert!(error.is_unknown_state(), "{error:?}");
    assert_eq!(house.provider.requests(Endpoint::Token), 0);
    let error = browser.try_begin(&house, Begin::new("/")).await;
    assert!(error.is_ok(), "and can begin anew");
}
