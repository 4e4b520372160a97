//! What a table has to be like for sessions to lie in it: which of the two kinds it is, told by its columns, and whether
//! they can hold what a session is. A refusal says what would have to be changed.

use sessile_core::{Error, TableKind};

use crate::catalogue::{Column, check_required};
use crate::columns::Columns;

/// The shortest key there is in connect-pg-simple's table: an id as express-session makes them. A table with less room holds
/// no session.
const SHORTEST_SID: i32 = 32;

/// The shortest in the columns table: a UUID.
const SHORTEST_ID: i32 = 36;

/// An id that is no UUID, and the longest key that Sessile makes.
const BASE32_ID: i32 = 52;

const TEXT: [&str; 2] = ["character varying", "text"];
const SID: [&str; 3] = ["character varying", "text", "character"];
const DOCUMENT: [&str; 2] = ["json", "jsonb"];
const TIME: [&str; 2] = ["timestamp without time zone", "timestamp with time zone"];

/// The columns of a table that has these, which `name` quotes.
pub(crate) fn of(name: &str, found: &[Column], wanted: Option<TableKind>) -> Result<Columns, Error> {
    let shape = Shape { name, found };
    let kind = shape.kind(wanted);
    if let Some(wanted) = wanted.filter(|wanted| *wanted != kind) {
        return Err(another_kind(name, wanted));
    }
    match kind {
        TableKind::Express => shape.express(),
        TableKind::Columns => shape.columns(),
    }
}

fn another_kind(name: &str, wanted: TableKind) -> Error {
    let (express, columns) = (
        "connect-pg-simple's columns sid, sess and expire",
        "the columns id, user_id, values, created_at and expires_at",
    );
    let (wanted, found, other) = match wanted {
        TableKind::Express => (express, columns, "columns"),
        TableKind::Columns => (columns, express, "express"),
    };
    Error::config(format!(
        "expected the table {name} to have {wanted}, found {found}; set table.kind = \"{other}\", or choose another table name \
         and move the sessions with sessile export and sessile import"
    ))
}

/// A table's columns.
struct Shape<'a> {
    name: &'a str,
    found: &'a [Column],
}

impl Shape<'_> {
    fn column(&self, wanted: &str) -> Option<&Column> {
        self.found.iter().find(|column| column.name == wanted)
    }

    /// The type of a column; `missing` when there is none.
    fn type_of(&self, wanted: &str) -> &str {
        self.column(wanted).map_or("missing", |column| column.kind.as_str())
    }

    fn has(&self, columns: &[&str]) -> bool {
        columns.iter().all(|column| self.column(column).is_some())
    }

    /// The kind that the columns are of. What is neither is judged as the one that was to be found.
    fn kind(&self, wanted: Option<TableKind>) -> TableKind {
        if self.has(&["sid", "sess", "expire"]) {
            TableKind::Express
        } else if self.has(&["id", "values", "expires_at"]) {
            TableKind::Columns
        } else {
            wanted.unwrap_or(TableKind::Express)
        }
    }

    fn express(&self) -> Result<Columns, Error> {
        let name = self.name;
        let [sid, sess, expire] = ["sid", "sess", "expire"].map(|column| self.type_of(column));
        if !SID.contains(&sid) || !DOCUMENT.contains(&sess) || !TIME.contains(&expire) {
            return Err(Error::config(format!(
                "expected the table {name} to have connect-pg-simple's columns sid (varchar or text), sess (json or jsonb) and \
                 expire (timestamp or timestamptz), found sid {sid}, sess {sess}, expire {expire}; choose another table name, or move that table away"
            )));
        }
        self.check_room("sid", SHORTEST_SID)?;
        self.check_others(&["sid", "sess", "expire"], "sid, sess and expire")?;
        Ok(Columns::express(sess.to_owned(), expire.to_owned()))
    }

    fn columns(&self) -> Result<Columns, Error> {
        let name = self.name;
        let [id, user, values] = ["id", "user_id", "values"].map(|column| self.type_of(column));
        let [created, expires] = ["created_at", "expires_at"].map(|column| self.type_of(column));
        let fits = TEXT.contains(&id) && TEXT.contains(&user) && DOCUMENT.contains(&values);
        if !fits || !TIME.contains(&created) || !TIME.contains(&expires) {
            return Err(Error::config(format!(
                "expected the table {name} to have the columns id and user_id (text or varchar), values (jsonb or json), \
                 created_at and expires_at (timestamptz or timestamp), found id {id}, user_id {user}, values {values}, \
                 created_at {created}, expires_at {expires}; choose another table name, or change the columns' types"
            )));
        }
        self.check_room("id", SHORTEST_ID)?;
        if let Some(room) = self.room("id").filter(|room| *room < BASE32_ID) {
            tracing::warn!(
                "the column id of {name} has room for {room} characters, and for no longer key than a UUID as it is: an id in base32 \
                 has {BASE32_ID}, a SHA-256 has 43; widen it: ALTER TABLE {name} ALTER COLUMN id TYPE text"
            );
        }
        let ours = ["id", "user_id", "values", "created_at", "expires_at"];
        self.check_others(&ours, "id, user_id, values, created_at and expires_at")?;
        let names_nobody = self.column("user_id").is_some_and(|column| column.is_not_null);
        Ok(Columns::of_values(values.to_owned(), created, expires.to_owned(), names_nobody))
    }

    /// How many characters the column has room for; `None` for as many as come.
    fn room(&self, column: &str) -> Option<i32> {
        // A length limit is stored with four bytes added to it; -1 is none.
        self.column(column).map(|column| column.modifier - 4).filter(|room| *room >= 0)
    }

    fn check_room(&self, column: &str, shortest: i32) -> Result<(), Error> {
        let name = self.name;
        if self.room(column).is_none_or(|room| room >= shortest) {
            return Ok(());
        }
        Err(Error::config(format!(
            "expected the column {column} of {name} to have room for {shortest} characters, found a shorter one; \
             widen it: ALTER TABLE {name} ALTER COLUMN {column} TYPE varchar"
        )))
    }

    /// Without a value in one of the other columns no row could be stored.
    fn check_others(&self, ours: &[&str], listed: &str) -> Result<(), Error> {
        let is_foreign = |column: &&Column| column.is_required && !ours.contains(&&*column.name);
        check_required(self.name, self.found.iter().find(is_foreign), listed)
    }
}
