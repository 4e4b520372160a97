//! The command `sessile` from outside: one binary for all themes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod columns;
mod config;
mod demo;
mod doctor;
mod explain;
mod keys;
mod manual;
mod migrate;
mod operators;
mod printing;
mod sessions;
mod stats;
mod support;
mod sweep;
mod transfer;
