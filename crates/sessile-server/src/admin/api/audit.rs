//! What operators did.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::read::Parameters;
use super::shapes::{ActionShape, AuditPart, Refusals};
use crate::admin::problem::Problem;
use crate::admin::state::Dashboard;
use crate::admin::{asked, operators};

/// So many are in a part unless somebody says otherwise.
const IN_A_PART: u32 = 50;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditParameters {
    /// `next` of the part before.
    #[param(minimum = 1)]
    before: Option<i64>,
    /// How many at most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
}

/// What operators did, here and on the command line, the latest first.
#[utoipa::path(
    get,
    path = "/admin/api/v1/audit",
    tag = "audit",
    params(AuditParameters),
    responses((status = 200, body = AuditPart), Refusals)
)]
pub(super) async fn list(
    State(dashboard): State<Arc<Dashboard>>,
    Parameters(parameters): Parameters<AuditParameters>,
) -> Result<Json<AuditPart>, Problem> {
    let limit = asked::in_bounds(parameters.limit.unwrap_or(IN_A_PART))?;
    if parameters.before.is_some_and(|before| before < 1) {
        return Err(Problem::bad_request("Expected `before` to be a number from 1 on, found a smaller one."));
    }
    let mut actions = operators::of(&dashboard.sessions)?.actions(parameters.before, limit + 1).await?;
    let has_more = actions.len() > limit as usize;
    actions.truncate(limit as usize);
    let next = actions.last().map(|(number, _)| *number).filter(|_| has_more);
    Ok(Json(AuditPart { actions: actions.into_iter().map(ActionShape::of).collect(), next }))
}
