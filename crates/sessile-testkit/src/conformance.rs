//! The conformance app: one small application over the public API that tests drive from outside, over any store and
//! beside an Express app with the same routes.

#![allow(clippy::expect_used, reason = "test tools: what goes wrong here ends the test")]

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use sessile_core::{Device, Devices, Error, Page, Session, Sessions};
use sessile_tower::{SessionLayer, SignedIn};

type Answer = Result<Json<Value>, Error>;
type Arguments = Query<HashMap<String, String>>;

/// The application over these sessions.
pub fn router(sessions: Sessions) -> Router {
    Router::new()
        .route("/anon", get(async || "ok"))
        .route("/read", get(read))
        .route("/data", get(data))
        .route("/set", post(set))
        .route("/incr", post(incr))
        .route("/remove", post(remove))
        .route("/slow-set", post(slow_set))
        .route("/slow-read", get(slow_read))
        .route("/login", post(login))
        .route("/logout", post(logout))
        .route("/regenerate", post(regenerate))
        .route("/fail-after-set", get(fail_after_set))
        .route("/whoami", get(whoami))
        .route("/devices", get(devices))
        .route("/devices/{handle}", delete(revoke))
        .route("/devices/revoke-others", post(revoke_others))
        .fallback(async || error(StatusCode::NOT_FOUND, "there is no such route"))
        .method_not_allowed_fallback(async || error(StatusCode::METHOD_NOT_ALLOWED, "the route has another method"))
        .layer(SessionLayer::new(sessions))
}

/// Serves the application on this listener, with the peers' addresses.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: tokio::net::TcpListener, sessions: Sessions) -> std::io::Result<()> {
    let service = router(sessions).into_make_service_with_connect_info::<std::net::SocketAddr>();
    axum::serve(listener, service).await
}

/// Starts the application on a free loopback port, for as long as the runtime lives, and gives its address.
pub async fn start(sessions: Sessions) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
    let address = listener.local_addr().expect("the address of a bound listener");
    tokio::spawn(serve(listener, sessions));
    format!("http://{address}")
}

fn argument<'a>(arguments: &'a HashMap<String, String>, name: &str) -> &'a str {
    arguments.get(name).map_or("", String::as_str)
}

/// The session's data as it is stored: parsing it here would lose what Rust cannot hold.
fn raw(json: String) -> Response {
    ([(CONTENT_TYPE, "application/json")], json).into_response()
}

async fn pause(arguments: &HashMap<String, String>) {
    let millis = argument(arguments, "ms").parse().unwrap_or(0);
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

async fn read(session: Session, Query(arguments): Arguments) -> Answer {
    let value: Option<Value> = session.get(argument(&arguments, "k"))?;
    Ok(Json(json!({ "value": value })))
}

async fn data(session: Session) -> Response {
    raw(session.to_json())
}

async fn set(session: Session, Query(arguments): Arguments) -> Answer {
    session.insert(argument(&arguments, "k"), argument(&arguments, "v"))?;
    Ok(Json(json!({ "ok": true })))
}

async fn incr(session: Session, Query(arguments): Arguments) -> Answer {
    let value = session.update(argument(&arguments, "k"), |n: Option<i64>| n.unwrap_or(0).saturating_add(1))?;
    Ok(Json(json!({ "value": value })))
}

async fn remove(session: Session, Query(arguments): Arguments) -> Answer {
    session.remove(argument(&arguments, "k"))?;
    Ok(Json(json!({ "ok": true })))
}

async fn slow_set(session: Session, Query(arguments): Arguments) -> Answer {
    pause(&arguments).await;
    set(session, Query(arguments)).await
}

async fn slow_read(session: Session, Query(arguments): Arguments) -> Response {
    pause(&arguments).await;
    raw(session.to_json())
}

async fn login(session: Session, Query(arguments): Arguments) -> Answer {
    session.sign_in(argument(&arguments, "user"))?;
    Ok(identity(&session))
}

async fn logout(session: Session) -> Answer {
    session.end()?;
    Ok(Json(json!({ "ok": true })))
}

async fn regenerate(session: Session, Query(arguments): Arguments) -> Result<Response, Error> {
    session.rotate()?;
    let fails = argument(&arguments, "fail") == "1";
    Ok(if fails { failed() } else { Json(json!({ "ok": true })).into_response() })
}

async fn fail_after_set(session: Session, arguments: Arguments) -> Result<Response, Error> {
    let _done = set(session, arguments).await?;
    Ok(failed())
}

async fn whoami(SignedIn { session, .. }: SignedIn) -> Json<Value> {
    identity(&session)
}

/// All of them, however many: what drives this app wants to count.
async fn devices(SignedIn { session, owner }: SignedIn, devices: Devices) -> Answer {
    let (mut all, mut page) = (Vec::new(), Page::first(1_000));
    loop {
        let part = devices.list(&owner, &page).await?;
        all.extend(part.devices.iter().map(|device| show(device, &session)));
        page.after = part.next;
        if page.after.is_none() {
            return Ok(Json(all.into()));
        }
    }
}

fn show(device: &Device, current: &Session) -> Value {
    json!({
        "handle": device.handle.as_str(),
        "current": device.handle == current.handle(),
        "ip": device.facts.ip,
        "user_agent": device.facts.user_agent,
        "device": device.facts.device,
        "created_at": rfc3339(device.created_at),
        "last_seen_at": rfc3339(device.last_seen_at),
    })
}

fn rfc3339(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(|_| String::new(), |time| format!("{time:.3}"))
}

async fn revoke(
    SignedIn { owner, .. }: SignedIn,
    devices: Devices,
    Path(handle): Path<String>,
) -> Result<Response, Error> {
    Ok(match devices.revoke(&owner, &handle).await? {
        true => StatusCode::NO_CONTENT.into_response(),
        false => error(StatusCode::NOT_FOUND, "there is no such device"),
    })
}

async fn revoke_others(SignedIn { session, .. }: SignedIn, devices: Devices) -> Answer {
    Ok(Json(json!({ "revoked": devices.revoke_others(&session).await? })))
}

fn identity(session: &Session) -> Json<Value> {
    let user = session.owner().map(|owner| owner.as_str().to_owned());
    Json(json!({ "user": user, "handle": session.handle().as_str() }))
}

fn failed() -> Response {
    error(StatusCode::INTERNAL_SERVER_ERROR, "failed as asked")
}

fn error(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "error": message }))).into_response()
}
