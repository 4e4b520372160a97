//! The identity provider that users sign in with: the one that the settings name, or one for development in this process.

use std::net::Ipv4Addr;

use anyhow::{Context as _, bail};
use sessile::oidc::{LoginFlow, Preset};
use sessile::settings::{Oidc, Settings};
use sessile::{Sessions, UserId};
use sessile_server::auth::Auth;
use sessile_server::idp;
use tokio::net::TcpListener;
use tracing::info;

use crate::secret;

/// Where the provider sends browsers back to.
const CALLBACK: &str = "/auth/callback";

/// What the development provider calls the demo.
const CLIENT_ID: &str = "sessile-demo";

/// A provider to sign in with.
pub(crate) struct Provider {
    /// For the button.
    pub(crate) name: String,
    flow: LoginFlow,
    user: fn(&str, &str) -> Option<UserId>,
}

impl Provider {
    /// The routes of signing in.
    pub(crate) fn auth(self, sessions: &Sessions, public_url: &str) -> Auth {
        Auth::new(sessions.clone(), self.flow, self.user, public_url)
    }
}

/// The provider, if there is one.
pub(crate) async fn open(idp: bool, settings: &Settings, public_url: &str) -> anyhow::Result<Option<Provider>> {
    match settings.oidc() {
        Some(oidc) if idp => bail!(
            "expected --idp or oidc.issuer, found both ({}); leave one out",
            oidc.issuer.as_deref().unwrap_or_default()
        ),
        Some(oidc) => configured(oidc, public_url).map(Some),
        None if idp => development(public_url).await.map(Some),
        None => Ok(None),
    }
}

/// The one that the settings name. Two providers may call different people the same, so a user's name here has both.
fn configured(oidc: &Oidc, public_url: &str) -> anyhow::Result<Provider> {
    let (issuer, client_id) =
        oidc.issuer.as_deref().zip(oidc.client_id.as_deref()).context("oidc.issuer is not set")?;
    let mut builder = LoginFlow::builder(issuer, client_id, format!("{}{CALLBACK}", public_url.trim_end_matches('/')));
    if let Some(secret) = &oidc.client_secret {
        builder = builder.client_secret(secret);
    }
    if let Some(preset) = oidc.preset.as_deref().and_then(Preset::named) {
        builder = builder.preset(preset);
    }
    let flow = builder.scopes(&oidc.scopes).build().context("oidc.*")?;
    let host = issuer.split("://").last().and_then(|rest| rest.split('/').next()).unwrap_or(issuer);
    info!("users may sign in with {issuer}; its client needs the redirect URL {public_url}{CALLBACK}");
    Ok(Provider { name: host.to_owned(), flow, user: |issuer, subject| Some(format!("{issuer}|{subject}").into()) })
}

/// One in this process, for the demo's own users. It asks nobody for a password, so nobody else may reach it.
async fn development(public_url: &str) -> anyhow::Result<Provider> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("the development provider cannot listen")?;
    let issuer = format!("http://{}", listener.local_addr()?);
    let public_url = public_url.trim_end_matches('/');
    let client = idp::Client {
        id: CLIENT_ID.into(),
        secret: secret::random()?,
        redirect_uri: format!("{public_url}{CALLBACK}"),
        post_logout_redirect_uri: format!("{public_url}/signed-out"),
    };
    let flow = LoginFlow::builder(&issuer, CLIENT_ID, &client.redirect_uri).client_secret(&client.secret).build()?;
    let app = idp::router(&issuer, client)?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    info!("an identity provider for development listens on {issuer}; it asks nobody for a password");
    Ok(Provider { name: "the development provider".into(), flow, user: |_, subject| Some(subject.into()) })
}
