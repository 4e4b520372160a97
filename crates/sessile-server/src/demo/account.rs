//! Signing in and out, and one thing that only somebody may do who has just proved who they are.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use sessile_core::{Error, Exchange, Session, UserId};
use sessile_tower::RecentlySignedIn;

use super::page::{Frame, page};
use super::users::{self, USERS, User};
use super::{DemoInfo, cart, confirm};

/// How long a sign-in counts as recent for the address, in seconds. The library's default is ten minutes, and devices keep
/// to it; a visitor of the demo wants to see the prompt sooner.
const RECENT: u64 = 60;

const REMEMBERED_DAYS: u64 = 30;

/// Where the demo keeps the address; a real application has a user table.
const EMAIL: &str = "email";

#[derive(Template)]
#[template(path = "demo/sign-in.html")]
struct SignInPage {
    frame: Frame,
    users: &'static [User],
    provider: Option<String>,
    typed: String,
    wrong: bool,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
pub(super) struct SignInForm {
    user: String,
    password: String,
    remember: Option<String>,
}

pub(super) async fn sign_in_form(State(info): State<Arc<DemoInfo>>, session: Session) -> Result<Response, Error> {
    sign_in_page(&info, &session, StatusCode::OK, String::new())
}

fn sign_in_page(info: &DemoInfo, session: &Session, status: StatusCode, typed: String) -> Result<Response, Error> {
    let (wrong, provider) = (status == StatusCode::UNAUTHORIZED, info.provider.clone());
    Ok(page(status, &SignInPage { frame: Frame::of(session, "/sign-in")?, users: &USERS, provider, typed, wrong }))
}

pub(super) async fn sign_in(
    State(info): State<Arc<DemoInfo>>,
    exchange: Exchange,
    session: Session,
    Form(form): Form<SignInForm>,
) -> Result<Response, Error> {
    exchange.try_sign_in()?;
    let Some(user) = users::verify(&form.user, &form.password) else {
        return sign_in_page(&info, &session, StatusCode::UNAUTHORIZED, form.user);
    };
    let before = session.owner();
    session.sign_in_by("password", user.id)?;
    if form.remember.is_some() {
        session.remember(Duration::from_secs(REMEMBERED_DAYS * 24 * 60 * 60))?;
    } else {
        session.forget_on_close()?;
    }
    session.flash("done", &welcome(&session, before.as_ref(), user)?)?;
    Ok(Redirect::to("/").into_response())
}

/// What the sign-in did to the session, in words.
fn welcome(session: &Session, before: Option<&UserId>, user: &User) -> Result<String, Error> {
    let stayed = match (before, cart::of(session)?.count()) {
        (Some(other), _) if other.as_str() != user.id => {
            format!("what belonged to {} was dropped first", users::name(other))
        }
        (_, 0) => "the rest of your session stayed".to_owned(),
        (_, 1) => "your cart came along with the one thing in it".to_owned(),
        (_, count) => format!("your cart came along with all {count} things in it"),
    };
    Ok(format!("Signed in as {}. The id in your cookie is a new one, and {stayed}.", user.name))
}

pub(super) async fn sign_out(session: Session) -> Result<Redirect, Error> {
    session.end()?;
    Ok(Redirect::to("/signed-out"))
}

#[derive(Template)]
#[template(path = "demo/signed-out.html")]
struct SignedOutPage {
    frame: Frame,
}

pub(super) async fn signed_out(session: Session) -> Result<Response, Error> {
    if session.owner().is_some() {
        return Ok(Redirect::to("/").into_response());
    }
    Ok(page(StatusCode::OK, &SignedOutPage { frame: Frame::of(&session, "")? }))
}

#[derive(Template)]
#[template(path = "demo/e-mail.html")]
struct EmailPage {
    frame: Frame,
    email: String,
    wrong: bool,
}

#[derive(Deserialize)]
pub(super) struct EmailForm {
    email: String,
}

pub(super) async fn email_form(
    recent: Result<RecentlySignedIn<RECENT>, Error>,
    session: Session,
    uri: Uri,
) -> Result<Response, Error> {
    if let Err(error) = recent {
        return confirm::ask(&session, &uri, error);
    }
    let email = session.get(EMAIL)?.unwrap_or_default();
    Ok(page(StatusCode::OK, &EmailPage { frame: Frame::of(&session, "")?, email, wrong: false }))
}

pub(super) async fn change_email(
    recent: Result<RecentlySignedIn<RECENT>, Error>,
    session: Session,
    uri: Uri,
    Form(EmailForm { email }): Form<EmailForm>,
) -> Result<Response, Error> {
    if let Err(error) = recent {
        return confirm::ask(&session, &uri, error);
    }
    if !is_email(&email) {
        let again = EmailPage { frame: Frame::of(&session, "")?, email, wrong: true };
        return Ok(page(StatusCode::UNPROCESSABLE_ENTITY, &again));
    }
    session.insert(EMAIL, &email)?;
    session.flash("done", &format!("Your e-mail address is {email} now."))?;
    Ok(Redirect::to("/session").into_response())
}

/// Whether this may be somebody's address. Only a message sent there can tell.
fn is_email(text: &str) -> bool {
    let (local, domain) = text.split_once('@').unwrap_or_default();
    let odd = |letter: char| letter.is_control() || letter.is_whitespace();
    text.len() <= 254 && !local.is_empty() && !domain.is_empty() && !text.contains(odd)
}
