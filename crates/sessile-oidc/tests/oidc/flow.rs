//! Sign-ins that succeed, what they leave behind, and what they cost.

use serde_json::{Value, json};
use sessile_core::Page;
use sessile_oidc::{Begin, LoginFlow, Preset};
use sessile_sqlite::SqliteStore;
use sessile_testkit::provider::{CLIENT_ID, Endpoint};
use sessile_testkit::spy::Call;

use crate::support::{Browser, CALLBACK, DAY, HOUR, House, MINUTE, builder, param, sessions, start};

#[tokio::test]
async fn a_user_signs_in() {
    let house = House::with(|builder| builder.scopes(["email", "openid"]).extra_param("ui_locales", "de")).await;
    let mut browser = Browser::default();
    let begin = Begin::new("/orders?page=2").with_data("requestedRole", "admin").param("login_hint", "a@example.com");
    let url = browser.try_begin(&house, begin).await.unwrap();
    let asked = |name: &str| param(url.query().unwrap(), name);
    assert!(url.as_str().starts_with(&format!("{}/authorize?", house.provider.issuer())));
    for (name, expected) in [
        ("response_type", "code"),
        ("client_id", CLIENT_ID),
        ("redirect_uri", CALLBACK),
        ("scope", "openid email"),
        ("code_challenge_method", "S256"),
        ("ui_locales", "de"),
        ("login_hint", "a@example.com"),
    ] {
        assert_eq!(asked(name).as_deref(), Some(expected), "{name}");
    }
    for name in ["state", "nonce", "code_challenge"] {
        assert_eq!(asked(name).unwrap().len(), 43, "{name}: 256 bits");
    }
    assert!(["requestedRole", "client_secret", "max_age", "acr_values"].iter().all(|name| asked(name).is_none()));
    let query = house.provider.visit(url.as_str()).await;
    let before = browser.cookie.clone();
    let identity = browser.complete(&house, &query).await.unwrap();
    assert_eq!((identity.issuer.as_str(), identity.subject.as_str()), (house.provider.issuer(), "alice"));
    assert_eq!(identity.claims.text("email"), Some("alice@example.com"));
    assert_eq!(identity.return_to, "/orders?page=2");
    assert_eq!(identity.data::<String>("requestedRole").as_deref(), Some("admin"));
    assert_eq!((identity.provider_session(), identity.auth_time), (Some("session 1"), Some(start())));
    assert_ne!(browser.cookie, before, "the id changed with the sign-in");
    assert_eq!(browser.owner(&house).await.as_deref(), Some("alice"));
    let keys = browser.visit(&house, |session| session.keys()).await;
    assert_eq!(keys, ["oidc"], "nothing is left of the sign-in under way");
    let devices = house.sessions.devices().list(&"alice".into(), &Page::first(9)).await.unwrap().devices;
    assert_eq!(devices[0].facts.auth_method.as_deref(), Some("oidc"));
    assert!(devices[0].facts.provider_session.is_some());
}

#[tokio::test]
async fn scopes_are_only_what_was_asked_for() {
    let house = House::new().await;
    let url = Browser::default().try_begin(&house, Begin::new("/")).await.unwrap();
    assert_eq!(param(url.query().unwrap(), "scope").as_deref(), Some("openid"));
}

#[tokio::test]
async fn a_sign_in_begins_on_one_instance_and_ends_on_another_and_outlives_a_restart() {
    let one = House::new().await;
    let mut browser = Browser::default();
    let query = browser.begin(&one).await;
    let other = one.another();
    drop(one);
    assert_eq!(browser.complete(&other, &query).await.unwrap().subject, "alice");
    assert_eq!(browser.owner(&other).await.as_deref(), Some("alice"));
}

#[tokio::test]
async fn a_sign_in_outlives_a_restart_of_everything_but_the_file() {
    let house = House::new().await;
    let file = std::env::temp_dir().join(format!("sessile-oidc-{}.db", std::process::id()));
    let instance = async || {
        let store = SqliteStore::open(&file).await.unwrap();
        House { sessions: sessions(store, &house.clock), ..house.another() }
    };
    let mut browser = Browser::default();
    let query = browser.begin(&instance().await).await;
    assert_eq!(browser.complete(&instance().await, &query).await.unwrap().subject, "alice");
    assert_eq!(browser.owner(&instance().await).await.as_deref(), Some("alice"));
    for ending in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{ending}", file.display()));
    }
}

#[tokio::test]
async fn a_sign_in_costs_one_write_to_begin_and_four_calls_to_complete() {
    let house = House::new().await;
    let mut browser = Browser::default();
    let query = browser.begin(&house).await;
    assert_eq!(house.store.calls(), [Call::Insert]);
    house.store.clear();
    browser.complete(&house, &query).await.unwrap();
    assert_eq!(house.store.calls(), [Call::Load, Call::Update, Call::Load, Call::SignIn]);
    house.store.clear();
    let query = browser.begin(&house).await;
    browser.complete(&house, &query).await.unwrap();
    let again = [Call::Load, Call::Update, Call::Load, Call::Update, Call::Load, Call::SignIn];
    assert_eq!(house.store.calls(), again, "in a session that is there already");
    let asked = |endpoint| house.provider.requests(endpoint);
    assert_eq!((asked(Endpoint::Metadata), asked(Endpoint::Keys), asked(Endpoint::Token)), (1, 1, 2));
}

#[tokio::test]
async fn several_tabs_sign_in_in_any_order() {
    let house = House::new().await;
    let mut browser = Browser::default();
    let [first, second, third] =
        [browser.begin(&house).await, browser.begin(&house).await, browser.begin(&house).await];
    for query in [second, third, first] {
        assert_eq!(browser.complete(&house, &query).await.unwrap().subject, "alice");
    }
    assert_eq!(browser.visit(&house, |session| session.keys()).await, ["oidc"]);
}

#[tokio::test]
async fn eight_tabs_at_most_are_under_way_and_the_oldest_makes_room() {
    let house = House::new().await;
    let mut browser = Browser::default();
    let mut queries = Vec::new();
    for _ in 0..9 {
        queries.push(browser.begin(&house).await);
        house.clock.advance(std::time::Duration::from_secs(1));
    }
    let error = browser.clone().complete(&house, &queries[0]).await.unwrap_err();
    assert_eq!((error.code(), error.status()), ("unknown_state", 400));
    assert_eq!(house.provider.requests(Endpoint::Token), 0);
    for query in &queries[1..] {
        browser.complete(&house, query).await.unwrap();
    }
}

#[tokio::test]
async fn tabs_that_begin_at_the_same_moment_are_all_kept() {
    let house = House::new().await;
    let mut browser = Browser::default();
    browser.visit(&house, |session| session.insert("cart", &1)).await.unwrap();
    let tabs: Vec<_> = (0..8)
        .map(|_| {
            let (mut tab, house) = (browser.clone(), house.clone());
            tokio::spawn(async move { tab.begin(&house).await })
        })
        .collect();
    for tab in tabs {
        browser.complete(&house, &tab.await.unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn a_session_that_is_new_lives_fifteen_minutes_until_the_sign_in() {
    let house = House::new().await;
    let mut browser = Browser::default();
    let query = browser.begin(&house).await;
    let mut given_up = browser.clone();
    let ends = browser.visit(&house, |session| session.expires_at()).await;
    assert_eq!(ends, start() + 15 * MINUTE);
    house.clock.advance(14 * MINUTE);
    browser.complete(&house, &query).await.unwrap();
    let ends = browser.visit(&house, |session| session.expires_at()).await;
    assert_eq!(ends, start() + 14 * MINUTE + DAY);
    assert_eq!(given_up.visit(&house, |session| session.keys()).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_session_that_is_there_for_a_sign_in_ends_with_the_last_one_used_or_not() {
    let house = House::new().await;
    let mut browser = Browser::default();
    browser.begin(&house).await;
    house.clock.advance(14 * MINUTE);
    let query = browser.begin(&house).await;
    house.clock.advance(14 * MINUTE);
    browser.visit(&house, |session| session.insert("used", &1)).await.unwrap();
    let mut unused = browser.clone();
    browser.complete(&house, &query).await.unwrap();
    house.clock.advance(HOUR);
    assert_eq!(browser.owner(&house).await.as_deref(), Some("alice"), "a sign-in gives it the usual life");
    assert_eq!(unused.visit(&house, |session| session.keys()).await, Vec::<String>::new());
    let mut kept_alive = Browser::default();
    kept_alive.begin(&house).await;
    for _ in 0..3 {
        house.clock.advance(5 * MINUTE);
        kept_alive.visit(&house, |session| session.insert("used", &1)).await.unwrap();
    }
    house.clock.advance(std::time::Duration::from_millis(1));
    assert_eq!(kept_alive.visit(&house, |session| session.keys()).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_session_with_a_cart_keeps_its_cart_and_its_lifetime() {
    let house = House::new().await;
    let mut browser = Browser::default();
    browser.visit(&house, |session| session.insert("cart", &["book"])).await.unwrap();
    let query = browser.begin(&house).await;
    assert_eq!(browser.visit(&house, |session| session.expires_at()).await, start() + DAY);
    browser.complete(&house, &query).await.unwrap();
    let cart = browser.visit(&house, |session| session.get::<Vec<String>>("cart").unwrap()).await;
    assert_eq!(cart, Some(vec!["book".into()]));
}

#[tokio::test]
async fn another_user_of_the_same_browser_finds_nothing_of_the_one_before() {
    let house = House::new().await;
    let mut browser = Browser::default();
    browser.sign_in(&house).await.unwrap();
    browser.visit(&house, |session| session.insert("diary", "secret")).await.unwrap();
    house.behave(|provider| provider.subject = "bob".into());
    browser.sign_in(&house).await.unwrap();
    assert_eq!(browser.owner(&house).await.as_deref(), Some("bob"));
    assert_eq!(browser.visit(&house, |session| session.keys()).await, ["oidc"]);
}

#[tokio::test]
async fn a_sign_in_ends_where_it_was_meant_to_and_on_this_site() {
    let house = House::new().await;
    for (asked, expected) in [
        ("/a?b=c#d", "/a?b=c#d"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("/a\r\nSet-Cookie: x", "/"),
        ("", "/"),
    ] {
        let mut browser = Browser::default();
        let url = browser.try_begin(&house, Begin::new(asked)).await.unwrap();
        let query = house.provider.visit(url.as_str()).await;
        assert_eq!(browser.complete(&house, &query).await.unwrap().return_to, expected, "{asked:?}");
    }
}

#[tokio::test]
async fn the_provider_sees_the_verifier_of_its_challenge() {
    let house = House::new().await;
    let mut browser = Browser::default();
    let url = browser.try_begin(&house, Begin::new("/")).await.unwrap();
    let query = house.provider.visit(url.as_str()).await;
    browser.complete(&house, &query).await.unwrap();
    let form = house.provider.last_token_request();
    assert_eq!(form["code_verifier"].len(), 43);
    assert_ne!(Some(&form["code_verifier"]), param(url.query().unwrap(), "code_challenge").as_ref());
    assert_eq!((form["grant_type"].as_str(), form["redirect_uri"].as_str()), ("authorization_code", CALLBACK));
    assert!(!form.contains_key("client_secret"), "it is in the header");
}

#[tokio::test]
async fn a_provider_that_ignores_pkce_gets_the_verifier_all_the_same() {
    let house = House::new().await;
    house.behave(|provider| {
        provider.ignores_pkce = true;
        provider.metadata = Box::new(|metadata| metadata["code_challenge_methods_supported"] = ["plain"].into());
    });
    Browser::default().sign_in(&house).await.unwrap();
    assert_eq!(house.provider.last_token_request()["code_verifier"].len(), 43);
}

#[tokio::test]
async fn a_secret_goes_into_the_form_where_the_provider_wants_it_there() {
    let house = House::new().await;
    house.behave(|provider| {
        provider.metadata =
            Box::new(|metadata| metadata["token_endpoint_auth_methods_supported"] = ["client_secret_post"].into());
    });
    Browser::default().sign_in(&house).await.unwrap();
    assert!(house.provider.last_token_request().contains_key("client_secret"));
}

#[tokio::test]
async fn a_client_without_a_secret_has_pkce_alone() {
    let house = House::new().await;
    let flow = LoginFlow::builder(house.provider.issuer(), CLIENT_ID, CALLBACK).build().unwrap();
    house.behave(|provider| provider.client_is_public = true);
    Browser::default().sign_in(&House { flow, ..house.clone() }).await.unwrap();
    let form = house.provider.last_token_request();
    assert_eq!((form["client_id"].as_str(), form.contains_key("client_secret")), (CLIENT_ID, false));
}

#[tokio::test]
async fn both_kinds_of_keys_do() {
    use sessile_testkit::provider::Signature;
    let house = House::new().await;
    for signature in [Signature::Es256, Signature::Rs256] {
        house.behave(|provider| {
            provider.signature = signature;
            provider.claims = Box::new(move |claims| {
                if signature == Signature::Rs256 {
                    claims["aud"] = ["shop", "other"].into();
                    claims["azp"] = "shop".into();
                }
            });
        });
        Browser::default().sign_in(&house).await.unwrap();
    }
}

#[tokio::test]
async fn a_second_proof_can_be_asked_for() {
    let house = House::with(|builder| builder.max_age(HOUR).acr_values(["high", "higher"])).await;
    let mut browser = Browser::default();
    let url = browser.try_begin(&house, Begin::new("/")).await.unwrap();
    let asked = |name: &str| param(url.query().unwrap(), name);
    assert_eq!((asked("max_age").as_deref(), asked("acr_values").as_deref()), (Some("3600"), Some("high higher")));
    let query = house.provider.visit(url.as_str()).await;
    assert_eq!(browser.complete(&house, &query).await.unwrap().acr.as_deref(), Some("high"));
    let begin = Begin::new("/").max_age(std::time::Duration::ZERO).acr_values(["highest"]).param("prompt", "login");
    let url = browser.try_begin(&house, begin).await.unwrap();
    let asked = |name: &str| param(url.query().unwrap(), name);
    assert_eq!((asked("max_age").as_deref(), asked("acr_values").as_deref()), (Some("0"), Some("highest")));
    let query = house.provider.visit(url.as_str()).await;
    assert_eq!(browser.complete(&house, &query).await.unwrap().acr.as_deref(), Some("highest"));
}

#[tokio::test]
async fn each_parameter_is_sent_once_and_the_later_one_counts() {
    let house = House::with(|builder| builder.extra_param("ui_locales", "de").extra_param("ui_locales", "fr")).await;
    let now = std::time::Duration::ZERO;
    let cases = [
        (Begin::new("/"), "ui_locales", vec!["fr"]),
        (Begin::new("/").param("ui_locales", "en").param("ui_locales", "it"), "ui_locales", vec!["it"]),
        (Begin::new("/").max_age(MINUTE), "prompt", vec![]),
        (Begin::new("/").max_age(now), "prompt", vec!["login"]),
        (Begin::new("/").max_age(now).param("prompt", "select_account"), "prompt", vec!["select_account"]),
    ];
    for (begin, name, expected) in cases {
        let url = Browser::default().try_begin(&house, begin).await.unwrap();
        let found: Vec<_> = url.query_pairs().filter(|(own, _)| own == name).map(|(_, value)| value).collect();
        assert_eq!(found, expected, "{url}");
    }
}

#[tokio::test]
async fn a_user_whom_the_provider_remembered_has_not_just_proved_who_they_are() {
    let house = House::new().await;
    let now = i64::try_from(start().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let [hours, day] = [8 * HOUR, DAY].map(|span| now - i64::try_from(span.as_secs()).unwrap());
    for (auth_time, expected) in
        [(json!(now), true), (json!(now + 30), true), (json!(hours), false), (json!(day), false), (Value::Null, false)]
    {
        let case = auth_time.to_string();
        house.behave(|provider| {
            provider.claims = Box::new(move |claims| match &auth_time {
                Value::Null => drop(claims.as_object_mut().unwrap().remove("auth_time")),
                time => claims["auth_time"] = time.clone(),
            });
        });
        let mut browser = Browser::default();
        browser.sign_in(&house).await.unwrap();
        assert_eq!(browser.visit(&house, |session| session.authenticated_within(MINUTE)).await, expected, "{case}");
        browser.visit(&house, |session| session.authenticate_again()).await.unwrap();
        assert!(browser.visit(&house, |session| session.authenticated_within(MINUTE)).await, "{case}: a later proof");
    }
}

#[tokio::test]
async fn what_goes_along_is_bounded_and_cannot_touch_the_protocol() {
    let house = House::new().await;
    let mut browser = Browser::default();
    for begin in [
        Begin::new("/").with_data("a", "x".repeat(3_000)),
        Begin::new("/").param("redirect_uri", "https://evil.example"),
        Begin::new("/").param("state", "mine"),
        Begin::new("/").param("max_age", "86400"),
        Begin::new("/").param("acr_values", "low"),
    ] {
        assert_eq!(browser.try_begin(&house, begin).await.unwrap_err().code(), "misuse");
    }
    assert_eq!(browser.cookie, None, "nothing was stored");
}

#[tokio::test]
async fn a_full_session_keeps_the_latest_sign_ins_and_one_that_is_too_full_says_so() {
    let house = House::new().await;
    let mut browser = Browser::default();
    browser.visit(&house, |session| session.insert("cart", &"x".repeat(60_000))).await.unwrap();
    let long = format!("/{}", "a".repeat(1_500));
    let mut queries = Vec::new();
    for _ in 0..5 {
        let url = browser.try_begin(&house, Begin::new(&long)).await.unwrap();
        queries.push(house.provider.visit(url.as_str()).await);
        house.clock.advance(std::time::Duration::from_secs(1));
    }
    assert!(browser.complete(&house, &queries[0]).await.unwrap_err().is_unknown_state(), "it made room");
    browser.complete(&house, &queries[4]).await.unwrap();
    let mut full = Browser::default();
    full.visit(&house, |session| session.insert("cart", &"x".repeat(65_000))).await.unwrap();
    let error = full.try_begin(&house, Begin::new(&long)).await.unwrap_err();
    assert_eq!((error.code(), error.status()), ("session", 413));
    assert!(error.public_message().contains("holds too much") && error.what_to_check().contains("max_data"));
}

#[test]
fn what_goes_along_is_not_printed() {
    let begin = Begin::new("/orders/4711").with_data("voucher", "a gift").param("login_hint", "a@example.com");
    let printed = format!("{begin:?} {begin:#?}");
    assert!(["4711", "gift", "example"].iter().all(|word| !printed.contains(word)), "{printed}");
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let build = |issuer: &str, client: &str, callback: &str| LoginFlow::builder(issuer, client, callback).build();
    let issuer = "https://id.example.com/realms/a";
    assert!(build(issuer, "shop", CALLBACK).is_ok());
    assert!(build("http://127.0.0.1:8080", "shop", "http://localhost:3000/cb").is_ok());
    for (issuer, client, callback) in [
        ("http://id.example.com", "shop", CALLBACK),
        ("id.example.com", "shop", CALLBACK),
        ("https://id.example.com?x", "shop", CALLBACK),
        ("https://id.example.com#x", "shop", CALLBACK),
        ("https://a:b@id.example.com", "shop", CALLBACK),
        (issuer, "", CALLBACK),
        (issuer, "shop", "http://shop.example.com/cb"),
        (issuer, "shop", "/cb"),
    ] {
        let error = build(issuer, client, callback).map(|_| ()).unwrap_err();
        assert!(error.is_config() && error.to_string().starts_with("expected"), "{issuer} {client} {callback}");
    }
    let good = || LoginFlow::builder(issuer, "shop", CALLBACK);
    assert!(good().extra_param("nonce", "x").build().is_err());
    assert!(good().algorithms([]).build().is_err());
    assert!(good().preset(Preset::GOOGLE).build().is_err());
    assert!(good().preset(Preset::KEYCLOAK).build().is_ok());
    assert!(good().root_certificates([b"no certificate".to_vec()]).build().is_err());
}

#[tokio::test]
async fn a_sign_out_leads_back_to_this_site_alone() {
    let house = House::new().await;
    let mut browser = Browser::default();
    let identity = browser.sign_in(&house).await.unwrap();
    let exchange = browser.request(&house);
    let session = exchange.session().await.unwrap();
    let url = house.flow.logout_url(&session, "https://shop.example.com/bye", Some("s 1")).await.unwrap().unwrap();
    let said = |name: &str| param(url.query().unwrap(), name);
    assert!(url.as_str().starts_with(&format!("{}/end_session?", house.provider.issuer())));
    assert_eq!(said("id_token_hint").as_deref(), identity.id_token());
    assert_eq!(said("post_logout_redirect_uri").as_deref(), Some("https://shop.example.com/bye"));
    assert_eq!((said("client_id").as_deref(), said("state").as_deref()), (Some(CLIENT_ID), Some("s 1")));
    for elsewhere in [
        "https://evil.example/",
        "http://shop.example.com/",
        "//evil.example",
        "/bye",
        "https://shop.example.com:8443/",
    ] {
        let error = house.flow.logout_url(&session, elsewhere, None).await.unwrap_err();
        assert_eq!(error.code(), "misuse", "{elsewhere}");
    }
    let stranger = Browser::default().request(&house);
    let stranger = stranger.session().await.unwrap();
    let url = house.flow.logout_url(&stranger, "https://shop.example.com/", None).await.unwrap().unwrap();
    assert_eq!(param(url.query().unwrap(), "id_token_hint"), None, "nobody is signed in there");
}

#[tokio::test]
async fn a_provider_signs_out_in_its_own_form_or_not_at_all() {
    let house = House::new().await;
    let exchange = Browser::default().request(&house);
    let session = exchange.session().await.unwrap();
    let mut cognito = Preset::COGNITO;
    cognito.issuer = "http://127.0.0.1";
    let flow = builder(&house.provider).preset(cognito).build().unwrap();
    let url = flow.logout_url(&session, "https://shop.example.com/bye", None).await.unwrap().unwrap();
    let expected =
        format!("{}/logout?client_id=shop&logout_uri=https%3A%2F%2Fshop.example.com%2Fbye", house.provider.issuer());
    assert_eq!(url.as_str(), expected);
    house.behave(|provider| {
        provider.metadata = Box::new(|metadata| drop(metadata.as_object_mut().unwrap().remove("end_session_endpoint")));
    });
    let flow = builder(&house.provider).build().unwrap();
    assert!(flow.logout_url(&session, "https://shop.example.com/bye", None).await.unwrap().is_none());
}

#[tokio::test]
async fn an_id_token_that_is_too_long_to_keep_is_not_kept() {
    let house = House::new().await;
    house.behave(|provider| provider.claims = Box::new(|claims| claims["groups"] = "x".repeat(8_000).into()));
    let mut browser = Browser::default();
    browser.sign_in(&house).await.unwrap();
    let exchange = browser.request(&house);
    let session = exchange.session().await.unwrap();
    assert!(session.to_json().len() < 500);
    let url = house.flow.logout_url(&session, "https://shop.example.com/", None).await.unwrap().unwrap();
    assert_eq!(param(url.query().unwrap(), "id_token_hint"), None);
}
