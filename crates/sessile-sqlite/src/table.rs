//! The tables: made when they are missing, adopted when they are there and fit, refused with a reason when they do not. This
//! is what the [session table](crate::layout) shares with those of the [registry](crate::registry_table).

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior};
use sessile_core::{Error, TableKind};

use crate::failure;
use crate::layout::Layout;
use crate::registry_table::{self, Tables};

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

/// Creates the tables and their indexes, or checks those that are there; says where the session table and the registry came
/// from. One transaction, so that many processes may start at once.
pub(crate) fn ensure(
    connection: &mut Connection,
    tables: &mut Tables,
    wanted: Option<TableKind>,
) -> Result<[Origin; 2], Error> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failure::of)?;
    tables.layout = Layout::found(&transaction, &tables.session, wanted)?;
    let session = tables.layout.shape().ensure(&transaction, &tables.session)?;
    let registry = registry_table::ensure(&transaction, tables)?;
    transaction.commit().map_err(failure::of)?;
    Ok([session, registry])
}

/// Parts of the names of types under which SQLite leaves text alone.
pub(crate) const TEXT: &[&str] = &["CHAR", "TEXT"];
/// Those under which it leaves times alone.
pub(crate) const TIME: &[&str] = &["CHAR", "TEXT", "DATE", "TIME"];

/// What a table has to be like.
pub(crate) struct Shape {
    /// What it cannot do when it is not, in words.
    pub(crate) purpose: &'static str,
    /// What gives it another name.
    pub(crate) remedy: &'static str,
    /// Its columns, and the types that they may have.
    pub(crate) columns: &'static [(&'static str, &'static [&'static str])],
    /// Those of them that have to take NULL.
    pub(crate) nullable: &'static [&'static str],
    /// The one that identifies a row.
    pub(crate) key: &'static str,
    /// The statements that create it under this name.
    pub(crate) create: fn(&str) -> String,
}

impl Shape {
    /// Creates the table with its indexes, or checks it.
    pub(crate) fn ensure(&self, transaction: &Transaction<'_>, table: &str) -> Result<Origin, Error> {
        if table.is_empty() || table.contains('\0') {
            return Err(self.refused(table, "expected a name of at least one character and without U+0000"));
        }
        match kind(transaction, table).map_err(failure::of)?.as_deref() {
            None => self.create(transaction, table).map(|()| Origin::Created),
            Some("table") => self.check(transaction, table).map(|()| Origin::Adopted),
            Some(other) => Err(self.refused(table, &format!("expected a table, found a {other}"))),
        }
    }

    fn create(&self, transaction: &Transaction<'_>, table: &str) -> Result<(), Error> {
        transaction.execute_batch(&(self.create)(table)).map_err(|error| match error.sqlite_error_code() {
            // An index of this name, or a name that SQLite keeps for itself.
            Some(rusqlite::ErrorCode::Unknown) => self.refused(table, "it could not be created").with_source(error),
            _ => failure::of(error),
        })
    }

    fn check(&self, connection: &Connection, table: &str) -> Result<(), Error> {
        let wrong = self.wrong(connection, table).map_err(failure::of)?;
        wrong.into_iter().flatten().next().map_or(Ok(()), |why| Err(self.refused(table, &why)))
    }

    /// What is wrong with its columns, and with its key.
    pub(crate) fn wrong(&self, connection: &Connection, table: &str) -> rusqlite::Result<[Option<String>; 2]> {
        let (columns, key) = (columns(connection, table)?, self.key);
        let wrong_column = self.wrong_column(&columns).or_else(|| self.wrong_foreign_column(&columns));
        let is_unique = is_unique(connection, table, key)?;
        let no_key = || format!("expected its column `{key}` to be the primary key or UNIQUE, found that it is not");
        Ok([wrong_column, (!is_unique).then(no_key)])
    }

    /// What is wrong with the columns that are needed.
    fn wrong_column(&self, columns: &[Column]) -> Option<String> {
        self.columns.iter().find_map(|(name, types)| {
            let Some(column) = columns.iter().find(|column| column.is_called(name)) else {
                let found: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
                return Some(format!("expected a column `{name}`, found {}", found.join(", ")));
            };
            if !column.is_one_of(types) {
                let expected = types.iter().find(|part| **part == "TEXT").unwrap_or(&"INTEGER");
                let found = if column.declared.is_empty() { "no type" } else { &column.declared };
                return Some(format!("expected its column `{name}` to be {expected}, found {found}"));
            }
            let takes_null = !column.not_null || !self.nullable.contains(name);
            (!takes_null).then(|| format!("expected its column `{name}` to take NULL, found that it is NOT NULL"))
        })
    }

    /// A column of another program's, without which no row can be written.
    fn wrong_foreign_column(&self, columns: &[Column]) -> Option<String> {
        let ours = |column: &&Column| self.columns.iter().any(|(name, _)| column.is_called(name));
        let column = columns.iter().find(|column| column.not_null && !column.has_default && !ours(column))?;
        Some(format!("its column `{}` is NOT NULL without a default, so no session could be created", column.name))
    }

    /// The error of a table that does not fit, or on which something else is wrong.
    pub(crate) fn refused(&self, table: &str, why: &str) -> Error {
        let (name, Self { purpose, remedy, .. }) = (quoted(table), self);
        Error::config(format!(
            "the SQLite table {name} cannot {purpose}: {why}; rename it, or choose another name with `{remedy}`"
        ))
    }
}

/// What goes by this name: `table`, `view` or `index`. SQLite's names know no case.
pub(crate) fn kind(connection: &Connection, table: &str) -> rusqlite::Result<Option<String>> {
    connection
        .query_row(
            "SELECT type FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE AND type <> 'trigger'",
            [table],
            |row| row.get(0),
        )
        .optional()
}

/// A column of a table that is there.
pub(crate) struct Column {
    name: String,
    declared: String,
    pub(crate) not_null: bool,
    /// A row can be inserted without a value for it.
    has_default: bool,
}

impl Column {
    /// SQLite's names know no case.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// SQLite takes any type with INT in it for a number.
    fn is_one_of(&self, types: &[&str]) -> bool {
        let is_number = self.declared.contains("INT");
        types.iter().any(|part| self.declared.contains(part)) && is_number == types.contains(&"INT")
    }
}

/// Those of the table of this name: none where there is no table.
pub(crate) fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<Column>> {
    let column = |row: &rusqlite::Row<'_>| {
        Ok(Column { name: row.get(0)?, declared: row.get(1)?, not_null: row.get(2)?, has_default: row.get(3)? })
    };
    connection
        .prepare(r#"SELECT name, upper(type), "notnull", dflt_value IS NOT NULL OR pk > 0 FROM pragma_table_info(?1)"#)?
        .query_map([table], column)?
        .collect()
}

fn is_unique(connection: &Connection, table: &str, column: &str) -> rusqlite::Result<bool> {
    connection.query_row(
        r#"SELECT EXISTS (SELECT 1 FROM pragma_index_list(?1) AS list WHERE list."unique" AND NOT list.partial
             AND (SELECT group_concat(name) FROM pragma_index_info(list.name)) = ?2 COLLATE NOCASE)"#,
        [table, column],
        |row| row.get(0),
    )
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
