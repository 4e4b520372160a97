//! Whether an ID token is the answer to this sign-in: OpenID Connect Core 3.1.3.7, step by step. Signature, algorithm,
//! issuer and audience (steps 1 to 8) are checked where tokens of every kind are read, in [`provider`](crate::provider); what
//! is left is about this one sign-in.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use subtle::ConstantTimeEq as _;

use crate::LoginError;
use crate::claims::{Claims, LEEWAY};
use crate::jws::Algorithm;
use crate::pending::Pending;
use crate::secret::Secret;

/// How far clocks may differ where the user has to prove now who they are: a minute would let in a proof of just before.
const LEEWAY_OF_NOW: Duration = Duration::from_secs(10);

/// Checks the claims of an ID token that came with this access token, for this sign-in, at this time.
pub(crate) fn check(
    claims: &Claims,
    algorithm: Algorithm,
    pending: &Pending,
    access_token: Option<&Secret>,
    now: SystemTime,
) -> Result<(), LoginError> {
    claims.subject()?;
    check_nonce(claims, pending)?;
    check_times(claims, pending.begun_at(), now)?;
    check_at_hash(claims, algorithm, access_token)?;
    check_auth_time(claims, pending, now)?;
    check_acr(claims, &pending.acr_values)
}

/// Step 11. Without it a token of another sign-in would do.
fn check_nonce(claims: &Claims, pending: &Pending) -> Result<(), LoginError> {
    match claims.text("nonce") {
        Some(nonce) if pending.nonce.is(nonce) => Ok(()),
        Some(_) => Err(LoginError::nonce("expected the ID token to have the nonce of this sign-in, found another one")),
        None => Err(LoginError::nonce("expected the ID token to have the nonce of this sign-in, found none")),
    }
}

/// Steps 9 and 10. A token that was made before its sign-in began is an old one, or a clock is wrong.
fn check_times(claims: &Claims, begun_at: SystemTime, now: SystemTime) -> Result<(), LoginError> {
    let issued_at = claims.required_time("iat")?;
    claims.check_past("iat", now)?;
    if let Ok(before) = begun_at.duration_since(issued_at)
        && before > LEEWAY
    {
        return Err(LoginError::clock_skew(format!(
            "by this server's clock the ID token was made {} s before this sign-in began",
            before.as_secs()
        )));
    }
    claims.check_past("nbf", now)?;
    claims.check_expiry(now)
}

/// OpenID Connect Core 3.1.3.8: the left half of the access token's hash, where it is given.
fn check_at_hash(claims: &Claims, algorithm: Algorithm, access_token: Option<&Secret>) -> Result<(), LoginError> {
    if !claims.has("at_hash") {
        return Ok(());
    }
    let expected = access_token.map(|token| {
        let hash = digest::digest(algorithm.digest(), token.expose().as_bytes());
        URL_SAFE_NO_PAD.encode(&hash.as_ref()[..hash.as_ref().len() / 2])
    });
    let found = claims.text("at_hash").unwrap_or_default();
    match expected {
        Some(expected) if bool::from(expected.as_bytes().ct_eq(found.as_bytes())) => Ok(()),
        _ => Err(LoginError::token("at_hash", "the ID token came with another access token than it was made for")),
    }
}

/// Step 13. The proof has to be fresh when the sign-in begins: how long the user then reads a page of the provider's says
/// nothing about it.
fn check_auth_time(claims: &Claims, pending: &Pending, now: SystemTime) -> Result<(), LoginError> {
    claims.check_past("auth_time", now)?;
    let Some(max_age) = pending.max_age.map(Duration::from_secs) else { return Ok(()) };
    let before = pending.begun_at().duration_since(claims.required_time("auth_time")?).unwrap_or_default();
    let leeway = if max_age.is_zero() { LEEWAY_OF_NOW } else { LEEWAY };
    if before > max_age.saturating_add(leeway) {
        return Err(LoginError::token(
            "auth_time",
            format!(
                "expected the user to have proved who they are at most {} s before this sign-in began, found {} s",
                max_age.as_secs(),
                before.as_secs()
            ),
        ));
    }
    Ok(())
}

/// Step 12.
fn check_acr(claims: &Claims, values: &[String]) -> Result<(), LoginError> {
    let found = claims.text("acr");
    if values.is_empty() || found.is_some_and(|found| values.iter().any(|value| value == found)) {
        return Ok(());
    }
    Err(LoginError::token("acr", format!("expected `acr` to be one of {values:?}, found {found:?}")))
}
