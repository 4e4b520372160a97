//! What all pages share: the frame around them, and how a template becomes a response.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use sessile_core::Role;

use super::access::Who;
use super::assets;

/// The frame around a page.
pub(super) struct Frame {
    /// The address of the page in the navigation, where it has one.
    pub(super) here: &'static str,
    /// `None` where nobody is signed in, or nobody asked.
    pub(super) operator: Option<Seen>,
}

/// The operator, as the header shows them.
pub(super) struct Seen {
    pub(super) name: Box<str>,
    pub(super) role: Role,
}

impl Frame {
    pub(super) fn of(who: &Who, here: &'static str) -> Self {
        Self { here, operator: Some(Seen { name: who.name.clone(), role: who.role }) }
    }

    pub(super) fn of_nobody() -> Self {
        Self { here: "", operator: None }
    }

    pub(super) fn may_act(&self) -> bool {
        self.operator.as_ref().is_some_and(|operator| operator.role == Role::Admin)
    }

    pub(super) fn asset(&self, name: &str) -> String {
        assets::address(name)
    }
}

/// A template as a page.
pub(super) fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page of the dashboard could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
