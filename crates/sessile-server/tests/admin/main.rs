//! The dashboard, over a real listener, as a browser, a script and a stranger meet it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what goes wrong in a test ends it")]

mod access;
mod api;
mod audit;
mod pages;
mod support;
