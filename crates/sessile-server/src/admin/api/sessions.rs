//! Everybody's sessions: search, look, end.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use sessile_core::{Page, Search, UserId};
use utoipa::openapi::schema::{AnyOfBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{IntoParams, ToSchema};

use super::read::{self, InPath, Parameters, User, no_such_session};
use super::shapes::{Ended, KeyShape, OpenSession, Refusals, SessionShape, SessionsPart};
use crate::admin::access::Who;
use crate::admin::asked;
use crate::admin::inside;
use crate::admin::problem::Problem;
use crate::admin::revoking::{self, Whose};
use crate::admin::state::Dashboard;

/// So many are in a part unless somebody says otherwise.
const IN_A_PART: u32 = 50;

/// How sessions are, in a search.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SearchStatus {
    Live,
    Ended,
    LoggedOut,
    Revoked,
    Expired,
    Evicted,
}

impl SearchStatus {
    fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Ended => "ended",
            Self::LoggedOut => "logged_out",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Evicted => "evicted",
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SearchParameters {
    /// Of this user.
    user: Option<String>,
    /// This one.
    #[param(pattern = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]
    handle: Option<String>,
    /// From an address, or from an address of this network.
    #[param(schema_with = network)]
    ip: Option<String>,
    /// Alive, over in any way, or over in one way.
    #[param(inline)]
    status: Option<SearchStatus>,
    /// Signed in at this time or later.
    #[param(format = DateTime)]
    since: Option<String>,
    /// `next` of the part before.
    #[param(pattern = "^-?[0-9]{1,15}\\.[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]
    after: Option<String>,
    /// How many at most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
}

fn network() -> Schema {
    let text = |format| ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(format)));
    let number = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
    let pattern = format!("^({number}\\.){{3}}{number}/([12]?[0-9]|3[0-2])$");
    let network = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern));
    AnyOfBuilder::new().item(text(KnownFormat::Ipv4)).item(text(KnownFormat::Ipv6)).item(network).build().into()
}

impl SearchParameters {
    /// `None` when no session can be meant.
    fn search(&self) -> Result<Option<Search>, Problem> {
        if self.user.as_deref().is_some_and(|user| !UserId::is_name(user)) {
            return Ok(None);
        }
        Ok(Some(Search {
            owner: self.user.as_deref().map(UserId::from),
            handle: read::handle(self.handle.as_deref())?,
            network: self.ip.as_deref().map(asked::network).transpose()?,
            status: self.status.map(|status| asked::status(status.as_str())).transpose()?,
            since: self.since.as_deref().map(asked::time).transpose()?,
            before: None,
        }))
    }
}

fn part(after: Option<&str>, limit: Option<u32>) -> Result<Page, Problem> {
    let limit = asked::in_bounds(limit.unwrap_or(IN_A_PART))?;
    Ok(Page { limit, after: after.map(asked::cursor).transpose()? })
}

/// Everybody's sessions that are looked for, the latest sign-in first.
#[utoipa::path(
    get,
    path = "/admin/api/v1/sessions",
    tag = "sessions",
    params(SearchParameters),
    responses((status = 200, body = SessionsPart), Refusals)
)]
pub(super) async fn search(
    State(dashboard): State<Arc<Dashboard>>,
    Parameters(asked): Parameters<SearchParameters>,
) -> Result<Json<SessionsPart>, Problem> {
    let page = part(asked.after.as_deref(), asked.limit)?;
    let Some(search) = asked.search()? else { return Ok(Json(SessionsPart::empty())) };
    let found = dashboard.sessions.devices().search(&search, &page).await?;
    Ok(Json(SessionsPart::of(&found, dashboard.now())))
}

/// One session: what the registry knows, which keys are inside and how large they are. Never a value.
#[utoipa::path(
    get,
    path = "/admin/api/v1/sessions/{handle}",
    tag = "sessions",
    params(("handle" = String, Path, format = "uuid")),
    responses((status = 200, body = OpenSession), Refusals)
)]
pub(super) async fn open(
    State(dashboard): State<Arc<Dashboard>>,
    InPath(handle): InPath,
) -> Result<Json<OpenSession>, Problem> {
    let device = revoking::find(&dashboard, &handle).await?.ok_or_else(no_such_session)?;
    let keys = inside::look(&dashboard, &device).await?.keys();
    Ok(Json(OpenSession {
        session: SessionShape::of(&device, dashboard.now()),
        explanation: inside::explanation(&dashboard, &device).await?,
        data: keys.map(|keys| keys.into_iter().map(KeyShape::of).collect()),
    }))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EndParameters {
    /// Why, for the audit and the user's history.
    #[param(
        min_length = 1,
        max_length = 200,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]*[^\\s\\x00-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069][^\\x00-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]*$"
    )]
    reason: String,
}

/// Ends one session. Its next request finds nothing, on every instance. One that is over already stays as it ended.
#[utoipa::path(
    delete,
    path = "/admin/api/v1/sessions/{handle}",
    tag = "sessions",
    params(("handle" = String, Path, format = "uuid"), EndParameters),
    responses((status = 200, body = Ended), Refusals)
)]
pub(super) async fn end(
    State(dashboard): State<Arc<Dashboard>>,
    who: Who,
    InPath(handle): InPath,
    Parameters(parameters): Parameters<EndParameters>,
) -> Result<Json<Ended>, Problem> {
    let reason = asked::reason(&parameters.reason)?;
    let device = revoking::find(&dashboard, &handle).await?.ok_or_else(no_such_session)?;
    let ended = revoking::end_one(&dashboard, &who, &device, reason).await?;
    Ok(Json(Ended { sessions: Some(ended.into()), dry_run: false }))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PartParameters {
    /// `next` of the part before.
    #[param(pattern = "^-?[0-9]{1,15}\\.[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]
    after: Option<String>,
    /// How many at most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
}

/// A user's live sessions, the latest sign-in first.
#[utoipa::path(
    get,
    path = "/admin/api/v1/users/{user}/sessions",
    tag = "sessions",
    params(("user" = String, Path), PartParameters),
    responses((status = 200, body = SessionsPart), Refusals)
)]
pub(super) async fn of_user(
    State(dashboard): State<Arc<Dashboard>>,
    User(user): User,
    Parameters(parameters): Parameters<PartParameters>,
) -> Result<Json<SessionsPart>, Problem> {
    let page = part(parameters.after.as_deref(), parameters.limit)?;
    if !UserId::is_name(&user) {
        return Ok(Json(SessionsPart::empty()));
    }
    let found = dashboard.sessions.devices().list(&user.into(), &page).await?;
    Ok(Json(SessionsPart::of(&found, dashboard.now())))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EndOfUserParameters {
    /// Why, for the audit and the user's history.
    #[param(
        min_length = 1,
        max_length = 200,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]*[^\\s\\x00-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069][^\\x00-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]*$"
    )]
    reason: String,
    /// The handle of a session that stays.
    #[param(pattern = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]
    keep: Option<String>,
    /// Counts, and does nothing.
    #[serde(default)]
    dry_run: bool,
}

/// Ends all of a user's sessions, or all but one. With the dashboard's cookie it needs a proof of the last ten minutes.
#[utoipa::path(
    delete,
    path = "/admin/api/v1/users/{user}/sessions",
    tag = "sessions",
    params(("user" = String, Path), EndOfUserParameters),
    responses((status = 200, body = Ended), Refusals)
)]
pub(super) async fn end_of_user(
    State(dashboard): State<Arc<Dashboard>>,
    who: Who,
    User(user): User,
    Parameters(parameters): Parameters<EndOfUserParameters>,
) -> Result<Json<Ended>, Problem> {
    let reason = asked::reason(&parameters.reason)?;
    let keep = read::handle(parameters.keep.as_deref())?;
    let whose = Whose::User { owner: user.into(), keep };
    revoke(&dashboard, &who, &whose, reason, parameters.dry_run).await.map(Json)
}

/// Counts, or ends.
pub(super) async fn revoke(
    dashboard: &Arc<Dashboard>,
    who: &Who,
    whose: &Whose,
    reason: &str,
    dry_run: bool,
) -> Result<Ended, Problem> {
    let sessions = match dry_run {
        true => whose.clone().from(dashboard.now()).count(dashboard).await?,
        false => revoking::end_many(dashboard, who, whose, reason, None).await?,
    };
    Ok(Ended { sessions, dry_run })
}
