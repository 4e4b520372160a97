//! The embedded session store: one SQLite file.

/// Sessions in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore;
