//! The two kinds of tables that sessions lie in, and all that is different about them in SQL: what their columns are
//! called, and that one of them has the user and the beginning of a session in columns beside the document. The
//! statements are the same for both and know no kind.

use std::borrow::Cow;

use sessile_core::{Record, TableKind};

use crate::transaction::Values;

/// What a session's user and its beginning are called in the answers of statements, where they are columns.
pub(crate) const OWNER: &str = "row_owner";
pub(crate) const BEGAN: &str = "row_began";

/// The columns of a table of sessions that is there.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    pub(crate) kind: TableKind,
    /// The names, as they stand in SQL.
    pub(crate) key: &'static str,
    pub(crate) document: &'static str,
    pub(crate) end: &'static str,
    pub(crate) document_type: String,
    pub(crate) end_type: String,
    /// The times of the columns table that mean nothing without a zone.
    pub(crate) zoneless: Vec<&'static str>,
    /// The column of the user takes no NULL, so nobody is an empty name there.
    pub(crate) names_nobody: bool,
}

impl Columns {
    /// Those of connect-pg-simple.
    pub(crate) fn express(document_type: String, end_type: String) -> Self {
        let (key, document, end) = ("sid", "sess", "expire");
        let (zoneless, names_nobody) = (Vec::new(), false);
        Self { kind: TableKind::Express, key, document, end, document_type, end_type, zoneless, names_nobody }
    }

    /// Those of the columns table. `values` is a keyword.
    pub(crate) fn of_values(document_type: String, created_type: &str, end_type: String, names_nobody: bool) -> Self {
        let (key, document, end) = ("id", "\"values\"", "expires_at");
        let times = [("created_at", created_type), (end, end_type.as_str())];
        let zoneless =
            times.into_iter().filter(|time| time.1 == "timestamp without time zone").map(|time| time.0).collect();
        Self { kind: TableKind::Columns, key, document, end, document_type, end_type, zoneless, names_nobody }
    }

    fn is_columns(&self) -> bool {
        self.kind == TableKind::Columns
    }

    /// The names as people know them, without quotes.
    pub(crate) fn shown(&self) -> [&'static str; 3] {
        [self.key, self.document.trim_matches('"'), self.end]
    }

    /// The columns that an index should begin with.
    pub(crate) fn indexed(&self) -> &'static [&'static str] {
        indexed(self.kind)
    }

    /// What the start-up log says of the table's kind.
    pub(crate) fn described(&self, zone: &str) -> String {
        let kind = if self.is_columns() { "columns, " } else { "" };
        let end = match self.end_type.as_str() {
            "timestamp with time zone" => "timestamptz".to_owned(),
            _ if ["UTC", "Etc/UTC", "GMT"].contains(&zone) => "timestamp".to_owned(),
            _ => format!("timestamp in {zone}"),
        };
        format!("{kind}{}, {end}", self.document_type)
    }
}

/// The columns that an index of a table of this kind should begin with.
pub(crate) fn indexed(kind: TableKind) -> &'static [&'static str] {
    match kind {
        TableKind::Express => &["expire"],
        TableKind::Columns => &["expires_at", "user_id"],
    }
}

/// What the doctor and changes of the definition say.
impl Columns {
    /// The SQL that gives the columns table times which mean the same everywhere, read in this zone.
    pub(crate) fn conversion(&self, table: &str, zone: &str) -> String {
        let time = |column| format!("ALTER COLUMN {column} TYPE timestamptz USING {column} AT TIME ZONE {zone}");
        let changes: Vec<_> = self.zoneless.iter().map(time).collect();
        format!("ALTER TABLE {table} {};", changes.join(", "))
    }

    /// The row `s`, which has [`owned`](Columns::owned), is somebody's.
    pub(crate) fn has_owner(&self) -> &'static str {
        match self.kind {
            TableKind::Express => "coalesce((s.sess -> 'sessile' -> 'owner')::text, 'null') <> 'null'",
            TableKind::Columns => "nullif(s.user_id, '') IS NOT NULL",
        }
    }

    /// How the other program writes, behind the word for it.
    pub(crate) fn writer(&self) -> &'static str {
        if self.is_columns() { ", and may save with an upsert" } else { ", as Express does" }
    }

    /// The columns whose change another program makes a session of what is over with.
    pub(crate) fn watched(&self) -> &'static str {
        if self.is_columns() { "id, user_id, \"values\"" } else { "sid, sess" }
    }

    /// The column that says whose session it is.
    pub(crate) fn owned(&self) -> &'static str {
        if self.is_columns() { "user_id" } else { "sess" }
    }
}

/// What is read.
impl Columns {
    /// A column under the name that it has in connect-pg-simple's table.
    fn named(&self, column: &str, name: &str) -> String {
        if column == name { name.to_owned() } else { format!("{column} AS {name}") }
    }

    /// The key, as `sid`.
    pub(crate) fn sid(&self) -> String {
        self.named(self.key, "sid")
    }

    /// The key as text, as `sid`.
    pub(crate) fn sid_text(&self) -> String {
        let text = format!("{}::text", self.key);
        if self.key == "sid" { text } else { format!("{text} AS sid") }
    }

    /// The document, as `sess`.
    pub(crate) fn sess(&self) -> String {
        self.named(self.document, "sess")
    }

    /// The end, as `expire`.
    pub(crate) fn expire(&self) -> String {
        self.named(self.end, "expire")
    }

    /// What else a row is read with, of the table with this alias.
    pub(crate) fn read_beside(&self, alias: &str) -> String {
        if !self.is_columns() {
            return String::new();
        }
        format!(", {alias}.user_id AS {OWNER}, date_part('epoch', {alias}.created_at::timestamptz) AS {BEGAN}")
    }

    /// The other columns as they are, for a part of a statement.
    pub(crate) fn beside(&self) -> &'static str {
        if self.is_columns() { ", user_id, created_at" } else { "" }
    }

    /// Whether PostgreSQL may be unable to look for the user in a document: of JSON's escapes, it has none for U+0000 and
    /// for half a pair of surrogates.
    pub(crate) fn is_unclear(&self) -> &'static str {
        if self.is_columns() { "false" } else { "strpos(sess::text, chr(92) || 'u') > 0" }
    }

    /// Whose session it is, of a row that is not unclear; `path` is where that is in connect-pg-simple's document.
    pub(crate) fn owner(&self, path: &str) -> String {
        match self.kind {
            TableKind::Express => format!("CASE WHEN NOT is_unclear THEN sess #>> {path} END"),
            TableKind::Columns => "nullif(user_id, '')".to_owned(),
        }
    }
}

/// What is written.
impl Columns {
    /// The document as it is written.
    pub(crate) fn text(&self, record: &Record) -> String {
        if self.is_columns() { record.values() } else { record.document() }
    }

    /// The document as it was read.
    pub(crate) fn revision<'a>(&self, record: &'a Record) -> Option<Cow<'a, str>> {
        let revision = record.revision.as_ref()?;
        Some(if self.is_columns() { revision.values() } else { revision.as_str().into() })
    }

    /// What a new row is given beside key, document and end; as [`beside`](Columns::beside) names it.
    pub(crate) fn given(&self, owner: &str, began: &str) -> String {
        if self.is_columns() { format!(", {}, {began}", self.user(owner)) } else { String::new() }
    }

    /// What a write sets of the user.
    pub(crate) fn set_owner(&self, owner: &str) -> String {
        if self.is_columns() { format!(", user_id = {}", self.user(owner)) } else { String::new() }
    }

    /// What a write sets of the user and of the beginning, which is another one for another user.
    pub(crate) fn set_beside(&self, owner: &str, began: &str) -> String {
        if self.is_columns() { format!("{}, created_at = {began}", self.set_owner(owner)) } else { String::new() }
    }

    fn user(&self, owner: &str) -> String {
        if self.names_nobody { format!("coalesce({owner}, '')") } else { owner.to_owned() }
    }

    /// The row is as it was read, as these parameters say: document and user. What was written into `jsonb` comes back in
    /// another spelling, so there the values are compared: the writer knows its own document as it wrote it.
    pub(crate) fn is_as_read(&self, revision: &str, owner: &str) -> String {
        let column = self.document;
        let document = match self.document_type.as_str() {
            "jsonb" => format!("{column} = {revision}::text::jsonb"),
            _ => format!("{column}::text = {revision}"),
        };
        match self.kind {
            TableKind::Express => document,
            TableKind::Columns => format!("{document} AND nullif(user_id, '') IS NOT DISTINCT FROM {owner}"),
        }
    }

    /// The parameters of a statement, of which the last ones are about columns that connect-pg-simple's table does not have.
    pub(crate) fn fit<'a>(&self, values: Values<'a>, of_express: usize) -> Values<'a> {
        if self.is_columns() { values } else { &values[..of_express] }
    }
}
