//! Sessile's pages and routes as axum routers. They know [`Sessions`](sessile_core::Sessions) and nothing of a concrete
//! store, so the same router runs over every one of them.

pub mod admin;
pub mod auth;
pub mod demo;
pub mod devices;
pub mod health;
pub mod idp;
pub mod metrics;
pub mod public;
