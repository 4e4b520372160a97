//! Sessile for tower: [`SessionLayer`] carries headers between a service and [`Sessions`](sessile_core::Sessions). With
//! the feature `axum` also the extractors for handlers that need a signed-in user.
//!
//! The layer decides nothing: which cookie is sent, what is stored and what fails is decided in `sessile-core`.

#[cfg(feature = "axum")]
mod extract;
mod layer;

#[cfg(feature = "axum")]
pub use extract::{RecentlySignedIn, SignedIn};
pub use layer::{SessionLayer, SessionService};
