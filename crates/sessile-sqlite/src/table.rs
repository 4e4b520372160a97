//! The table: made when it is missing, adopted when it is there and fits, refused with a reason when it does not.

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior};
use sessile_core::Error;

use crate::failure;

/// Where the table came from, for the description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Created,
    Adopted,
}

/// A name as SQL writes it. The one place where a name becomes part of a statement.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Creates the table and its index, or checks the one that is there. One transaction, so that many processes may start
/// at once.
pub(crate) fn ensure(connection: &mut Connection, table: &str) -> Result<Origin, Error> {
    if table.is_empty() || table.contains('\0') {
        return Err(refused(table, "expected a name of at least one character and without U+0000"));
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failure::of)?;
    let origin = match kind(&transaction, table).map_err(failure::of)?.as_deref() {
        None => {
            create(&transaction, table)?;
            Origin::Created
        }
        Some("table") => {
            check(&transaction, table)?;
            Origin::Adopted
        }
        Some(other) => return Err(refused(table, &format!("expected a table, found a {other}"))),
    };
    transaction.commit().map_err(failure::of)?;
    Ok(origin)
}

/// What goes by this name: `table`, `view` or `index`. SQLite's names know no case.
fn kind(transaction: &Transaction<'_>, table: &str) -> rusqlite::Result<Option<String>> {
    transaction
        .query_row(
            "SELECT type FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE AND type <> 'trigger'",
            [table],
            |row| row.get(0),
        )
        .optional()
}

fn create(transaction: &Transaction<'_>, table: &str) -> Result<(), Error> {
    let (name, index) = (quoted(table), quoted(&format!("IDX_{table}_expire")));
    transaction
        .execute_batch(&format!(
            r#"CREATE TABLE {name} ("sid" TEXT NOT NULL PRIMARY KEY, "sess" TEXT NOT NULL, "expire" TEXT NOT NULL);
               CREATE INDEX {index} ON {name} ("expire");"#
        ))
        .map_err(|error| match error.sqlite_error_code() {
            // An index of this name, or a name that SQLite keeps for itself.
            Some(rusqlite::ErrorCode::Unknown) => refused(table, "it could not be created").with_source(error),
            _ => failure::of(error),
        })
}

struct Column {
    name: String,
    declared: String,
    /// A row cannot be inserted without a value for it.
    required: bool,
}

fn check(transaction: &Transaction<'_>, table: &str) -> Result<(), Error> {
    let columns = columns(transaction, table).map_err(failure::of)?;
    // Text that looks like a number would become one under another type than these, and ids may look like numbers.
    for (name, types) in [
        ("sid", &["CHAR", "TEXT"][..]),
        ("sess", &["CHAR", "TEXT", "JSON"]),
        ("expire", &["CHAR", "TEXT", "DATE", "TIME"]),
    ] {
        let Some(column) = columns.iter().find(|column| column.name.eq_ignore_ascii_case(name)) else {
            let found: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
            return Err(refused(table, &format!("expected a column `{name}`, found {}", found.join(", "))));
        };
        if !types.iter().any(|part| column.declared.contains(part)) || column.declared.contains("INT") {
            let found = if column.declared.is_empty() { "no type" } else { &column.declared };
            return Err(refused(table, &format!("expected its column `{name}` to be TEXT, found {found}")));
        }
    }
    let ours = |column: &Column| ["sid", "sess", "expire"].iter().any(|name| column.name.eq_ignore_ascii_case(name));
    if let Some(column) = columns.iter().find(|column| column.required && !ours(column)) {
        let what =
            format!("its column `{}` is NOT NULL without a default, so no session could be created", column.name);
        return Err(refused(table, &what));
    }
    if !sid_is_unique(transaction, table).map_err(failure::of)? {
        return Err(refused(table, "expected its column `sid` to be the primary key or UNIQUE, found that it is not"));
    }
    Ok(())
}

fn columns(transaction: &Transaction<'_>, table: &str) -> rusqlite::Result<Vec<Column>> {
    transaction
        .prepare(r#"SELECT name, upper(type), "notnull" AND dflt_value IS NULL AND pk = 0 FROM pragma_table_info(?1)"#)?
        .query_map([table], |row| Ok(Column { name: row.get(0)?, declared: row.get(1)?, required: row.get(2)? }))?
        .collect()
}

fn sid_is_unique(transaction: &Transaction<'_>, table: &str) -> rusqlite::Result<bool> {
    transaction.query_row(
        r#"SELECT EXISTS (SELECT 1 FROM pragma_index_list(?1) AS list WHERE list."unique" AND NOT list.partial
             AND (SELECT group_concat(name) FROM pragma_index_info(list.name)) = 'sid' COLLATE NOCASE)"#,
        [table],
        |row| row.get(0),
    )
}

pub(crate) fn refused(table: &str, why: &str) -> Error {
    Error::config(format!(
        "the SQLite table {} cannot hold sessions: {why}; rename it, or choose another name with `SqliteBuilder::table`",
        quoted(table)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_whatever_is_in_it() {
        assert_eq!(quoted("session"), r#""session""#);
        assert_eq!(quoted(r#"a"; DROP TABLE b; --"#), r#""a""; DROP TABLE b; --""#);
    }
}
