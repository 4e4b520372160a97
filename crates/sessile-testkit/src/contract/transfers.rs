//! Moving sessions to another store, and from one. The other end is a [`MemoryStore`], so each store is held to what every
//! other one understands.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sessile_core::{
    CutOff, Device, DeviceFacts, Ending, Fate, Imported, MemoryStore, Page, Piece, Place, Registry, Seen, SignIn,
    SignedIn, Store, StoreKey, Transfer, UserId, Written,
};

use super::registry::{handle, revoked, session_of};
use super::{Fixture, at, changed, document, found, key, later, load, record, signed_out, stored};

fn transfer_of(store: &impl Store) -> &dyn Transfer {
    store.transfer().expect("expected a store whose sessions can be moved, found one without `transfer`")
}

fn registry_of(store: &impl Store) -> &dyn Registry {
    store.registry().expect("expected a store with a registry, found none")
}

/// Everything that lives at this time, a few pieces at a time.
async fn exported(store: &impl Store, now: SystemTime, limit: u32) -> Vec<Piece> {
    let (mut pieces, mut place) = (Vec::new(), Some(Place::default()));
    for round in 0.. {
        let Some(from) = place else { return pieces };
        let (page, next) = transfer_of(store).export(&from, now, limit).await.unwrap();
        assert!(page.len() <= limit as usize, "expected at most {limit}, found {}", page.len());
        pieces.extend(page);
        place = next;
        assert!(round < 1_000, "the export comes to no end");
    }
    pieces
}

async fn import(store: &impl Store, pieces: &[Piece]) -> Imported {
    transfer_of(store).import(pieces).await.unwrap()
}

/// What a piece is about, to compare and to sort: kind, name, and everything else in it.
fn named(piece: &Piece) -> (u8, String, String) {
    match piece {
        Piece::Session { key, document, expires_at } => (0, key.as_str().into(), format!("{document} {expires_at:?}")),
        Piece::Device(key, device) => {
            (1, device.handle.to_string(), format!("{:?} {device:?}", key.as_ref().map(StoreKey::as_str)))
        }
        Piece::OwnerCutOff(owner, before) => (2, owner.to_string(), format!("{before:?}")),
        Piece::CutOff(cut_off, ending) => (3, String::new(), format!("{cut_off:?} {ending:?}")),
        Piece::Moved(from, to, at) => (4, from.as_str().into(), format!("{} {at:?}", to.as_str())),
    }
}

fn sorted(pieces: &[Piece]) -> Vec<(u8, String, String)> {
    let mut named: Vec<_> = pieces.iter().map(named).collect();
    named.sort();
    named
}

fn facts(number: u8) -> DeviceFacts {
    DeviceFacts {
        ip: Some([203, 0, 113, number].into()),
        user_agent: Some(format!("browser \"{number}\"\n").into()),
        device: Some("Chrome on Windows".into()),
        auth_method: Some("oidc".into()),
        provider_session: Some(format!("provider {number}").into()),
    }
}

async fn sign_in(store: &impl Store, name: &str, owner: &str, number: u8) {
    let sign_in = SignIn { facts: facts(number), replaces: None, limit: None };
    let record = session_of(owner, number.into(), u64::from(number));
    let answer = registry_of(store).sign_in(None, &key(name), &record, &sign_in).await.unwrap();
    assert_eq!(answer, SignedIn::Done(Vec::new()));
}

/// A little of everything: anonymous sessions, devices that live, moved and ended, and cut-offs.
async fn filled(store: &impl Store) {
    let registry = registry_of(store);
    for name in ["cart 1", "cart 2", "cart 3"] {
        stored(store, name, r#"{"items":[1,2,3], "é":"\u00e9"}"#).await;
    }
    let short = record(&document("1"), at(10_000));
    assert_eq!(store.insert(&key("short"), &short).await.unwrap(), Written::Done);
    for (name, owner, number) in [
        ("one", "alice", 1),
        ("two", "alice", 2),
        ("three", "bob", 3),
        ("left", "bob", 4),
        ("before", "carol", 5),
        ("kept", "dave", 6),
        ("lost", "dave", 7),
        ("shared", "erin", 8),
    ] {
        sign_in(store, name, owner, number).await;
    }
    assert!(registry.revoke(&"alice".into(), &handle(2), &revoked(1_000)).await.unwrap().is_some());
    assert!(store.remove(&key("left"), &signed_out()).await.unwrap());
    let moving = changed(&found(store, "before").await, "2");
    assert_eq!(store.rotate(&key("before"), &key("after"), &moving).await.unwrap(), Written::Done);
    let ended = registry.revoke_all(&"dave".into(), Some(&handle(6)), &revoked(2_000)).await.unwrap();
    assert_eq!(ended.len(), 1);
    let used = |number, requests| Seen { handle: handle(number), at: at(0), expires_at: later(), requests };
    registry.seen(&[used(1, 7), used(2, 3)]).await.unwrap();
    // Another program signed erin out and frank in, in the same session.
    let device = Device { handle: handle(9), owner: "frank".into(), ..device(9) };
    assert!(registry.align(&key("shared"), Some(&device), at(3_000)).await.is_ok());
    let everyone = Ending { reason: Some("a drill".into()), ..revoked(0) };
    registry.revoke_everyone(at(0) - Duration::from_secs(60), &everyone).await.unwrap();
}

fn device(number: u8) -> Device {
    Device {
        handle: handle(number.into()),
        owner: "alice".into(),
        facts: facts(number),
        created_at: at(number.into()),
        authenticated_at: Some(at(number.into())),
        last_seen_at: at(number.into()),
        expires_at: later(),
        requests: number.into(),
        ended: None,
    }
}

/// However small the pages are, each piece comes once, and expired rows not at all.
pub async fn an_export_gives_everything_once(fixture: impl Fixture) {
    let store = fixture.open().await;
    assert!(exported(&store, at(0), 10).await.is_empty());
    filled(&store).await;
    let all = exported(&store, at(0), 1_000).await;
    let kinds = |wanted: u8| all.iter().filter(|piece| named(piece).0 == wanted).count();
    assert_eq!([0, 1, 2, 3, 4].map(kinds), [9, 9, 1, 1, 1]);
    assert!(all.is_sorted_by_key(|piece| named(piece).0), "kind after kind");
    for limit in [1, 2, 3, 9] {
        assert_eq!(sorted(&exported(&store, at(0), limit).await), sorted(&all), "{limit} at a time");
    }
    let later = exported(&store, at(11_000), 2).await;
    let keys: Vec<_> = later.iter().map(named).filter(|(kind, ..)| *kind == 0).map(|(_, key, _)| key).collect();
    assert!(keys.len() == 8 && !keys.contains(&"short".to_owned()), "{keys:?}");
    assert!(transfer_of(&store).size().await.is_ok());
}

/// What stands in the pieces is what stands in the store.
pub async fn an_export_tells_what_is_there(fixture: impl Fixture) {
    let store = fixture.open().await;
    filled(&store).await;
    let all = exported(&store, at(0), 4).await;
    let mut sessions = 0;
    for piece in &all {
        match piece {
            Piece::Session { key, document, expires_at } => {
                let there = store.load(key, at(0)).await.unwrap().unwrap();
                assert_eq!(*expires_at, there.expires_at);
                if fixture.keeps_bytes() && fixture.keeps_cookies() {
                    assert_eq!(**document, there.document());
                }
                sessions += 1;
            }
            Piece::Device(key, device) => {
                assert_eq!(registry_of(&store).key(&device.handle).await.unwrap(), *key);
                assert_eq!(key.is_none(), device.handle == handle(8), "erin's key lives on");
            }
            Piece::OwnerCutOff(owner, before) => assert_eq!((owner.as_str(), *before), ("dave", at(2_000))),
            Piece::CutOff(cut_off, ending) => {
                assert_eq!(*cut_off, CutOff { before: at(0) - Duration::from_secs(60), swept: false });
                assert_eq!(*ending, Ending { reason: Some("a drill".into()), ..revoked(0) });
            }
            Piece::Moved(from, to, moved_at) => {
                assert_eq!((from.as_str(), to.as_str(), *moved_at), ("before", "after", at(0)));
            }
        }
    }
    assert_eq!(sessions, 9);
}

/// Nobody is signed out: every cookie's key finds its session, every list and history is as it was, and so is every end.
pub async fn an_import_signs_nobody_out(fixture: impl Fixture) {
    let source = MemoryStore::new();
    filled(&source).await;
    let pieces = exported(&source, at(0), 7).await;
    let store = fixture.open().await;
    let mut total = Imported::default();
    for page in pieces.chunks(5) {
        let imported = import(&store, page).await;
        (total.written, total.present) = (total.written + imported.written, total.present + imported.present);
    }
    assert_eq!(total, Imported { written: pieces.len() as u64, present: 0 });

    for piece in &pieces {
        let Piece::Session { key, document, expires_at } = piece else { continue };
        let there = store.load(key, at(0)).await.unwrap().expect("expected the session, found none");
        assert_eq!(there.expires_at, *expires_at);
        if fixture.keeps_bytes() && fixture.keeps_cookies() {
            assert_eq!(there.document(), **document);
        }
        assert_eq!(there.cut_off.map(|cut_off| cut_off.before), Some(at(0) - Duration::from_secs(60)));
        assert!(!there.is_cut_off());
        assert_eq!(store.update(key, &changed(&there, "7")).await.unwrap(), Written::Done, "its revision is known");
    }
    assert!(load(&store, "two").await.is_none() && load(&store, "before").await.is_none());
    for owner in ["alice", "bob", "carol", "dave", "erin", "frank"] {
        let (owner, page) = (UserId::from(owner), Page::first(100));
        let (here, there) = (registry_of(&store), registry_of(&source));
        assert_eq!(here.list(&owner, at(0), &page).await.unwrap(), there.list(&owner, at(0), &page).await.unwrap());
        assert_eq!(here.history(&owner, &page).await.unwrap(), there.history(&owner, &page).await.unwrap());
    }
    let fate = store.fate(&key("before")).await.unwrap();
    assert!(matches!(fate, Some(Fate::Moved { to, at: moved }) if to == key("after") && moved == at(0)));
    let fate = store.fate(&key("two")).await.unwrap();
    assert!(matches!(fate, Some(Fate::Ended(ended, ending)) if ended.handle == handle(2) && ending == revoked(1_000)));
    let plain = SignIn { facts: DeviceFacts::default(), replaces: None, limit: None };
    let late = session_of("dave", 20, 1_999);
    assert_eq!(registry_of(&store).sign_in(None, &key("late"), &late, &plain).await.unwrap(), SignedIn::CutOff);
    assert_eq!(sorted(&exported(&store, at(0), 3).await).len(), pieces.len());
}

/// What is to be ended because of it was, in the old place: nobody has to look again in the new one.
pub async fn a_cut_off_that_was_carried_out_arrives_as_such(fixture: impl Fixture) {
    let store = fixture.open().await;
    let pieces = [Piece::CutOff(CutOff { before: at(0), swept: true }, revoked(0))];
    assert_eq!(import(&store, &pieces).await, Imported { written: 1, present: 0 });
    assert_eq!(sorted(&exported(&store, at(0), 10).await), sorted(&pieces));
}

/// An import that broke off is begun again.
pub async fn an_import_twice_changes_nothing(fixture: impl Fixture) {
    let source = MemoryStore::new();
    filled(&source).await;
    let pieces = exported(&source, at(0), 7).await;
    let store = fixture.open().await;
    let all = pieces.len() as u64;
    let half = import(&store, &pieces[..pieces.len() / 2]).await;
    assert_eq!(half, Imported { written: all / 2, present: 0 });
    assert_eq!(import(&store, &pieces).await, Imported { written: all - all / 2, present: all / 2 });
    let before = sorted(&exported(&store, at(0), 3).await);
    assert_eq!(import(&store, &pieces).await, Imported { written: 0, present: all });
    assert_eq!(sorted(&exported(&store, at(0), 3).await), before);
    assert_eq!(import(&store, &[]).await, Imported::default());
}

/// A sign-out in the new place holds against what the old one still believes.
pub async fn what_ended_in_the_new_place_stays_ended(fixture: impl Fixture) {
    let source = MemoryStore::new();
    for (name, owner, number) in [("one", "alice", 1), ("two", "bob", 2), ("three", "carol", 3)] {
        sign_in(&source, name, owner, number).await;
    }
    let store = fixture.open().await;
    import(&store, &exported(&source, at(0), 10).await).await;
    assert!(store.remove(&key("one"), &signed_out()).await.unwrap());
    let moving = found(&store, "two").await;
    assert_eq!(store.rotate(&key("two"), &key("elsewhere"), &moving).await.unwrap(), Written::Done);
    sign_in(&source, "four", "carol", 4).await;
    registry_of(&store).revoke_all(&"carol".into(), None, &revoked(1_000)).await.unwrap();

    let again = import(&store, &exported(&source, at(0), 10).await).await;
    for name in ["one", "two", "three", "four"] {
        assert!(load(&store, name).await.is_none(), "{name} came back");
    }
    found(&store, "elsewhere").await;
    assert!(again.present >= 7, "{again:?}");
    let devices = registry_of(&store).list(&"bob".into(), at(0), &Page::first(9)).await.unwrap();
    assert_eq!(devices.len(), 1, "who moved in the new place is still signed in there");
    let history = registry_of(&store).history(&"alice".into(), &Page::first(9)).await.unwrap();
    assert_eq!(history[0].ended, Some(signed_out()), "the first end stays");
}

/// Rows are read before the registry: what ended or moved in between is not brought to life.
pub async fn what_ended_during_an_export_does_not_live(fixture: impl Fixture) {
    let source = MemoryStore::new();
    for (name, owner, number) in [("one", "alice", 1), ("two", "bob", 2), ("three", "carol", 3)] {
        sign_in(&source, name, owner, number).await;
    }
    let (mut pieces, place) = transfer_of(&source).export(&Place::default(), at(0), 100).await.unwrap();
    assert_eq!(pieces.len(), 3);
    assert!(source.remove(&key("one"), &revoked(500)).await.unwrap());
    let moving = found(&source, "two").await;
    assert_eq!(source.rotate(&key("two"), &key("new"), &moving).await.unwrap(), Written::Done);
    let mut place = place;
    while let Some(from) = place {
        let (page, next) = transfer_of(&source).export(&from, at(0), 100).await.unwrap();
        (pieces, place) = ([pieces, page].concat(), next);
    }
    let store = fixture.open().await;
    import(&store, &pieces).await;
    assert!(load(&store, "one").await.is_none(), "it ended");
    assert!(load(&store, "two").await.is_none(), "it has another key");
    found(&store, "three").await;
    let history = registry_of(&store).history(&"alice".into(), &Page::first(9)).await.unwrap();
    assert_eq!(history[0].ended, Some(revoked(500)));

    // What was left behind comes with the next export.
    import(&store, &exported(&source, at(0), 100).await).await;
    found(&store, "new").await;
    let devices = registry_of(&store).list(&"bob".into(), at(0), &Page::first(9)).await.unwrap();
    assert_eq!(devices.len(), 1);
}

/// A second export knows of ends and moves that the first did not.
pub async fn an_end_in_the_old_place_reaches_the_new_one(fixture: impl Fixture) {
    let source = MemoryStore::new();
    for (name, owner, number) in [("one", "alice", 1), ("two", "bob", 2)] {
        sign_in(&source, name, owner, number).await;
    }
    let store = fixture.open().await;
    import(&store, &exported(&source, at(0), 10).await).await;
    assert!(source.remove(&key("one"), &revoked(500)).await.unwrap());
    let moving = found(&source, "two").await;
    assert_eq!(source.rotate(&key("two"), &key("new"), &moving).await.unwrap(), Written::Done);
    import(&store, &exported(&source, at(0), 10).await).await;
    assert!(load(&store, "one").await.is_none() && load(&store, "two").await.is_none());
    found(&store, "new").await;
    let bobs = registry_of(&store).list(&"bob".into(), at(0), &Page::first(9)).await.unwrap();
    assert_eq!(bobs.len(), 1, "the device followed to the new key");
    assert_eq!(registry_of(&store).key(&handle(2)).await.unwrap(), Some(key("new")));
    let history = registry_of(&store).history(&"alice".into(), &Page::first(9)).await.unwrap();
    assert_eq!(history[0].ended, Some(revoked(500)));
}

/// Whoever has the key already keeps it, and the later cut-off holds.
pub async fn an_import_overwrites_nothing(fixture: impl Fixture) {
    let store = fixture.open().await;
    stored(&store, "taken", "1").await;
    let everyone = |millis| CutOff { before: at(millis), swept: false };
    registry_of(&store).revoke_all(&"dave".into(), None, &revoked(2_000)).await.unwrap();
    registry_of(&store).revoke_everyone(at(100), &revoked(100)).await.unwrap();
    let (key_, expires_at) = (key("taken"), later());
    let pieces = [
        Piece::Session { key: key_, document: Arc::from(document("2")), expires_at },
        Piece::OwnerCutOff("dave".into(), at(1_000)),
        Piece::CutOff(everyone(50), revoked(50)),
    ];
    assert_eq!(import(&store, &pieces).await, Imported { written: 0, present: 3 });
    assert_eq!(found(&store, "taken").await.data.get("v").map(str::trim), Some("1"));
    let later_ones = [Piece::OwnerCutOff("dave".into(), at(3_000)), Piece::CutOff(everyone(200), revoked(200))];
    assert_eq!(import(&store, &later_ones).await, Imported { written: 2, present: 0 });
    let cut_offs: Vec<_> = exported(&store, at(0), 10).await.into_iter().filter(|piece| named(piece).0 > 1).collect();
    assert_eq!(sorted(&cut_offs), sorted(&later_ones));
}

/// A piece that no store can take takes the others of its call with it.
pub async fn an_import_is_whole_or_not_there(fixture: impl Fixture) {
    let store = fixture.open().await;
    let session = |name: &str, document: &str| Piece::Session {
        key: StoreKey::stored(name),
        document: Arc::from(document),
        expires_at: later(),
    };
    let good = session("good", &document("1"));
    for (name, text) in [("a", "[]"), ("a", "no JSON"), ("a", "{}"), ("", &document("1")), ("a\0", &document("1"))] {
        let pieces = [good.clone(), session(name, text)];
        let error = transfer_of(&store).import(&pieces).await.unwrap_err();
        assert!(error.is_poisoned() || error.is_value(), "{error:?}");
        assert!(load(&store, "good").await.is_none(), "it came alone, without {text}");
    }
    assert_eq!(import(&store, &[good]).await.written, 1);
}

/// A row that nobody can read stays where it is, and keeps nobody else from moving.
pub async fn an_export_leaves_out_what_cannot_be_read(fixture: impl Fixture) {
    let store = fixture.open().await;
    let broken = if fixture.keeps_cookies() { r#"{"no":"cookie"}"# } else { r#"{"cookie":"of Express"}"# };
    if !fixture.plant("broken", broken, later()).await {
        return;
    }
    stored(&store, "a", "1").await;
    stored(&store, "z", "1").await;
    let keys: Vec<_> = exported(&store, at(0), 1).await.iter().map(|piece| named(piece).1).collect();
    assert_eq!(keys, ["a", "z"]);
}
