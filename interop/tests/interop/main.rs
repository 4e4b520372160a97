//! An unmodified Express app and Sessile share their sessions.

mod attributes;
mod data;
mod lifecycle;
mod tables;
