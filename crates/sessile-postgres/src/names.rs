//! Names of schemas, tables and indexes: checked, derived from one another, and quoted. Nothing else in SQL comes from
//! outside: values are always parameters, but for the one in the guard's definition, which can have none.

use sessile_core::Error;

/// Longest identifier PostgreSQL keeps, in bytes.
const MAX_IDENTIFIER: usize = 63;

/// Quotes an identifier. The only way names come into SQL.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a string, whatever `standard_conforming_strings` says.
pub(crate) fn literal(text: &str) -> String {
    let text = text.replace('\'', "''");
    if text.contains('\\') { format!(" E'{}'", text.replace('\\', "\\\\")) } else { format!("'{text}'") }
}

pub(crate) fn qualified(schema: Option<&str>, table: &str) -> String {
    schema.map_or_else(|| quote(table), |schema| format!("{}.{}", quote(schema), quote(table)))
}

/// A name made from the table's, as PostgreSQL itself shortens one that becomes too long.
pub(crate) fn derived(prefix: &str, table: &str, suffix: &str) -> String {
    let room = MAX_IDENTIFIER - prefix.len() - suffix.len();
    format!("{prefix}{}{suffix}", &table[..table.floor_char_boundary(room)])
}

pub(crate) fn check_identifier(name: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > MAX_IDENTIFIER || name.contains('\0') {
        return Err(Error::config(format!(
            "expected a table or schema name of 1 to {MAX_IDENTIFIER} bytes, found {name:?} ({} bytes)",
            name.len()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_derived_names_fit() {
        assert_eq!(qualified(None, r#"s"; drop table x;--"#), r#""s""; drop table x;--""#);
        assert_eq!(derived("IDX_", "session", "_expire"), "IDX_session_expire");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"\'; drop"), r" E'\\''; drop'");
        let long = "é".repeat(31);
        assert!(derived("IDX_", &long, "_expire").len() <= MAX_IDENTIFIER);
        assert!(check_identifier(&"a".repeat(64)).is_err());
        assert!(check_identifier("").is_err());
    }
}
