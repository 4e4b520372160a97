//! Signing out at the provider, started here (OpenID Connect RP-Initiated Logout 1.0). The browser is sent there; the
//! session here is ended by the application, whatever becomes of that.

use sessile_core::Session;
use url::Url;

use crate::error::Task;
use crate::flow::{LoginFlow, Shared};
use crate::identity::{KEY, Kept};
use crate::preset::LogoutForm;
use crate::settings::Settings;
use crate::{LoginError, settings::safe_url};

impl LoginFlow {
    /// Where to send the browser so that the user is signed out at the provider too; `None` where the provider has no such
    /// place. Ask before the session is ended: the ID token that shows the provider whom it is about is in it.
    ///
    /// The browser comes back to `back`, which has to be registered at the provider and on the same site as the redirect
    /// URL; `state` comes back with it. Nothing should depend on either, for anybody can send a browser there.
    ///
    /// # Errors
    /// When `back` is on another site, the provider's metadata cannot be fetched, or what the session has is unreadable.
    pub async fn logout_url(
        &self,
        session: &Session,
        back: &str,
        state: Option<&str>,
    ) -> Result<Option<Url>, LoginError> {
        self.to_sign_out(session, back, state).await.map_err(|error| error.logged(Task::SignOut))
    }

    async fn to_sign_out(&self, session: &Session, back: &str, state: Option<&str>) -> Result<Option<Url>, LoginError> {
        let Shared { settings, provider } = &*self.shared;
        let back = own_url(settings, back)?;
        let metadata = provider.metadata(session.now()).await?;
        if let Some(form) = settings.preset.as_ref().and_then(|preset| preset.logout.as_ref()) {
            return Ok(Some(in_form(form, metadata.authorization_endpoint.clone(), settings, &back)));
        }
        let Some(mut url) = metadata.end_session_endpoint.clone() else { return Ok(None) };
        let kept: Option<Kept> = session.get(KEY)?;
        let kept = kept.filter(|kept| kept.issuer == settings.issuer);
        let mut query = url.query_pairs_mut();
        query.append_pair("client_id", &settings.client_id).append_pair("post_logout_redirect_uri", back.as_str());
        if let Some(id_token) = kept.and_then(|kept| kept.id_token) {
            query.append_pair("id_token_hint", id_token.expose());
        }
        if let Some(state) = state {
            query.append_pair("state", state);
        }
        drop(query);
        Ok(Some(url))
    }
}

/// A URL of this application's own.
fn own_url(settings: &Settings, back: &str) -> Result<Url, LoginError> {
    let url = safe_url("the place to come back to", back).ok();
    url.filter(|url| url.origin() == settings.redirect_url.origin()).ok_or_else(|| {
        LoginError::misuse(format!(
            "expected the place to come back to after a sign-out to be on {}, found another one",
            settings.redirect_url.origin().ascii_serialization()
        ))
    })
}

fn in_form(form: &LogoutForm, mut url: Url, settings: &Settings, back: &Url) -> Url {
    url.set_path(form.path);
    url.set_query(None);
    url.query_pairs_mut().append_pair(form.client_id, &settings.client_id).append_pair(form.back, back.as_str());
    url
}
