//! Figures and health.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::read::Parameters;
use super::shapes::{CheckLine, Checks, Figures, Overview, ProblemDetails, Refusals, Sweep, TimelineShape, Verdict};
use super::time;
use crate::admin::overview::{self, Span};
use crate::admin::problem::Problem;
use crate::admin::state::Dashboard;

/// The sessions at a glance. Figures are a few seconds old; where counting takes long, older.
#[utoipa::path(get, path = "/admin/api/v1/overview", tag = "figures", responses((status = 200, body = Overview), Refusals))]
pub(super) async fn overview(State(dashboard): State<Arc<Dashboard>>) -> Result<Json<Overview>, Problem> {
    let (stats, checks) = (dashboard.stats().await?, dashboard.checks().await);
    let worst = checks.iter().map(|check| check.verdict).max().unwrap_or(sessile_core::Verdict::Good);
    Ok(Json(Overview {
        now: time::text(dashboard.now()),
        store: dashboard.sessions.store().description(),
        health: Verdict::of(worst),
        figures: stats.as_ref().as_ref().map(Figures::of),
        sweep: dashboard.figures.last_sweep().map(Sweep::of),
    }))
}

/// How far back to look.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum SpanShape {
    Hour,
    Day,
    Week,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TimelineParameters {
    /// An hour in steps of one minute (the default), a day in steps of 15 minutes, or a week in steps of 2 hours.
    #[param(inline)]
    span: Option<SpanShape>,
}

/// What happened in the last hour, day or week.
#[utoipa::path(
    get,
    path = "/admin/api/v1/timeline",
    tag = "figures",
    params(TimelineParameters),
    responses((status = 200, body = TimelineShape), Refusals)
)]
pub(super) async fn timeline(
    State(dashboard): State<Arc<Dashboard>>,
    Parameters(parameters): Parameters<TimelineParameters>,
) -> Result<Json<TimelineShape>, Problem> {
    let span = match parameters.span {
        None | Some(SpanShape::Hour) => Span::Hour,
        Some(SpanShape::Day) => Span::Day,
        Some(SpanShape::Week) => Span::Week,
    };
    Ok(Json(TimelineShape::of(&overview::timeline(&dashboard, span).await?)))
}

/// Whether settings and store are as they should be. Checks are a few seconds old; where looking takes long, older.
#[utoipa::path(
    get,
    path = "/admin/api/v1/checks",
    tag = "figures",
    responses((status = 200, body = Checks), (status = "default", body = ProblemDetails, content_type = "application/problem+json", description = "Any other problem."), Refusals)
)]
pub(super) async fn checks(State(dashboard): State<Arc<Dashboard>>) -> Json<Checks> {
    Json(Checks { checks: dashboard.checks().await.iter().map(CheckLine::of).collect() })
}
