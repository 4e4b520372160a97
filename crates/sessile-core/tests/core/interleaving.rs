//! Two and three requests on one session, with their store calls interleaved in every way that proptest thinks of.
//!
//! What is promised, and checked after every step: the outcome is that of the same requests
//! one after the other, in the order in which their writes were committed; one whose edits changed nothing of what it
//! saw takes place when it looked. A request that finds its session gone
//! (ended, or rotated to another id) counts as not having run: its edits are dropped, it gets no cookie, and when it
//! wanted another id it gets an error. A session has one live id at most, and after an `end` none, whatever was in
//! flight: an `end` that was overtaken by a rotation ends the session under its new id. A request that comes with an id
//! just after it was rotated away, and finds nothing, counts as not having run either.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use proptest::prelude::*;
use sessile_core::codec::{CookieCodec, ExpressCodec, Keyring};
use sessile_core::{Clock, Data, Error, Exchange, Handle, KeyForm, Session, Sessions, SetCookie, Store, StoreKey};

use crate::support::{Browser, Call, ManualClock, SECRET, Spy, block_on, config};

#[derive(Clone, Debug)]
enum Edit {
    Insert(&'static str, u8),
    Update(&'static str, u64),
    Toggle(&'static str),
    Remove(&'static str),
    Clear,
    SignIn(&'static str),
    AuthenticateAgain,
    Rotate,
    End,
}

impl Edit {
    fn make(&self, session: &Session) {
        match self.clone() {
            Self::Insert(key, value) => session.insert(key, &value).unwrap(),
            // Multiplied, so that no two orders come out alike.
            Self::Update(key, by) => {
                session.update(key, move |n: Option<u64>| n.unwrap_or(1).wrapping_mul(31).wrapping_add(by)).unwrap();
            }
            // Twice is nothing: what a request leaves may be what it saw, though another one wrote between.
            Self::Toggle(key) => drop(session.update(key, |n: Option<u64>| u64::from(n != Some(1))).unwrap()),
            Self::Remove(key) => drop(session.remove(key).unwrap()),
            Self::Clear => session.clear().unwrap(),
            // Refused after an `end`, and when nobody is signed in: then it is no edit.
            Self::SignIn(user) => drop(session.sign_in(user)),
            Self::AuthenticateAgain => drop(session.authenticate_again()),
            Self::Rotate => session.rotate().unwrap(),
            Self::End => session.end().unwrap(),
        }
    }
}

fn key() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "seed"])
}

fn edit() -> impl Strategy<Value = Edit> {
    let user = prop::sample::select(vec!["alice", "bob"]);
    prop_oneof![
        4 => (prop::sample::select(vec!["a", "b"]), any::<u8>()).prop_map(|(key, value)| Edit::Insert(key, value)),
        4 => (prop::sample::select(vec!["a", "b"]), 0..100_u64).prop_map(|(key, by)| Edit::Update(key, by)),
        2 => prop::sample::select(vec!["a", "b"]).prop_map(Edit::Toggle),
        2 => key().prop_map(Edit::Remove),
        1 => Just(Edit::Clear),
        2 => user.prop_map(Edit::SignIn),
        1 => Just(Edit::AuthenticateAgain),
        2 => Just(Edit::Rotate),
        2 => Just(Edit::End),
    ]
}

#[derive(Clone, Debug)]
struct Case {
    signed_in: bool,
    /// Every request on an instance of its own, or all on one.
    instances: bool,
    requests: Vec<Vec<Edit>>,
    /// Who goes on next; when it ends, everybody in turn.
    schedule: Vec<prop::sample::Index>,
}

fn case(requests: usize) -> impl Strategy<Value = Case> {
    let edits = prop::collection::vec(prop::collection::vec(edit(), 0..4), requests);
    let schedule = prop::collection::vec(any::<prop::sample::Index>(), 0..40);
    (any::<bool>(), any::<bool>(), edits, schedule).prop_map(|(signed_in, instances, requests, schedule)| Case {
        signed_in,
        instances,
        requests,
        schedule,
    })
}

/// One store with one session in it, and the browser that has it.
struct World {
    store: Spy,
    clock: ManualClock,
    browser: Browser,
    seed: Handle,
}

/// A request that takes an entry for good, makes these edits, and answers whether it had it.
async fn redeem(exchange: Exchange, edits: Vec<Edit>) -> bool {
    let session = exchange.session().await.unwrap();
    let taken: Option<u8> = session.take_entry("entries", "one").unwrap();
    let saved = exchange.save().await;
    assert!(saved.as_ref().err().is_none_or(Error::is_gone), "{saved:?}");
    if saved.is_ok() && taken.is_some() {
        edits.iter().for_each(|edit| edit.make(&session));
    }
    let _ = exchange.finish().await;
    taken.is_some() && saved.is_ok()
}

type Answer = Result<Option<SetCookie>, Error>;

/// What is left of a session: whether it is the one from before, its owner, its data.
type Left = (bool, Option<String>, String);

impl World {
    fn new(signed_in: bool) -> Self {
        let (store, clock, mut browser) = (Spy::new(), ManualClock::new(), Browser::default());
        let sessions = Sessions::new(store.clone(), config().clock(clock.clone()));
        let seed = browser.visit(&sessions, |session| {
            session.insert("seed", "old").unwrap();
            session.insert("a", &0).unwrap();
            session.insert("entries", &BTreeMap::from([("one", 1), ("other", 2)])).unwrap();
            if signed_in {
                session.sign_in("alice").unwrap();
            }
            session.handle()
        });
        store.ops();
        Self { store, clock, browser, seed }
    }

    fn instance(&self) -> Sessions {
        let config = config().touch_every(Duration::ZERO).clock(self.clock.clone());
        Sessions::new(self.store.yielding(), config)
    }

    fn request(&self, sessions: &Sessions, edits: Vec<Edit>) -> Pin<Box<dyn Future<Output = Answer>>> {
        let exchange = self.browser.begin(sessions);
        Box::pin(async move {
            let session = exchange.session().await?;
            edits.iter().for_each(|edit| edit.make(&session));
            exchange.finish().await
        })
    }

    /// What the requests did, without what made the session.
    fn calls(&self) -> Vec<Call> {
        self.store.calls().split_off(1)
    }

    fn left(&self) -> Vec<Left> {
        let live = self.store.live(self.clock.now());
        let mut left: Vec<Left> = live
            .into_iter()
            .map(|record| {
                let owner = record.owner.as_ref().map(|owner| owner.as_str().to_owned());
                (record.handle == self.seed, owner, application_data(&record.data))
            })
            .collect();
        left.sort();
        left
    }

    /// What holds at every moment.
    fn check(&self) {
        let (live, calls) = (self.store.live(self.clock.now()), self.calls());
        let mut ids = BTreeMap::new();
        for record in &live {
            *ids.entry(record.handle.clone()).or_insert(0) += 1;
        }
        assert!(ids.values().all(|ids| *ids == 1), "a session with two live ids");
        let over = calls.iter().filter(|call| call.done && matches!(call.op, "rotate" | "remove"));
        for call in over.clone() {
            let again = block_on(self.store.rows.load(&call.key, self.clock.now())).unwrap();
            assert!(again.is_none(), "an id that was rotated away or ended lives again");
        }
        if over.clone().any(|call| call.op != "rotate") {
            assert!(!ids.contains_key(&self.seed), "an ended session lives again");
            assert!(live.iter().all(|record| record.data.get("seed").is_none()), "its data lives again");
        }
    }
}

fn application_data(data: &Data) -> String {
    let mut data = data.clone();
    data.remove("cookie");
    data.remove("sessile");
    data.to_json()
}

/// Runs the requests as scheduled and gives their answers.
fn run(world: &World, case: &Case) -> Vec<Answer> {
    let shared = world.instance();
    let mut running: Vec<_> = case
        .requests
        .iter()
        .enumerate()
        .map(|(at, edits)| {
            let own = if case.instances { world.instance() } else { shared.clone() };
            (at, world.request(&own, edits.clone()))
        })
        .collect();
    let mut answers: Vec<Option<Answer>> = running.iter().map(|_| None).collect();
    let mut context = Context::from_waker(Waker::noop());
    let mut schedule = case.schedule.iter();
    for step in 0.. {
        assert!(step < 10_000, "the requests wait for each other for ever");
        if running.is_empty() {
            break;
        }
        let next = schedule.next().map_or(step % running.len(), |index| index.index(running.len()));
        let (request, future) = &mut running[next];
        world.store.now_for(*request);
        if let std::task::Poll::Ready(answer) = future.as_mut().poll(&mut context) {
            answers[*request] = Some(answer);
            drop(running.remove(next));
        }
        world.check();
    }
    answers.into_iter().flatten().collect()
}

/// The same requests one after the other.
fn run_in_order(case: &Case, order: &[usize]) -> Vec<Left> {
    let world = World::new(case.signed_in);
    let shared = world.instance();
    for &request in order {
        let own = if case.instances { world.instance() } else { shared.clone() };
        // Each is alone, so it may not fail.
        let _ = block_on(world.request(&own, case.requests[request].clone())).unwrap();
        world.check();
    }
    world.left()
}

/// Whether this request found its session alive and then gone.
fn is_dropped(calls: &[Call], request: usize) -> bool {
    let mut own = calls.iter().filter(|call| call.by == request);
    let found = own.next().is_some_and(|load| load.done);
    found && own.next_back().is_some_and(|last| !last.done)
}

fn check_case(case: &Case) {
    let world = World::new(case.signed_in);
    let answers = run(&world, case);
    let calls = world.calls();

    // A request takes place with its write, or with its last look when its edits changed nothing of what it saw.
    let wrote = |call: &Call| call.done && call.op != "load" && call.op != "touch";
    let place = |request: usize| {
        let own = |call: &Call| call.by == request;
        let look = || calls.iter().rposition(|call| own(call) && call.op == "load");
        calls.iter().rposition(|call| own(call) && wrote(call)).or_else(look)
    };
    let late = |request: usize| {
        let rotates = |edit: &Edit| matches!(edit, Edit::Rotate | Edit::SignIn(_) | Edit::AuthenticateAgain);
        let found_or_wrote = calls.iter().any(|call| call.by == request && call.done);
        !found_or_wrote && case.requests.iter().flatten().any(rotates)
    };
    let mut order: Vec<usize> =
        (0..case.requests.len()).filter(|&request| !is_dropped(&calls, request) && !late(request)).collect();
    order.sort_by_key(|&request| place(request));
    assert_eq!(world.left(), run_in_order(case, &order), "committed in the order {order:?}");

    for (request, answer) in answers.iter().enumerate() {
        let has = |wanted: fn(&Edit) -> bool| case.requests[request].iter().any(wanted);
        let ended = has(|edit| matches!(edit, Edit::End));
        let moves = has(|edit| matches!(edit, Edit::Rotate | Edit::SignIn(_)));
        let new_id = calls.iter().rfind(|call| call.by == request && wrote(call)).and_then(|call| call.to.as_ref());
        match answer {
            Err(error) => assert!(error.is_gone() && is_dropped(&calls, request) && !ended, "{error}"),
            Ok(cookie) if ended => {
                assert!(cookie.as_ref().is_some_and(|cookie| cookie.header_value().ends_with("; Max-Age=0")));
            }
            Ok(None) => {
                assert_eq!(new_id, None, "a new id that nobody learns of");
                assert!(!moves || !is_dropped(&calls, request), "a sign-in that failed and did not say so");
            }
            Ok(Some(cookie)) => assert_eq!(Some(&key_of(cookie)), new_id, "a cookie with an id that is not the newest"),
        }
    }
}

fn key_of(cookie: &SetCookie) -> StoreKey {
    let (name, rest) = cookie.header_value().split_once('=').unwrap();
    let codec = ExpressCodec::new(Keyring::try_from(SECRET).unwrap());
    let decoded = codec.decode(name, rest.split(';').next().unwrap().as_bytes(), std::time::UNIX_EPOCH).unwrap();
    StoreKey::new(&decoded.id, KeyForm::Sha256)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_requests_end_as_one_after_the_other(case in case(2)) {
        check_case(&case);
    }

    #[test]
    fn three_requests_end_as_one_after_the_other(case in case(3)) {
        check_case(&case);
    }
}

/// The races that everybody else loses, at every step at which they can be met.
#[test]
fn every_pair_of_edits_meets_at_every_store_call() {
    let edits = [
        vec![],
        vec![Edit::Insert("a", 1)],
        vec![Edit::Update("a", 2)],
        vec![Edit::Toggle("a")],
        vec![Edit::Clear],
        vec![Edit::SignIn("bob")],
        vec![Edit::Rotate],
        vec![Edit::End],
    ];
    // The first goes `ahead` steps, then the second `between` steps, then both in turn.
    for (first, second) in edits.iter().flat_map(|one| edits.iter().map(move |two| (one, two))) {
        for (ahead, between) in (0..7).flat_map(|ahead| (0..7).map(move |between| (ahead, between))) {
            let requests = vec![first.clone(), second.clone()];
            let steps = std::iter::repeat_n(0, ahead).chain(std::iter::repeat_n(usize::MAX, between));
            let schedule = steps.map(index).collect();
            check_case(&Case { signed_in: true, instances: ahead % 2 == 0, requests, schedule });
        }
    }
}

/// Taking an entry in the middle of a request, while others take it too, write, sign in, rotate or end.
#[test]
fn an_entry_is_had_once_whatever_happens_meanwhile() {
    let others = [
        None,
        Some(vec![Edit::Insert("a", 1)]),
        Some(vec![Edit::Update("a", 2)]),
        Some(vec![Edit::SignIn("bob")]),
        Some(vec![Edit::Rotate]),
        Some(vec![Edit::End]),
    ];
    let afterwards = [vec![], vec![Edit::Update("b", 1)], vec![Edit::SignIn("bob")]];
    let cases = others.iter().flat_map(|other| afterwards.iter().map(move |edits| (other, edits)));
    for ((other, edits), (ahead, between)) in cases.flat_map(|case| (0..81).map(move |n| (case, (n / 9, n % 9)))) {
        let world = World::new(true);
        let [one, two] = [world.instance(), world.instance()];
        let first = redeem(world.browser.begin(&one), edits.clone());
        let second = match other {
            None => Box::pin(redeem(world.browser.begin(&two), edits.clone())) as Pin<Box<dyn Future<Output = bool>>>,
            Some(other) => {
                let request = world.request(&two, other.clone());
                Box::pin(async move {
                    drop(request.await);
                    false
                })
            }
        };
        let mut running: [Pin<Box<dyn Future<Output = bool>>>; 2] = [Box::pin(first), second];
        let mut had = [None; 2];
        let mut context = Context::from_waker(Waker::noop());
        let steps =
            std::iter::repeat_n(0, ahead).chain(std::iter::repeat_n(1, between)).chain([0, 1].into_iter().cycle());
        for step in steps.take(200) {
            if had[step].is_none()
                && let std::task::Poll::Ready(answer) = running[step].as_mut().poll(&mut context)
            {
                had[step] = Some(answer);
            }
            world.check();
        }
        let winners = had.iter().filter(|had| had.unwrap()).count();
        let may_end = other
            .as_ref()
            .is_some_and(|other| other.iter().any(|edit| !matches!(edit, Edit::Insert(..) | Edit::Update(..))));
        assert!(winners == 1 || winners == 0 && may_end, "{winners} had it beside {other:?}, {ahead} {between}");
        for (_, _, data) in world.left() {
            assert!(winners == 0 || !data.contains(r#""one""#), "{data} beside {other:?}, {ahead} {between}");
        }
    }
}

/// An index that picks the first or the last of those that are running.
fn index(which: usize) -> prop::sample::Index {
    use proptest::strategy::{Strategy, ValueTree};
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    loop {
        let index = any::<prop::sample::Index>().new_tree(&mut runner).unwrap().current();
        if index.index(2) == usize::from(which > 0) {
            return index;
        }
    }
}
