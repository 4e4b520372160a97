//! A row of the columns table: the application's values alone lie in its document, and the user and the times in columns
//! beside it. Express's cookie object has no place there. [`Record`] is the same whatever table it comes from.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use crate::record::{COOKIE, Meta, Revision, SESSILE, StoredCookie};
use crate::transfer::Piece;
use crate::{Data, Error, Record, StoreKey, UserId};

/// Which table a relational store keeps sessions in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableKind {
    /// connect-pg-simple's: `sid`, `sess` (the document) and `expire`.
    Express,
    /// `id`, `user_id`, `values`, `created_at` and `expires_at`, as services in Go keep them.
    Columns,
}

/// A row of the columns table as it was read, for implementers of [`Store`](crate::Store).
#[derive(Clone, Debug)]
pub struct ValuesRow {
    /// The JSON object with the application's values.
    pub values: Arc<str>,
    /// Whose session it is, as the column says: that counts, whatever else is known.
    pub owner: Option<UserId>,
    /// When the session began, as the column says.
    pub created_at: SystemTime,
    /// When it ends.
    pub expires_at: SystemTime,
}

impl Record {
    /// A row of the columns table as it was read at `now`.
    ///
    /// # Errors
    /// When the values are not a JSON object, or have a key `cookie`, which is Express's in every other store; when the
    /// owner's name is too long for one. The row should be left as it is.
    pub fn from_values(key: &StoreKey, row: ValuesRow, now: SystemTime) -> Result<Self, Error> {
        if row.owner.as_ref().is_some_and(|owner| !UserId::is_name(owner.as_str())) {
            return Err(Error::poisoned("expected the row's user to have a name of 1 to 255 bytes, found another"));
        }
        let data = Data::parse(row.values.clone())?;
        if data.get(COOKIE).is_some() {
            return Err(Error::poisoned(
                "expected the row's values to leave the key `cookie` to Express's cookie object, found one; rename it",
            ));
        }
        let meta = data.get(SESSILE).map(Meta::parse).transpose()?.unwrap_or_default();
        let mut record = Self::of_parts(key, data, meta, StoredCookie::default(), row.expires_at, now);
        if !record.is_ours() {
            record.created_at = row.created_at.min(now);
        }
        record.revision = Some(Revision::of(row.values, row.owner.clone()));
        record.owned_by(row.owner);
        record.owner_is_told = true;
        Ok(record)
    }

    /// The document without Express's cookie object, as the columns table has it.
    pub fn values(&self) -> String {
        self.data.to_json_without(COOKIE)
    }
}

impl Revision {
    /// The text of the row as it was read or written, without Express's cookie object.
    pub fn values(&self) -> Cow<'_, str> {
        // What was written has it first, and what was read from a columns table has none.
        match self.as_str().starts_with(r#"{"cookie":"#).then(|| Data::parse(self.as_str().into())) {
            Some(Ok(data)) => data.to_json_without(COOKIE).into(),
            _ => self.as_str().into(),
        }
    }
}

impl Piece {
    /// A row of the columns table, as it moves to another store.
    ///
    /// # Errors
    /// As for [`Record::from_values`].
    pub fn from_values(key: StoreKey, row: ValuesRow, now: SystemTime) -> Result<Self, Error> {
        let expires_at = row.expires_at;
        let mut record = Record::from_values(&key, row, now)?;
        let is_shared = record.meta.key.is_some();
        record.seal(is_shared.then_some(&key))?;
        Ok(Self::Session { key, document: record.document().into(), expires_at })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn row(values: &str, owner: Option<&str>) -> ValuesRow {
        ValuesRow { values: values.into(), owner: owner.map(UserId::from), created_at: at(10), expires_at: at(1_000) }
    }

    fn read(values: &str, owner: Option<&str>) -> Record {
        Record::from_values(&StoreKey::stored("key"), row(values, owner), at(100)).unwrap()
    }

    #[test]
    fn a_row_of_another_program_is_a_session_of_the_user_in_its_column() {
        let record = read(r#"{"cart":[1]}"#, Some("bob"));
        assert_eq!((record.owner, record.created_at, record.expires_at), (Some("bob".into()), at(10), at(1_000)));
        assert_eq!(record.data.get("cart"), Some("[1]"));
        assert_eq!(read("{}", None).owner, None);
    }

    #[test]
    fn what_is_written_has_no_cookie_and_reads_back_as_it_was() {
        let mut record = read(r#"{"cart":[1]}"#, Some("bob"));
        record.seal(None).unwrap();
        let values = record.values();
        assert!(!values.contains("\"cookie\"") && values.contains("\"cart\":[1]"), "{values}");
        let handle = record.handle.clone();
        let again = read(&values, Some("bob"));
        assert_eq!((again.handle, again.created_at), (handle, at(10)));
        let revision = record.written().revision.unwrap();
        assert_eq!(revision.values(), values, "what was written is compared as it lies in the column");
        assert_eq!(revision.owner(), Some(&UserId::from("bob")));
    }

    #[test]
    fn the_column_counts_whoever_signed_in_before() {
        let mut record = read("{}", Some("bob"));
        record.meta.authenticate(at(50));
        record.seal(None).unwrap();
        assert_eq!(read(&record.values(), Some("bob")).authenticated_at(), Some(at(50)));
        let taken_over = read(&record.values(), Some("eve"));
        assert_eq!((taken_over.owner, taken_over.meta.authenticated_at), (Some("eve".into()), None));
        assert_eq!(read(&record.values(), None).owner, None);
    }

    #[test]
    fn a_key_called_cookie_leaves_the_row_as_it_is() {
        let error = Record::from_values(&StoreKey::stored("key"), row(r#"{"cookie":"oat"}"#, None), at(0)).unwrap_err();
        assert!(error.is_poisoned() && !error.to_string().contains("oat"), "{error}");
    }

    #[test]
    fn it_moves_to_another_store_as_a_whole_document() {
        let piece = Piece::from_values(StoreKey::stored("key"), row(r#"{"cart":[1]}"#, Some("bob")), at(100)).unwrap();
        piece.check().unwrap();
        let Piece::Session { key, document, expires_at } = piece else { panic!("not a session") };
        let record = Record::stored(&key, document, expires_at, at(100)).unwrap();
        assert_eq!((record.owner, record.created_at), (Some("bob".into()), at(10)));
    }
}
