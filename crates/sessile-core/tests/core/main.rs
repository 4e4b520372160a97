//! The core through its public doors: what Sessile promises, express-session's vectors, every interleaving of two and
//! three requests, and that nothing secret is printed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should say where")]

mod devices;
mod gorilla;
mod interleaving;
mod lifecycle;
mod operators;
mod secrets;
mod shared;
mod single_use;
mod support;
mod vectors;
