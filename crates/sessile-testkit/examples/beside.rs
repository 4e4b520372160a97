//! How long a store's calls take, one store beside another on the same machine: `beside redis://… postgres://…`; without a URL
//! on servers that it starts, a Redis that keeps nothing, one that flushes every write, and PostgreSQL.
//!
//! Each store gets as many anonymous sessions and sessions of users; then readers and writers take turns on them, sixteen
//! at once, the stores one after the other in several rounds, so that whatever else the machine does hits all of them.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement that fails has no result")]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use sessile::{Clock as _, DeviceFacts, Ending, PostgresStore, Record, RedisStore, SignIn, Store, SystemClock};
use sessile_testkit::contract::{key, record, signed_out};
use sessile_testkit::postgres::Cluster;
use sessile_testkit::redis::Server;
use tokio::task::JoinSet;

const SESSIONS: usize = 2_000;
const TASKS: usize = 16;
const CALLS: usize = 500;
const ROUNDS: usize = 3;

fn now() -> SystemTime {
    SystemClock.now()
}

fn session(number: usize, owner: Option<&str>) -> Record {
    let time = now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let handle = format!("00000000-0000-4000-8000-{number:012x}");
    let signed_in = owner.map(|owner| format!(r#","owner":"{owner}","authenticated_at":{time}"#)).unwrap_or_default();
    let facts = format!(r#"{{"handle":"{handle}","created_at":{time}{signed_in}}}"#);
    let cart = "tea ".repeat(50);
    let document =
        format!(r#"{{"cookie":{{"originalMaxAge":3600000,"path":"/"}},"cart":"{cart}","v":1,"sessile":{facts}}}"#);
    let mut record = record(&document, now() + Duration::from_secs(3_600));
    record.seen_at = now();
    record
}

async fn sign_in(store: &dyn Store, name: &str, number: usize) {
    let sign_in = SignIn { facts: DeviceFacts::default(), replaces: None, limit: None };
    let record = session(number, Some(&format!("user {}", number % 500)));
    let answer = store.registry().unwrap().sign_in(None, &key(name), &record, &sign_in).await.unwrap();
    assert!(matches!(answer, sessile_core::SignedIn::Done(_)), "{answer:?}");
}

async fn fill(store: &dyn Store, run: &str) {
    for number in 0..SESSIONS {
        let _ = store.insert(&key(&format!("{run} cart {number}")), &session(number, None)).await.unwrap();
        sign_in(store, &format!("{run} {number}"), offset(run) + number).await;
    }
}

/// Handles of different runs differ.
fn offset(run: &str) -> usize {
    run.parse::<usize>().unwrap() % 1_000_000 * 1_000_000
}

#[derive(Clone, Copy, Debug)]
enum Work {
    LoadAnonymous,
    LoadUser,
    Update,
    SignInAndOut,
}

async fn call(store: &dyn Store, run: &str, work: Work, number: usize) {
    let nth = number % SESSIONS;
    match work {
        Work::LoadAnonymous => assert!(store.load(&key(&format!("{run} cart {nth}")), now()).await.unwrap().is_some()),
        Work::LoadUser => assert!(store.load(&key(&format!("{run} {nth}")), now()).await.unwrap().is_some()),
        Work::Update => {
            let key = key(&format!("{run} {nth}"));
            let mut read = store.load(&key, now()).await.unwrap().unwrap();
            read.data.insert("v", number.to_string());
            let _ = store.update(&key, &read).await.unwrap();
        }
        Work::SignInAndOut => {
            let unique = SystemClock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as usize;
            let number = (unique & 0xffff_ffff) << 12 | (number & 0xfff);
            let name = format!("{run} short {number}");
            sign_in(store, &name, number).await;
            assert!(store.remove(&key(&name), &Ending { at: now(), ..signed_out() }).await.unwrap());
        }
    }
}

/// Calls a second, and the median and the 99th percentile of one.
async fn measure(store: &Arc<dyn Store>, run: &str, work: Work) -> (f64, Duration, Duration) {
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (store, run) = (store.clone(), run.to_owned());
        tasks.spawn(async move {
            let mut took = Vec::new();
            for number in 0..CALLS {
                let begin = Instant::now();
                call(&*store, &run, work, task * CALLS + number).await;
                took.push(begin.elapsed());
            }
            took
        });
    }
    let mut took: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    took.sort_unstable();
    let rate = (TASKS * CALLS) as f64 / begin.elapsed().as_secs_f64();
    (rate, took[took.len() / 2], took[took.len() * 99 / 100])
}

async fn open(url: &str) -> Arc<dyn Store> {
    match url.split_once(':') {
        Some(("postgres", _)) => Arc::new(PostgresStore::builder(url).connect().await.unwrap()),
        _ => Arc::new(RedisStore::connect(url).await.unwrap()),
    }
}

/// A Redis that keeps nothing, one that flushes each write to the disk, and a PostgreSQL that does: as long as they are held.
fn start() -> (Vec<Server>, Cluster) {
    let flushed = [("appendonly", "yes"), ("appendfsync", "always")];
    (
        vec![Server::start(), Server::start_with(&flushed)],
        Cluster::start_with(&[("fsync", "on"), ("synchronous_commit", "on")]),
    )
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

#[tokio::main]
async fn main() {
    let run = now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis().to_string();
    let mut urls: Vec<String> = std::env::args().skip(1).collect();
    let mut started = None;
    if urls.is_empty() {
        let (servers, cluster) = started.insert(start());
        urls.extend(servers.iter().map(Server::url).chain([cluster.url("postgres")]));
    }
    let mut stores = Vec::new();
    for url in &urls {
        let store = open(url).await;
        fill(&*store, &run).await;
        stores.push(store);
    }
    for (number, store) in stores.iter().enumerate() {
        println!("{number}: {}", store.description());
    }
    for work in [Work::LoadAnonymous, Work::LoadUser, Work::Update, Work::SignInAndOut] {
        let mut rates = vec![Vec::new(); stores.len()];
        for round in 0..ROUNDS {
            for (number, store) in stores.iter().enumerate() {
                let (rate, median, late) = measure(store, &run, work).await;
                println!("{work:?} round {round} store {number}: {rate:.0}/s, p50 {median:?}, p99 {late:?}");
                rates[number].push(rate);
            }
        }
        let medians: Vec<_> = rates.into_iter().map(median).collect();
        let last = medians.last().copied().unwrap_or(1.0);
        let ratios: Vec<_> = medians.iter().map(|rate| format!("{:.2}x", rate / last)).collect();
        println!("{work:?}, as multiples of the last store: {}", ratios.join(", "));
    }
    drop(started);
}
