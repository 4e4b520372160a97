//! The identity provider that users sign in with: the one that the settings name, or one for development in this process.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, bail};
use sessile::oidc::{LoginFlow, Preset};
use sessile::settings::{Oidc, Settings};
use sessile::{Error, Sessions, UserId};
use sessile_server::auth::Auth;
use sessile_server::idp;
use tokio::net::TcpListener;
use tracing::{error, info};

use crate::secret;

/// Where the provider sends browsers back to.
const CALLBACK: &str = "/auth/callback";

/// Where it sends them after a sign-out, and its own requests to end sessions.
const SIGNED_OUT: &str = "/signed-out";
const BACK_CHANNEL: &str = "/auth/backchannel-logout";

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
    pub(crate) fn auth(self, sessions: &Sessions, public_url: &str) -> Result<Auth, Error> {
        Auth::new(sessions.clone(), self.flow, self.user, public_url)
    }
}

/// Where browsers find a server that listens here, when nobody says otherwise. All addresses of this computer are for
/// a browser on it.
pub(crate) fn own_url(address: SocketAddr) -> String {
    match address.ip() {
        ip if ip.is_unspecified() => format!("http://127.0.0.1:{}", address.port()),
        _ => format!("http://{address}"),
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
    let mut builder = LoginFlow::builder(issuer, client_id, format!("{public_url}{CALLBACK}"));
    if let Some(secret) = &oidc.client_secret {
        builder = builder.client_secret(secret);
    }
    if let Some(preset) = oidc.preset.as_deref().and_then(Preset::named) {
        builder = builder.preset(preset);
    }
    let flow = builder.scopes(&oidc.scopes).build().context("oidc.* and public_url (PUBLIC_URL)")?;
    let host = issuer.split("://").last().and_then(|rest| rest.split('/').next()).unwrap_or(issuer);
    info!(
        "users may sign in with {issuer}; register its client with the redirect URL {public_url}{CALLBACK}, the post-logout \
         redirect URL {public_url}{SIGNED_OUT} and the back-channel logout URL {public_url}{BACK_CHANNEL}"
    );
    Ok(Provider { name: host.to_owned(), flow, user: |issuer, subject| Some(format!("{issuer}|{subject}").into()) })
}

/// One in this process, for the demo's own users. It asks nobody for a password, so nobody else may reach it.
async fn development(public_url: &str) -> anyhow::Result<Provider> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("the development provider cannot listen")?;
    let issuer = format!("http://{}", listener.local_addr()?);
    let client = idp::Client {
        id: CLIENT_ID.into(),
        secret: secret::random()?,
        redirect_uri: format!("{public_url}{CALLBACK}"),
        post_logout_redirect_uri: format!("{public_url}{SIGNED_OUT}"),
    };
    let flow = LoginFlow::builder(&issuer, CLIENT_ID, &client.redirect_uri).client_secret(&client.secret).build();
    let flow = flow.context("public_url (PUBLIC_URL)")?;
    let app = idp::router(&issuer, client)?;
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            error!(%error, "the development provider ended");
        }
    });
    info!("an identity provider for development listens on {issuer}; it asks nobody for a password");
    Ok(Provider { name: "the development provider".into(), flow, user: |_, subject| Some(subject.into()) })
}
