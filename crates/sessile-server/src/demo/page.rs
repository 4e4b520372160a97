//! What all pages share: the frame around them, and the one stylesheet.

use std::sync::LazyLock;

use askama::Template;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{Html, IntoResponse, Response};
use sessile_core::{Error, Flash, Session};

use super::{cart, users};

const STYLESHEET: &str = include_str!("../../assets/demo.css");

/// The frame around a page: the header says who is signed in and how full the cart is.
pub(super) struct Frame {
    pub(super) stylesheet: &'static str,
    /// The address of the page in the navigation, where it has one.
    pub(super) here: &'static str,
    /// `None` on a page that did not ask for the session.
    pub(super) visitor: Option<Visitor>,
}

/// What the frame knows of the session.
pub(super) struct Visitor {
    /// Who is signed in, by name.
    pub(super) name: Option<String>,
    /// They signed in at the identity provider.
    pub(super) by_provider: bool,
    pub(super) cart: u64,
    pub(super) flashes: Vec<Flash>,
}

impl Frame {
    /// The frame of a page that shows the session. Messages for this page are taken: that is a write, and the only one
    /// a GET makes.
    pub(super) fn of(session: &Session, here: &'static str) -> Result<Self, Error> {
        let visitor = Visitor {
            name: session.owner().map(|owner| users::name(&owner)),
            by_provider: session.keys().iter().any(|key| key == sessile_oidc::SESSION_KEY),
            cart: cart::of(session)?.count(),
            flashes: session.take_flashes()?,
        };
        Ok(Self { visitor: Some(visitor), ..Self::without_session(here) })
    }

    /// The frame of a page that must not ask the store.
    pub(super) fn without_session(here: &'static str) -> Self {
        Self { stylesheet: stylesheet(), here, visitor: None }
    }
}

/// A template as a page.
pub(crate) fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page of the demo could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Where the stylesheet is: its content is in its name, so a browser may keep it for ever.
pub(crate) fn stylesheet() -> &'static str {
    static PATH: LazyLock<String> = LazyLock::new(|| format!("/assets/demo-{:016x}.css", fnv1a(STYLESHEET)));
    &PATH
}

pub(crate) async fn serve_stylesheet() -> impl IntoResponse {
    let headers = [(CONTENT_TYPE, "text/css; charset=utf-8"), (CACHE_CONTROL, "public, max-age=31536000, immutable")];
    (headers, STYLESHEET)
}

/// FNV-1a: tells versions of our own file apart, nothing more.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
