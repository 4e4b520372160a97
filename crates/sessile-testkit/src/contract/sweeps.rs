//! Sweeping. A store that expires by itself answers `None` to [`Store::sweep`] and is not asked.

use std::time::Duration;

use sessile_core::{Store, Written};

use super::{Fixture, at, document, found, key, later, load, record, signed_out, stored};

/// Sessions `0`, `1`, … that end ten seconds from now.
async fn short_lived(store: &impl Store, count: usize) {
    for name in 0..count {
        let record = record(&document("1"), at(10_000));
        assert_eq!(store.insert(&key(&name.to_string()), &record).await.unwrap(), Written::Done);
    }
}

/// Each removed session is counted, once.
pub async fn sweep_removes_what_has_expired_and_counts_it(fixture: impl Fixture) {
    let store = fixture.open().await;
    let Some(sweep) = store.sweep() else { return };
    short_lived(&store, 5).await;
    stored(&store, "alive", "1").await;
    assert_eq!(sweep.sweep(at(9_000), 100).await.unwrap().removed, 0);
    assert_eq!(sweep.sweep(at(11_000), 100).await.unwrap().removed, 5);
    assert_eq!(sweep.sweep(at(11_000), 100).await.unwrap().removed, 0);
    assert!(load(&store, "0").await.is_none());
    assert!(!store.remove(&key("0"), &signed_out()).await.unwrap());
    found(&store, "alive").await;
}

/// What `load` still finds, `sweep` leaves; what it does not, `sweep` removes.
pub async fn sweep_leaves_a_session_at_its_very_end(fixture: impl Fixture) {
    let store = fixture.open().await;
    let Some(sweep) = store.sweep() else { return };
    short_lived(&store, 1).await;
    assert_eq!(sweep.sweep(at(10_000), 100).await.unwrap().removed, 0);
    assert!(store.load(&key("0"), at(10_000)).await.unwrap().is_some());
    assert_eq!(sweep.sweep(at(10_000) + Duration::from_millis(1), 100).await.unwrap().removed, 1);
}

/// A batch is never larger than asked for.
pub async fn sweep_honours_its_limit(fixture: impl Fixture) {
    let store = fixture.open().await;
    let Some(sweep) = store.sweep() else { return };
    short_lived(&store, 7).await;
    let mut counts = Vec::new();
    for limit in [0, 3, 3, 3, 3] {
        counts.push(sweep.sweep(at(11_000), limit).await.unwrap().removed);
    }
    assert_eq!(counts, [0, 3, 3, 1, 0]);
}

/// A sweep goes by the end that a session has now.
pub async fn sweep_leaves_what_was_touched_in_time(fixture: impl Fixture) {
    let store = fixture.open().await;
    let Some(sweep) = store.sweep() else { return };
    short_lived(&store, 2).await;
    assert_eq!(store.touch(&key("1"), at(10_000), later()).await.unwrap(), Written::Done);
    assert_eq!(sweep.sweep(at(11_000), 100).await.unwrap().removed, 1);
    found(&store, "1").await;
}

/// Two instances that sweep at once share the work; neither fails and nothing is counted twice.
pub async fn two_sweepers_count_each_session_once(fixture: impl Fixture) {
    const SESSIONS: usize = 40;
    let (one, other) = (fixture.open().await, fixture.open().await);
    let (Some(one_sweep), Some(other_sweep)) = (one.sweep(), other.sweep()) else { return };
    short_lived(&one, SESSIONS).await;
    let mut total = 0;
    // A sweeper that yields to the other may find nothing, so a round may be short; each round removes something.
    for _ in 0..SESSIONS {
        let (a, b) = tokio::join!(one_sweep.sweep(at(11_000), 10), other_sweep.sweep(at(11_000), 10));
        total += a.unwrap().removed + b.unwrap().removed;
    }
    assert_eq!(total, SESSIONS as u64);
}
