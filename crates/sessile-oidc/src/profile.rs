//! Who the user is, where there is no ID token to say so: a provider of plain OAuth 2.0 is asked through its API, with the
//! token that the code was exchanged for. That token came straight from the provider for this client's code and PKCE
//! verifier; a token that came any other way proves nothing about who signs in.

use async_trait::async_trait;
use serde_json::{Map, Value};
use url::Url;

use crate::LoginError;
use crate::claims::Claims;
use crate::http::{Ask, Http, may_ask};
use crate::secret::Secret;
use crate::tame::tame;

/// Asks a provider's API who the user is.
///
/// ```
/// use sessile_oidc::{Api, Claims, LoginError, Profile};
///
/// struct Forge;
///
/// #[async_trait::async_trait]
/// impl Profile for Forge {
///     async fn claims(&self, api: &Api<'_>) -> Result<Claims, LoginError> {
///         let user = api.get("https://forge.example/api/v1/user").await?;
///         let id = user["id"].as_u64().ok_or_else(|| LoginError::provider("the forge names no user"))?;
///         let mut claims = user.as_object().cloned().unwrap_or_default();
///         claims.insert("sub".into(), id.to_string().into());
///         Ok(claims.into())
///     }
/// }
/// ```
#[async_trait]
pub trait Profile: Send + Sync + 'static {
    /// What is known of the user. The claim `sub` names them for good, and is never a name that they can change.
    async fn claims(&self, api: &Api<'_>) -> Result<Claims, LoginError>;
}

/// A provider's API, asked in the user's name.
pub struct Api<'a> {
    pub(crate) http: &'a Http,
    pub(crate) issuer: &'a Url,
    pub(crate) access_token: &'a Secret,
}

impl Api<'_> {
    /// The document at this URL: https, or on this host if the issuer is.
    ///
    /// # Errors
    /// When the URL is another, the provider does not answer, or what it answers is not JSON.
    pub async fn get(&self, url: &str) -> Result<Value, LoginError> {
        const WHAT: &str = "the user's profile";
        let url = Url::parse(url)
            .ok()
            .filter(|url| may_ask(url, self.issuer))
            .ok_or_else(|| LoginError::misuse(format!("expected {WHAT} at an https URL, found {:?}", tame(url))))?;
        let authorization = Some(format!("Bearer {}", self.access_token.expose()));
        let answer = self.http.send(Ask { url: &url, what: WHAT, authorization, form: None }).await?;
        answer.document(WHAT, &url)
    }
}

/// One document that says everything.
pub(crate) struct UserDocument {
    pub(crate) url: Url,
    pub(crate) subject: String,
}

#[async_trait]
impl Profile for UserDocument {
    async fn claims(&self, api: &Api<'_>) -> Result<Claims, LoginError> {
        let document = api.get(self.url.as_str()).await?;
        let subject = match &document[&self.subject] {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) if !number.is_f64() => Some(number.to_string()),
            _ => None,
        };
        let claims: Option<Map<String, Value>> = document.as_object().cloned();
        let (Some(subject), Some(mut claims)) = (subject, claims) else {
            return Err(LoginError::provider(format!(
                "expected the user's profile at {} to name the user under {:?}, found nothing there",
                self.url, self.subject
            )));
        };
        claims.insert("sub".into(), subject.into());
        Ok(claims.into())
    }
}
