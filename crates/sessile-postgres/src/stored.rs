//! A session as its row has it: the one place where a row becomes a [`Record`], whatever the kind of its table.

use std::sync::Arc;
use std::time::SystemTime;

use sessile_core::{Error, Piece, Record, StoreKey, TableKind, UserId, ValuesRow};
use tokio_postgres::Row;

use crate::columns::{BEGAN, OWNER};
use crate::time::{moment, time};

/// A row as it was read.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) document: Arc<str>,
    pub(crate) expires_at: f64,
    beside: Option<Beside>,
}

/// What the columns table has beside the document.
#[derive(Clone)]
struct Beside {
    owner: Option<UserId>,
    /// `None` where nobody wrote it down.
    began: Option<f64>,
}

impl Stored {
    /// A row of a table of this kind, with its document and its end in these columns of the answer, and what
    /// [`Columns::read_beside`](crate::columns::Columns::read_beside) names in others.
    pub(crate) fn read(kind: TableKind, row: &Row, document: usize, end: usize) -> Result<Self, Error> {
        let read = || {
            let beside = (kind == TableKind::Columns).then(|| Beside::read(row)).transpose()?;
            let document = row.try_get::<_, &str>(document)?.into();
            Ok(Self { document, expires_at: row.try_get(end)?, beside })
        };
        read().map_err(|error: tokio_postgres::Error| {
            Error::poisoned("expected the row's document and end to have values").with_source(error)
        })
    }

    /// The session, as it was read at `now`.
    pub(crate) fn record(self, key: &StoreKey, now: SystemTime) -> Result<Record, Error> {
        let expires_at = time(self.expires_at);
        match self.beside {
            None => Record::stored(key, self.document, expires_at, now),
            Some(beside) => Record::from_values(key, beside.row(self.document, expires_at, now), now),
        }
    }

    /// The session, as it moves to another store.
    pub(crate) fn piece(self, key: StoreKey, now: SystemTime) -> Result<Piece, Error> {
        let expires_at = time(self.expires_at);
        let piece = match self.beside {
            None => Piece::Session { key, document: self.document, expires_at },
            Some(beside) => Piece::from_values(key, beside.row(self.document, expires_at, now), now)?,
        };
        piece.check().map(|()| piece)
    }

    /// Whether it had not ended by then.
    pub(crate) fn is_alive(&self, now: f64) -> bool {
        self.expires_at >= now
    }
}

impl Beside {
    fn read(row: &Row) -> Result<Self, tokio_postgres::Error> {
        let owner = row.try_get::<_, Option<&str>>(OWNER)?.filter(|owner| !owner.is_empty());
        Ok(Self { owner: owner.map(UserId::from), began: row.try_get(BEGAN)? })
    }

    fn row(self, values: Arc<str>, expires_at: SystemTime, now: SystemTime) -> ValuesRow {
        ValuesRow { values, owner: self.owner, created_at: self.began.map_or(now, moment), expires_at }
    }
}
