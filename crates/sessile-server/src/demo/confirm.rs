//! The password, asked for again: what only somebody may do who has just proved who they are leads here when the sign-in
//! is too long ago, and from here back to where it was asked for.

use askama::Template;
use axum::Form;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use sessile_core::{Error, Exchange, Session};
use sessile_oidc::local_path;
use sessile_tower::SignedIn;

use super::page::{Frame, page};
use super::users;

#[derive(Template)]
#[template(path = "demo/confirm.html")]
struct ConfirmPage {
    frame: Frame,
    next: String,
    wrong: bool,
}

/// Asks somebody who is signed in, but not recently, for the password; passes on every other error. `here` is the page
/// that the visitor comes back to, so a form that asks has its page at its own address.
pub(super) fn ask(session: &Session, here: &Uri, error: Error) -> Result<Response, Error> {
    if session.owner().is_none() {
        return Err(error);
    }
    let next = here.path_and_query().map_or("/", |here| here.as_str());
    confirm_page(session, next.to_owned(), false)
}

fn confirm_page(session: &Session, next: String, wrong: bool) -> Result<Response, Error> {
    Ok(page(StatusCode::UNAUTHORIZED, &ConfirmPage { frame: Frame::of(session, "")?, next, wrong }))
}

#[derive(Deserialize)]
pub(super) struct ConfirmForm {
    password: String,
    next: String,
}

pub(super) async fn confirm(
    exchange: Exchange,
    SignedIn { session, owner }: SignedIn,
    Form(ConfirmForm { password, next }): Form<ConfirmForm>,
) -> Result<Response, Error> {
    exchange.try_sign_in()?;
    if users::verify(owner.as_str(), &password).is_none() {
        return confirm_page(&session, next, true);
    }
    session.authenticate_again()?;
    Ok(Redirect::to(local_path(&next).unwrap_or("/")).into_response())
}
