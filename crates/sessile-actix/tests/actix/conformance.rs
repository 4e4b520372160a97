//! The routes of `sessile_testkit::conformance` on actix-web.

use std::collections::HashMap;
use std::net::TcpListener;
use std::time::{Duration, SystemTime};

use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::web::{self, Json, Path, Query};
use actix_web::{App, HttpResponse, HttpServer};
use serde_json::{Value, json};
use sessile_actix::{SessionMiddleware, SignedIn};
use sessile_core::{Device, Devices, Error, Page, Session, Sessions};

type Answer = Result<Json<Value>, Error>;
type Arguments = Query<HashMap<String, String>>;

/// Starts the application on a free loopback port, for as long as the runtime lives, and gives its address.
pub(crate) fn start(sessions: Sessions) -> String {
    serve(move || app().wrap(SessionMiddleware::new(sessions.clone())))
}

/// Starts what `app` makes, as [`start`] does.
pub(crate) fn serve<F, T, B>(app: F) -> String
where
    F: Fn() -> App<T> + Send + Clone + 'static,
    T: ServiceFactory<
            ServiceRequest,
            Config = (),
            Response = ServiceResponse<B>,
            Error = actix_web::Error,
            InitError = (),
        > + 'static,
    B: actix_web::body::MessageBody + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = HttpServer::new(app).workers(2).disable_signals().listen(listener).unwrap().run();
    tokio::spawn(server);
    format!("http://{address}")
}

fn app() -> App<
    impl ServiceFactory<ServiceRequest, Config = (), Response = ServiceResponse, Error = actix_web::Error, InitError = ()>,
> {
    App::new()
        .route("/anon", web::get().to(async || "ok"))
        .route("/read", web::get().to(read))
        .route("/data", web::get().to(data))
        .route("/set", web::post().to(set))
        .route("/incr", web::post().to(incr))
        .route("/remove", web::post().to(remove))
        .route("/slow-set", web::post().to(slow_set))
        .route("/slow-read", web::get().to(slow_read))
        .route("/login", web::post().to(login))
        .route("/logout", web::post().to(logout))
        .route("/regenerate", web::post().to(regenerate))
        .route("/fail-after-set", web::get().to(fail_after_set))
        .route("/whoami", web::get().to(whoami))
        .route("/devices", web::get().to(devices))
        .route("/devices/revoke-others", web::post().to(revoke_others))
        .route("/devices/{handle}", web::delete().to(revoke))
        .default_service(web::to(async || error(StatusCode::NOT_FOUND, "there is no such route")))
}

fn argument<'a>(arguments: &'a HashMap<String, String>, name: &str) -> &'a str {
    arguments.get(name).map_or("", String::as_str)
}

fn raw(json: String) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(json)
}

async fn pause(arguments: &HashMap<String, String>) {
    let millis = argument(arguments, "ms").parse().unwrap_or(0);
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

async fn read(session: Session, arguments: Arguments) -> Answer {
    let value: Option<Value> = session.get(argument(&arguments, "k"))?;
    Ok(Json(json!({ "value": value })))
}

async fn data(session: Session) -> HttpResponse {
    raw(session.to_json())
}

async fn set(session: Session, arguments: Arguments) -> Answer {
    session.insert(argument(&arguments, "k"), argument(&arguments, "v"))?;
    Ok(Json(json!({ "ok": true })))
}

async fn incr(session: Session, arguments: Arguments) -> Answer {
    let value = session.update(argument(&arguments, "k"), |n: Option<i64>| n.unwrap_or(0).saturating_add(1))?;
    Ok(Json(json!({ "value": value })))
}

async fn remove(session: Session, arguments: Arguments) -> Answer {
    session.remove(argument(&arguments, "k"))?;
    Ok(Json(json!({ "ok": true })))
}

async fn slow_set(session: Session, arguments: Arguments) -> Answer {
    pause(&arguments).await;
    set(session, arguments).await
}

async fn slow_read(session: Session, arguments: Arguments) -> HttpResponse {
    pause(&arguments).await;
    raw(session.to_json())
}

async fn login(session: Session, arguments: Arguments) -> Answer {
    session.sign_in(argument(&arguments, "user"))?;
    Ok(identity(&session))
}

async fn logout(session: Session) -> Answer {
    session.end()?;
    Ok(Json(json!({ "ok": true })))
}

async fn regenerate(session: Session, arguments: Arguments) -> Result<HttpResponse, Error> {
    session.rotate()?;
    let fails = argument(&arguments, "fail") == "1";
    Ok(if fails { failed() } else { HttpResponse::Ok().json(json!({ "ok": true })) })
}

async fn fail_after_set(session: Session, arguments: Arguments) -> Result<HttpResponse, Error> {
    let _done = set(session, arguments).await?;
    Ok(failed())
}

async fn whoami(SignedIn { session, .. }: SignedIn) -> Json<Value> {
    identity(&session)
}

async fn devices(SignedIn { session, owner }: SignedIn, devices: Devices) -> Answer {
    let part = devices.list(&owner, &Page::first(1_000)).await?;
    Ok(Json(part.devices.iter().map(|device| show(device, &session)).collect()))
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
    handle: Path<String>,
) -> Result<HttpResponse, Error> {
    Ok(match devices.revoke(&owner, &handle).await? {
        true => HttpResponse::NoContent().finish(),
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

fn failed() -> HttpResponse {
    error(StatusCode::INTERNAL_SERVER_ERROR, "failed as asked")
}

fn error(status: StatusCode, message: &str) -> HttpResponse {
    HttpResponse::build(status).json(json!({ "error": message }))
}
