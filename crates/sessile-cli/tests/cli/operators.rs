//! `sessile operators`.
