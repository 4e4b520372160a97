//! Providers of plain OAuth 2.0: no discovery, no ID token, and an API that says who the user is.

use serde_json::{Value, json};
use sessile_core::Page;
use sessile_oidc::{Api, Begin, Claims, LoginError, PlainOauth, Preset, Profile};
use sessile_testkit::provider::Endpoint;

use crate::support::{Browser, House, builder, param};

/// GitHub, on the test's provider.
async fn github() -> House {
    let house = House::new().await;
    let url = |path: &str| format!("{}{path}", house.provider.issuer()).into();
    let plain = PlainOauth {
        authorization_endpoint: url("/authorize"),
        token_endpoint: url("/token"),
        profile: url("/user"),
        subject: "id".into(),
    };
    let flow = builder(&house.provider).preset(Preset::GITHUB).plain_oauth(plain).build().unwrap();
    House { flow, ..house }
}

#[tokio::test]
async fn a_user_signs_in_without_an_id_token() {
    let house = github().await;
    let mut browser = Browser::default();
    let url = browser.try_begin(&house, Begin::new("/orders").with_data("a", 1)).await.unwrap();
    let asked = |name: &str| param(url.query().unwrap(), name);
    assert_eq!((asked("scope"), asked("nonce")), (None, None));
    assert_eq!(asked("code_challenge_method").as_deref(), Some("S256"));
    let query = house.provider.visit(url.as_str()).await;
    let identity = browser.complete(&house, &query).await.unwrap();
    assert_eq!((identity.issuer.as_str(), identity.subject.as_str()), (house.provider.issuer(), "583231"));
    assert_eq!(identity.claims.text("login"), Some("octocat"));
    assert_eq!((identity.id_token(), identity.provider_session(), identity.data("a")), (None, None, Some(1)));
    assert_eq!(browser.owner(&house).await.as_deref(), Some("583231"));
    let devices = house.sessions.devices().list(&"583231".into(), &Page::first(9)).await.unwrap().devices;
    assert_eq!(devices[0].facts.auth_method.as_deref(), Some("oauth2"));
    assert_eq!(house.provider.requests(Endpoint::Metadata) + house.provider.requests(Endpoint::Keys), 0);
    let is_fresh = browser.visit(&house, |session| session.authenticated_within(std::time::Duration::MAX)).await;
    assert!(!is_fresh, "nobody says when they proved who they are");
    let exchange = browser.request(&house);
    let url = house.flow.logout_url(&exchange.session().await.unwrap(), "https://shop.example.com/", None).await;
    assert!(url.unwrap().is_none(), "there is nowhere to sign out");
}

#[tokio::test]
async fn a_no_with_the_status_of_a_yes_is_a_no() {
    let house = github().await;
    house.behave(|provider| {
        provider.tokens = Box::new(|tokens| {
            *tokens =
                json!({ "error": "bad_verification_code", "error_description": "The code is incorrect or expired." });
        });
    });
    let mut browser = Browser::default();
    let error = browser.sign_in(&house).await.unwrap_err();
    assert_eq!(error.refusal().unwrap().error, "bad_verification_code");
    assert_eq!(house.provider.requests(Endpoint::User), 0);
}

#[tokio::test]
async fn a_user_without_a_lasting_name_is_refused() {
    let house = github().await;
    for id in [Value::Null, json!(""), json!(1.5), json!(["1"])] {
        house.behave(|provider| provider.user = Box::new(move |user| user["id"] = id.clone()));
        let error = Browser::default().sign_in(&house).await.unwrap_err();
        assert!(error.code() == "provider_unusable" || error.failed_check() == Some("sub"), "{error:?}");
    }
}

struct Forge;

#[async_trait::async_trait]
impl Profile for Forge {
    async fn claims(&self, api: &Api<'_>) -> Result<Claims, LoginError> {
        assert_eq!(api.get("https://user:password@127.0.0.1/").await.unwrap_err().code(), "misuse");
        assert_eq!(api.get("http://192.0.2.1/user").await.unwrap_err().code(), "misuse", "the token would go there");
        Err(LoginError::provider("the forge does not like this user"))
    }
}

#[tokio::test]
async fn an_application_asks_in_its_own_way() {
    let house = github().await;
    let url = |path: &str| format!("{}{path}", house.provider.issuer()).into();
    let plain = PlainOauth {
        authorization_endpoint: url("/authorize"),
        token_endpoint: url("/token"),
        profile: url("/user"),
        subject: "id".into(),
    };
    let flow = builder(&house.provider).plain_oauth(plain).profile(Forge).build().unwrap();
    let error = Browser::default().sign_in(&House { flow, ..house }).await.unwrap_err();
    assert!(error.to_string().contains("does not like this user"));
}
