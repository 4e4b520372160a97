//! The development provider, as an application and a browser meet it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what goes wrong in a test ends it")]

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sessile_core::{Clock, SystemClock};
use sessile_server::idp::{self, Client};
use sessile_testkit::clock::ManualClock;
use sessile_testkit::http::{Browser, Response};
use sha2::{Digest as _, Sha256};
use url::{Url, form_urlencoded};

const SECRET: &str = "a secret: with 100% odd letters";
const BACK: &str = "http://127.0.0.1:9/auth/callback";
const VERIFIER: &str = "a-verifier-that-is-long-enough-for-the-rule-of-43-letters";

struct Provider {
    url: String,
    browser: Browser,
    clock: ManualClock,
}

impl Provider {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let client = Client {
            id: "shop".into(),
            secret: SECRET.into(),
            redirect_uri: BACK.into(),
            post_logout_redirect_uri: "http://127.0.0.1:9/".into(),
        };
        let clock = ManualClock::new(SystemClock.now());
        let app = idp::router_by(clock.clone(), &url, client).unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { browser: Browser::new(&url), url, clock }
    }

    /// The application's request, with these parameters instead of the usual ones.
    fn request(&self, changed: &[(&str, &str)]) -> String {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
        let mut query = form_urlencoded::Serializer::new("/authorize?".to_owned());
        for (name, usual) in [
            ("response_type", "code"),
            ("client_id", "shop"),
            ("redirect_uri", BACK),
            ("scope", "openid profile"),
            ("state", "a state"),
            ("nonce", "n-1"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ] {
            let other = changed.iter().find(|(changed, _)| *changed == name);
            query.append_pair(name, other.map_or(usual, |(_, value)| value));
        }
        for (name, value) in changed.iter().filter(|(name, _)| ["prompt", "max_age", "acr_values"].contains(name)) {
            query.append_pair(name, value);
        }
        query.finish().replacen("?&", "?", 1)
    }

    /// The user answers, and what the application is told.
    async fn answer(&self, request: &str, user: &str) -> Vec<(String, String)> {
        let form = self.browser.post(request).header("content-type", "application/x-www-form-urlencoded");
        told(&form.body(format!("user={user}")).send().await)
    }

    async fn code(&self) -> String {
        parameter(&self.answer(&self.request(&[]), "ada").await, "code").unwrap()
    }

    async fn exchange(&self, changed: &[(&str, &str)], credentials: Option<(&str, &str)>) -> Response {
        let mut form = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("grant_type", "authorization_code"), ("redirect_uri", BACK), ("code_verifier", VERIFIER)]
        {
            let other = changed.iter().find(|(changed, _)| *changed == name);
            form.append_pair(name, other.map_or(value, |(_, value)| value));
        }
        form.extend_pairs(changed.iter().filter(|(name, _)| ["code", "client_id", "client_secret"].contains(name)));
        let mut request =
            Browser::new(&self.url).post("/token").header("content-type", "application/x-www-form-urlencoded");
        if let Some((id, secret)) = credentials {
            let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let basic = STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret).replace('+', "%20")));
            request = request.header("authorization", format!("Basic {basic}"));
        }
        request.body(form.finish()).send().await
    }

    async fn id_token(&self, code: &str) -> String {
        let answer = self.exchange(&[("code", code)], Some(("shop", SECRET))).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["id_token"].as_str().unwrap().to_owned()
    }
}

/// What the application is told by the redirect that brings the user back.
fn told(response: &Response) -> Vec<(String, String)> {
    assert_eq!(response.status, 303, "{}", response.text());
    let url = Url::parse(response.header("location").unwrap()).unwrap();
    assert!(url.as_str().starts_with(BACK), "{url}");
    url.query_pairs().into_owned().collect()
}

fn parameter(told: &[(String, String)], name: &str) -> Option<String> {
    told.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone())
}

fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[tokio::test]
async fn a_user_signs_in_and_the_application_learns_who_it_is() {
    let provider = Provider::start().await;
    let discovery = provider.browser.get("/.well-known/openid-configuration").send().await.json();
    assert_eq!(discovery["issuer"], provider.url);
    assert_eq!(provider.browser.get("/jwks").send().await.json()["keys"][0]["alg"], "ES256");
    let request = provider.request(&[("acr_values", "gold silver")]);
    let page = provider.browser.get(&request).send().await;
    assert!(page.text().contains("Continue as Ada Lovelace") && page.text().contains("Development identity provider"));
    let told = provider.answer(&request, "ada").await;
    assert_eq!(parameter(&told, "state").as_deref(), Some("a state"));
    assert_eq!(parameter(&told, "iss"), Some(provider.url.clone()));
    let claims = claims(&provider.id_token(&parameter(&told, "code").unwrap()).await);
    let now = provider.clock.now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(
        [&claims["iss"], &claims["sub"], &claims["aud"], &claims["nonce"], &claims["name"], &claims["acr"]],
        [&json!(provider.url), &json!("ada"), &json!("shop"), &json!("n-1"), &json!("Ada Lovelace"), &json!("gold")]
    );
    assert_eq!((&claims["iat"], &claims["exp"]), (&json!(now), &json!(now + 300)));
}

/// A site that has its name point to this computer is no other site to a browser.
#[tokio::test]
async fn under_another_name_it_does_nothing() {
    let provider = Provider::start().await;
    let own = provider.url.strip_prefix("http://").unwrap();
    for (host, status) in [(own, 200), ("evil.example", 421), (&own.replace("127.0.0.1", "localhost"), 421)] {
        for path in ["/jwks", "/.well-known/openid-configuration", &provider.request(&[])] {
            let answer = Browser::new(&provider.url).get(path).header("host", host).send().await;
            assert_eq!(answer.status, status, "{host} {path}");
        }
    }
}

#[tokio::test]
async fn a_code_works_once_for_a_minute_and_with_its_proof() {
    let provider = Provider::start().await;
    let client = Some(("shop", SECRET));
    let refused = async |changed: &[(&str, &str)], credentials, status, error| {
        let answer = provider.exchange(changed, credentials).await;
        assert_eq!((answer.status, answer.json()["error"].as_str()), (status, Some(error)), "{changed:?}");
    };
    for (changed, credentials, status, error) in [
        (("code_verifier", "another-verifier-that-is-long-enough-for-the-rule"), client, 400, "invalid_grant"),
        (("redirect_uri", "http://127.0.0.1:9/auth/callback/"), client, 400, "invalid_grant"),
        (("grant_type", "password"), client, 400, "unsupported_grant_type"),
        (("client_id", "shop"), None, 401, "invalid_client"),
        (("client_id", "shop"), Some(("shop", "guessed")), 401, "invalid_client"),
    ] {
        let code = provider.code().await;
        refused(&[("code", &code), changed], credentials, status, error).await;
    }
    let code = provider.code().await;
    refused(&[("code", &code), ("code_verifier", "wrong")], client, 400, "invalid_grant").await;
    refused(&[("code", &code)], client, 400, "invalid_grant").await;
    let code = provider.code().await;
    provider.id_token(&code).await;
    refused(&[("code", &code)], client, 400, "invalid_grant").await;
    let code = provider.code().await;
    provider.clock.advance(Duration::from_secs(61));
    refused(&[("code", &code)], client, 400, "invalid_grant").await;
    let code = provider.code().await;
    let in_form = [("code", &*code), ("client_id", "shop"), ("client_secret", SECRET)];
    assert_eq!(provider.exchange(&in_form, None).await.status, 200, "the secret may stand in the form");
}

#[tokio::test]
async fn a_request_that_is_not_the_clients_sends_nobody_anywhere() {
    let provider = Provider::start().await;
    for changed in
        [("client_id", "other"), ("redirect_uri", "http://127.0.0.1:9/auth/callback?x=1"), ("redirect_uri", "")]
    {
        let request = provider.request(&[changed]);
        for answer in [
            provider.browser.get(&request).send().await,
            provider
                .browser
                .post(&request)
                .header("content-type", "application/x-www-form-urlencoded")
                .body("user=ada")
                .send()
                .await,
        ] {
            assert_eq!((answer.status, answer.header("location")), (400, None), "{changed:?}");
        }
    }
    for (changed, error) in [
        (("response_type", "token"), "unsupported_response_type"),
        (("scope", "profile"), "invalid_scope"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("code_challenge", ""), "invalid_request"),
    ] {
        let told = told(&provider.browser.get(&provider.request(&[changed])).send().await);
        assert_eq!(parameter(&told, "error").as_deref(), Some(error), "{changed:?}");
        assert_eq!(parameter(&told, "state").as_deref(), Some("a state"));
    }
    let told = provider.answer(&provider.request(&[]), "").await;
    assert_eq!(parameter(&told, "error").as_deref(), Some("access_denied"));
}

#[tokio::test]
async fn who_is_signed_in_here_is_not_asked_again_unless_the_application_wants_it() {
    let provider = Provider::start().await;
    let silent = provider.request(&[("prompt", "none")]);
    let told_at = async |request: &str| told(&provider.browser.get(request).send().await);
    assert_eq!(parameter(&told_at(&silent).await, "error").as_deref(), Some("login_required"));
    let first = claims(&provider.id_token(&provider.code().await).await);
    let code = parameter(&told_at(&silent).await, "code").unwrap();
    let again = claims(&provider.id_token(&code).await);
    assert_eq!((&again["sid"], &again["auth_time"]), (&first["sid"], &first["auth_time"]));
    provider.clock.advance(Duration::from_secs(100));
    for (parameter, value, is_asked) in [
        ("max_age", "200", false),
        ("max_age", "50", true),
        ("prompt", "login", true),
        ("prompt", "select_account", true),
    ] {
        let answer = provider.browser.get(&provider.request(&[(parameter, value)])).send().await;
        assert_eq!(answer.status == 200, is_asked, "{parameter}={value}");
    }
}

#[tokio::test]
async fn signing_out_needs_a_token_of_this_provider_and_leads_back_to_the_application_alone() {
    let provider = Provider::start().await;
    let token = provider.id_token(&provider.code().await).await;
    let forged = format!("{}x", &token[..token.len() - 2]);
    for hint in ["", "nonsense", &forged] {
        assert_eq!(provider.browser.get(&format!("/logout?id_token_hint={hint}")).send().await.status, 400);
    }
    let is_signed_in = async || {
        let told = told(&provider.browser.get(&provider.request(&[("prompt", "none")])).send().await);
        parameter(&told, "code").is_some()
    };
    assert!(is_signed_in().await);
    let elsewhere = format!("/logout?id_token_hint={token}&post_logout_redirect_uri=http://127.0.0.1:9/elsewhere");
    assert_eq!(Browser::new(&provider.url).get(&elsewhere).send().await.header("location"), None);
    assert!(is_signed_in().await, "the token of another browser's session");
    let out = format!("/logout?id_token_hint={token}&post_logout_redirect_uri=http://127.0.0.1:9/&state=s");
    let answer = provider.browser.get(&out).send().await;
    assert_eq!(answer.header("location"), Some("http://127.0.0.1:9/?state=s"));
    assert!(!is_signed_in().await);
}
