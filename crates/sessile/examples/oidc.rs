//! Signs users in with an identity provider, and carries the role that they asked for through the flow.
//!
//! Any OpenID provider whose client has the redirect URL `http://127.0.0.1:3000/auth/callback`:
//!
//! `SESSION_SECRET=$(openssl rand -base64 32) OIDC_ISSUER=https://id.example.com OIDC_CLIENT_ID=shop OIDC_CLIENT_SECRET=… \
//! cargo run -p sessile --features oidc --example oidc`, then open <http://127.0.0.1:3000/login?role=admin>.

use std::net::SocketAddr;

use axum::extract::{Query, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use sessile::oidc::{Begin, Callback, LoginError, LoginFlow};
use sessile::{Config, Cookie, Error, Exchange, Secure, Session, SessionLayer, Sessions, SqliteStore};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    #[allow(clippy::disallowed_methods, reason = "an application reads its own environment")]
    let variable = |name| std::env::var(name);
    let flow = LoginFlow::builder(
        variable("OIDC_ISSUER")?,
        variable("OIDC_CLIENT_ID")?,
        "http://127.0.0.1:3000/auth/callback",
    )
    .client_secret(variable("OIDC_CLIENT_SECRET")?)
    .scopes(["profile"])
    .build()?;
    let config = Config::new(variable("SESSION_SECRET")?)?.cookie(Cookie::new("sid").secure(Secure::Auto))?;
    let sessions = Sessions::new(SqliteStore::open("oidc.sqlite").await?, config);
    let app = Router::new()
        .route("/", get(me))
        .route("/login", get(login))
        .route("/auth/callback", get(callback))
        .with_state(flow)
        .layer(SessionLayer::new(sessions));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    Ok(axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?)
}

#[derive(Deserialize)]
struct Wanted {
    role: Option<String>,
}

async fn login(
    State(flow): State<LoginFlow>,
    Query(wanted): Query<Wanted>,
    session: Session,
) -> Result<Redirect, Failed> {
    let begin = Begin::new("/").with_data("requestedRole", wanted.role);
    Ok(Redirect::to(flow.begin(&session, begin).await?.as_str()))
}

async fn callback(
    State(flow): State<LoginFlow>,
    RawQuery(query): RawQuery,
    exchange: Exchange,
) -> Result<Redirect, Failed> {
    let identity = flow.complete(&exchange, &Callback::from_query(&query.unwrap_or_default())).await?;
    // A real application asks its own table which user this is, and whether they may have the role.
    let user = format!("{}|{}", identity.issuer, identity.subject);
    let session = exchange.session().await?;
    identity.sign_in(&session, user)?;
    session.insert("requestedRole", &identity.data::<String>("requestedRole"))?;
    session.insert("name", &identity.claims.text("name"))?;
    Ok(Redirect::to(&identity.return_to))
}

async fn me(session: Session) -> Result<Json<serde_json::Value>, Error> {
    let [name, role] = ["name", "requestedRole"].map(|key| session.get::<Option<String>>(key));
    let user = session.owner().map(|user| user.to_string());
    Ok(Json(serde_json::json!({"user": user, "name": name?.flatten(), "requestedRole": role?.flatten()})))
}

/// What the browser is told, with a reference to what the log was told.
struct Failed(LoginError);

impl<E: Into<LoginError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let Self(error) = self;
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, format!("{} (reference {})\n", error.public_message(), error.reference())).into_response()
    }
}
