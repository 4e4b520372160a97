//! `sessile doctor`.
