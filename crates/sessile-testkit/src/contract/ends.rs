//! Time: a session lives while `now <= expires_at`, on the time that the caller brings.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sessile_core::{Clock as _, Store as _, SystemClock, Written};

use super::{Fixture, at, changed, document, found, key, later, load, record, stored};

/// Stores keep whole seconds, and this session ends on one.
pub async fn a_session_lives_until_its_end_and_not_a_millisecond_longer(fixture: impl Fixture) {
    let store = fixture.open().await;
    stored(&store, "a", "1").await;
    let millisecond = Duration::from_millis(1);
    assert!(store.load(&key("a"), later() - millisecond).await.unwrap().is_some());
    assert!(store.load(&key("a"), later()).await.unwrap().is_some());
    assert!(store.load(&key("a"), later() + millisecond).await.unwrap().is_none());
    assert!(store.load(&key("a"), later() + Duration::from_secs(1)).await.unwrap().is_none());
}

/// A row that lies there expired is as good as absent, and nothing brings it back. At its very end it can be used.
pub async fn an_expired_session_cannot_be_written_touched_or_rotated(fixture: impl Fixture) {
    let store = fixture.open().await;
    let end = at(10_000);
    let mut read = stored(&store, "a", "1").await;
    assert_eq!(store.touch(&key("a"), at(0), end).await.unwrap(), Written::Done);

    read.expires_at = later();
    read.seen_at = end + Duration::from_millis(1);
    assert_eq!(store.touch(&key("a"), read.seen_at, later()).await.unwrap(), Written::Gone);
    assert_eq!(store.update(&key("a"), &changed(&read, "2")).await.unwrap(), Written::Gone);
    assert_eq!(store.rotate(&key("a"), &key("b"), &read).await.unwrap(), Written::Gone);
    assert!(store.load(&key("a"), read.seen_at).await.unwrap().is_none());
    assert!(load(&store, "b").await.is_none());

    read.seen_at = end;
    assert_eq!(store.touch(&key("a"), end, end).await.unwrap(), Written::Done);
    assert_eq!(store.update(&key("a"), &changed(&read, "2")).await.unwrap(), Written::Done);
}

/// A store that keeps whole seconds rounds up: a cookie that still lives has a session that does.
pub async fn an_end_is_never_early_and_at_most_one_second_late(fixture: impl Fixture) {
    let store = fixture.open().await;
    for (name, millis) in [("a", 10_001), ("b", 10_499), ("c", 10_500), ("d", 10_999), ("e", 11_000)] {
        let check = async |end: SystemTime, how| {
            assert!(store.load(&key(name), end).await.unwrap().is_some(), "{millis} ms by {how}: ended early");
            let read = found(&store, name).await.expires_at;
            assert!(read >= end && read <= end + Duration::from_secs(1), "{millis} ms by {how} was read as {read:?}");
            let late = end + Duration::from_millis(1_001);
            assert!(store.load(&key(name), late).await.unwrap().is_none(), "{millis} ms by {how}: ended late");
        };
        assert_eq!(store.insert(&key(name), &record(&document("1"), at(millis))).await.unwrap(), Written::Done);
        check(at(millis), "insert").await;
        assert_eq!(store.touch(&key(name), at(0), at(millis + 5_000)).await.unwrap(), Written::Done);
        check(at(millis + 5_000), "touch").await;
        let mut read = found(&store, name).await;
        read.expires_at = at(millis + 9_000);
        assert_eq!(store.update(&key(name), &read).await.unwrap(), Written::Done);
        check(at(millis + 9_000), "update").await;
    }
}

/// Sessions that never end are given the last days of 9999, and nothing overflows on the way.
pub async fn ends_far_away_are_kept(fixture: impl Fixture) {
    let store = fixture.open().await;
    let end = UNIX_EPOCH + Duration::from_secs(253_402_214_400);
    assert_eq!(store.insert(&key("a"), &record(&document("1"), end)).await.unwrap(), Written::Done);
    assert_eq!(found(&store, "a").await.expires_at, end);
    assert!(store.load(&key("a"), end).await.unwrap().is_some());
    assert!(store.load(&key("a"), end + Duration::from_secs(1)).await.unwrap().is_none());
}

/// A host whose clock starts at 1970 has sessions too. Not for stores whose database expires rows by its own clock.
pub async fn ends_in_1970_are_kept(fixture: impl Fixture) {
    let store = fixture.open().await;
    if store.sweep().is_none() {
        return;
    }
    let end = UNIX_EPOCH + Duration::from_secs(60);
    assert_eq!(store.insert(&key("a"), &record(&document("1"), end)).await.unwrap(), Written::Done);
    assert_eq!(store.load(&key("a"), UNIX_EPOCH).await.unwrap().unwrap().expires_at, end);
    assert!(load(&store, "a").await.is_none());
}

/// `seen_at` is the time of the reading, which the next write is compared with.
pub async fn a_record_tells_when_it_was_read(fixture: impl Fixture) {
    let store = fixture.open().await;
    stored(&store, "a", "1").await;
    assert_eq!(store.load(&key("a"), at(1_234)).await.unwrap().unwrap().seen_at, at(1_234));
}

/// Within two seconds, on the one machine that runs the tests. A store without a clock of its own says so.
pub async fn the_stores_own_clock_agrees_with_this_hosts(fixture: impl Fixture) {
    let store = fixture.open().await;
    let Some(theirs) = store.time().await.unwrap() else { return };
    let ours = SystemClock.now();
    let apart = ours.duration_since(theirs).unwrap_or_else(|later| later.duration());
    assert!(apart < Duration::from_secs(2), "the clocks are {apart:?} apart");
}
