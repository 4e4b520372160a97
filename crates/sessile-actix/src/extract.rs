//! Extractors for handlers that need somebody signed in. They only ask the session; the rule is in `sessile-core`.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use sessile_core::{Error, Session, UserId};

/// A session somebody is signed in to; 401 otherwise.
///
/// ```
/// use sessile_actix::SignedIn;
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

impl FromRequest for SignedIn {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let session = Session::from_request(request, payload);
        Box::pin(async move {
            let session = session.await?;
            let owner = session.owner().ok_or_else(|| Error::unauthenticated("sign in first"))?;
            Ok(Self { session, owner })
        })
    }
}

/// A session whose owner proved who they are within the last `SECONDS` (10 minutes by default); 401 otherwise. Counts
/// from the sign-in or [`Session::authenticate_again`], not from activity (ASVS 7.5.1).
///
/// ```
/// use sessile_actix::RecentlySignedIn;
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

impl<const SECONDS: u64> FromRequest for RecentlySignedIn<SECONDS> {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let signed_in = SignedIn::from_request(request, payload);
        Box::pin(async move {
            let SignedIn { session, owner } = signed_in.await?;
            if session.authenticated_within(Duration::from_secs(SECONDS)) {
                return Ok(Self { session, owner });
            }
            Err(Error::unauthenticated("the sign-in is too long ago for this; sign in again"))
        })
    }
}
