//! `sessile transfer`.
