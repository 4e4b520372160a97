//! Signing out at the provider (OpenID Connect RP-Initiated Logout 1.0). The application says who by an ID token of ours.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;
use sessile_core::{Error, Session};
use url::Url;

use super::{Provider, pages};

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
pub(super) struct Request {
    id_token_hint: String,
    post_logout_redirect_uri: Option<String>,
    state: Option<String>,
}

pub(super) async fn end(
    State(provider): State<Arc<Provider>>,
    Query(request): Query<Request>,
    session: Session,
) -> Result<Response, Error> {
    let Some(claims) = provider.key.claims(&request.id_token_hint).filter(|claims| claims["aud"] == provider.client.id)
    else {
        return Ok(pages::unknown_client());
    };
    if claims["sid"] == session.handle().as_str() {
        session.end()?;
    }
    let wanted = request.post_logout_redirect_uri.filter(|uri| *uri == provider.client.post_logout_redirect_uri);
    let Some(mut url) = wanted.and_then(|uri| Url::parse(&uri).ok()) else { return Ok(pages::signed_out()) };
    if let Some(state) = request.state {
        url.query_pairs_mut().append_pair("state", &state);
    }
    Ok(Redirect::to(url.as_str()).into_response())
}
