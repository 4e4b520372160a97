//! ID tokens that are not the answer to the sign-in they came with.

use std::time::Duration;

use serde_json::{Value, json};
use sessile_core::Clock as _;
use sessile_oidc::{Algorithm, Begin, LoginError};
use sessile_testkit::provider::{Change, Endpoint, Provider, Signature};

use crate::support::{Browser, HOUR, House, MINUTE, builder, refused, start};

/// Seconds since 1970 at the tests' time, and so many later.
fn seconds(later: i64) -> Value {
    let start = start().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    Value::from(i64::try_from(start).unwrap() + later)
}

/// Sets a claim; a null takes it away.
fn set(name: &'static str, value: Value) -> Change {
    Box::new(move |claims| match &value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
        value => claims[name] = value.clone(),
    })
}

/// What refuses: a check, or a kind of its own.
fn why(error: &LoginError) -> &'static str {
    error.failed_check().unwrap_or_else(|| error.code())
}

#[tokio::test]
async fn each_check_of_an_id_token_refuses_what_it_is_for() {
    let house = House::new().await;
    let cases: Vec<(&'static str, Value, &str)> = vec![
        ("iss", json!("https://evil.example"), "iss"),
        ("iss", json!(format!("{}/", house.provider.issuer())), "iss"),
        ("iss", Value::Null, "iss"),
        ("aud", json!("another client"), "aud"),
        ("aud", json!(["another client"]), "aud"),
        ("aud", Value::Null, "aud"),
        ("aud", json!(["shop", "another client"]), "azp"),
        ("azp", json!("another client"), "azp"),
        ("sub", Value::Null, "sub"),
        ("sub", json!(""), "sub"),
        ("sub", json!(7), "sub"),
        ("sub", json!("x".repeat(256)), "sub"),
        ("exp", Value::Null, "exp"),
        ("exp", json!(seconds(300).to_string()), "exp"),
        ("exp", seconds(-60), "exp"),
        ("iat", Value::Null, "iat"),
        ("iat", json!(seconds(0).to_string()), "iat"),
        ("iat", seconds(61), "clock_skew"),
        ("iat", seconds(-61), "clock_skew"),
        ("nbf", seconds(61), "clock_skew"),
        ("nbf", json!("now"), "nbf"),
        ("nonce", json!("another nonce"), "nonce_mismatch"),
        ("nonce", Value::Null, "nonce_mismatch"),
        ("nonce", json!(7), "nonce_mismatch"),
        ("at_hash", json!("another hash"), "at_hash"),
        ("at_hash", json!(7), "at_hash"),
        ("auth_time", seconds(61), "clock_skew"),
        ("auth_time", json!("now"), "auth_time"),
    ];
    for (name, value, expected) in cases {
        let case = format!("{name}: {value:.40}");
        house.behave(|provider| provider.claims = set(name, value));
        assert_eq!(why(&refused(&house).await), expected, "{case}");
    }
    assert_eq!(house.provider.requests(Endpoint::Keys), 1);
}

#[tokio::test]
async fn what_is_within_a_minute_is_accepted() {
    let house = House::new().await;
    for (name, value) in [
        ("exp", seconds(-59)),
        ("iat", seconds(60)),
        ("iat", seconds(-60)),
        ("nbf", seconds(60)),
        ("exp", json!(4_000_000_000.5)),
        ("at_hash", Value::Null),
        ("auth_time", Value::Null),
        ("aud", json!(["shop"])),
        ("azp", json!("shop")),
        ("sub", json!("x".repeat(255))),
    ] {
        let case = format!("{name}: {value:.40}");
        house.behave(|provider| provider.claims = set(name, value));
        Browser::default().sign_in(&house).await.unwrap_or_else(|error| panic!("{case}: {error:?}"));
    }
}

#[tokio::test]
async fn a_provider_that_takes_its_time_has_no_wrong_clock() {
    let house = House::new().await;
    let clock = house.clock.clone();
    house.behave(|provider| {
        provider.claims = Box::new(move |claims| {
            clock.advance(2 * MINUTE);
            claims["iat"] = seconds(120);
            claims["exp"] = seconds(300);
        });
    });
    Browser::default().sign_in(&house).await.unwrap();
}

#[tokio::test]
async fn clocks_that_differ_are_said_to_and_by_how_much() {
    let house = House::new().await;
    for (ahead, words) in [(600, "600 s in the future"), (-600, "600 s before this sign-in began")] {
        house.behave(|provider| {
            provider.claims = Box::new(move |claims| {
                claims["iat"] = seconds(ahead);
                claims["exp"] = seconds(ahead + 300);
            });
        });
        let error = refused(&house).await;
        assert!(error.is_clock_skew() && error.to_string().contains(words), "{error}");
        assert!(error.what_to_check().contains("clocks"));
    }
}

#[tokio::test]
async fn each_way_of_not_signing_is_refused() {
    for (signature, expected) in [
        (Signature::None, "alg"),
        (Signature::Hs256WithThePublicKey, "alg"),
        (Signature::Stripped, "signature"),
        (Signature::ForeignKey, "signature"),
    ] {
        let house = House::new().await;
        house.behave(|provider| provider.signature = signature);
        assert_eq!(why(&refused(&house).await), expected, "{signature:?}");
    }
}

#[tokio::test]
async fn the_header_of_a_token_decides_nothing() {
    let cases: Vec<(Change, &str)> = vec![
        (Box::new(|header| header["kid"] = "unknown".into()), "kid"),
        (Box::new(|header| header["kid"] = "first-rsa".into()), "kid"),
        (Box::new(|header| header["kid"] = "first-rsa-encryption".into()), "kid"),
        (Box::new(|header| header["kid"] = "a symmetric key".into()), "kid"),
        (Box::new(|header| header["alg"] = "RS256".into()), "kid"),
        (Box::new(|header| header["alg"] = "ES384".into()), "alg"),
        (Box::new(|header| header["alg"] = "nOnE".into()), "alg"),
        (Box::new(|header| header["typ"] = "at+jwt".into()), "typ"),
        (Box::new(|header| header["typ"] = "logout+jwt".into()), "typ"),
        (Box::new(|header| header["crit"] = json!(["exp"])), "crit"),
        (Box::new(|header| header["alg"] = json!(["ES256"])), "form"),
    ];
    for (number, (change, expected)) in cases.into_iter().enumerate() {
        let house = House::new().await;
        house.behave(|provider| provider.header = change);
        assert_eq!(why(&refused(&house).await), expected, "case {number}");
    }
}

/// Keys that a token brings along, or says where to find, are nobody's.
#[tokio::test]
async fn a_key_that_the_token_names_is_not_asked_for() {
    let house = House::new().await;
    let evil = Provider::start(house.clock.clone()).await;
    let url = format!("{}/jwks", evil.issuer());
    house.behave(|provider| {
        provider.signature = Signature::ForeignKey;
        provider.header = Box::new(move |header| {
            for name in ["jku", "x5u"] {
                header[name] = url.clone().into();
            }
            header["jwk"] = json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" });
        });
    });
    assert_eq!(why(&refused(&house).await), "signature");
    assert_eq!(evil.all_requests(), 0);
    house.behave(|provider| provider.signature = Signature::Es256);
    Browser::default().sign_in(&house).await.unwrap();
    assert_eq!(evil.all_requests(), 0, "nor where the token is good");
}

#[tokio::test]
async fn an_access_token_is_not_taken_for_an_id_token() {
    let house = House::new().await;
    let claims = json!({ "iss": house.provider.issuer(), "aud": "https://api.example.com", "sub": "alice",
        "iat": seconds(0), "exp": seconds(300), "client_id": "shop", "scope": "openid" });
    for header in [json!({ "typ": "at+jwt" }), json!({})] {
        let token = house.provider.signed(header, claims.clone());
        house.behave(|provider| provider.tokens = Box::new(move |tokens| tokens["id_token"] = token.clone().into()));
        assert!(matches!(why(&refused(&house).await), "typ" | "aud"));
    }
}

#[tokio::test]
async fn an_id_token_of_an_earlier_sign_in_is_refused() {
    let house = House::new().await;
    let earlier = Browser::default().sign_in(&house).await.unwrap();
    let token = earlier.id_token().unwrap().to_owned();
    house.behave(|provider| {
        provider.tokens = Box::new(move |tokens| tokens["id_token"] = token.clone().into());
    });
    assert_eq!(why(&refused(&house).await), "nonce_mismatch");
}

#[tokio::test]
async fn an_answer_without_an_id_token_is_refused() {
    let house = House::new().await;
    for token in [Value::Null, json!(""), json!(7), json!("a.b.c")] {
        house.behave(|provider| provider.tokens = set("id_token", token));
        assert_eq!(why(&refused(&house).await), "form");
    }
    house.behave(|provider| provider.tokens = set("access_token", Value::Null));
    assert_eq!(why(&refused(&house).await), "at_hash", "there is nothing to compare it with");
}

#[tokio::test]
async fn an_old_proof_or_none_is_refused_where_a_fresh_one_was_asked_for() {
    let house = House::with(|builder| builder.max_age(HOUR)).await;
    let hour = i64::try_from(HOUR.as_secs()).unwrap();
    for (value, accepted) in [
        (seconds(-hour), true),
        (seconds(-hour - 60), true),
        (seconds(-hour - 61), false),
        (Value::Null, false),
        (json!("0"), false),
    ] {
        let case = value.to_string();
        house.behave(|provider| provider.claims = set("auth_time", value));
        match Browser::default().sign_in(&house).await {
            Ok(_) => assert!(accepted, "{case}"),
            Err(error) => assert_eq!((accepted, why(&error)), (false, "auth_time"), "{case}"),
        }
    }
}

/// The proof is compared with when it was asked for: a page of the provider's that is read slowly takes nothing from it.
#[tokio::test]
async fn a_proof_from_before_the_sign_in_is_refused_where_a_new_one_was_asked_for() {
    let house = House::new().await;
    for (seconds_after, accepted) in [(-11, false), (-10, true), (0, true), (10, true), (-59, false), (-3_600, false)] {
        let began = house.clock.now();
        let mut browser = Browser::default();
        let url = browser.try_begin(&house, Begin::new("/").max_age(Duration::ZERO)).await.unwrap();
        let seconds = i64::try_from(began.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()).unwrap();
        house.behave(|provider| provider.claims = set("auth_time", json!(seconds + seconds_after)));
        house.clock.advance(5 * MINUTE);
        let query = house.provider.visit(url.as_str()).await;
        match browser.complete(&house, &query).await {
            Ok(_) => assert!(accepted, "{seconds_after}"),
            Err(error) => {
                assert_eq!((accepted, why(&error)), (false, "auth_time"), "{seconds_after}");
                let words = format!("at most 0 s before this sign-in began, found {} s", -seconds_after);
                assert!(error.to_string().contains(&words), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn a_weaker_proof_or_none_is_refused_where_a_strong_one_was_asked_for() {
    let house = House::with(|builder| builder.acr_values(["high"])).await;
    for value in [json!("low"), json!(["high"]), json!("high "), Value::Null] {
        house.behave(|provider| provider.claims = set("acr", value));
        assert_eq!(why(&refused(&house).await), "acr");
    }
    house.provider.behave_well();
    let mut browser = Browser::default();
    browser.sign_in(&house).await.unwrap();
    let url = browser.try_begin(&house, Begin::new("/").acr_values(["higher"])).await.unwrap();
    house.behave(|provider| provider.claims = set("acr", json!("high")));
    let query = house.provider.visit(url.as_str()).await;
    assert_eq!(why(&browser.complete(&house, &query).await.unwrap_err()), "acr", "this one asked for more");
}

#[tokio::test]
async fn the_settings_say_which_algorithms_count() {
    let house = House::with(|builder| builder.algorithms([Algorithm::Rs256])).await;
    assert_eq!(why(&refused(&house).await), "alg");
    house.behave(|provider| provider.signature = Signature::Rs256);
    Browser::default().sign_in(&house).await.unwrap();
}

#[tokio::test]
async fn a_provider_that_announces_no_algorithm_signs_with_rs256() {
    let house = House::new().await;
    house.behave(|provider| provider.metadata = set("id_token_signing_alg_values_supported", Value::Null));
    assert_eq!(why(&refused(&house).await), "alg");
    house.behave(|provider| provider.signature = Signature::Rs256);
    Browser::default().sign_in(&house).await.unwrap();
    house.behave(|provider| {
        provider.metadata = set("id_token_signing_alg_values_supported", json!(["HS256", "none"]));
        provider.signature = Signature::Hs256WithThePublicKey;
    });
    assert_eq!(why(&refused(&house.another()).await), "alg", "whatever is announced");
}

#[tokio::test]
async fn new_keys_are_fetched_and_old_ones_forgotten() {
    let house = House::new().await;
    Browser::default().sign_in(&house).await.unwrap();
    house.provider.change_keys("second");
    assert_eq!(why(&refused(&house).await), "kid", "too soon to ask again");
    house.clock.advance(Duration::from_secs(30));
    Browser::default().sign_in(&house).await.unwrap();
    assert_eq!(house.provider.requests(Endpoint::Keys), 2);
    house.clock.advance(61 * MINUTE);
    Browser::default().sign_in(&house).await.unwrap();
    assert_eq!(house.provider.requests(Endpoint::Keys), 3, "after an hour they are asked for again");
}

#[tokio::test]
async fn a_token_without_a_name_of_its_key_needs_a_key_that_is_the_only_one() {
    let house = House::new().await;
    house.behave(|provider| provider.header = set("kid", Value::Null));
    Browser::default().sign_in(&house).await.unwrap();
    let house = house.another();
    house.behave(|provider| {
        provider.keys = Box::new(|set| {
            let mut key = set["keys"][2].clone();
            key["kid"] = "another".into();
            set["keys"].as_array_mut().unwrap().push(key);
        });
    });
    assert_eq!(why(&refused(&house).await), "kid");
    let flow = builder(&house.provider).build().unwrap();
    assert!(format!("{flow:?}").contains("issuer"));
}
