//! What comes in: parameters and bodies, read strictly. What cannot be read is a problem that says what was expected, and
//! repeats nothing of what was sent.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use sessile_core::Handle;

use crate::admin::asked;
use crate::admin::problem::Problem;

/// The parameters in the address.
pub(super) struct Parameters<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let expected = "Expected the parameters that the description names, each at most once, found something else.";
        let read = Query::<T>::from_request_parts(parts, state).await;
        read.map(|Query(parameters)| Self(parameters)).map_err(|_| Problem::bad_request(expected))
    }
}

/// The handle in the path.
pub(super) struct InPath(pub(super) Handle);

impl<S: Send + Sync> FromRequestParts<S> for InPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| unreadable_path())?;
        Handle::parse(&text).map(Self).ok_or_else(no_such_session)
    }
}

/// The user in the path.
pub(super) struct User(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for User {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Path::<String>::from_request_parts(parts, state)
            .await
            .map(|Path(user)| Self(user))
            .map_err(|_| unreadable_path())
    }
}

/// The body.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let expected = "Expected JSON with the members that the description names, found something else.";
        Json::<T>::from_request(request, state).await.map(|Json(body)| Self(body)).map_err(
            |rejection| match rejection {
                JsonRejection::JsonDataError(_) => Problem::new(rejection.status(), expected),
                JsonRejection::JsonSyntaxError(_) => Problem::bad_request("Expected JSON, found something else."),
                rejection => Problem::of_status(rejection.status()),
            },
        )
    }
}

pub(super) fn no_such_session() -> Problem {
    Problem::not_found("The registry knows no session of this handle.")
}

fn unreadable_path() -> Problem {
    Problem::bad_request("Expected an address in UTF-8, found another.")
}

/// A handle among the parameters.
pub(super) fn handle(text: Option<&str>) -> Result<Option<Handle>, Problem> {
    text.map(asked::handle).transpose()
}
