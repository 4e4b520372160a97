//! The token endpoint (OpenID Connect Core section 3.1.3): a code for an ID token.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::{Form, Json};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::json;
use sessile_core::Error;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::codes::Grant;
use super::{Provider, random};
use crate::demo::users;

/// How long an ID token is good for.
const GOOD_FOR: Duration = Duration::from_secs(300);

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
pub(super) struct Exchange {
    grant_type: String,
    code: String,
    redirect_uri: String,
    code_verifier: String,
    client_id: Option<String>,
    client_secret: Option<String>,
}

pub(super) async fn exchange(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
    Form(form): Form<Exchange>,
) -> Result<Response, Error> {
    if !is_client(&provider, &headers, &form) {
        return Ok(refuse(StatusCode::UNAUTHORIZED, "invalid_client"));
    }
    if form.grant_type != "authorization_code" {
        return Ok(refuse(StatusCode::BAD_REQUEST, "unsupported_grant_type"));
    }
    // The code is used up, whatever else is wrong (RFC 6749 section 4.1.2).
    let grant = provider.codes.take(&form.code, provider.clock.now());
    let proved = |grant: &Grant| form.redirect_uri == provider.client.redirect_uri && is_proof(&form, grant);
    match grant.filter(proved) {
        Some(grant) => tokens(&provider, &grant),
        None => Ok(refuse(StatusCode::BAD_REQUEST, "invalid_grant")),
    }
}

/// Whether the verifier is the challenge's (RFC 7636 section 4.6).
fn is_proof(form: &Exchange, grant: &Grant) -> bool {
    let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(&form.code_verifier));
    hash.as_bytes().ct_eq(grant.challenge.as_bytes()).into()
}

/// Whether the client named itself and its secret, in the header or in the form (RFC 6749 section 2.3.1).
fn is_client(provider: &Provider, headers: &HeaderMap, form: &Exchange) -> bool {
    let in_form = form.client_id.clone().zip(form.client_secret.clone());
    let Some((id, secret)) = basic(headers).or(in_form) else { return false };
    let client = &provider.client;
    let same = id.as_bytes().ct_eq(client.id.as_bytes()) & secret.as_bytes().ct_eq(client.secret.as_bytes());
    same.into()
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let encoded = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    let decoded = |part: &str| percent_decode_str(part).decode_utf8().ok().map(String::from);
    Some((decoded(id)?, decoded(secret)?))
}

fn refuse(status: StatusCode, error: &str) -> Response {
    (status, [(CACHE_CONTROL, "no-store")], Json(json!({"error": error}))).into_response()
}

fn tokens(provider: &Provider, grant: &Grant) -> Result<Response, Error> {
    let (access, now) = (random()?, provider.clock.now());
    let half = &Sha256::digest(&access)[..16];
    let mut claims = json!({
        "iss": provider.issuer,
        "sub": grant.user,
        "aud": provider.client.id,
        "iat": seconds(now),
        "exp": seconds(now + GOOD_FOR),
        "auth_time": seconds(grant.auth_time),
        "sid": grant.sid.as_str(),
        "at_hash": URL_SAFE_NO_PAD.encode(half),
        "name": users::name(&grant.user.as_str().into()),
    });
    for (claim, value) in [("nonce", &grant.nonce), ("acr", &grant.acr)] {
        if let Some(value) = value {
            claims[claim] = value.as_str().into();
        }
    }
    let id_token = provider.key.sign(&claims)?;
    let body = json!({
        "access_token": access, "token_type": "Bearer", "expires_in": GOOD_FOR.as_secs(), "id_token": id_token,
    });
    Ok(([(CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
