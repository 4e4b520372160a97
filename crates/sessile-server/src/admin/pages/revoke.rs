//! Ending many sessions: what is asked is shown with its exact number first, and done after a confirmation with a reason:
//! never more than was confirmed. All of it, the preview too, is for somebody who proved lately who they are.

use std::sync::Arc;
use std::time::SystemTime;

use askama::Template;
use axum::Form;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;
use sessile_core::Exchange;

use super::sessions::may_act;
use crate::admin::access::Who;
use crate::admin::asked;
use crate::admin::flash;
use crate::admin::page::{Frame, page};
use crate::admin::problem::Problem;
use crate::admin::revoking::{self, Refused, Whose};
use crate::admin::sign_in;
use crate::admin::state::Dashboard;

/// Where a preview could not count.
const UNCOUNTED: &str = "all";

/// Whose sessions, as a form says it, and why.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wanted {
    user: String,
    keep: String,
    before: String,
    reason: String,
    /// How many sessions the preview showed; `all` where it could not count them. Empty before there was one.
    count: String,
}

impl Wanted {
    /// `None` when nothing was asked yet.
    fn whose(&self, now: SystemTime) -> Result<Option<Whose>, Problem> {
        if !self.user.is_empty() {
            let keep = if self.keep.is_empty() { None } else { Some(asked::handle(&self.keep)?) };
            return Ok(Some(Whose::User { owner: self.user.as_str().into(), keep }));
        }
        if self.before.trim().is_empty() {
            return Ok(None);
        }
        Ok(Some(Whose::Everyone { before: asked::time(&self.before)? }.from(now)))
    }

    /// How many sessions somebody confirmed. Everybody's are confirmed up to a time, which the preview has put into the form:
    /// it is not after now.
    fn confirmed(&self, whose: &Whose) -> Option<u64> {
        let is_as_shown = match whose {
            Whose::User { .. } => true,
            Whose::Everyone { before } => asked::time(&self.before).is_ok_and(|shown| shown == *before),
        };
        let count = if self.count == UNCOUNTED { Some(u64::MAX) } else { self.count.parse().ok() };
        count.filter(|_| is_as_shown)
    }
}

#[derive(Template)]
#[template(path = "admin/revoke.html")]
struct RevokePage {
    frame: Frame,
    wanted: Wanted,
    wrong: Option<String>,
    /// What was just done here.
    flash: Option<String>,
    /// What would end; `None` when nothing was asked yet.
    preview: Option<Preview>,
}

/// What would end.
struct Preview {
    /// Everybody's from before this.
    before: Option<String>,
    /// How many sessions; `None` where they could not be counted.
    count: Option<u64>,
}

impl Preview {
    async fn of(dashboard: &Dashboard, whose: &Whose) -> Result<Self, Problem> {
        let before = match whose {
            Whose::User { .. } => None,
            Whose::Everyone { before } => Some(jiff::Timestamp::try_from(*before).unwrap_or_default().to_string()),
        };
        Ok(Self { before, count: whose.count(dashboard).await? })
    }

    fn before(&self) -> &str {
        self.before.as_deref().unwrap_or_default()
    }

    /// As the form says it.
    fn confirmed(&self) -> String {
        self.count.map_or_else(|| UNCOUNTED.to_owned(), |count| count.to_string())
    }

    /// How many, in words.
    fn sessions(&self) -> String {
        match self.count {
            Some(1) => "1 live session".to_owned(),
            Some(count) => format!("{count} live sessions"),
            None => "all of these sessions".to_owned(),
        }
    }
}

impl RevokePage {
    fn of(who: &Who, wanted: Wanted) -> Self {
        Self { frame: Frame::of(who, "/admin/revoke"), wanted, wrong: None, flash: None, preview: None }
    }

    fn wrong(self, problem: &Problem) -> Self {
        Self { wrong: Some(problem.detail.to_string()), ..self }
    }
}

pub(crate) async fn preview(
    State(dashboard): State<Arc<Dashboard>>,
    who: Who,
    exchange: Exchange,
    uri: Uri,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Problem> {
    may_act(&who)?;
    let Query(wanted) = wanted.map_err(|rejection| Problem::of_status(rejection.status()))?;
    if who.has_proved_lately().is_err() {
        return Ok(sign_in::ask_again(&who, uri.path_and_query().map_or("", |here| here.as_str()), false));
    }
    let whose = wanted.whose(dashboard.now());
    let shown = RevokePage { flash: flash::take(&exchange, "/admin/revoke").await?, ..RevokePage::of(&who, wanted) };
    match whose {
        Err(problem) => Ok(page(StatusCode::BAD_REQUEST, &shown.wrong(&problem))),
        Ok(None) => Ok(page(StatusCode::OK, &shown)),
        Ok(Some(whose)) => {
            let preview = Some(Preview::of(&dashboard, &whose).await?);
            Ok(page(StatusCode::OK, &RevokePage { preview, ..shown }))
        }
    }
}

/// The preview once more, with what is wrong.
async fn again(
    dashboard: &Dashboard,
    who: &Who,
    wanted: Wanted,
    whose: &Whose,
    problem: Problem,
) -> Result<Response, Problem> {
    let preview = Some(Preview::of(dashboard, whose).await?);
    Ok(page(problem.status, &RevokePage { preview, ..RevokePage::of(who, wanted).wrong(&problem) }))
}

pub(crate) async fn revoke(
    State(dashboard): State<Arc<Dashboard>>,
    who: Who,
    exchange: Exchange,
    form: Result<Form<Wanted>, FormRejection>,
) -> Result<Response, Problem> {
    let Form(wanted) = form.map_err(|rejection| Problem::of_status(rejection.status()))?;
    who.has_proved_lately()?;
    let nothing = || Problem::bad_request("Expected a user or a time, found neither.");
    let whose = wanted.whose(dashboard.now())?.ok_or_else(nothing)?;
    let reason = match asked::reason(&wanted.reason) {
        Ok(reason) => reason.to_owned(),
        Err(problem) => return again(&dashboard, &who, wanted, &whose, problem).await,
    };
    let Some(confirmed) = wanted.confirmed(&whose) else {
        return again(&dashboard, &who, wanted, &whose, Problem::more_than_confirmed()).await;
    };
    match revoking::end_many(&dashboard, &who, &whose, &reason, Some(confirmed)).await {
        Err(refused @ Refused::More) => again(&dashboard, &who, wanted, &whose, refused.into()).await,
        Err(Refused::Problem(problem)) => Err(problem),
        Ok(ended) => {
            flash::leave(&exchange, "/admin/revoke", &in_words(ended)).await?;
            Ok(Redirect::to("/admin/revoke").into_response())
        }
    }
}

fn in_words(ended: Option<u64>) -> String {
    match ended {
        Some(1) => "1 session is ended.".to_owned(),
        Some(count) => format!("{count} sessions are ended."),
        None => "The sessions are ended.".to_owned(),
    }
}
