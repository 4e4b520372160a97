//! What a write puts into a row, ready to be sent to the thread that writes: the values of its parameters, in the order in
//! which the statements of [`Rows`](crate::rows::Rows) have them. What is in columns of its own comes last, so Express's
//! table has the same parameters without it.

use std::sync::Arc;
use std::time::SystemTime;

use rusqlite::ToSql;
use sessile_core::{Error, Record, Revision, StoreKey, TableKind, UserId};

use crate::times::{millis, seconds};

/// A session as it is to be written, and what has to be there for that.
pub(crate) struct Change {
    document: String,
    /// NULL equals nothing, so a record that was never read replaces nothing.
    revision: Option<String>,
    pub(crate) seen: i64,
    end: i64,
    beside: Option<Beside>,
}

/// What the columns table has beside document and end.
struct Beside {
    owner: Option<String>,
    /// Whose session it was. Another program may have signed them out since.
    owner_before: Option<String>,
    created_at: i64,
}

impl Change {
    pub(crate) fn of(kind: TableKind, record: &Record) -> Self {
        let (seen, end) = (seconds(record.seen_at), seconds(record.expires_at));
        let revision = record.revision.as_ref();
        match kind {
            TableKind::Express => Self {
                document: record.document(),
                revision: revision.map(|revision| revision.as_str().into()),
                seen,
                end,
                beside: None,
            },
            TableKind::Columns => Self {
                document: record.values(),
                revision: revision.map(|revision| revision.values().into()),
                seen,
                end,
                beside: Some(Beside {
                    owner: named(record.owner.as_ref()),
                    owner_before: named(revision.and_then(Revision::owner)),
                    created_at: millis(record.created_at),
                }),
            },
        }
    }

    /// A session that comes from another store. Express's table takes the document as it is.
    ///
    /// # Errors
    /// When the document is not a session's.
    pub(crate) fn moved(
        kind: TableKind,
        key: &StoreKey,
        document: &Arc<str>,
        expires_at: SystemTime,
    ) -> Result<Self, Error> {
        if kind == TableKind::Express {
            let end = seconds(expires_at);
            return Ok(Self { document: document.to_string(), revision: None, seen: 0, end, beside: None });
        }
        // Of one that says nothing of its beginning, nobody knows more than that it came before its end.
        let record = Record::stored(key, document.clone(), expires_at, expires_at)?;
        Ok(Self { revision: None, ..Self::of(kind, &record) })
    }

    /// The parameters of an insert.
    pub(crate) fn inserted<'a>(&'a self, key: &'a dyn ToSql) -> Vec<&'a dyn ToSql> {
        let mut values: Vec<&dyn ToSql> = vec![key, &self.document, &self.end];
        if let Some(Beside { owner, created_at, .. }) = &self.beside {
            values.extend([owner as &dyn ToSql, created_at]);
        }
        values
    }

    /// The parameters of an update.
    pub(crate) fn updated<'a>(&'a self, key: &'a dyn ToSql) -> Vec<&'a dyn ToSql> {
        let mut values: Vec<&dyn ToSql> = vec![key, &self.document, &self.end, &self.revision, &self.seen];
        if let Some(Beside { owner, owner_before, .. }) = &self.beside {
            values.extend([owner as &dyn ToSql, owner_before]);
        }
        values
    }

    /// The parameters of a rotation.
    pub(crate) fn rotated<'a>(&'a self, from: &'a dyn ToSql, to: &'a dyn ToSql) -> Vec<&'a dyn ToSql> {
        let mut values: Vec<&dyn ToSql> = vec![from, &self.document, &self.end, &self.revision, &self.seen, to];
        if let Some(Beside { owner, owner_before, created_at }) = &self.beside {
            values.extend([owner as &dyn ToSql, owner_before, created_at]);
        }
        values
    }
}

fn named(owner: Option<&UserId>) -> Option<String> {
    owner.map(|owner| owner.as_str().to_owned())
}
