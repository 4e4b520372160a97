//! The flow as an application has it: routes of axum, over real connections, on two instances behind one name.

use axum::Router;
use axum::extract::{Query, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use sessile_core::{Error, Exchange, Session};
use sessile_oidc::{BackChannel, Begin, Callback, LoginError, LoginFlow};
use sessile_testkit::http::Browser;
use sessile_testkit::provider::Form;
use sessile_tower::{SessionLayer, SignedIn};

use crate::support::House;

type Shared = State<std::sync::Arc<App>>;

struct App {
    flow: LoginFlow,
    back_channel: BackChannel,
    sessions: sessile_core::Sessions,
}

fn failed(error: &LoginError) -> Response {
    let status = StatusCode::from_u16(error.status()).unwrap();
    (status, format!("{} ({})", error.public_message(), error.reference())).into_response()
}

async fn login(State(app): Shared, session: Session, Query(query): Query<Form>) -> Response {
    let begin = Begin::new(query.get("return_to").map_or("/", String::as_str));
    match app.flow.begin(&session, begin).await {
        Ok(url) => Redirect::to(url.as_str()).into_response(),
        Err(error) => failed(&error),
    }
}

async fn callback(
    State(app): Shared,
    exchange: Exchange,
    session: Session,
    RawQuery(query): RawQuery,
) -> Result<Response, Error> {
    match app.flow.complete(&exchange, &Callback::from_query(&query.unwrap_or_default())).await {
        Ok(identity) => {
            identity.sign_in(&session, identity.subject.as_str())?;
            Ok(Redirect::to(&identity.return_to).into_response())
        }
        Err(error) => Ok(failed(&error)),
    }
}

async fn logout(State(app): Shared, session: Session) -> Result<Response, Error> {
    let url = app.flow.logout_url(&session, "https://shop.example.com/", None).await;
    session.end()?;
    Ok(url.ok().flatten().map_or_else(|| Redirect::to("/"), |url| Redirect::to(url.as_str())).into_response())
}

async fn end_from_there(State(app): Shared, body: String) -> StatusCode {
    let token = body.strip_prefix("logout_token=").unwrap_or_default();
    match app.back_channel.receive(&app.sessions, token).await {
        Ok(_) => StatusCode::OK,
        Err(error) => StatusCode::from_u16(error.status()).unwrap(),
    }
}

async fn serve(house: &House) -> String {
    let back_channel = BackChannel::new(house.flow.clone(), |_: &str, subject: &str| Some(subject.into()));
    let app = App { flow: house.flow.clone(), back_channel, sessions: house.sessions.clone() };
    let router = Router::new()
        .route("/login", get(login))
        .route("/auth/callback", get(callback))
        .route("/logout", post(logout))
        .route("/back-channel", post(end_from_there))
        .route("/whoami", get(async |SignedIn { owner, .. }: SignedIn| owner.to_string()))
        .with_state(std::sync::Arc::new(app))
        .layer(SessionLayer::new(house.sessions.clone()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router).into_future());
    address
}

/// The same browser, as the load balancer sends it to another instance.
fn elsewhere(browser: &Browser, instance: &str) -> Browser {
    let other = Browser::new(instance);
    other.set_cookie("__Host-sid", &browser.cookie("__Host-sid").unwrap_or_default());
    other
}

#[tokio::test]
async fn an_application_signs_users_in_and_out_on_two_instances() {
    let house = House::new().await;
    let [one, other] = [serve(&house).await, serve(&house.another()).await];
    let browser = Browser::new(&one);
    let answer = browser.get("/login?return_to=/orders").send().await;
    assert_eq!((answer.status, answer.header("cache-control")), (303, Some("no-store")));
    let query = house.provider.visit(answer.header("location").unwrap()).await;
    let browser = elsewhere(&browser, &other);
    let answer = browser.get(&format!("/auth/callback?{query}")).send().await;
    assert_eq!((answer.status, answer.header("location")), (303, Some("/orders")));
    let browser = elsewhere(&browser, &one);
    assert_eq!(browser.get("/whoami").send().await.text(), "alice");
    let again = browser.get(&format!("/auth/callback?{query}")).send().await;
    assert_eq!((again.status, again.header("set-cookie")), (400, None));
    assert!(again.text().starts_with("this sign-in is over"));
    let stranger = Browser::new(&one).get(&format!("/auth/callback?{query}")).send().await;
    assert_eq!((stranger.status, stranger.header("set-cookie")), (400, None));

    let device = elsewhere(&browser, &other);
    let token = house.provider.logout_token(serde_json::json!({ "sid": "session 1" }));
    let received = device.post("/back-channel").body(format!("logout_token={token}")).send().await;
    assert_eq!((received.status, received.header("set-cookie")), (200, None));
    assert_eq!(browser.get("/whoami").send().await.status, 401);

    let answer = browser.get("/login").send().await;
    let query = house.provider.visit(answer.header("location").unwrap()).await;
    browser.get(&format!("/auth/callback?{query}")).send().await;
    let out = browser.post("/logout").send().await;
    assert!(out.header("location").unwrap().contains("/end_session?") && out.header("set-cookie").is_some());
    assert_eq!(browser.get("/whoami").send().await.status, 401);
}
