//! Mails users about sign-ins from devices they have not used before: an observer sends events down a channel, and a task
//! asks the registry whether the device is known. The mail goes to the terminal; a real application hands it to its mailer.
//!
//! `SESSION_SECRET=$(openssl rand -base64 32) cargo run -p sessile --example new_device`, then
//! `curl -X POST http://127.0.0.1:3000/sign-in/alice` once, and once more with `-A "another browser"`.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::Path;
use axum::routing::post;
use sessile::{
    Config, Cookie, Device, Devices, Error, Event, EventKind, Page, Secure, Session, SessionLayer, Sessions,
    SqliteStore,
};
use tokio::sync::mpsc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    #[allow(clippy::disallowed_methods, reason = "an application reads its own environment")]
    let secret = std::env::var("SESSION_SECRET")?;
    let (sender, events) = mpsc::channel(1_000);
    let observer = move |event: &Event| {
        if event.kind == EventKind::SignedIn && sender.try_send(event.clone()).is_err() {
            tracing::warn!("too many sign-ins at once: a mail about a new device is not sent");
        }
    };
    let config = Config::new(secret)?.cookie(Cookie::new("sid").secure(Secure::Auto))?.observer(observer);
    let sessions = Sessions::new(SqliteStore::open("new-device.sqlite").await?, config);
    tokio::spawn(mail_about_new_devices(events, sessions.devices()));
    let app = Router::new().route("/sign-in/{user}", post(sign_in)).layer(SessionLayer::new(sessions));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    Ok(axum::serve(listener, service).await?)
}

/// A real application checks a password first.
async fn sign_in(session: Session, Path(user): Path<String>) -> Result<String, Error> {
    session.sign_in_by("nothing", user.as_str())?;
    Ok(format!("signed in as {user}\n"))
}

async fn mail_about_new_devices(mut events: mpsc::Receiver<Event>, devices: Devices) {
    while let Some(event) = events.recv().await {
        match is_new(&event, &devices).await {
            Ok(true) => mail(&event),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "whether a device is new could not be found out"),
        }
    }
}

/// Whether the user has had sessions before, and none of them on a device like this one.
async fn is_new(event: &Event, devices: &Devices) -> Result<bool, Error> {
    let Some(owner) = &event.owner else { return Ok(false) };
    let recent = Page::first(100);
    let mut known = devices.list(owner, &recent).await?.devices;
    known.extend(devices.history(owner, &recent).await?.devices);
    let (this, others): (Vec<Device>, Vec<Device>) =
        known.into_iter().partition(|device| Some(&device.handle) == event.handle.as_ref());
    let user_agent = this.first().and_then(|device| device.facts.user_agent.as_ref());
    Ok(!others.is_empty() && others.iter().all(|other| other.facts.user_agent.as_ref() != user_agent))
}

#[allow(clippy::print_stdout, reason = "the terminal stands for a mailer")]
fn mail(event: &Event) {
    let user = event.owner.as_ref().map_or("", |owner| owner.as_str());
    let device = event.device.as_deref().unwrap_or("a device that does not say what it is");
    let address = event.ip.map_or_else(|| "an unknown address".to_owned(), |ip| ip.to_string());
    println!(
        "To: {user}\nSubject: New sign-in\n\nYou signed in with {device}, from {address}. If it was not you, change your password.\n"
    );
}
