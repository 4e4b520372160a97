//! Extractors for handlers that need somebody signed in. They only ask the session; the rule is in `sessile-core`.

use std::time::Duration;

use axum::extract::FromRequestParts;
use http::request::Parts;
use sessile_core::{Error, Session, UserId};

/// A session somebody is signed in to; 401 otherwise.
///
/// ```
/// use sessile_tower::SignedIn;
///
/// async fn account(SignedIn { owner, .. }: SignedIn) -> String {
///     format!("signed in as {owner}")
/// }
/// ```
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// The session.
    pub session: Session,
    /// Who is signed in.
    pub owner: UserId,
}

impl<S: Sync> FromRequestParts<S> for SignedIn {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let session = Session::from_request_parts(parts, state).await?;
        let owner = session.owner().ok_or_else(|| Error::unauthenticated("sign in first"))?;
        Ok(Self { session, owner })
    }
}

/// A session whose owner proved who they are within the last `SECONDS` (10 minutes by default); 401 otherwise. Counts
/// from the sign-in or [`Session::authenticate_again`], not from activity (ASVS 7.5.1).
///
/// ```
/// use sessile_tower::RecentlySignedIn;
///
/// async fn change_password(RecentlySignedIn { owner, .. }: RecentlySignedIn) -> String {
///     format!("{owner} may")
/// }
/// async fn close_account(RecentlySignedIn { owner, .. }: RecentlySignedIn<60>) -> String {
///     format!("{owner} may, within a minute")
/// }
/// ```
#[derive(Clone, Debug)]
pub struct RecentlySignedIn<const SECONDS: u64 = 600> {
    /// The session.
    pub session: Session,
    /// Who is signed in.
    pub owner: UserId,
}

impl<S: Sync, const SECONDS: u64> FromRequestParts<S> for RecentlySignedIn<SECONDS> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let SignedIn { session, owner } = SignedIn::from_request_parts(parts, state).await?;
        if session.authenticated_within(Duration::from_secs(SECONDS)) {
            return Ok(Self { session, owner });
        }
        Err(Error::unauthenticated("the sign-in is too long ago for this; sign in again"))
    }
}
