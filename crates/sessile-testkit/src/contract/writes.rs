//! What each call does, one at a time: nothing but `insert` creates, nothing but a fresh reading replaces.

use sessile_core::{Fate, Record, Store as _, ValuesRow, Written};

use super::{Fixture, at, changed, document, found, key, later, load, record, signed_out, stored, value};

/// `load` of a key that was never written.
pub async fn an_unknown_session_is_absent(fixture: impl Fixture) {
    let store = fixture.open().await;
    assert!(load(&store, "unknown").await.is_none());
}

/// The document, the end and a revision come back; the handle is the same at every reading.
pub async fn insert_creates_and_load_reads_it_back(fixture: impl Fixture) {
    let store = fixture.open().await;
    assert_eq!(store.insert(&key("a"), &record(&document("1"), later())).await.unwrap(), Written::Done);
    let read = found(&store, "a").await;
    assert_eq!(read.data.get("v"), Some("1"));
    assert_eq!(read.data.get("cookie").is_some(), fixture.keeps_cookies());
    assert_eq!(read.expires_at, later());
    assert!(read.revision.is_some());
    assert_eq!(read.handle, found(&store, "a").await.handle);
}

/// A second `insert` is stale and the first session stays as it is.
pub async fn insert_never_overwrites(fixture: impl Fixture) {
    let store = fixture.open().await;
    let first = stored(&store, "a", "1").await;
    assert_eq!(store.insert(&key("a"), &record(&document("2"), at(1_000))).await.unwrap(), Written::Stale);
    let read = found(&store, "a").await;
    assert_eq!((read.data, read.expires_at), (first.data, first.expires_at));
}

/// `update` writes the whole record, its end included.
pub async fn update_replaces_the_document_and_the_end(fixture: impl Fixture) {
    let store = fixture.open().await;
    let mut record = changed(&stored(&store, "a", "1").await, "2");
    record.data.insert("more", "true");
    record.expires_at = at(60_000);
    assert_eq!(store.update(&key("a"), &record).await.unwrap(), Written::Done);
    let read = found(&store, "a").await;
    assert_eq!((read.data.get("v"), read.data.get("more")), (Some("2"), Some("true")));
    assert_eq!(read.expires_at, at(60_000));
    assert_ne!(read.revision, record.revision, "a changed document has another revision");
}

/// `update` of a key that was never written.
pub async fn update_never_creates(fixture: impl Fixture) {
    let store = fixture.open().await;
    let record = stored(&store, "a", "1").await;
    assert_eq!(store.update(&key("unknown"), &record).await.unwrap(), Written::Gone);
    assert!(load(&store, "unknown").await.is_none());
}

/// Of two requests that read the same, the second to write is told.
pub async fn a_stale_update_writes_nothing(fixture: impl Fixture) {
    let store = fixture.open().await;
    let read = stored(&store, "a", "1").await;
    assert_eq!(store.update(&key("a"), &changed(&read, "2")).await.unwrap(), Written::Done);
    let mut late = changed(&read, "3");
    late.expires_at = at(1_000);
    assert_eq!(store.update(&key("a"), &late).await.unwrap(), Written::Stale);
    let read = found(&store, "a").await;
    assert_eq!((read.data.get("v"), read.expires_at), (Some("2"), later()));
}

/// Without a revision there is nothing to compare, so nothing is overwritten or moved.
pub async fn a_record_that_was_never_read_replaces_nothing(fixture: impl Fixture) {
    let store = fixture.open().await;
    stored(&store, "a", "1").await;
    let unread = record(&document("2"), later());
    assert_eq!(store.update(&key("a"), &unread).await.unwrap(), Written::Stale);
    assert_eq!(store.rotate(&key("a"), &key("b"), &unread).await.unwrap(), Written::Stale);
    assert_eq!(value(&store, "a").await.as_deref(), Some("1"));
    assert!(load(&store, "b").await.is_none());
}

/// A touch between reading and writing does not make the write stale.
pub async fn touch_moves_the_end_and_leaves_the_document_alone(fixture: impl Fixture) {
    let store = fixture.open().await;
    let before = stored(&store, "a", "1").await;
    assert_eq!(store.touch(&key("a"), at(0), at(7_200_000)).await.unwrap(), Written::Done);
    let after = found(&store, "a").await;
    assert_eq!(after.expires_at, at(7_200_000));
    assert_eq!((&after.data, &after.revision), (&before.data, &before.revision));
    assert_eq!(store.update(&key("a"), &changed(&before, "2")).await.unwrap(), Written::Done);
}

/// An end can be moved nearer: a session that was to be remembered is not any more.
pub async fn touch_can_shorten(fixture: impl Fixture) {
    let store = fixture.open().await;
    stored(&store, "a", "1").await;
    assert_eq!(store.touch(&key("a"), at(0), at(5_000)).await.unwrap(), Written::Done);
    assert!(store.load(&key("a"), at(5_000)).await.unwrap().is_some());
    assert!(store.load(&key("a"), at(6_001)).await.unwrap().is_none());
}

/// Who has written a document need not read it again before the next write: it is the revision, however it is spelled.
pub async fn a_writer_knows_its_own_document_as_the_next_revision(fixture: impl Fixture) {
    let store = fixture.open().await;
    let mut record = stored(&store, "a", "1").await;
    for v in [r#"{"b":1,"a":[1.50,1E2],"long key":null}"#, r#""\u00e4/\/""#, "2"] {
        record.data.insert("v", v);
        assert_eq!(store.update(&key("a"), &record).await.unwrap(), Written::Done, "{v}");
        record = as_written("a", record);
    }
    assert_eq!(store.rotate(&key("a"), &key("b"), &record).await.unwrap(), Written::Done);
    assert_eq!(value(&store, "b").await.as_deref(), Some("2"));
}

/// The record as whoever just wrote it knows it. A store without a place for the cookie object gave none.
fn as_written(name: &str, record: Record) -> Record {
    let Record { expires_at, seen_at, created_at, .. } = record;
    let written = match record.data.get("cookie") {
        Some(_) => Record::stored(&key(name), record.document(), expires_at, seen_at),
        None => {
            let row = ValuesRow { values: record.values().into(), owner: record.owner, created_at, expires_at };
            Record::from_values(&key(name), row, seen_at)
        }
    };
    written.unwrap()
}

/// `touch` of a key that was never written.
pub async fn touch_never_creates(fixture: impl Fixture) {
    let store = fixture.open().await;
    assert_eq!(store.touch(&key("unknown"), at(0), later()).await.unwrap(), Written::Gone);
    assert!(load(&store, "unknown").await.is_none());
}

/// The old key is absent, the new one has the record as given, its end and its changes included.
pub async fn rotate_moves_the_session_to_its_new_key(fixture: impl Fixture) {
    let store = fixture.open().await;
    let mut record = changed(&stored(&store, "old", "1").await, "2");
    record.expires_at = at(60_000);
    assert_eq!(store.rotate(&key("old"), &key("new"), &record).await.unwrap(), Written::Done);
    assert!(load(&store, "old").await.is_none());
    let read = found(&store, "new").await;
    assert_eq!((read.data.get("v"), read.expires_at), (Some("2"), at(60_000)));
}

/// `rotate` of a key that was never written.
pub async fn rotate_never_creates(fixture: impl Fixture) {
    let store = fixture.open().await;
    let record = stored(&store, "a", "1").await;
    assert_eq!(store.rotate(&key("unknown"), &key("new"), &record).await.unwrap(), Written::Gone);
    assert!(load(&store, "unknown").await.is_none());
    assert!(load(&store, "new").await.is_none());
}

/// A rotation that did not see the last write leaves it where it is.
pub async fn a_stale_rotate_moves_nothing(fixture: impl Fixture) {
    let store = fixture.open().await;
    let read = stored(&store, "old", "1").await;
    assert_eq!(store.update(&key("old"), &changed(&read, "2")).await.unwrap(), Written::Done);
    assert_eq!(store.rotate(&key("old"), &key("new"), &changed(&read, "3")).await.unwrap(), Written::Stale);
    assert_eq!(value(&store, "old").await.as_deref(), Some("2"));
    assert!(load(&store, "new").await.is_none());
}

/// Two sessions never become one.
pub async fn rotate_onto_a_taken_key_loses_neither_session(fixture: impl Fixture) {
    let store = fixture.open().await;
    let read = stored(&store, "old", "1").await;
    stored(&store, "taken", "2").await;
    assert_eq!(store.rotate(&key("old"), &key("taken"), &changed(&read, "3")).await.unwrap(), Written::Stale);
    assert_eq!(value(&store, "old").await.as_deref(), Some("1"));
    assert_eq!(value(&store, "taken").await.as_deref(), Some("2"));
}

/// Whoever still holds the old record finds it gone, whatever they do.
pub async fn a_key_that_was_rotated_away_stays_gone(fixture: impl Fixture) {
    let store = fixture.open().await;
    let read = stored(&store, "old", "1").await;
    assert_eq!(store.rotate(&key("old"), &key("new"), &read).await.unwrap(), Written::Done);
    assert_eq!(store.update(&key("old"), &changed(&read, "2")).await.unwrap(), Written::Gone);
    assert_eq!(store.touch(&key("old"), at(0), later()).await.unwrap(), Written::Gone);
    assert_eq!(store.rotate(&key("old"), &key("third"), &read).await.unwrap(), Written::Gone);
    assert!(!store.remove(&key("old"), &signed_out()).await.unwrap());
    assert!(load(&store, "old").await.is_none());
    assert!(load(&store, "third").await.is_none());
    assert_eq!(value(&store, "new").await.as_deref(), Some("1"));
}

/// The moved session is a session like any other.
pub async fn a_rotated_session_rotates_again(fixture: impl Fixture) {
    let store = fixture.open().await;
    let mut read = stored(&store, "0", "1").await;
    for (from, to) in [("0", "1"), ("1", "2"), ("2", "3")] {
        assert_eq!(store.rotate(&key(from), &key(to), &read).await.unwrap(), Written::Done);
        assert!(load(&store, from).await.is_none());
        read = found(&store, to).await;
    }
    assert_eq!(store.update(&key("3"), &changed(&read, "2")).await.unwrap(), Written::Done);
    assert!(store.remove(&key("3"), &signed_out()).await.unwrap());
}

/// `remove` says whether there was a session.
pub async fn remove_says_true_then_false(fixture: impl Fixture) {
    let store = fixture.open().await;
    stored(&store, "a", "1").await;
    assert!(store.remove(&key("a"), &signed_out()).await.unwrap());
    assert!(!store.remove(&key("a"), &signed_out()).await.unwrap());
    assert!(!store.remove(&key("unknown"), &signed_out()).await.unwrap());
    assert!(load(&store, "a").await.is_none());
}

/// The late writes of requests that read the session before it was removed.
pub async fn a_removed_session_stays_gone_whatever_is_in_flight(fixture: impl Fixture) {
    let store = fixture.open().await;
    let read = stored(&store, "a", "1").await;
    assert!(store.remove(&key("a"), &signed_out()).await.unwrap());
    assert_eq!(store.update(&key("a"), &changed(&read, "2")).await.unwrap(), Written::Gone);
    assert_eq!(store.touch(&key("a"), at(0), later()).await.unwrap(), Written::Gone);
    assert_eq!(store.rotate(&key("a"), &key("b"), &read).await.unwrap(), Written::Gone);
    assert!(load(&store, "a").await.is_none());
    assert!(load(&store, "b").await.is_none());
}

/// Each call concerns the sessions that it names.
pub async fn writes_leave_other_sessions_alone(fixture: impl Fixture) {
    let store = fixture.open().await;
    // The same document, so that only the key tells them apart.
    let other = stored(&store, "other", "1").await;
    let read = stored(&store, "a", "1").await;
    assert_eq!(store.update(&key("a"), &changed(&read, "2")).await.unwrap(), Written::Done);
    assert_eq!(store.touch(&key("a"), at(0), at(5_000)).await.unwrap(), Written::Done);
    let read = found(&store, "a").await;
    assert_eq!(store.rotate(&key("a"), &key("b"), &read).await.unwrap(), Written::Done);
    assert!(store.remove(&key("b"), &signed_out()).await.unwrap());
    let still = found(&store, "other").await;
    assert_eq!((still.data, still.expires_at, still.revision), (other.data, other.expires_at, other.revision));
}

/// A sign-out that was overtaken by a rotation ends the session all the same; an old key is worth nothing later.
pub async fn a_session_that_moved_is_known_by_the_key_it_had(fixture: impl Fixture) {
    let (store, other) = (fixture.open().await, fixture.open().await);
    let read = stored(&store, "first", "1").await;
    assert!(store.fate(&key("first")).await.unwrap().is_none(), "it has not moved");
    assert_eq!(store.rotate(&key("first"), &key("second"), &read).await.unwrap(), Written::Done);
    let read = found(&store, "second").await;
    assert_eq!(store.rotate(&key("second"), &key("third"), &read).await.unwrap(), Written::Done);
    for (from, expected) in [("first", "second"), ("second", "third")] {
        match other.fate(&key(from)).await.unwrap() {
            Some(Fate::Moved { to, at: when }) => assert_eq!((to, when), (key(expected), at(0))),
            found => panic!("expected {from} to have moved, found {found:?}"),
        }
    }
    assert!(store.fate(&key("third")).await.unwrap().is_none());
    assert!(store.fate(&key("unknown")).await.unwrap().is_none());
}
