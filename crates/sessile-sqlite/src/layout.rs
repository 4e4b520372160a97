//! The two kinds of session table. They differ in the names of their columns, and in what lies in columns of its own: the
//! columns table has a session's user and its beginning there, Express's has all of that in the document. This module alone
//! knows the difference: statements are put together from these names, and whatever was read becomes the same [`Record`].
//!
//! A user in a column is another program's to change, so a write that compares the document compares the user as well.

use std::sync::Arc;
use std::time::SystemTime;

use rusqlite::{Connection, Row};
use sessile_core::{Error, Piece, Record, StoreKey, TableKind, UserId, ValuesRow};

use crate::failure;
use crate::registry_table::Index;
use crate::table::{self, Column, Shape, TEXT, TIME, quoted};
use crate::times::{from_millis, from_seconds, read, text};

/// Parts of the names of types under which SQLite leaves a document alone.
const DOCUMENT: &[&str] = &["CHAR", "TEXT", "JSON"];

/// How statements name the session table's columns, and what they do beside the document and the end.
pub(crate) struct Layout {
    pub(crate) kind: TableKind,
    /// What identifies a row, as SQL writes it.
    pub(crate) key: String,
    pub(crate) document: String,
    pub(crate) end: String,
    /// Whether `user_id` takes NULL. Where it does not, nobody is `''`.
    owner_takes_null: bool,
}

/// What a row has in columns of its own, where it does.
pub(crate) struct Beside {
    owner: Option<UserId>,
    /// `None` when nobody wrote it down in a way that SQLite understands.
    created_at: Option<SystemTime>,
}

impl Layout {
    pub(crate) fn of(kind: TableKind) -> Self {
        let [key, document, end] = names(kind).map(quoted);
        Self { kind, key, document, end, owner_takes_null: true }
    }

    /// That of the table of this name: of the kind that is wanted, or else as it is found, and Express's where there is none.
    ///
    /// # Errors
    /// When it is of the other kind than the one that is wanted.
    pub(crate) fn found(connection: &Connection, table: &str, wanted: Option<TableKind>) -> Result<Self, Error> {
        let columns = table::columns(connection, table).map_err(failure::of)?;
        let [express, values] = [TableKind::Express, TableKind::Columns].map(|kind| is_of(kind, &columns));
        let kind = match wanted {
            Some(TableKind::Express) if values && !express => {
                return Err(another_kind(table, "Express's table", "the columns table", TableKind::Columns));
            }
            Some(TableKind::Columns) if express && !values => {
                return Err(another_kind(table, "the columns table", "Express's table", TableKind::Express));
            }
            Some(wanted) => wanted,
            None if values && !express => TableKind::Columns,
            None => TableKind::Express,
        };
        let owner = columns.iter().find(|column| column.is_called("user_id"));
        Ok(Self { owner_takes_null: owner.is_none_or(|owner| !owner.not_null), ..Self::of(kind) })
    }

    /// What the table has to be like.
    pub(crate) fn shape(&self) -> &'static Shape {
        match self.kind {
            TableKind::Express => &EXPRESS,
            TableKind::Columns => &COLUMNS,
        }
    }

    /// The index of the session table of this name on whose it is, where that is a column.
    pub(crate) fn user_index(&self, table: &str) -> Option<Index> {
        (self.kind == TableKind::Columns).then(|| Index::on(table, "user_id", "user_id", ""))
    }

    /// SQL: what [`Beside`] is read from, after other columns.
    pub(crate) fn beside(&self, row: &str) -> String {
        match self.kind {
            TableKind::Express => String::new(),
            TableKind::Columns => format!(r#", {row}"user_id", {}"#, read(&format!(r#"{row}"created_at""#))),
        }
    }

    /// SQL: the document as text. Other programs may bind the bytes of their JSON, which SQLite then keeps as bytes.
    pub(crate) fn text(&self, row: &str) -> String {
        match self.kind {
            TableKind::Express => format!("{row}{}", self.document),
            TableKind::Columns => format!("CAST({row}{} AS TEXT)", self.document),
        }
    }

    /// SQL: a row has no end, so it is not alive. Express's table has none of that kind: there the end is damaged.
    pub(crate) fn but_endless(&self, row: &str) -> String {
        match self.kind {
            TableKind::Express => String::new(),
            TableKind::Columns => format!(" AND {row}{} IS NOT NULL", self.end),
        }
    }

    /// SQL: the names and the values of what a new row has beside document and end, the owner and the beginning in these
    /// parameters.
    pub(crate) fn inserted(&self, owner: u8, created_at: u8) -> [String; 2] {
        match self.kind {
            TableKind::Express => [String::new(), String::new()],
            TableKind::Columns => {
                [r#", "user_id", "created_at""#.into(), format!(", {}, {}", self.owner_in(owner), text(created_at))]
            }
        }
    }

    /// SQL: sets the owner to this parameter.
    pub(crate) fn set_owner(&self, owner: u8) -> String {
        match self.kind {
            TableKind::Express => String::new(),
            TableKind::Columns => format!(r#", "user_id" = {}"#, self.owner_in(owner)),
        }
    }

    /// SQL: sets the beginning to this parameter.
    pub(crate) fn set_created_at(&self, created_at: u8) -> String {
        match self.kind {
            TableKind::Express => String::new(),
            TableKind::Columns => format!(r#", "created_at" = {}"#, text(created_at)),
        }
    }

    /// SQL: the owner is still the one in this parameter.
    pub(crate) fn and_same_owner(&self, owner: u8) -> String {
        match self.kind {
            TableKind::Express => String::new(),
            TableKind::Columns => format!(r#" AND coalesce("user_id", '') = coalesce(?{owner}, '')"#),
        }
    }

    /// SQL: the row `s` says that somebody is signed in.
    pub(crate) fn is_owned(&self) -> String {
        match self.kind {
            TableKind::Express => {
                let document = &self.document;
                format!("CASE WHEN json_valid(s.{document}) THEN s.{document} ->> '$.sessile.owner' END IS NOT NULL")
            }
            TableKind::Columns => r#"coalesce(s."user_id", '') <> ''"#.into(),
        }
    }

    fn owner_in(&self, parameter: u8) -> String {
        if self.owner_takes_null { format!("?{parameter}") } else { format!("coalesce(?{parameter}, '')") }
    }
}

impl Beside {
    /// What was read from [`Layout::beside`], from this column of the row on.
    pub(crate) fn of(kind: TableKind, row: &Row<'_>, from: usize) -> rusqlite::Result<Option<Self>> {
        if kind == TableKind::Express {
            return Ok(None);
        }
        let owner: Option<String> = row.get(from)?;
        let created_at: Option<i64> = row.get(from + 1)?;
        let owner = owner.filter(|owner| !owner.is_empty()).map(UserId::from);
        Ok(Some(Self { owner, created_at: created_at.map(from_millis) }))
    }

    /// Of a session that began at a time that nobody knows, it is the time of the reading, as on Express's table.
    fn row(self, values: Arc<str>, expires_at: SystemTime, now: SystemTime) -> ValuesRow {
        ValuesRow { values, owner: self.owner, created_at: self.created_at.unwrap_or(now), expires_at }
    }
}

/// The session in a row of either kind, which ends so many seconds after 1970.
pub(crate) fn record(
    key: &StoreKey,
    document: impl Into<Arc<str>>,
    end: i64,
    beside: Option<Beside>,
    now: SystemTime,
) -> Result<Record, Error> {
    match beside {
        None => Record::stored(key, document, from_seconds(end), now),
        Some(beside) => Record::from_values(key, beside.row(document.into(), from_seconds(end), now), now),
    }
}

/// The same as it moves to another store.
pub(crate) fn piece(
    key: StoreKey,
    document: impl Into<Arc<str>>,
    end: i64,
    beside: Option<Beside>,
    now: SystemTime,
) -> Result<Piece, Error> {
    let expires_at = from_seconds(end);
    match beside {
        None => Ok(Piece::Session { key, document: document.into(), expires_at }),
        Some(beside) => Piece::from_values(key, beside.row(document.into(), expires_at, now), now),
    }
}

/// What the column with the end is called.
pub(crate) fn end_name(kind: TableKind) -> &'static str {
    names(kind)[2]
}

/// What the columns for key, document and end are called.
fn names(kind: TableKind) -> [&'static str; 3] {
    match kind {
        TableKind::Express => ["sid", "sess", "expire"],
        TableKind::Columns => ["id", "values", "expires_at"],
    }
}

/// Only the document's column tells the kinds apart from a registry, which has a `sid` and an `id` too.
fn is_of(kind: TableKind, columns: &[Column]) -> bool {
    columns.iter().any(|column| column.is_called(names(kind)[1]))
}

fn another_kind(table: &str, expected: &str, found: &str, kind: TableKind) -> Error {
    Error::config(format!(
        "the SQLite table {} cannot hold sessions as it is opened: expected {expected}, found {found}; open it with \
         `SqliteBuilder::table_kind(TableKind::{kind:?})`, rename it, or choose another name with `SqliteBuilder::table`",
        quoted(table)
    ))
}

const PURPOSE: &str = "hold sessions";
const REMEDY: &str = "SqliteBuilder::table";

const EXPRESS: Shape = Shape {
    purpose: PURPOSE,
    remedy: REMEDY,
    // Text that looks like a number would become one under another type than these, and ids may look like numbers.
    columns: &[("sid", TEXT), ("sess", DOCUMENT), ("expire", TIME)],
    nullable: &[],
    key: "sid",
    create: create_express,
};

const COLUMNS: Shape = Shape {
    purpose: PURPOSE,
    remedy: REMEDY,
    columns: &[("id", TEXT), ("user_id", TEXT), ("values", DOCUMENT), ("created_at", TIME), ("expires_at", TIME)],
    nullable: &[],
    key: "id",
    create: create_columns,
};

fn create_express(table: &str) -> String {
    let (name, index) = (quoted(table), quoted(&format!("IDX_{table}_expire")));
    format!(
        r#"CREATE TABLE {name} ("sid" TEXT NOT NULL PRIMARY KEY, "sess" TEXT NOT NULL, "expire" TEXT NOT NULL);
           CREATE INDEX {index} ON {name} ("expire");"#
    )
}

fn create_columns(table: &str) -> String {
    let name = quoted(table);
    let [by_end, by_user] = ["expires_at", "user_id"].map(|column| Index::on(table, column, column, "").create());
    format!(
        r#"CREATE TABLE {name} ("id" TEXT NOT NULL PRIMARY KEY, "user_id" TEXT, "values" TEXT NOT NULL DEFAULT '{{}}',
             "created_at" TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, "expires_at" TEXT NOT NULL);
           {by_end}; {by_user};"#
    )
}
