//! The password, asked for again: what only somebody may do who has just proved who they are leads here when the sign-in
//! is too long ago, and from here back to where it was asked for.

use askama::Template;
use axum::Form;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use sessile_core::{Error, Session};
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
    SignedIn { session, owner }: SignedIn,
    Form(ConfirmForm { password, next }): Form<ConfirmForm>,
) -> Result<Response, Error> {
    if users::verify(owner.as_str(), &password).is_none() {
        return confirm_page(&session, next, true);
    }
    session.authenticate_again()?;
    Ok(Redirect::to(if is_local(&next) { &next } else { "/" }).into_response())
}

/// Whether this address leads to this demo, whatever else is added to it. Browsers read `//host` and `/\host` as another
/// host, and drop tabs and line breaks before they look.
fn is_local(address: &str) -> bool {
    let mut bytes = address.bytes();
    bytes.next() == Some(b'/')
        && !matches!(bytes.next(), Some(b'/'))
        && address.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn only_addresses_of_this_demo_are_local() {
        for address in ["/", "/e-mail", "/devices?after=1.x", "/a//b"] {
            assert!(is_local(address), "{address}");
        }
        let elsewhere = [
            "",
            "e-mail",
            "//evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            " //evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "/a\r\nSet-Cookie: b",
            "/é",
        ];
        for address in elsewhere {
            assert!(!is_local(address), "{address:?}");
        }
    }
}
