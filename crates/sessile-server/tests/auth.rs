//! The routes of signing in at a provider: what a browser gets to see of them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what goes wrong in a test ends it")]

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use serde_json::json;
use sessile_core::{
    Clock, Config, Cookie, Enforcement, Error, Limits, MemoryStore, Page, Rate, Secure, Session, Sessions, SystemClock,
    UserId,
};
use sessile_oidc::LoginFlow;
use sessile_server::auth::{self, Auth};
use sessile_testkit::clock::ManualClock;
use sessile_testkit::http::{Browser, Response, free_port};
use sessile_testkit::provider::{CLIENT_ID, CLIENT_SECRET, Provider};
use sessile_tower::{RecentlySignedIn, SessionLayer};

/// An application whose users sign in at a provider, and a browser.
struct App {
    url: String,
    browser: Browser,
    sessions: Sessions,
    provider: Provider,
}

async fn who(session: Session) -> Result<String, Error> {
    Ok(session.owner().map(|user| user.to_string()).unwrap_or_default())
}

/// For whoever has just proved who they are.
async fn recent(_: RecentlySignedIn<60>) {}

/// Everybody whom the provider names has an account but one.
fn user(_: &str, subject: &str) -> Option<UserId> {
    (subject != "mallory").then(|| subject.into())
}

impl App {
    async fn start() -> Self {
        Self::with(|config| config).await
    }

    async fn with(settings: impl FnOnce(Config) -> Config) -> Self {
        let clock = ManualClock::new(SystemClock.now());
        let provider = Provider::start(clock.clone()).await;
        let url = format!("http://127.0.0.1:{}", free_port());
        let flow = LoginFlow::builder(provider.issuer(), CLIENT_ID, format!("{url}/auth/callback"))
            .client_secret(CLIENT_SECRET)
            .http_timeout(Duration::from_secs(2))
            .build()
            .unwrap();
        let cookie = Cookie::new("sid").secure(Secure::Never);
        let config = Config::new("a secret for the tests of the sign-in routes").unwrap().cookie(cookie).unwrap();
        let sessions = Sessions::new(MemoryStore::new(), settings(config.clock(clock)));
        let auth = Auth::new(sessions.clone(), flow, user, &url).unwrap();
        let own = Router::new().route("/", get(who)).route("/recent", get(recent));
        let app = auth::router(auth).merge(own).layer(SessionLayer::new(sessions.clone()));
        let listener = tokio::net::TcpListener::bind(url.strip_prefix("http://").unwrap()).await.unwrap();
        let service = app.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        Self { browser: Browser::new(&url), url, sessions, provider }
    }

    async fn get(&self, path: &str) -> Response {
        self.browser.get(path).send().await
    }

    /// Where the provider sends the browser back to.
    async fn at_provider(&self, login: &str) -> String {
        let answer = self.get(login).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        format!("/auth/callback?{}", self.provider.visit(answer.header("location").unwrap()).await)
    }

    async fn sign_in(&self) -> Response {
        let callback = self.at_provider("/auth/login?return_to=/orders%3Fpage%3D2").await;
        self.get(&callback).await
    }
}

#[tokio::test]
async fn a_sign_in_leads_to_the_provider_and_back_to_where_the_user_was_going() {
    let app = App::start().await;
    let answer = app.sign_in().await;
    assert_eq!((answer.status, answer.header("location")), (303, Some("/orders?page=2")));
    for (name, value) in [("cache-control", "no-store"), ("referrer-policy", "no-referrer")] {
        assert_eq!(answer.header(name), Some(value));
    }
    let user = app.get("/").await.text().to_owned();
    let devices = app.sessions.devices().list(&user.as_str().into(), &Page::first(9)).await.unwrap().devices;
    assert_eq!(devices[0].facts.auth_method.as_deref(), Some("oidc"));
    for (wanted, path) in [("//evil.example", "/"), ("https://evil.example/", "/"), ("", "/"), ("/a", "/a")] {
        let callback = app.at_provider(&format!("/auth/login?return_to={wanted}")).await;
        assert_eq!(app.get(&callback).await.header("location"), Some(path), "{wanted:?}");
    }
}

#[tokio::test]
async fn a_sign_in_that_fails_says_what_to_do_and_nothing_that_a_stranger_wrote() {
    let app = App::start().await;
    let callback = app.at_provider("/auth/login?return_to=/%22%3E%3Cscript%3E").await;
    let state = callback.split("state=").nth(1).unwrap().split('&').next().unwrap();
    let iss: String = url::form_urlencoded::byte_serialize(app.provider.issuer().as_bytes()).collect();
    let hostile = "%3Cscript%3Ealert(1)%3C%2Fscript%3E";
    let denied =
        app.get(&format!("/auth/callback?state={state}&iss={iss}&error={hostile}&error_description={hostile}")).await;
    assert_eq!(denied.status, 400);
    let page = denied.text();
    assert!(
        page.contains("The identity provider did not sign you in.") && page.contains("Reference: <code>"),
        "{page}"
    );
    assert!(!page.contains("<script") && !page.contains("alert"), "{page}");
    assert_eq!(denied.header("cache-control"), Some("no-store"));
    for (path, words) in [
        ("/auth/callback", "could not be accepted"),
        ("/auth/callback?state=x&code=y&once_more=yes", "over or was begun in another browser"),
    ] {
        let answer = app.get(path).await;
        assert!(answer.status == 400 && answer.text().contains(words), "{path}: {}", answer.text());
    }
    let again = app.get("/auth/callback?state=x&code=y").await;
    assert_eq!((again.status, again.header("location")), (303, Some("/auth/callback?state=x&code=y&once_more=yes")));
    let stranger = Browser::new(&app.url).get("/auth/callback?state=x&code=y").send().await;
    assert!(stranger.text().contains("Your browser sent no session cookie"), "{}", stranger.text());
}

/// A provider that remembers a user asks no question, and whoever sits at the browser may be somebody else by now.
#[tokio::test]
async fn a_silent_sign_in_is_no_proof_of_a_moment_ago() {
    let app = App::start().await;
    app.sign_in().await;
    assert_eq!(app.get("/recent").await.status, 200, "the user was just asked");
    app.provider.behave(|behaviour| {
        behaviour.claims = Box::new(|claims| claims["auth_time"] = (claims["iat"].as_u64().unwrap() - 28_800).into());
    });
    app.sign_in().await;
    assert!(!app.get("/").await.text().is_empty());
    assert_eq!(app.get("/recent").await.status, 401);
}

/// Two tabs come back at the same moment: the second one's request has the id that the first one's rotates away.
#[tokio::test]
async fn a_callback_with_the_cookie_of_a_moment_ago_gets_through_with_the_new_one() {
    let app = App::start().await;
    let (first, second) =
        (app.at_provider("/auth/login?return_to=/a").await, app.at_provider("/auth/login?return_to=/b").await);
    let late = app.browser.clone();
    assert_eq!(app.get(&first).await.header("location"), Some("/a"));
    let answer = late.get(&second).send().await;
    assert_eq!((answer.status, answer.header("set-cookie")), (303, None));
    assert_eq!(app.get(answer.header("location").unwrap()).await.header("location"), Some("/b"));
}

#[tokio::test]
async fn whom_the_application_does_not_know_is_not_signed_in() {
    let app = App::start().await;
    app.provider.behave(|behaviour| behaviour.subject = "mallory".into());
    let answer = app.sign_in().await;
    assert!(answer.status == 403 && answer.text().contains("There is no account for you here"), "{}", answer.text());
    assert_eq!(app.get("/").await.text(), "");
}

#[tokio::test]
async fn a_provider_that_is_away_is_503() {
    let url = format!("http://127.0.0.1:{}", free_port());
    let flow = LoginFlow::builder(format!("http://127.0.0.1:{}", free_port()), "shop", format!("{url}/auth/callback"));
    let config = Config::new("a secret for the tests of the sign-in routes").unwrap();
    let sessions = Sessions::new(MemoryStore::new(), config);
    let auth = Auth::new(sessions.clone(), flow.build().unwrap(), user, &url).unwrap();
    let listener = tokio::net::TcpListener::bind(url.strip_prefix("http://").unwrap()).await.unwrap();
    let app = auth::router(auth).layer(SessionLayer::new(sessions));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let answer = Browser::new(&url).get("/auth/login").send().await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
    assert!(answer.text().contains("The identity provider cannot be reached"), "{}", answer.text());
}

#[tokio::test]
async fn a_sign_out_is_final_here_and_goes_on_to_the_provider() {
    let app = App::start().await;
    app.sign_in().await;
    assert_eq!(app.get("/auth/logout").await.status, 405, "a link signs nobody out");
    let stolen = app.browser.clone();
    let answer = app.browser.post("/auth/logout").send().await;
    let end = format!("{}/", app.provider.issuer());
    assert!(answer.status == 200 && answer.text().contains("http-equiv=\"refresh\""), "{}", answer.text());
    assert!(answer.text().contains(&end) && answer.text().contains("id_token_hint="), "{}", answer.text());
    assert_eq!(
        (answer.header("cache-control"), answer.header("referrer-policy")),
        (Some("no-store"), Some("no-referrer"))
    );
    assert_eq!(stolen.get("/").send().await.text(), "");
    let anonymous = Browser::new(&app.url).post("/auth/logout").send().await;
    assert_eq!(anonymous.status, 200, "nobody to sign out is no failure");
}

#[tokio::test]
async fn the_provider_signs_out_behind_the_scenes() {
    let app = App::start().await;
    app.sign_in().await;
    let user = app.get("/").await.text().to_owned();
    let send = async |token: &str| {
        let post = Browser::new(&app.url).post("/auth/backchannel-logout");
        let post = post.header("content-type", "application/x-www-form-urlencoded");
        post.body(format!("logout_token={token}")).send().await
    };
    let refused = send("nonsense").await;
    assert_eq!((refused.status, refused.header("cache-control")), (400, Some("no-store")));
    assert_eq!(refused.json()["error"], "invalid_request");
    assert_eq!(app.get("/").await.text(), user);
    let token = app.provider.logout_token(json!({"sub": user}));
    let done = send(&token).await;
    assert_eq!((done.status, done.header("cache-control")), (200, Some("no-store")));
    assert_eq!(app.get("/").await.text(), "");
    assert_eq!(send(&token).await.status, 400, "once");
}

#[tokio::test]
async fn a_browser_on_another_name_of_this_host_is_sent_to_the_one_that_the_provider_knows() {
    let app = App::start().await;
    let other = app.url.replace("127.0.0.1", "localhost");
    let login =
        Browser::new(&app.url).get("/auth/login?return_to=/a&again=yes").header("host", &other[7..]).send().await;
    let expected = format!("{}/auth/login?return_to=%2Fa&moved=yes&again=yes", app.url);
    assert_eq!((login.status, login.header("location")), (303, Some(&*expected)));
    assert_eq!(login.header("set-cookie"), None);
    // Behind a proxy that changes the name it is sent there once and not round and round.
    let moved = Browser::new(&app.url).get("/auth/login?moved=yes").header("host", &other[7..]).send().await;
    assert!(moved.header("location").unwrap().starts_with(app.provider.issuer()));
}

#[tokio::test]
async fn whoever_only_looks_uses_nothing_up() {
    let app = App::start().await;
    let callback = app.at_provider("/auth/login").await;
    for path in ["/auth/login", &callback] {
        assert_eq!(app.browser.request("HEAD", path).send().await.status, 405);
    }
    assert_eq!(app.get(&callback).await.status, 303);
}

#[tokio::test]
async fn a_proof_of_somebody_else_changes_nothing() {
    let app = App::start().await;
    app.sign_in().await;
    let user = app.get("/").await.text().to_owned();
    app.provider.behave(|behaviour| behaviour.subject = "grace".into());
    let callback = app.at_provider("/auth/login?again=yes").await;
    let answer = app.get(&callback).await;
    assert!(answer.status == 403 && answer.text().contains("That was somebody else"), "{}", answer.text());
    assert_eq!(app.get("/").await.text(), user);
    let callback = app.at_provider("/auth/login").await;
    app.get(&callback).await;
    assert_eq!(app.get("/").await.text(), "grace", "a sign-in may be anybody's");
}

#[tokio::test]
async fn a_providers_request_that_is_none_is_answered_as_the_specification_has_it() {
    let app = App::start().await;
    let long = format!("logout_token={}", "x".repeat(70_000));
    for (kind, body) in [
        ("application/x-www-form-urlencoded", ""),
        ("application/x-www-form-urlencoded", "logout_token=a&logout_token=b"),
        ("application/x-www-form-urlencoded", &*long),
        ("application/json", "{}"),
    ] {
        let post = app.browser.post("/auth/backchannel-logout").header("content-type", kind);
        let answer = post.body(body.as_bytes().to_vec()).send().await;
        assert_eq!((answer.status, answer.header("cache-control")), (400, Some("no-store")), "{kind} {body:.40}");
        assert_eq!(answer.json()["error"], "invalid_request");
    }
}

/// A provider that takes connections and says nothing.
#[tokio::test]
async fn a_sign_out_does_not_wait_for_a_silent_provider() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", silent.local_addr().unwrap());
    let url = format!("http://127.0.0.1:{}", free_port());
    let flow = LoginFlow::builder(issuer, "shop", format!("{url}/auth/callback")).build().unwrap();
    let cookie = Cookie::new("sid").secure(Secure::Never);
    let config = Config::new("a secret for the tests of the sign-in routes").unwrap().cookie(cookie).unwrap();
    let sessions = Sessions::new(MemoryStore::new(), config);
    let auth = Auth::new(sessions.clone(), flow, user, &url).unwrap();
    let sign_in = async |session: Session| session.sign_in("alice");
    let app = auth::router(auth)
        .merge(Router::new().route("/", get(who)).route("/in", get(sign_in)))
        .layer(SessionLayer::new(sessions));
    let listener = tokio::net::TcpListener::bind(url.strip_prefix("http://").unwrap()).await.unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let browser = Browser::new(&url);
    browser.get("/in").send().await;
    let stolen = browser.clone();
    assert_eq!(stolen.get("/").send().await.text(), "alice");
    let out = tokio::time::timeout(Duration::from_secs(5), browser.post("/auth/logout").send()).await.unwrap();
    assert_eq!((out.status, out.header("location")), (303, Some("/signed-out")));
    assert_eq!(stolen.get("/").send().await.text(), "");
}

#[tokio::test]
async fn who_tries_too_often_is_asked_to_wait_and_the_provider_is_left_alone() {
    let limits = Limits::new(Enforcement::Enforce).sign_ins(Rate::per_minute(2));
    let app = App::with(|config| config.limits(limits)).await;
    for status in [303, 303, 429] {
        assert_eq!(app.get("/auth/login").await.status, status);
    }
    let answer = app.get("/auth/login").await;
    assert_eq!(answer.header("retry-after"), Some("30"));
    assert!(answer.text().contains("Too many tries"), "{}", answer.text());
}
