//! Server-side sessions for Rust, in the database you already have.
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use sessile::{Config, PostgresStore, Session, SessionLayer, Sessions};
//!
//! # async fn serve(database_url: String, secret: String) -> Result<(), sessile::Error> {
//! let store = PostgresStore::connect(&database_url).await?;          // creates the table when it is missing
//! let sessions = Sessions::new(store, Config::new(secret)?);
//! let app: Router = Router::new().route("/", get(home)).layer(SessionLayer::new(sessions));
//! # Ok(()) }
//!
//! async fn home(session: Session) -> Result<String, sessile::Error> {
//!     let visits: u64 = session.get("visits")?.unwrap_or(0) + 1;
//!     session.insert("visits", &visits)?;
//!     Ok(format!("visit {visits}"))
//! }
//! ```
//!
//! The crate re-exports the parts an application needs; its features choose stores and adapters.

#[cfg(feature = "actix")]
pub use sessile_actix as actix;
pub use sessile_core::*;
#[cfg(feature = "oidc")]
pub use sessile_oidc as oidc;
#[cfg(feature = "postgres")]
pub use sessile_postgres::{Migration, PostgresBuilder, PostgresStore, UserKeyFit};
#[cfg(feature = "redis")]
pub use sessile_redis::{RedisBuilder, RedisStore};
#[cfg(feature = "sqlite")]
pub use sessile_sqlite::{SqliteBuilder, SqliteStore};
#[cfg(feature = "axum")]
pub use sessile_tower::{RecentlySignedIn, SessionLayer, SignedIn};

/// The code in the README and the book, compiled.
#[cfg(doctest)]
mod book {
    macro_rules! pages {
        ($($(#[$when:meta])* $name:ident $file:literal)*) => {
            $(
                $(#[$when])*
                #[doc = include_str!(concat!("../../../docs/src/", $file, ".md"))]
                mod $name {}
            )*
        };
    }
    pages! {
        introduction "introduction"
        getting_started "getting-started"
        session "session"
        lifetimes "lifetimes"
        devices "devices"
        #[cfg(feature = "oidc")]
        identity_providers "identity-providers"
        limits "limits"
        promises "promises"
        stores "stores"
        #[cfg(feature = "redis")]
        redis "redis"
        operations "operations"
        migrating_from_express "migrating-from-express"
        migrating_from_go "migrating-from-go"
    }
}
