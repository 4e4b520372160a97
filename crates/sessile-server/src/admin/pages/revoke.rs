//! Ending many sessions: what is asked is shown with its exact number first, and done after a confirmation with a reason. All
//! of it, the preview too, is for somebody who proved lately who they are.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;

use super::sessions::may_act;
use crate::admin::access::Who;
use crate::admin::asked;
use crate::admin::page::{Frame, page};
use crate::admin::problem::Problem;
use crate::admin::revoking::{self, Whose};
use crate::admin::sign_in;
use crate::admin::state::Dashboard;

/// Whose sessions, as a form says it, and why.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wanted {
    user: String,
    keep: String,
    before: String,
    reason: String,
    /// How many ended, on the way back from it.
    ended: Option<u64>,
}

impl Wanted {
    /// `None` when nothing was asked yet.
    fn whose(&self) -> Result<Option<Whose>, Problem> {
        if !self.user.is_empty() {
            let keep = if self.keep.is_empty() { None } else { Some(asked::handle(&self.keep)?) };
            return Ok(Some(Whose::User { owner: self.user.as_str().into(), keep }));
        }
        if self.before.trim().is_empty() {
            return Ok(None);
        }
        Ok(Some(Whose::Everyone { before: asked::time(&self.before)? }))
    }
}

#[derive(Template)]
#[template(path = "admin/revoke.html")]
struct RevokePage {
    frame: Frame,
    wanted: Wanted,
    wrong: Option<String>,
    /// How many sessions would end; `None` when nothing was asked yet.
    count: Option<u64>,
}

pub(crate) async fn preview(
    State(dashboard): State<Arc<Dashboard>>,
    who: Who,
    uri: Uri,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Problem> {
    may_act(&who)?;
    let Query(wanted) = wanted.map_err(|rejection| Problem::of_status(rejection.status()))?;
    if who.has_proved_lately().is_err() {
        return Ok(sign_in::ask_again(&who, uri.path_and_query().map_or("", |here| here.as_str()), false));
    }
    match wanted.whose() {
        Err(problem) => Ok(shown(&who, wanted, Some(problem.detail.into_owned()), None)),
        Ok(None) => Ok(shown(&who, wanted, None, None)),
        Ok(Some(whose)) => {
            let count = whose.count(&dashboard).await?;
            Ok(shown(&who, wanted, None, Some(count)))
        }
    }
}

fn shown(who: &Who, wanted: Wanted, wrong: Option<String>, count: Option<u64>) -> Response {
    let status = if wrong.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    page(status, &RevokePage { frame: Frame::of(who, "/admin/revoke"), wanted, wrong, count })
}

pub(crate) async fn revoke(
    State(dashboard): State<Arc<Dashboard>>,
    who: Who,
    form: Result<Form<Wanted>, FormRejection>,
) -> Result<Response, Problem> {
    let Form(wanted) = form.map_err(|rejection| Problem::of_status(rejection.status()))?;
    who.has_proved_lately()?;
    let nothing = || Problem::bad_request("Expected a user or a time, found neither.");
    let whose = wanted.whose()?.ok_or_else(nothing)?;
    let reason = match asked::reason(wanted.reason.trim()) {
        Ok(reason) => reason.to_owned(),
        Err(problem) => {
            let count = whose.count(&dashboard).await?;
            return Ok(shown(&who, wanted, Some(problem.detail.into_owned()), Some(count)));
        }
    };
    let ended = revoking::end_many(&dashboard, &who, &whose, &reason).await?;
    Ok(Redirect::to(&format!("/admin/revoke?ended={ended}")).into_response())
}
