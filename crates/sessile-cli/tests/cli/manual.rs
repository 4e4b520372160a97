//! `sessile manual`.
