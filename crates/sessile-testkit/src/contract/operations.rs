//! What is kept for operators: who they are, what they did, and which secrets verified cookies.

use std::time::{Duration, SystemTime};

use sessile_core::{Action, Operations, Operator, Role, SecretUse, Store};

use super::{Fixture, at};

fn operations_of(store: &impl Store) -> &dyn Operations {
    store.operations().expect("expected a store that keeps something for operators, found one without `operations`")
}

fn operator(name: &str, role: Role, number: u8) -> Operator {
    Operator { name: name.into(), role, token_hash: [number; 32], created_at: at(u64::from(number)) }
}

fn action(target: &str, millis: u64) -> Action {
    Action {
        at: at(millis),
        actor: "alice".into(),
        action: "session.revoke".into(),
        target: target.into(),
        sessions: 1,
        reason: None,
        ip: None,
    }
}

fn used(fingerprint: &str, cookies: u64, millis: u64) -> SecretUse {
    SecretUse { fingerprint: fingerprint.into(), cookies, last_used_at: at(millis) }
}

/// Nothing was made for operators yet, and reading makes nothing.
pub async fn before_the_first_operator_there_is_nothing_to_read(fixture: impl Fixture) {
    let store = fixture.open().await;
    let operations = operations_of(&store);
    assert_eq!(operations.operators().await.unwrap(), []);
    assert_eq!(operations.actions(None, 10).await.unwrap(), []);
    assert_eq!(operations.secrets().await.unwrap(), []);
    assert!(!operations.remove_operator("alice").await.unwrap());
}

/// Each name once; everything said of them comes back on every instance, in the order of their names' bytes.
pub async fn operators_are_added_listed_and_removed(fixture: impl Fixture) {
    let (store, other) = (fixture.open().await, fixture.open().await);
    let (here, there) = (operations_of(&store), operations_of(&other));
    let names = ["bob", "Zoe", "émile", "a 'quoted' \"one\"; DROP TABLE sessions; --", "\u{1f4f1}", "alice"];
    for (number, name) in (1..).zip(names) {
        let role = if number % 2 == 0 { Role::Viewer } else { Role::Admin };
        assert!(here.add_operator(&operator(name, role, number)).await.unwrap(), "{name}");
    }
    assert!(!there.add_operator(&operator("bob", Role::Viewer, 99)).await.unwrap(), "the name is taken");
    let listed = there.operators().await.unwrap();
    let mut expected = names;
    expected.sort_unstable();
    assert_eq!(listed.iter().map(|operator| &*operator.name).collect::<Vec<_>>(), expected);
    let bob = listed.iter().find(|operator| &*operator.name == "bob").unwrap();
    assert!(*bob == operator("bob", Role::Admin, 1), "the first bob stays as he was");
    assert!(there.remove_operator("bob").await.unwrap());
    assert!(!here.remove_operator("bob").await.unwrap(), "twice is once");
    assert!(!here.remove_operator("nobody\0").await.unwrap());
    assert_eq!(here.operators().await.unwrap().len(), names.len() - 1);
    assert!(here.add_operator(&operator("bob", Role::Viewer, 99)).await.unwrap(), "the name is free again");
}

/// Names that a terminal or a database would stumble over are refused everywhere alike.
pub async fn an_operators_name_is_a_name(fixture: impl Fixture) {
    let store = fixture.open().await;
    let long = "é".repeat(64);
    for name in ["", "two\nlines", "nul\0", "\u{1b}[31mred", &format!("{long}x")] {
        let error = operations_of(&store).add_operator(&operator(name, Role::Viewer, 1)).await.unwrap_err();
        assert!(error.is_value(), "{name:?}: {error:?}");
    }
    assert_eq!(operations_of(&store).operators().await.unwrap(), []);
    assert!(operations_of(&store).add_operator(&operator(&long, Role::Viewer, 1)).await.unwrap());
}

/// Every field comes back, whatever stands in it, but for U+0000.
pub async fn an_action_is_written_down_as_it_was(fixture: impl Fixture) {
    let (store, other) = (fixture.open().await, fixture.open().await);
    let strange =
        "two\nlines \"quoted\" 'twice' \\ % _ \u{1b}[31m \u{202e} <script>; DROP TABLE sessions; -- \u{1f4f1}";
    let actions = [
        action("everyone", 1),
        Action {
            at: at(2) + Duration::from_micros(900),
            actor: strange.into(),
            action: "operator.add".into(),
            target: strange.into(),
            sessions: 5_000_000_000,
            reason: Some(strange.into()),
            ip: Some("2001:db8::7".parse().unwrap()),
        },
        Action { ip: Some("203.0.113.9".parse().unwrap()), reason: Some("".into()), ..action("", 3) },
        Action { actor: "a\0b".into(), target: "c\0".into(), reason: Some("\0".into()), ..action("", 4) },
    ];
    for action in &actions {
        operations_of(&store).record(action).await.unwrap();
    }
    let found = operations_of(&other).actions(None, 10).await.unwrap();
    let found: Vec<_> = found.into_iter().rev().map(|(_, action)| action).collect();
    let mut expected = actions;
    expected[1].at = at(2);
    expected[3].actor = "a\u{fffd}b".into();
    expected[3].target = "c\u{fffd}".into();
    expected[3].reason = Some("\u{fffd}".into());
    assert_eq!(found, expected);
}

/// The latest first, by number and not by time; each page goes on where the one before it ended.
pub async fn actions_are_paged(fixture: impl Fixture) {
    let store = fixture.open().await;
    let operations = operations_of(&store);
    for number in 0..7 {
        operations.record(&action(&number.to_string(), 100 - number)).await.unwrap();
    }
    let (mut before, mut targets, mut numbers) = (None, Vec::new(), Vec::new());
    loop {
        let page = operations.actions(before, 3).await.unwrap();
        assert!(page.len() <= 3);
        let Some((last, _)) = page.last() else { break };
        before = Some(*last);
        numbers.extend(page.iter().map(|(number, _)| *number));
        targets.extend(page.into_iter().map(|(_, action)| action.target.to_string()));
    }
    assert_eq!(targets, ["6", "5", "4", "3", "2", "1", "0"]);
    assert!(numbers.is_sorted_by(|one, next| one > next), "{numbers:?}");
    assert_eq!(operations.actions(None, 0).await.unwrap(), []);
    assert_eq!(operations.actions(Some(i64::MIN), 5).await.unwrap(), []);
}

/// Two instances that write at once, from the very first action on, lose none of them.
pub async fn actions_of_many_at_once_are_all_kept(fixture: impl Fixture) {
    const EACH: u64 = 20;
    let (store, other) = (fixture.open().await, fixture.open().await);
    let record_all = async |operations: &dyn Operations, name: &str| {
        for number in 0..EACH {
            operations.record(&action(&format!("{name} {number}"), number)).await.unwrap();
        }
    };
    tokio::join!(record_all(operations_of(&store), "here"), record_all(operations_of(&other), "there"));
    let found = operations_of(&store).actions(None, 100).await.unwrap();
    assert!(found.is_sorted_by(|one, next| one.0 > next.0), "each has a number of its own");
    let mut targets: Vec<_> = found.into_iter().map(|(_, action)| action.target.to_string()).collect();
    let mut expected: Vec<_> =
        ["here", "there"].iter().flat_map(|name| (0..EACH).map(move |number| format!("{name} {number}"))).collect();
    targets.sort_unstable();
    expected.sort_unstable();
    assert_eq!(targets, expected);
}

/// Uses from all instances add up, and the latest time stays.
pub async fn uses_of_secrets_add_up(fixture: impl Fixture) {
    let (store, other) = (fixture.open().await, fixture.open().await);
    let (here, there) = (operations_of(&store), operations_of(&other));
    here.note_secrets(&[]).await.unwrap();
    let (one, two) = ([used("aaaaaaaa", 3, 50), used("bbbbbbbb", 1, 10)], [used("aaaaaaaa", 4, 20)]);
    let (a, b) = tokio::join!(here.note_secrets(&one), there.note_secrets(&two));
    a.unwrap();
    b.unwrap();
    assert_eq!(there.secrets().await.unwrap(), [used("aaaaaaaa", 7, 50), used("bbbbbbbb", 1, 10)]);
    there.note_secrets(&[used("bbbbbbbb", 5_000_000_000, 60), used("cccccccc", 1, 50)]).await.unwrap();
    let expected = [used("bbbbbbbb", 5_000_000_001, 60), used("aaaaaaaa", 7, 50), used("cccccccc", 1, 50)];
    assert_eq!(here.secrets().await.unwrap(), expected, "the last used first, then by name");
}

/// Times before 1970 and far away come back too: a host's clock may be wrong.
pub async fn strange_times_of_actions_come_back(fixture: impl Fixture) {
    let store = fixture.open().await;
    let times = [SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH - Duration::from_millis(1_001), at(253_000_000_000)];
    for time in times {
        operations_of(&store).record(&Action { at: time, ..action("", 0) }).await.unwrap();
    }
    let found = operations_of(&store).actions(None, 10).await.unwrap();
    assert_eq!(found.into_iter().rev().map(|(_, action)| action.at).collect::<Vec<_>>(), times);
}
