//! `sessile keys`.
