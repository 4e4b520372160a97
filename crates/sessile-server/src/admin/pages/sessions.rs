//! Everybody's sessions: found, opened, and ended one at a time.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use sessile_core::{Cursor, Device, DevicePage, Exchange, Page, UserId};

use crate::admin::access::Who;
use crate::admin::asked::{self, Asked};
use crate::admin::flash;
use crate::admin::inside::{self, Inside};
use crate::admin::page::{Frame, page};
use crate::admin::problem::Problem;
use crate::admin::revoking;
use crate::admin::shown::{Happened, Shown};
use crate::admin::state::Dashboard;

/// So many are on a page.
const ON_A_PAGE: u32 = 25;

#[derive(Template)]
#[template(path = "admin/sessions.html")]
struct SessionsPage {
    frame: Frame,
    asked: Asked,
    /// What is wrong with what was asked.
    wrong: Option<String>,
    sessions: Vec<Shown>,
    /// The address of the next part.
    next: Option<String>,
}

pub(crate) async fn search(
    State(dashboard): State<Arc<Dashboard>>,
    who: Who,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(asked) =
        asked.map_err(|_| Problem::bad_request("This address has a search that the dashboard does not know."))?;
    let frame = Frame::of(&who, "/admin/sessions");
    let found = match (asked.search(), asked.page(ON_A_PAGE)) {
        (Ok(Some(search)), Ok(page)) => dashboard.sessions.devices().search(&search, &page).await?,
        (Ok(None), Ok(_)) => DevicePage { devices: Vec::new(), next: None },
        (Err(problem), _) | (_, Err(problem)) => {
            let wrong = Some(problem.detail.into_owned());
            let none = SessionsPage { frame, asked, wrong, sessions: Vec::new(), next: None };
            return Ok(page(StatusCode::BAD_REQUEST, &none));
        }
    };
    let next = found.next.map(|cursor| address_of(&asked, &cursor));
    let sessions = Shown::all(dashboard.now(), found.devices);
    Ok(page(StatusCode::OK, &SessionsPage { frame, asked, wrong: None, sessions, next }))
}

/// The same search, from here on.
fn address_of(asked: &Asked, after: &Cursor) -> String {
    let Asked { user, handle, ip, status, since, limit, .. } = asked;
    let after = after.to_string();
    let all = [("user", user), ("handle", handle), ("ip", ip), ("status", status), ("since", since), ("limit", limit)];
    let given = all.into_iter().chain([("after", &after)]).filter(|(_, value)| !value.is_empty());
    let query: Vec<_> =
        given.map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))).collect();
    format!("/admin/sessions?{}", query.join("&"))
}

#[derive(Template)]
#[template(path = "admin/session.html")]
struct SessionPage {
    frame: Frame,
    session: Shown,
    timeline: Vec<Happened>,
    inside: Inside,
    explanation: Vec<String>,
    /// What was just done here.
    flash: Option<String>,
}

/// The address of a session's page.
fn page_of(device: &Device) -> String {
    format!("/admin/sessions/{}", device.handle)
}

pub(crate) async fn open(
    State(dashboard): State<Arc<Dashboard>>,
    who: Who,
    exchange: Exchange,
    Path(handle): Path<String>,
) -> Result<Response, Problem> {
    let device = find(&dashboard, &handle).await?;
    let flash = flash::take(&exchange, &page_of(&device)).await?;
    let inside = inside::look(&dashboard, &device).await?;
    let explanation = inside::explanation(&dashboard, &device).await?;
    let (now, frame) = (dashboard.now(), Frame::of(&who, "/admin/sessions"));
    let session = Shown::at(now, device);
    let timeline = session.timeline(now);
    Ok(page(StatusCode::OK, &SessionPage { frame, session, timeline, inside, explanation, flash }))
}

#[derive(Template)]
#[template(path = "admin/end-session.html")]
struct EndPage {
    frame: Frame,
    session: Shown,
    wrong: bool,
}

/// Asks whether to end it, and why.
pub(crate) async fn ask(
    State(dashboard): State<Arc<Dashboard>>,
    who: Who,
    Path(handle): Path<String>,
) -> Result<Response, Problem> {
    may_act(&who)?;
    let device = find(&dashboard, &handle).await?;
    Ok(end_page(&dashboard, &who, device, StatusCode::OK))
}

fn end_page(dashboard: &Dashboard, who: &Who, device: Device, status: StatusCode) -> Response {
    let session = Shown::at(dashboard.now(), device);
    page(status, &EndPage { frame: Frame::of(who, "/admin/sessions"), session, wrong: status.is_client_error() })
}

#[derive(Deserialize)]
pub(crate) struct EndForm {
    reason: String,
}

pub(crate) async fn end(
    State(dashboard): State<Arc<Dashboard>>,
    who: Who,
    exchange: Exchange,
    Path(handle): Path<String>,
    form: Result<Form<EndForm>, FormRejection>,
) -> Result<Response, Problem> {
    let Form(EndForm { reason }) = form.map_err(|rejection| Problem::of_status(rejection.status()))?;
    let device = find(&dashboard, &handle).await?;
    let Ok(reason) = asked::reason(&reason) else {
        return Ok(end_page(&dashboard, &who, device, StatusCode::BAD_REQUEST));
    };
    let ended = revoking::end_one(&dashboard, &who, &device, reason).await?;
    if ended {
        flash::leave(&exchange, &page_of(&device), "The session is ended. Its next request finds nothing.").await?;
    }
    Ok(Redirect::to(&page_of(&device)).into_response())
}

#[derive(Template)]
#[template(path = "admin/user.html")]
struct UserPage {
    frame: Frame,
    user: String,
    live: Vec<Shown>,
    /// There are more than are shown.
    has_more: bool,
    history: Vec<Shown>,
}

#[derive(Deserialize)]
pub(crate) struct OfUser {
    user: String,
}

/// All sessions of a user. Their name is in the query, for a user may be called `..`.
pub(crate) async fn of_user(
    State(dashboard): State<Arc<Dashboard>>,
    who: Who,
    of: Result<Query<OfUser>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(OfUser { user }) = of.map_err(|_| Problem::bad_request("Expected a user in the address, found none."))?;
    let (devices, now) = (dashboard.sessions.devices(), dashboard.now());
    let nobody = DevicePage { devices: Vec::new(), next: None };
    let (live, history) = if UserId::is_name(&user) {
        let (owner, first) = (UserId::from(user.as_str()), Page::first(asked::MOST));
        (devices.list(&owner, &first).await?, devices.history(&owner, &Page::first(ON_A_PAGE)).await?)
    } else {
        (nobody.clone(), nobody)
    };
    let (has_more, live) = (live.next.is_some(), Shown::all(now, live.devices));
    let (frame, history) = (Frame::of(&who, "/admin/sessions"), Shown::all(now, history.devices));
    Ok(page(StatusCode::OK, &UserPage { frame, user, live, has_more, history }))
}

pub(super) fn may_act(who: &Who) -> Result<(), Problem> {
    let refused = || Problem::forbidden("Your role is viewer: you may look at everything and change nothing.");
    if who.may_act() { Ok(()) } else { Err(refused()) }
}

async fn find(dashboard: &Dashboard, handle: &str) -> Result<Device, Problem> {
    let nowhere = || Problem::not_found("The registry knows no session of this handle.");
    let handle = asked::handle(handle).map_err(|_| nowhere())?;
    revoking::find(dashboard, &handle).await?.ok_or_else(nowhere)
}
