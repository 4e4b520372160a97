//! Signing in to the dashboard with a token, proving it again, and signing out. The dashboard's sessions are Sessile's own:
//! the id changes with the sign-in, and an end is final.

use std::net::IpAddr;
use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::rejection::FormRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use sessile_core::{Exchange, Operator};
use sessile_oidc::local_path;

use super::access::{self, TOKEN, Who};
use super::audit::{self, Deed};
use super::operators;
use super::page::{Frame, page};
use super::problem::Problem;
use super::state::Dashboard;

/// Where a sign-in leads when nobody said so.
const HOME: &str = "/admin";

#[derive(Template)]
#[template(path = "admin/sign-in.html")]
struct SignInPage {
    frame: Frame,
    next: String,
    wrong: bool,
}

#[derive(Template)]
#[template(path = "admin/prove.html")]
struct ProvePage {
    frame: Frame,
    next: String,
    wrong: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Way {
    next: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct TokenForm {
    token: String,
    next: String,
}

type TypedIn = Result<Form<TokenForm>, FormRejection>;

pub(super) async fn form(Query(way): Query<Way>) -> Response {
    sign_in_page(StatusCode::OK, &way.next)
}

fn sign_in_page(status: StatusCode, next: &str) -> Response {
    let wrong = status == StatusCode::UNAUTHORIZED;
    page(status, &SignInPage { frame: Frame::of_nobody(), next: onward(next).to_owned(), wrong })
}

pub(super) async fn sign_in(
    State(dashboard): State<Arc<Dashboard>>,
    exchange: Exchange,
    typed: TypedIn,
) -> Result<Response, Problem> {
    let form = read(typed)?;
    let ip = exchange.client_ip();
    let Some(operator) = verify(&dashboard, ip, &form.token, None).await? else {
        return Ok(sign_in_page(StatusCode::UNAUTHORIZED, &form.next));
    };
    audit::record(&dashboard, &Who::new(&operator, ip, true), Deed::SignIn, "dashboard", 0, None).await?;
    let session = exchange.session().await?;
    session.sign_in_by("token", &*operator.name)?;
    session.insert(TOKEN, &operators::fingerprint(&operator))?;
    // The dashboard's sessions are few: whoever comes in takes out what is over.
    dashboard.own.sweep().await?;
    Ok(Redirect::to(onward(&form.next)).into_response())
}

/// Asks somebody who is signed in for their token once more; `next` is where they were going.
pub(super) fn ask_again(who: &Who, next: &str, wrong: bool) -> Response {
    page(StatusCode::UNAUTHORIZED, &ProvePage { frame: Frame::of(who, ""), next: onward(next).to_owned(), wrong })
}

/// What came from the page above.
pub(super) async fn prove(
    State(dashboard): State<Arc<Dashboard>>,
    who: Who,
    exchange: Exchange,
    typed: TypedIn,
) -> Result<Response, Problem> {
    let form = read(typed)?;
    if verify(&dashboard, who.ip, &form.token, Some(&who)).await?.is_none() {
        return Ok(ask_again(&who, &form.next, true));
    }
    audit::record(&dashboard, &who, Deed::ProveAgain, "dashboard", 0, None).await?;
    exchange.session().await?.authenticate_again()?;
    Ok(Redirect::to(onward(&form.next)).into_response())
}

/// For viewers too, so it asks by itself who is there.
pub(super) async fn sign_out(State(dashboard): State<Arc<Dashboard>>, exchange: Exchange) -> Result<Redirect, Problem> {
    if let Some(who) = access::by_session(&dashboard, &exchange, false).await? {
        audit::record(&dashboard, &who, Deed::SignOut, "dashboard", 0, None).await?;
    }
    if exchange.has_cookie() {
        exchange.session().await?.end()?;
    }
    Ok(Redirect::to("/admin/sign-in"))
}

/// The operator whose token was typed in; a certain one, where it has to be.
async fn verify(
    dashboard: &Dashboard,
    ip: Option<IpAddr>,
    token: &str,
    who: Option<&Who>,
) -> Result<Option<Operator>, Problem> {
    dashboard.typed.begin(ip, dashboard.now()).map_err(Problem::too_many)?;
    let operator = operators::by_token(&dashboard.sessions, token.trim()).await?;
    let operator = operator.filter(|operator| who.is_none_or(|who| who.name == operator.name));
    match operator {
        Some(_) => dashboard.typed.forgive(ip),
        None => {
            let who = who.cloned().unwrap_or_else(|| Who::unknown(ip));
            audit::record(dashboard, &who, Deed::SignInFailed, "dashboard", 0, None).await?;
        }
    }
    Ok(operator)
}

fn read(typed: TypedIn) -> Result<TokenForm, Problem> {
    let unreadable = |rejection: FormRejection| Problem::of_status(rejection.status());
    typed.map(|Form(form)| form).map_err(unreadable)
}

/// A way that stays in the dashboard.
fn onward(next: &str) -> &str {
    local_path(next)
        .filter(|path| *path == HOME || path.starts_with("/admin/") || path.starts_with("/admin?"))
        .unwrap_or(HOME)
}

#[cfg(test)]
mod tests {
    use super::onward;

    #[test]
    fn a_sign_in_leads_nowhere_else() {
        for kept in ["/admin", "/admin/sessions?user=42", "/admin?span=day"] {
            assert_eq!(onward(kept), kept);
        }
        for refused in ["", "/", "//evil.example/admin/", "https://evil.example", "/administrator", "/\\evil.example"] {
            assert_eq!(onward(refused), "/admin");
        }
    }
}
