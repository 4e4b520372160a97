//! Ending everybody's sessions.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::read::Body;
use super::sessions;
use super::shapes::{BodyRefusals, Ended, Refusals};
use crate::admin::access::Who;
use crate::admin::asked;
use crate::admin::problem::Problem;
use crate::admin::revoking::Whose;
use crate::admin::state::Dashboard;

/// Whose sessions shall end, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Revocation {
    /// Everybody's that were signed in before this. A time that has not come counts as now.
    #[schema(format = DateTime)]
    before: String,
    /// Why, for the audit and the users' history.
    #[schema(
        min_length = 1,
        max_length = 200,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]*[^\\s\\x00-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069][^\\x00-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]*$"
    )]
    reason: String,
    /// Counts, and does nothing.
    #[serde(default)]
    dry_run: bool,
}

/// Ends everybody's sessions that were signed in before a time, at once and whatever their number. Anonymous sessions stay.
/// With the dashboard's cookie it needs a proof of the last ten minutes.
#[utoipa::path(
    post,
    path = "/admin/api/v1/revocations",
    tag = "sessions",
    request_body = Revocation,
    responses((status = 200, body = Ended), Refusals, BodyRefusals)
)]
pub(super) async fn everyone(
    State(dashboard): State<Arc<Dashboard>>,
    who: Who,
    Body(revocation): Body<Revocation>,
) -> Result<Json<Ended>, Problem> {
    let reason = asked::reason(&revocation.reason)?;
    let whose = Whose::Everyone { before: asked::time(&revocation.before)? };
    sessions::revoke(&dashboard, &who, &whose, reason, revocation.dry_run).await.map(Json)
}
