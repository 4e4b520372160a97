//! `sessile stats`.
