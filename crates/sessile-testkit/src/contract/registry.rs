//! Who is signed in where, one call at a time. A store without a registry is not asked.

use std::time::{Duration, SystemTime};

use sessile_core::{
    Alignment, AtLimit, Cursor, Device, DeviceFacts, End, EndedSession, Ending, Fate, Handle, Limit, Page, Record,
    Registry, Search, Seen, SignIn, SignedIn, Status, Store, Tidied, Tidy, UserId, Written,
};

use super::{Fixture, at, found, key, later, load, record, signed_out};

/// The handle of this number.
pub(super) fn handle(number: usize) -> Handle {
    Handle::parse(&format!("00000000-0000-4000-8000-{number:012x}")).unwrap()
}

/// A session of this user, who proved who they are that many milliseconds after the clauses' time, as Sessile writes it.
pub(super) fn session_of(owner: &str, number: usize, millis: u64) -> Record {
    let time = at(millis).duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let facts =
        format!(r#"{{"handle":"{}","created_at":{time},"owner":"{owner}","authenticated_at":{time}}}"#, handle(number));
    let document =
        format!(r#"{{"cookie":{{"originalMaxAge":3600000,"path":"/"}},"userId":"{owner}","v":1,"sessile":{facts}}}"#);
    used_at(millis, record(&document, later()))
}

/// The session as another program leaves it that signed this user in: where a column says whose session it is, it says so.
fn signed_in_by_another(owner: &str, mut record: Record) -> Record {
    record.owner = Some(owner.into());
    record
}

fn used_at(millis: u64, mut record: Record) -> Record {
    record.seen_at = at(millis);
    record
}

pub(super) fn plain_sign_in() -> SignIn {
    SignIn { facts: DeviceFacts::default(), replaces: None, limit: None }
}

fn limited(sessions: u32, policy: AtLimit) -> SignIn {
    SignIn { limit: Some(Limit { sessions, policy }), ..plain_sign_in() }
}

pub(super) fn revoked(millis: u64) -> Ending {
    Ending { end: End::Revoked, at: at(millis), reason: Some("a test".into()) }
}

/// Signs the user in under the key of this name; the session's handle has the number.
async fn sign_in(registry: &dyn Registry, name: &str, owner: &str, number: usize, millis: u64) {
    let record = session_of(owner, number, millis);
    let answer = registry.sign_in(None, &key(name), &record, &plain_sign_in()).await.unwrap();
    assert_eq!(answer, SignedIn::Done(Vec::new()));
}

async fn listed(registry: &dyn Registry, owner: &str) -> Vec<Handle> {
    let devices = registry.list(&owner.into(), at(0), &Page::first(1_000)).await.unwrap();
    devices.into_iter().map(|device| device.handle).collect()
}

async fn history(registry: &dyn Registry, owner: &str) -> Vec<Device> {
    registry.history(&owner.into(), &Page::first(1_000)).await.unwrap()
}

/// How the user's sessions ended, the latest first.
async fn ends(registry: &dyn Registry, owner: &str) -> Vec<End> {
    history(registry, owner).await.into_iter().map(|device| device.ended.unwrap().end).collect()
}

/// Rounds enough to see every row of a small table, wherever an earlier round stopped.
async fn tidied(registry: &dyn Registry, millis: u64, user_key: Option<&str>) -> Tidied {
    let mut total = Tidied::default();
    for round in 0.. {
        let tidy = Tidy { now: at(millis), history: Duration::from_secs(86_400), user_key, limit: 1_000 };
        let tidied = registry.tidy(&tidy).await.unwrap();
        total.ended.extend(tidied.ended);
        total.registered += tidied.registered;
        total.removed += tidied.removed;
        total.forgotten += tidied.forgotten;
        if round > 2 && !tidied.more {
            return total;
        }
        assert!(round < 100, "there is always more to do");
    }
    total
}

fn ended(owner: &str, number: usize) -> EndedSession {
    EndedSession { handle: handle(number), owner: owner.into(), ip: None }
}

/// Everything that was said of a device comes back.
pub async fn a_sign_in_writes_the_session_and_its_device(fixture: impl Fixture) {
    let (store, other) = (fixture.open().await, fixture.open().await);
    let (Some(registry), Some(elsewhere)) = (store.registry(), other.registry()) else { return };
    let cases = [
        DeviceFacts::default(),
        DeviceFacts {
            ip: Some("203.0.113.9".parse().unwrap()),
            user_agent: Some("<script>alert('1')</script> \"; DROP TABLE sessions; -- \u{1f4f1}".into()),
            device: Some("Chrome on Windows".into()),
            auth_method: Some("oidc".into()),
            provider_session: Some("'; DROP TABLE sessions; --".into()),
        },
        DeviceFacts { ip: Some("2001:db8::7".parse().unwrap()), ..DeviceFacts::default() },
    ];
    for (number, facts) in cases.into_iter().enumerate() {
        let (owner, name) = (format!("user {number}"), number.to_string());
        let record = session_of(&owner, number, 5);
        let sign_in = SignIn { facts: facts.clone(), ..plain_sign_in() };
        assert_eq!(registry.sign_in(None, &key(&name), &record, &sign_in).await.unwrap(), SignedIn::Done(Vec::new()));
        assert_eq!(found(&other, &name).await.owner, Some(owner.as_str().into()));
        let devices = elsewhere.list(&owner.as_str().into(), at(0), &Page::first(9)).await.unwrap();
        let expected = Device {
            handle: handle(number),
            owner: owner.as_str().into(),
            facts,
            created_at: at(5),
            authenticated_at: Some(at(5)),
            last_seen_at: at(5),
            expires_at: later(),
            requests: 0,
            ended: None,
        };
        assert_eq!(devices, [expected]);
    }
    let taken = registry.sign_in(None, &key("0"), &session_of("x", 9, 5), &plain_sign_in()).await.unwrap();
    assert_eq!((taken, listed(registry, "x").await), (SignedIn::Stale, vec![]), "both or neither");
    assert_eq!(found(&store, "0").await.owner, Some("user 0".into()));
}

/// A sign-in in a session that is there moves it, compares what was read, and registers it, all or nothing.
pub async fn a_sign_in_moves_the_session_that_was_there(fixture: impl Fixture) {
    let store = fixture.open().await;
    let Some(registry) = store.registry() else { return };
    let anonymous = super::stored(&store, "cart", "1").await;
    let mut record = session_of("alice", 1, 5);
    let sign_in = async |from: &str, to: &str, record: &Record| {
        registry.sign_in(Some(&key(from)), &key(to), record, &plain_sign_in()).await.unwrap()
    };
    assert_eq!(sign_in("unknown", "new", &record).await, SignedIn::Gone);
    assert_eq!(sign_in("cart", "new", &record).await, SignedIn::Stale, "it was never read");
    assert_eq!(listed(registry, "alice").await, []);
    record.revision = anonymous.revision.clone();
    assert_eq!(sign_in("cart", "new", &record).await, SignedIn::Done(Vec::new()));
    assert!(load(&store, "cart").await.is_none());
    assert_eq!(
        (found(&store, "new").await.owner, listed(registry, "alice").await),
        (Some("alice".into()), vec![handle(1)])
    );
    assert!(matches!(store.fate(&key("cart")).await.unwrap(), Some(Fate::Moved { to, .. }) if to == key("new")));
}

/// Who proves again who they are has the same device as before.
pub async fn a_sign_in_again_keeps_the_device_and_its_beginning(fixture: impl Fixture) {
    let store = fixture.open().await;
    let Some(registry) = store.registry() else { return };
    let facts =
        DeviceFacts { auth_method: Some("oidc".into()), provider_session: Some("p".into()), ..DeviceFacts::default() };
    let first = SignIn { facts, ..plain_sign_in() };
    let written = registry.sign_in(None, &key("a"), &session_of("alice", 1, 0), &first).await.unwrap();
    assert_eq!(written, SignedIn::Done(Vec::new()));
    let mut again = session_of("alice", 1, 7_000);
    again.revision = found(&store, "a").await.revision;
    let facts = DeviceFacts { ip: Some("198.51.100.1".parse().unwrap()), ..DeviceFacts::default() };
    let sign_in = SignIn { facts, ..plain_sign_in() };
    let answer = registry.sign_in(Some(&key("a")), &key("b"), &again, &sign_in).await.unwrap();
    assert_eq!(answer, SignedIn::Done(Vec::new()));
    let devices = registry.list(&"alice".into(), at(7_000), &Page::first(9)).await.unwrap();
    let [device] = devices.as_slice() else { panic!("{devices:?}") };
    assert_eq!((&device.handle, device.created_at), (&handle(1), at(0)));
    assert_eq!((device.authenticated_at, device.last_seen_at), (Some(at(7_000)), at(7_000)));
    assert_eq!(device.facts.ip, Some("198.51.100.1".parse().unwrap()));
    assert_eq!(device.facts.auth_method.as_deref(), Some("oidc"), "nobody said that it was otherwise");
    assert_eq!(device.facts.provider_session.as_deref(), Some("p"), "nor of this");
}

/// The device of whoever was signed in before is logged out with the sign-in.
pub async fn another_user_in_a_session_ends_the_device_before(fixture: impl Fixture) {
    let store = fixture.open().await;
    let Some(registry) = store.registry() else { return };
    sign_in(registry, "a", "alice", 1, 0).await;
    let mut record = session_of("bob", 2, 10);
    record.revision = found(&store, "a").await.revision;
    let replacing = SignIn { replaces: Some(handle(1)), ..plain_sign_in() };
    let answer = registry.sign_in(Some(&key("a")), &key("b"), &record, &replacing).await.unwrap();
    assert_eq!(answer, SignedIn::Done(Vec::new()));
    assert_eq!((listed(registry, "alice").await, listed(registry, "bob").await), (vec![], vec![handle(2)]));
    assert_eq!(ends(registry, "alice").await, [End::LoggedOut]);
    assert_eq!(found(&store, "b").await.owner, Some("bob".into()));
    assert_eq!(tidied(registry, 20, None).await.removed, 0);
}

/// A session that ended has one end, the first, and the registry knows it by its key.
pub async fn removing_a_session_ends_its_device_once(fixture: impl Fixture) {
    let store = fixture.open().await;
    let Some(registry) = store.registry() else { return };
    sign_in(registry, "a", "alice", 1, 0).await;
    let ending = Ending { reason: Some("bored".into()), at: at(1_234), ..signed_out() };
    assert!(store.remove(&key("a"), &ending).await.unwrap());
    assert!(!store.remove(&key("a"), &revoked(2_000)).await.unwrap());
    assert_eq!(registry.revoke(&"alice".into(), &handle(1), &revoked(2_000)).await.unwrap(), None);
    let devices = history(registry, "alice").await;
    assert_eq!(devices.iter().map(|device| device.ended.clone()).collect::<Vec<_>>(), [Some(ending.clone())]);
    match store.fate(&key("a")).await.unwrap() {
        Some(Fate::Ended(session, how)) => assert_eq!((session, how), (ended("alice", 1), ending)),
        fate => panic!("expected an end, found {fate:?}"),
    }
    let mut late = session_of("alice", 1, 3_000);
    assert_eq!(registry.sign_in(None, &key("b"), &late, &plain_sign_in()).await.unwrap(), SignedIn::Gone);
    late.handle = handle(2);
    assert_eq!(load(&store, "b").await.map(|_| ()), None, "nothing was written");
}

/// A rotation is no end, and what comes after it finds the session by its handle.
pub async fn a_rotation_keeps_the_device(fixture: impl Fixture) {
    let (store, other) = (fixture.open().await, fixture.open().await);
    let (Some(registry), Some(elsewhere)) = (store.registry(), other.registry()) else { return };
    sign_in(registry, "a", "alice", 1, 0).await;
    for (from, to) in [("a", "b"), ("b", "c")] {
        let read = found(&store, from).await;
        assert_eq!(store.rotate(&key(from), &key(to), &read).await.unwrap(), Written::Done);
        assert_eq!(listed(elsewhere, "alice").await, [handle(1)]);
    }
    let answer = elsewhere.revoke(&"alice".into(), &handle(1), &revoked(10)).await.unwrap();
    assert_eq!(answer, Some(ended("alice", 1)));
    for name in ["a", "b", "c"] {
        assert!(load(&store, name).await.is_none(), "{name}");
    }
    assert_eq!(ends(registry, "alice").await, [End::Revoked]);
}

/// Only the owner's live session can be revoked, and once.
pub async fn what_cannot_be_revoked_is_left_alone(fixture: impl Fixture) {
    let store = fixture.open().await;
    let Some(registry) = store.registry() else { return };
    sign_in(registry, "a", "alice", 1, 0).await;
    let revoke = async |owner: &str, number: usize, at: Ending| {
        registry.revoke(&owner.into(), &handle(number), &at).await.unwrap().is_some()
    };
    assert!(!revoke("bob", 1, revoked(0)).await, "somebody else's");
    assert!(!revoke("alice", 2, revoked(0)).await, "unknown");
    assert!(!revoke("alice", 1, revoked(3_601_001)).await, "expired");
    assert_eq!(ends(registry, "alice").await, []);
    found(&store, "a").await;
    let find = async |owner: &str, number: usize, millis: u64| {
        let device = registry.find(&owner.into(), &handle(number), at(millis)).await.unwrap();
        device.map(|device| (device.handle, device.owner))
    };
    assert_eq!(find("alice", 1, 5).await, Some((handle(1), "alice".into())));
    for (owner, number, millis) in [("bob", 1, 5), ("alice", 2, 5), ("alice", 1, 3_601_001)] {
        assert_eq!(find(owner, number, millis).await, None);
    }
    assert!(revoke("alice", 1, revoked(10)).await);
    assert_eq!(find("alice", 1, 5).await, None, "it has ended");
    assert!(!revoke("alice", 1, revoked(20)).await, "twice is once");
    assert_eq!(history(registry, "alice").await[0].ended, Some(revoked(10)));
}

/// Of so many users, some share whatever a store divides its users into.
pub async fn no_other_user_ends_or_sees_a_session_by_its_handle(fixture: impl Fixture) {
    let store = fixture.open().await;
    let Some(registry) = store.registry() else { return };
    sign_in(registry, "a", "alice", 1, 0).await;
    for number in 0..600 {
        let mallory = format!("mallory {number}");
        let (user, page) = (mallory.as_str().into(), Page::first(9));
        let ended = registry.revoke(&user, &handle(1), &revoked(5)).await.unwrap();
        assert_eq!(ended, None, "{mallory} ended alice's session");
        assert_eq!(registry.find(&user, &handle(1), at(0)).await.unwrap(), None, "{mallory}");
        assert_eq!(registry.history(&user, &page).await.unwrap(), [], "{mallory}");
        let search = Search { owner: Some(user), handle: Some(handle(1)), ..Search::default() };
        assert_eq!(registry.search(&search, at(0), &page).await.unwrap(), [], "{mallory}");
    }
    found(&store, "a").await;
    assert_eq!(listed(registry, "alice").await, [handle(1)]);
    assert_eq!(registry.revoke(&"alice".into(), &handle(1), &revoked(5)).await.unwrap(), Some(ended("alice", 1)));
}

/// All of one owner's, but for the one to keep, counted exactly; and nobody else's.
pub async fn revoke_all_ends_every_session_of_one_owner(fixture: impl Fixture) {
    let store = fixture.open().await;
    let Some(registry) = store.registry() else { return };
    for number in 0..5 {
        sign_in(registry, &number.to_string(), "alice", number, number as u64).await;
    }
    sign_in(registry, "other", "bob", 9, 0).await;
    let mut over = session_of("alice", 7, 0);
    over.expires_at = at(1_000);
    assert_eq!(registry.sign_in(None, &key("over"), &over, &plain_sign_in()).await.unwrap(), SignedIn::Done(vec![]));
    let all = |keep| async move {
        let mut ended = registry.revoke_all(&"alice".into(), keep, &revoked(3_000)).await.unwrap();
        ended.sort_by(|a, b| a.handle.cmp(&b.handle));
        ended
    };
    let kept = handle(2);
    assert_eq!(all(Some(&kept)).await, [0, 1, 3, 4].map(|number| ended("alice", number)), "one had expired");
    assert_eq!(listed(registry, "alice").await, [kept.clone(), handle(7)], "as it was at that time");
    assert_eq!(all(None).await, [ended("alice", 2)]);
    assert_eq!(all(None).await, []);
    assert_eq!(listed(registry, "bob").await, [handle(9)]);
    found(&store, "other").await;
}

/// A sign-in whose credentials were presented before the revocation is refused, anonymous session and all.
pub async fn a_sign_in_from_before_a_revocation_is_refused(fixture: impl Fixture) {
    let store = fixture.open().await;
    let Some(registry) = store.registry() else { return };
    registry.revoke_all(&"alice".into(), None, &revoked(1_000)).await.unwrap();
    let sign_in = async |name: &str, owner: &str, number: usize, presented: u64| {
        let record = used_at(2_000, session_of(owner, number, presented));
        registry.sign_in(None, &key(name), &record, &plain_sign_in()).await.unwrap()
    };
    assert_eq!(sign_in("a", "alice", 1, 999).await, SignedIn::CutOff);
    assert!(load(&store, "a").await.is_none());
    assert_eq!(sign_in("b", "alice", 2, 1_000).await, SignedIn::Done(Vec::new()));
    assert_eq!(sign_in("c", "bob", 3, 1).await, SignedIn::Done(Vec::new()), "nobody revoked his");
    registry.revoke_all(&"alice".into(), None, &revoked(500)).await.unwrap();
    assert_eq!(sign_in("d", "alice", 4, 999).await, SignedIn::CutOff, "an older revocation takes nothing back");
    // Times are kept in whole milliseconds: what is not surely later counts as earlier.
    let between = Ending { at: at(5_000) + Duration::from_micros(500), ..revoked(0) };
    registry.revoke_all(&"carol".into(), None, &between).await.unwrap();
    assert_eq!(sign_in("e", "carol", 5, 5_000).await, SignedIn::CutOff);
    assert_eq!(sign_in("f", "carol", 6, 5_001).await, SignedIn::Done(Vec::new()));
    assert_eq!(tidied(registry, 3_000, None).await.ended, [], "a cut-off of one user ends nobody later");
}

/// The end of a session at an identity provider ends what was signed in from it, and nothing else.
pub async fn a_providers_session_ends_what_was_signed_in_from_it(fixture: impl Fixture) {
    let (store, other) = (fixture.open().await, fixture.open().await);
    let (Some(registry), Some(elsewhere)) = (store.registry(), other.registry()) else { return };
    let cases = [
        ("a", "alice", Some("p")),
        ("b", "bob", Some("p")),
        ("c", "alice", Some("q")),
        ("d", "alice", None),
        ("e", "alice", Some("p")),
    ];
    for (number, (name, owner, provider_session)) in cases.into_iter().enumerate() {
        let facts = DeviceFacts { provider_session: provider_session.map(Box::from), ..DeviceFacts::default() };
        let mut record = session_of(owner, number, number as u64);
        if name == "e" {
            record.expires_at = at(2_000);
        }
        let answer = registry.sign_in(None, &key(name), &record, &SignIn { facts, ..plain_sign_in() }).await.unwrap();
        assert_eq!(answer, SignedIn::Done(Vec::new()));
    }
    let moved = key("b moved");
    assert_eq!(store.rotate(&key("b"), &moved, &found(&store, "b").await).await.unwrap(), Written::Done);
    let end = async |name: &str, millis| {
        let mut ended = elsewhere.revoke_provider_session(name, &revoked(millis)).await.unwrap();
        ended.sort_by(|one, other| one.handle.cmp(&other.handle));
        ended
    };
    for unknown in ["", "P", "p'", "r", "%"] {
        assert_eq!(end(unknown, 5_000).await, [], "{unknown:?}");
    }
    assert_eq!(end("p", 5_000).await, [ended("alice", 0), ended("bob", 1)], "e has expired");
    assert_eq!(end("p", 5_000).await, [], "once");
    assert!(load(&store, "a").await.is_none() && store.load(&moved, at(0)).await.unwrap().is_none());
    assert!(load(&store, "c").await.is_some() && load(&store, "d").await.is_some());
    let bob = history(registry, "bob").await.remove(0);
    assert_eq!((bob.ended, bob.facts.provider_session.as_deref()), (Some(revoked(5_000)), Some("p")));
}

/// Everyone's cut-off is there for the very next load, and the sweeper clears up behind it.
pub async fn a_cut_off_ends_everyone_at_once(fixture: impl Fixture) {
    let (store, other) = (fixture.open().await, fixture.open().await);
    let (Some(registry), Some(elsewhere)) = (store.registry(), other.registry()) else { return };
    super::stored(&store, "cart", "1").await;
    sign_in(registry, "old", "alice", 1, 0).await;
    sign_in(registry, "new", "alice", 2, 2_000).await;
    assert_eq!(found(&other, "old").await.cut_off, None);
    elsewhere.revoke_everyone(at(1_000), &revoked(3_000)).await.unwrap();
    elsewhere.revoke_everyone(at(500), &Ending { reason: None, ..revoked(3_500) }).await.unwrap();
    for (name, is_over) in [("old", true), ("new", false), ("cart", false)] {
        let record = found(&store, name).await;
        assert_eq!(record.is_cut_off(), is_over, "{name}");
        assert_eq!(record.cut_off.map(|cut_off| (cut_off.before, cut_off.swept)), Some((at(1_000), false)));
    }
    let late = used_at(3_600, session_of("carol", 3, 999));
    assert_eq!(registry.sign_in(None, &key("late"), &late, &plain_sign_in()).await.unwrap(), SignedIn::CutOff);
    let tidied = tidied(registry, 4_000, None).await;
    assert_eq!(tidied.ended, [(ended("alice", 1), Ending { at: tidied.ended[0].1.at, ..revoked(0) })]);
    assert!(load(&store, "old").await.is_none());
    assert_eq!(listed(registry, "alice").await, [handle(2)]);
    assert_eq!(found(&store, "new").await.cut_off.map(|cut_off| cut_off.swept), Some(true));
    found(&store, "cart").await;
    let reason = history(registry, "alice").await[0].ended.clone().unwrap().reason;
    assert_eq!(reason.as_deref(), Some("a test"), "the cut-off that is in force says why");
}

/// The oldest go, sessions that are over do not count, and other users have a limit of their own.
pub async fn a_limit_evicts_the_oldest(fixture: impl Fixture) {
    let store = fixture.open().await;
    let Some(registry) = store.registry() else { return };
    let mut over = session_of("alice", 9, 0);
    over.expires_at = at(500);
    let (none, two) = (plain_sign_in(), limited(2, AtLimit::EvictOldest));
    assert_eq!(registry.sign_in(None, &key("over"), &over, &none).await.unwrap(), SignedIn::Done(Vec::new()));
    for (number, evicted) in [(1, vec![]), (2, vec![]), (3, vec![1]), (4, vec![2])] {
        let record = session_of("alice", number, number as u64 * 1_000);
        let answer = registry.sign_in(None, &key(&number.to_string()), &record, &two).await.unwrap();
        assert_eq!(answer, SignedIn::Done(evicted.into_iter().map(|number| ended("alice", number)).collect()));
    }
    let bob = registry.sign_in(None, &key("b"), &session_of("bob", 20, 0), &two).await.unwrap();
    assert_eq!(bob, SignedIn::Done(Vec::new()));
    assert_eq!(ends(registry, "alice").await, [End::Evicted; 2]);
    assert!(load(&store, "1").await.is_none() && load(&store, "2").await.is_none());
    let one = limited(1, AtLimit::EvictOldest);
    let answer = registry.sign_in(None, &key("5"), &session_of("alice", 5, 9_000), &one).await.unwrap();
    let SignedIn::Done(mut gone) = answer else { panic!("{answer:?}") };
    gone.sort_by(|a, b| a.handle.cmp(&b.handle));
    assert_eq!(gone, [ended("alice", 3), ended("alice", 4)], "a limit that was lowered is caught up with");
}

/// One more is refused and leaves nothing behind; a place that becomes free may be taken.
pub async fn a_limit_denies_the_newest(fixture: impl Fixture) {
    let store = fixture.open().await;
    let Some(registry) = store.registry() else { return };
    let two = limited(2, AtLimit::Deny);
    let sign_in = async |number: usize| {
        let record = session_of("alice", number, number as u64 * 1_000);
        registry.sign_in(None, &key(&number.to_string()), &record, &two).await.unwrap()
    };
    assert_eq!((sign_in(1).await, sign_in(2).await), (SignedIn::Done(Vec::new()), SignedIn::Done(Vec::new())));
    assert_eq!(sign_in(3).await, SignedIn::Full);
    assert!(load(&store, "3").await.is_none());
    assert_eq!(listed(registry, "alice").await, [handle(2), handle(1)]);
    assert!(store.remove(&key("1"), &signed_out()).await.unwrap());
    assert_eq!(sign_in(4).await, SignedIn::Done(Vec::new()));
}

/// A use moves times forward, revives nothing, and need not be known.
pub async fn uses_are_recorded_and_revive_nothing(fixture: impl Fixture) {
    let store = fixture.open().await;
    let Some(registry) = store.registry() else { return };
    sign_in(registry, "a", "alice", 1, 0).await;
    sign_in(registry, "b", "alice", 2, 0).await;
    assert!(store.remove(&key("b"), &signed_out()).await.unwrap());
    let seen = |number, millis| Seen {
        handle: handle(number),
        at: at(millis),
        expires_at: at(millis + 3_600_000),
        requests: 0,
    };
    registry.seen(&[]).await.unwrap();
    registry.seen(&[seen(1, 60_000), seen(2, 60_000), seen(3, 60_000)]).await.unwrap();
    registry.seen(&[seen(1, 30_000)]).await.unwrap();
    let device = registry.list(&"alice".into(), at(0), &Page::first(9)).await.unwrap().remove(0);
    assert_eq!((device.last_seen_at, device.expires_at), (at(60_000), at(3_660_000)));
    assert_eq!(listed(registry, "alice").await, [handle(1)]);
    assert_eq!(history(registry, "alice").await[0].last_seen_at, at(0));
}

/// What the sweeper removes has expired, in the registry too, unless it was anonymous.
pub async fn expiry_is_recorded_by_the_sweep(fixture: impl Fixture) {
    let store = fixture.open().await;
    let (Some(registry), Some(sweep)) = (store.registry(), store.sweep()) else { return };
    super::stored(&store, "cart", "1").await;
    sign_in(registry, "a", "alice", 1, 0).await;
    let swept = sweep.sweep(at(3_601_000), 100).await.unwrap();
    assert_eq!((swept.removed, swept.expired), (2, vec![ended("alice", 1)]));
    let ending = history(registry, "alice").await[0].ended.clone().unwrap();
    assert_eq!((ending.end, ending.at), (End::Expired, at(3_601_000)));
    assert_eq!(sweep.sweep(at(3_601_000), 100).await.unwrap().expired, []);
}

/// Parts of a list follow one another without a gap, though several have the same time.
pub async fn lists_are_paged(fixture: impl Fixture) {
    let store = fixture.open().await;
    let Some(registry) = store.registry() else { return };
    for number in 0..9 {
        sign_in(registry, &number.to_string(), "alice", number, number as u64 / 3).await;
    }
    let mut seen = Vec::new();
    let mut page = Page::first(2);
    loop {
        let devices = registry.list(&"alice".into(), at(0), &page).await.unwrap();
        assert!(devices.len() <= 2);
        let Some(last) = devices.last() else { break };
        page.after = Some(Cursor { at: last.created_at, handle: last.handle.clone() });
        seen.extend(devices.into_iter().map(|device| device.handle));
    }
    let all: Vec<_> = (0..9).rev().map(handle).collect();
    assert_eq!(seen, all, "by time and then handle, both descending");
    registry.revoke_all(&"alice".into(), None, &revoked(5_000)).await.unwrap();
    let (mut seen, mut page) = (Vec::new(), Page::first(4));
    loop {
        let devices = registry.history(&"alice".into(), &page).await.unwrap();
        let Some(last) = devices.last() else { break };
        page.after = Some(Cursor { at: last.ended.as_ref().unwrap().at, handle: last.handle.clone() });
        seen.extend(devices.into_iter().map(|device| device.handle));
    }
    assert_eq!(seen, all);
}

/// Whoever runs the server finds sessions by what they know of them.
pub async fn an_operator_finds_everybodys_sessions(fixture: impl Fixture) {
    let store = fixture.open().await;
    let Some(registry) = store.registry() else { return };
    for (number, owner, ip) in [
        (1, "alice", Some("203.0.113.7")),
        (2, "bob", Some("203.0.113.9")),
        (3, "alice", Some("2001:db8::1")),
        (4, "carol", None),
        (5, "o'brien", Some("198.51.100.1")),
        (6, "late", None),
    ] {
        let mut record = session_of(owner, number, number as u64 * 1_000);
        if owner == "late" {
            record.expires_at = at(7_000);
        }
        let facts = DeviceFacts { ip: ip.map(|ip| ip.parse().unwrap()), ..DeviceFacts::default() };
        let sign_in = SignIn { facts, ..plain_sign_in() };
        let answer = registry.sign_in(None, &key(&number.to_string()), &record, &sign_in).await.unwrap();
        assert_eq!(answer, SignedIn::Done(Vec::new()));
    }
    assert!(store.remove(&key("1"), &signed_out()).await.unwrap());
    assert!(registry.revoke(&"bob".into(), &handle(2), &revoked(9_000)).await.unwrap().is_some());
    let found = async |search: Search| {
        let devices = registry.search(&search, at(9_000), &Page::first(100)).await.unwrap();
        devices.into_iter().map(|device| device.handle).collect::<Vec<_>>()
    };
    let these = |numbers: &[usize]| numbers.iter().copied().map(handle).collect::<Vec<_>>();
    let network = |text: &str| Search { network: Some(text.parse().unwrap()), ..Search::default() };
    let status = |status| Search { status: Some(status), ..Search::default() };
    let owner = |name: &str| Search { owner: Some(name.into()), ..Search::default() };
    for (search, expected) in [
        (Search::default(), &[6, 5, 4, 3, 2, 1][..]),
        (owner("alice"), &[3, 1]),
        (owner("o'brien"), &[5]),
        (owner("ALICE"), &[]),
        (status(Status::Live), &[5, 4, 3]),
        (status(Status::Ended), &[2, 1]),
        (status(Status::EndedBy(End::Revoked)), &[2]),
        (status(Status::EndedBy(End::Evicted)), &[]),
        (network("203.0.113.0/24"), &[2, 1]),
        (network("203.0.113.9/32"), &[2]),
        (network("2001:db8::/32"), &[3]),
        (network("0.0.0.0/0"), &[5, 2, 1]),
        (Search { handle: Some(handle(4)), ..Search::default() }, &[4]),
        (Search { handle: Some(handle(9)), ..Search::default() }, &[]),
        (Search { since: Some(at(4_000)), ..Search::default() }, &[6, 5, 4]),
        (Search { status: Some(Status::Live), since: Some(at(4_000)), ..network("198.51.100.0/24") }, &[5]),
        (Search { status: Some(Status::Live), ..owner("alice") }, &[3]),
        (Search { before: Some(at(4_000)), ..Search::default() }, &[3, 2, 1]),
        (Search { before: Some(at(4_001)), ..status(Status::Live) }, &[4, 3]),
    ] {
        assert_eq!(found(search.clone()).await, these(expected), "{search:?}");
        assert_eq!(registry.count(&search, at(9_000)).await.unwrap(), expected.len() as u64, "{search:?}");
    }
    let mut page = Page::first(4);
    let first = registry.search(&Search::default(), at(9_000), &page).await.unwrap();
    page.after = first.last().map(|last| Cursor { at: last.created_at, handle: last.handle.clone() });
    let second = registry.search(&Search::default(), at(9_000), &page).await.unwrap();
    let handles: Vec<_> = first.into_iter().chain(second).map(|device| device.handle).collect();
    assert_eq!(handles, these(&[6, 5, 4, 3, 2, 1]), "in parts");
    assert!(registry.key(&handle(3)).await.unwrap() == Some(key("3")));
    assert!(registry.key(&handle(1)).await.unwrap() == Some(key("1")), "after its end, too");
    assert!(registry.key(&handle(9)).await.unwrap().is_none());
}

/// A device as this store is told of one that another program signed in.
pub(super) fn foreign(owner: &str, number: usize, millis: u64) -> Device {
    Device {
        handle: handle(number),
        owner: owner.into(),
        facts: DeviceFacts::default(),
        created_at: at(millis),
        authenticated_at: None,
        last_seen_at: at(millis),
        expires_at: later(),
        requests: 0,
        ended: None,
    }
}

/// The registry follows what another program does to a session in place; the key lives on.
pub async fn another_programs_sign_ins_are_followed(fixture: impl Fixture) {
    let store = fixture.open().await;
    let Some(registry) = store.registry() else { return };
    super::stored(&store, "a", "1").await;
    let align = async |device: Option<Device>| registry.align(&key("a"), device.as_ref(), at(5)).await.unwrap();
    let known = |number| Alignment::Device(handle(number));
    assert_eq!(align(Some(foreign("alice", 1, 5))).await, known(1));
    assert_eq!(align(Some(foreign("alice", 2, 5))).await, known(1), "it is known");
    assert_eq!(listed(registry, "alice").await, [handle(1)]);
    assert_eq!(align(Some(foreign("bob", 3, 5))).await, known(3));
    assert_eq!((ends(registry, "alice").await, listed(registry, "bob").await), (vec![End::LoggedOut], vec![handle(3)]));
    assert_eq!(align(None).await, Alignment::Nobody);
    assert_eq!((ends(registry, "bob").await, listed(registry, "bob").await), (vec![End::LoggedOut], vec![]));
    assert_eq!(align(Some(foreign("alice", 4, 5))).await, known(4), "and signed in again");
    assert!(store.fate(&key("a")).await.unwrap().is_none(), "it has not ended");
    assert_eq!(registry.revoke(&"alice".into(), &handle(4), &revoked(6)).await.unwrap(), Some(ended("alice", 4)));
    assert!(load(&store, "a").await.is_none());
    let absent = registry.align(&key("a"), Some(&foreign("alice", 5, 7)), at(7)).await.unwrap();
    assert_eq!((absent, listed(registry, "alice").await), (Alignment::Over, vec![]), "it is not there");
}

/// Another program writes back what ended here, or what moved: nothing makes a session of it again.
pub async fn what_is_brought_back_is_not_registered_again(fixture: impl Fixture) {
    let store = fixture.open().await;
    let Some(registry) = store.registry() else { return };
    for (number, name) in ["ended", "moved"].into_iter().enumerate() {
        sign_in(registry, name, "alice", number, 0).await;
        let copy = found(&store, name).await;
        if name == "ended" {
            assert!(registry.revoke(&"alice".into(), &handle(number), &revoked(1)).await.unwrap().is_some());
        } else {
            assert_eq!(store.rotate(&key(name), &key("elsewhere"), &copy).await.unwrap(), Written::Done);
        }
        let back = async || assert_eq!(store.insert(&key(name), &copy).await.unwrap(), Written::Done);
        back().await;
        let read = found(&store, name).await;
        assert_eq!(store.rotate(&key(name), &key("new"), &read).await.unwrap(), Written::Gone, "{name}");
        let again = registry.sign_in(Some(&key(name)), &key("new"), &read, &plain_sign_in()).await.unwrap();
        assert_eq!(again, SignedIn::Gone, "{name}");
        let device = foreign("alice", 9, 5);
        assert_eq!(registry.align(&key(name), Some(&device), at(5)).await.unwrap(), Alignment::Over, "{name}");
        assert!(load(&store, name).await.is_none(), "{name} is removed");
        back().await;
        assert_eq!(registry.align(&key(name), None, at(5)).await.unwrap(), Alignment::Over, "{name}");
        assert!(load(&store, name).await.is_none() && load(&store, "new").await.is_none(), "{name}");
    }
    assert_eq!(listed(registry, "alice").await, [handle(1)], "the one that moved");
    assert_eq!(ends(registry, "alice").await, [End::Revoked]);
}

/// What nobody told the registry of when its user's sessions were revoked is found later, and is over.
pub async fn what_was_not_known_does_not_survive_a_revocation(fixture: impl Fixture) {
    let store = fixture.open().await;
    let Some(registry) = store.registry() else { return };
    let express = |saved: u64| {
        let expires = jiff::Timestamp::try_from(at(saved + 3_600_000)).unwrap();
        let document =
            format!(r#"{{"cookie":{{"originalMaxAge":3600000,"expires":"{expires:.3}"}},"userId":"alice"}}"#);
        let mut record = signed_in_by_another("alice", record(&document, later()));
        record.created_at = at(saved);
        record
    };
    let insert = async |name: &str, record: &Record| {
        assert_eq!(store.insert(&key(name), record).await.unwrap(), Written::Done);
    };
    insert("ours before", &session_of("alice", 1, 999)).await;
    insert("ours after", &session_of("alice", 2, 1_000)).await;
    insert("theirs before", &express(999)).await;
    insert("theirs after", &express(1_000)).await;
    // Where a column says whose a session is, the revocation itself finds those of before.
    let found = if fixture.keeps_cookies() { 0 } else { 2 };
    assert_eq!(registry.revoke_all(&"alice".into(), None, &revoked(1_000)).await.unwrap().len(), found);
    let align = async |name: &str, device| registry.align(&key(name), Some(&device), at(5)).await.unwrap();
    let proved = |number, millis| Device { authenticated_at: Some(at(millis)), ..foreign("alice", number, 5_000) };
    insert("seen before", &session_of("alice", 3, 999)).await;
    insert("seen after", &session_of("alice", 4, 1_000)).await;
    assert_eq!(align("seen before", proved(3, 999)).await, Alignment::Over);
    assert_eq!(align("seen after", proved(4, 1_000)).await, Alignment::Device(handle(4)));
    let done = tidied(registry, 2_000, Some("userId")).await;
    assert_eq!((done.registered, done.removed), (2, 2 - found as u64));
    for name in ["ours before", "theirs before", "seen before"] {
        assert!(load(&store, name).await.is_none(), "{name}");
    }
    for name in ["ours after", "theirs after", "seen after"] {
        assert!(load(&store, name).await.is_some(), "{name}");
    }
    assert_eq!(listed(registry, "alice").await.len(), 3);
    registry.revoke_everyone(at(3_000), &revoked(3_000)).await.unwrap();
    insert("old", &session_of("bob", 5, 2_999)).await;
    assert_eq!(align("old", Device { owner: "bob".into(), ..proved(5, 2_999) }).await, Alignment::Over);
}

/// A session that is registered under a handle which had its end gets another one: each end stays.
pub async fn a_handle_that_had_its_end_is_not_used_again(fixture: impl Fixture) {
    let store = fixture.open().await;
    let Some(registry) = store.registry() else { return };
    sign_in(registry, "a", "alice", 1, 0).await;
    assert!(store.remove(&key("a"), &signed_out()).await.unwrap());
    let copy = session_of("alice", 1, 0);
    for name in ["b", "c"] {
        assert_eq!(store.insert(&key(name), &copy).await.unwrap(), Written::Done);
    }
    let answer = registry.align(&key("b"), Some(&foreign("alice", 1, 5)), at(5)).await.unwrap();
    assert!(matches!(answer, Alignment::Device(given) if given != handle(1)));
    assert_eq!(tidied(registry, 5, None).await.registered, 1);
    assert_eq!((listed(registry, "alice").await.len(), ends(registry, "alice").await), (2, vec![End::LoggedOut]));
}

/// What other programs and operators took apart is brought into step.
pub async fn sessions_and_registry_are_brought_into_step(fixture: impl Fixture) {
    let store = fixture.open().await;
    let Some(registry) = store.registry() else { return };
    let express =
        |user: &str| record(&format!(r#"{{"cookie":{{"originalMaxAge":3600000}},"userId":{user}}}"#), later());
    assert_eq!(store.insert(&key("express"), &signed_in_by_another("7", express("7"))).await.unwrap(), Written::Done);
    assert_eq!(store.insert(&key("nobody"), &express("null")).await.unwrap(), Written::Done);
    assert_eq!(store.insert(&key("unknown"), &session_of("alice", 1, 0)).await.unwrap(), Written::Done);
    let first = tidied(registry, 10, Some("userId")).await;
    assert_eq!((first.registered, first.ended.len(), first.removed), (2, 0, 0));
    assert_eq!((listed(registry, "7").await.len(), listed(registry, "alice").await), (1, vec![handle(1)]));

    // Another program signs in another user in the same session.
    let mut read = found(&store, "express").await;
    read.data.insert("userId", "8");
    let read = signed_in_by_another("8", read);
    assert_eq!(store.update(&key("express"), &read).await.unwrap(), Written::Done);
    let second = tidied(registry, 20, Some("userId")).await;
    assert_eq!((second.registered, second.ended.len()), (1, 1));
    assert_eq!((ends(registry, "7").await, listed(registry, "8").await.len()), (vec![End::LoggedOut], 1));

    // A session that ended, and that an Express app writes back.
    let read = found(&store, "unknown").await;
    assert!(store.remove(&key("unknown"), &signed_out()).await.unwrap());
    assert_eq!(store.insert(&key("unknown"), &read).await.unwrap(), Written::Done);
    let third = tidied(registry, 30, Some("userId")).await;
    assert_eq!((third.removed, third.registered), (1, 0));
    assert!(load(&store, "unknown").await.is_none());
    assert_eq!(tidied(registry, 40, Some("userId")).await.ended, []);
}

/// What ended long ago is forgotten, and nothing else.
pub async fn history_is_forgotten_in_time(fixture: impl Fixture) {
    let store = fixture.open().await;
    let Some(registry) = store.registry() else { return };
    sign_in(registry, "a", "alice", 1, 0).await;
    sign_in(registry, "b", "alice", 2, 0).await;
    assert!(store.remove(&key("a"), &signed_out()).await.unwrap());
    assert_eq!(tidied(registry, 86_400_000, None).await.forgotten, 0);
    assert_eq!(history(registry, "alice").await.len(), 1);
    assert_eq!(tidied(registry, 86_400_001, None).await.forgotten, 1);
    assert_eq!((history(registry, "alice").await, listed(registry, "alice").await), (vec![], vec![handle(2)]));
}

/// User ids are text and nothing but text.
pub async fn hostile_user_ids_are_only_names(fixture: impl Fixture) {
    let store = fixture.open().await;
    let Some(registry) = store.registry() else { return };
    let names = ["' OR '1'='1", "%", "alice%", "ALICE", "alice ", "Ünï 🦀", &"u".repeat(255)];
    sign_in(registry, "alice", "alice", 0, 0).await;
    for (number, name) in names.iter().enumerate() {
        sign_in(registry, &number.to_string(), name, number + 1, 0).await;
    }
    for (number, name) in names.iter().enumerate() {
        assert_eq!(listed(registry, name).await, [handle(number + 1)], "{name:?}");
        assert_eq!(registry.revoke_all(&UserId::from(*name), None, &revoked(9)).await.unwrap().len(), 1);
    }
    assert_eq!(listed(registry, "alice").await, [handle(0)]);
}
