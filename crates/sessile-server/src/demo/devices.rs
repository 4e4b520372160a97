//! "Your devices": where the user is signed in, the sign-out of one device or of all others, and what ended lately. Every
//! sign-out is asked about on a page of its own, and on another device only after a recent proof of who the user is.

use askama::Template;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use sessile_core::{Cursor, Device, DevicePage, Devices, End, Error, Page, Session, UserId};
use sessile_tower::{RecentlySignedIn, SignedIn};

use super::page::{Frame, page};
use super::times::Moment;
use super::{account, confirm, errors};

/// So many are on a page of the list, and in the history.
const ON_A_PAGE: u32 = 20;

/// A device as pages show it.
struct Shown {
    device: Device,
    /// It is the one that asks.
    is_here: bool,
    signed_in: Moment,
    last_active: Moment,
    ended: Option<Moment>,
}

impl Shown {
    /// As somebody in this session sees it.
    fn to(session: &Session, device: Device) -> Self {
        Self {
            is_here: device.handle == session.handle(),
            signed_in: Moment::of(device.created_at),
            last_active: Moment::of(device.last_seen_at),
            ended: device.ended.as_ref().map(|ending| Moment::of(ending.at)),
            device,
        }
    }

    fn name(&self) -> &str {
        self.device.facts.device.as_deref().unwrap_or("Unknown device")
    }

    /// What the client says it is: where there is no better name, and for somebody who wants to know exactly.
    fn user_agent(&self) -> Option<&str> {
        self.device.facts.user_agent.as_deref()
    }

    fn is_named(&self) -> bool {
        self.device.facts.device.is_some()
    }

    fn ip(&self) -> String {
        self.device.facts.ip.map_or_else(|| "not recorded".to_owned(), |ip| ip.to_string())
    }

    /// The icon: the data of one SVG path in a box of 24 by 24.
    fn drawing(&self) -> &'static str {
        Kind::of(self.name()).drawing()
    }

    /// How it ended, in words for people.
    fn end(&self) -> &'static str {
        match self.device.ended.as_ref().map(|ending| ending.end) {
            None => "Active",
            Some(End::LoggedOut) => "Signed out",
            Some(End::Revoked) => "Signed out from elsewhere",
            Some(End::Expired) => "Expired",
            Some(End::Evicted) => "Replaced by a newer sign-in",
        }
    }

    fn reason(&self) -> Option<&str> {
        self.device.ended.as_ref()?.reason.as_deref()
    }
}

/// What sort of device it seems to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Phone,
    Computer,
    Other,
}

impl Kind {
    /// Guessed from the system in the device's name: `Chrome on Windows`.
    fn of(name: &str) -> Self {
        const PHONES: [&str; 7] = ["iPhone", "iPad", "iPod", "Android", "Windows Phone", "BlackBerry", "Mobile"];
        const COMPUTERS: [&str; 5] = ["Windows", "macOS", "Linux", "ChromeOS", "BSD"];
        let names_one_of = |systems: &[&str]| systems.iter().any(|system| name.contains(system));
        if names_one_of(&PHONES) {
            Self::Phone
        } else if names_one_of(&COMPUTERS) {
            Self::Computer
        } else {
            Self::Other
        }
    }

    fn drawing(self) -> &'static str {
        match self {
            Self::Phone => "M8 2.5h8a2 2 0 0 1 2 2v15a2 2 0 0 1-2 2H8a2 2 0 0 1-2-2v-15a2 2 0 0 1 2-2zM11 18.5h2",
            Self::Computer => {
                "M5 4.5h14a1.5 1.5 0 0 1 1.5 1.5v9.5h-17V6A1.5 1.5 0 0 1 5 4.5zM1.5 19.5h21M3.5 15.5l-2 4M20.5 15.5l2 4"
            }
            Self::Other => {
                "M12 21.5a9.5 9.5 0 1 0 0-19 9.5 9.5 0 0 0 0 19zM9.3 9.2a2.8 2.8 0 1 1 4 2.6c-.9.4-1.3 1-1.3 2M12 17h.01"
            }
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Part {
    after: Option<String>,
}

#[derive(Template)]
#[template(path = "demo/devices.html")]
struct DevicesPage {
    frame: Frame,
    /// Not the first page of the list.
    is_further: bool,
    devices: Vec<Shown>,
    /// Where the next page begins.
    next: Option<Cursor>,
    history: Vec<Shown>,
}

impl DevicesPage {
    /// The session was signed in before there was a registry, which gets to know it with the next sweep.
    fn lacks_this_one(&self) -> bool {
        !self.is_further && !self.devices.iter().any(|device| device.is_here)
    }

    fn has_others(&self) -> bool {
        self.next.is_some() || self.devices.iter().any(|device| !device.is_here)
    }
}

pub(super) async fn list(
    SignedIn { session, owner }: SignedIn,
    devices: Devices,
    Query(Part { after }): Query<Part>,
) -> Result<Response, Error> {
    let Ok(after) = after.map(|cursor| cursor.parse()).transpose() else { return Ok(errors::not_found()) };
    let is_further = after.is_some();
    let DevicePage { devices: mut found, next } = devices.list(&owner, &Page { limit: ON_A_PAGE, after }).await?;
    let mut history = Vec::new();
    if is_further {
        found.retain(|device| device.handle != session.handle());
    } else {
        found = this_one_first(&devices, &owner, &session, found).await?;
        history = devices.history(&owner, &Page::first(ON_A_PAGE)).await?.devices;
    }
    let shown = |devices: Vec<Device>| devices.into_iter().map(|device| Shown::to(&session, device)).collect();
    let frame = Frame::of(&session, "/devices")?;
    let list = DevicesPage { frame, is_further, devices: shown(found), next, history: shown(history) };
    Ok(page(StatusCode::OK, &list))
}

/// The first part of the list, led by the session that asks, wherever in the list that is.
async fn this_one_first(
    devices: &Devices,
    owner: &UserId,
    session: &Session,
    found: Vec<Device>,
) -> Result<Vec<Device>, Error> {
    let here = session.handle();
    let (mut first, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|device| device.handle == here);
    if first.is_empty() {
        first.extend(devices.find(owner, here.as_str()).await?);
    }
    first.extend(others);
    Ok(first)
}

/// Whether the user is signed in anywhere but here.
async fn has_others(devices: &Devices, owner: &UserId, session: &Session) -> Result<bool, Error> {
    let first = devices.list(owner, &Page::first(2)).await?;
    Ok(first.devices.iter().any(|device| device.handle != session.handle()))
}

/// Asks whether to sign out.
#[derive(Template)]
#[template(path = "demo/sign-out.html")]
struct SignOutPage {
    frame: Frame,
    /// `None` for all but this one.
    device: Option<Shown>,
}

/// Signing out here is nothing to prove anything for. Elsewhere it is, and the page that asks is the place for that: the
/// form could not wait.
pub(super) async fn ask(
    recent: Result<RecentlySignedIn, Error>,
    SignedIn { session, owner }: SignedIn,
    devices: Devices,
    uri: Uri,
    handle: Result<Path<String>, PathRejection>,
) -> Result<Response, Error> {
    let handle = or_none(handle);
    let is_here = handle == session.handle().as_str();
    if let Err(error) = recent
        && !is_here
    {
        return confirm::ask(&session, &uri, error);
    }
    let Some(device) = devices.find(&owner, &handle).await? else { return Ok(errors::not_found()) };
    let device = Some(Shown::to(&session, device));
    let question = SignOutPage { frame: Frame::of(&session, "")?, device };
    Ok(page(StatusCode::OK, &question))
}

pub(super) async fn sign_out(
    recent: Result<RecentlySignedIn, Error>,
    SignedIn { session, owner }: SignedIn,
    devices: Devices,
    uri: Uri,
    handle: Result<Path<String>, PathRejection>,
) -> Result<Response, Error> {
    let handle = or_none(handle);
    if handle == session.handle().as_str() {
        return Ok(account::sign_out(session).await?.into_response());
    }
    if let Err(error) = recent {
        return confirm::ask(&session, &uri, error);
    }
    if !devices.revoke(&owner, &handle).await? {
        return Ok(errors::not_found());
    }
    session.flash("done", "That device is signed out. Its next request finds no session.")?;
    Ok(Redirect::to("/devices").into_response())
}

/// Bytes that are no text are no device's handle, like any other word that is none.
fn or_none(handle: Result<Path<String>, PathRejection>) -> String {
    handle.map(|Path(handle)| handle).unwrap_or_default()
}

pub(super) async fn ask_about_others(
    recent: Result<RecentlySignedIn, Error>,
    SignedIn { session, owner }: SignedIn,
    devices: Devices,
    uri: Uri,
) -> Result<Response, Error> {
    if let Err(error) = recent {
        return confirm::ask(&session, &uri, error);
    }
    if !has_others(&devices, &owner, &session).await? {
        return Ok(Redirect::to("/devices").into_response());
    }
    let question = SignOutPage { frame: Frame::of(&session, "")?, device: None };
    Ok(page(StatusCode::OK, &question))
}

pub(super) async fn sign_out_others(
    recent: Result<RecentlySignedIn, Error>,
    session: Session,
    devices: Devices,
    uri: Uri,
) -> Result<Response, Error> {
    if let Err(error) = recent {
        return confirm::ask(&session, &uri, error);
    }
    match devices.revoke_others(&session).await? {
        0 => session.flash("notice", "There was no other device to sign out.")?,
        1 => session.flash("done", "Your other device is signed out.")?,
        others => session.flash("done", &format!("Your {others} other devices are signed out."))?,
    }
    Ok(Redirect::to("/devices").into_response())
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn the_icon_follows_the_system_in_the_name() {
        let cases = [
            ("Chrome on Windows", Kind::Computer),
            ("Safari on macOS", Kind::Computer),
            ("Firefox on Linux", Kind::Computer),
            ("Chrome on Android", Kind::Phone),
            ("Safari on iPhone", Kind::Phone),
            ("Internet Explorer on Windows Phone OS", Kind::Phone),
            ("Googlebot", Kind::Other),
            ("Unknown device", Kind::Other),
        ];
        for (name, expected) in cases {
            assert_eq!(Kind::of(name), expected, "{name}");
        }
    }
}
