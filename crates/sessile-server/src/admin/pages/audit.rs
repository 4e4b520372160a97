//! What operators did, the latest first.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use sessile_core::Action;

use crate::admin::access::Who;
use crate::admin::operators;
use crate::admin::page::{Frame, page};
use crate::admin::problem::Problem;
use crate::admin::state::Dashboard;
use crate::demo::times::Moment;

const ON_A_PAGE: u32 = 50;

struct Line {
    at: Moment,
    action: Action,
}

impl Line {
    fn ip(&self) -> String {
        self.action.ip.map_or_else(String::new, |ip| ip.to_string())
    }
}

#[derive(Template)]
#[template(path = "admin/audit.html")]
struct AuditPage {
    frame: Frame,
    lines: Vec<Line>,
    is_further: bool,
    /// The number from which the next part goes back.
    next: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Part {
    before: Option<i64>,
}

pub(crate) async fn show(
    State(dashboard): State<Arc<Dashboard>>,
    who: Who,
    Query(part): Query<Part>,
) -> Result<Response, Problem> {
    let mut actions = operators::of(&dashboard.sessions)?.actions(part.before, ON_A_PAGE + 1).await?;
    let has_more = actions.len() > ON_A_PAGE as usize;
    actions.truncate(ON_A_PAGE as usize);
    let next = actions.last().map(|(number, _)| *number).filter(|_| has_more);
    let now = dashboard.now();
    let lines = actions.into_iter().map(|(_, action)| Line { at: Moment::seen_at(now, action.at), action }).collect();
    let (frame, is_further) = (Frame::of(&who, "/admin/audit"), part.before.is_some());
    Ok(page(StatusCode::OK, &AuditPage { frame, lines, is_further, next }))
}
