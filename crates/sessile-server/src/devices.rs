//! "Your devices" as JSON, for the signed-in user alone: `GET /devices` lists where they are signed in, `DELETE
//! /devices/{handle}` signs one of them out. Another device's session ends only after a recent proof of who the user is
//! (ASVS 7.5.2). For pages there is the demo to copy from.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Json, Router};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use sessile_core::{Device, DevicePage, Devices, Error, Page, Session};
use sessile_tower::{RecentlySignedIn, SignedIn};

/// So many are on a page.
const ON_A_PAGE: u32 = 50;

/// The two routes, for below a [`SessionLayer`](sessile_tower::SessionLayer).
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/devices", get(list)).route("/devices/{handle}", delete(sign_out))
}

#[derive(Deserialize)]
struct Part {
    after: Option<String>,
}

async fn list(
    SignedIn { session, owner }: SignedIn,
    devices: Devices,
    Query(Part { after }): Query<Part>,
) -> Result<Response, Error> {
    let Ok(after) = after.map(|cursor| cursor.parse()).transpose() else {
        return Ok(error(StatusCode::BAD_REQUEST, "expected after to be the next of an earlier answer"));
    };
    let DevicePage { devices, next } = devices.list(&owner, &Page { limit: ON_A_PAGE, after }).await?;
    let devices: Vec<_> = devices.iter().map(|device| shown(device, &session)).collect();
    Ok(Json(json!({ "devices": devices, "next": next.map(|next| next.to_string()) })).into_response())
}

/// What a user may know of their own device.
fn shown(device: &Device, session: &Session) -> Value {
    json!({
        "handle": device.handle.as_str(),
        "here": device.handle == session.handle(),
        "device": device.facts.device,
        "ip": device.facts.ip,
        "signed_in_at": text(device.created_at),
        "last_active_at": text(device.last_seen_at),
        "expires_at": text(device.expires_at),
        "requests": device.requests,
    })
}

fn text(time: std::time::SystemTime) -> Option<String> {
    Timestamp::try_from(time).ok().map(|time| time.to_string())
}

async fn sign_out(
    recent: Result<RecentlySignedIn, Error>,
    SignedIn { session, owner }: SignedIn,
    devices: Devices,
    handle: Result<Path<String>, PathRejection>,
) -> Result<Response, Error> {
    let handle = handle.map(|Path(handle)| handle).unwrap_or_default();
    if handle == session.handle().as_str() {
        session.end()?;
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    recent?;
    if devices.revoke(&owner, &handle).await? {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(error(StatusCode::NOT_FOUND, "no such session of yours is alive"))
}

fn error(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "error": message }))).into_response()
}
