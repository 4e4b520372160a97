//! An unmodified Express app and Sessile share their sessions.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "what goes wrong here fails the test"
)]

mod attributes;
mod data;
mod guard;
mod lifecycle;
mod tables;
