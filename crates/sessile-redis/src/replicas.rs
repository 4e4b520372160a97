//! Waiting until replicas have what was done. `WAIT` holds up everything behind it on its connection, so it has a road of
//! its own, and what it waits for is done before, on the ordinary one: a sign-out is in force whether or not the replicas
//! say anything.
//!
//! `WAIT` is about what its own connection wrote last. So a note is written there first, which comes after everything that
//! it stands for. Who waits at the same time for the same part of the store shares one: while a group waits, the next one
//! gathers.
//!
//! In a failover the two roads may lead to two servers, of which each calls itself the primary, and the replicas of the new
//! one have what it has. So whoever wants to wait asks first in which history the server is: a promoted server begins one
//! of its own. What was confirmed in another history is not confirmed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::failure::Failure;
use crate::lane::Lane;
use crate::link::within;
use crate::road::Road;

/// How many replicas have to have a sign-out, and within which time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replicas {
    pub(crate) count: u32,
    pub(crate) timeout: Duration,
}

/// The history that a server writes: its replication id, or nothing where it does not tell. Its replicas write the same one,
/// until one of them is promoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct History(Option<String>);

impl History {
    /// That of the server of this key.
    pub(crate) async fn of(road: &mut Road, key: &str) -> Result<Self, Failure> {
        let mut question = redis::pipe();
        question.cmd("INFO").arg("replication");
        let info: String = match road.send_together(question, key).await {
            Ok(mut answers) => redis::from_redis_value(answers.pop().ok_or(Failure::Odd)?)?,
            Err(failure) if failure.is_denied() => return Ok(Self(None)),
            Err(failure) => return Err(failure),
        };
        let id = info.lines().find_map(|line| line.strip_prefix("master_replid:"));
        Ok(Self(id.map(|id| id.trim().to_owned())))
    }

    pub(crate) fn is_told(&self) -> bool {
        self.0.is_some()
    }
}

/// The history that replicas enough have, to its end; nothing when they are too few.
type Confirmed = Option<History>;
type Told = watch::Receiver<Option<Result<Confirmed, Failure>>>;

/// The groups of one part.
#[derive(Default)]
struct Groups {
    /// The last that was made.
    last: Option<Told>,
    /// Whether it can still be joined.
    gathers: bool,
}

/// Cloning it shares the road and the groups.
#[derive(Clone)]
pub(crate) struct Waiting {
    pub(crate) lane: Lane,
    pub(crate) replicas: Replicas,
    /// How long an answer may take, `WAIT` not included.
    pub(crate) patience: Duration,
    groups: Arc<Mutex<HashMap<String, Groups>>>,
}

impl Waiting {
    pub(crate) fn new(lane: Lane, replicas: Replicas, patience: Duration) -> Self {
        Self { lane, replicas, patience, groups: Arc::default() }
    }

    fn groups(&self) -> MutexGuard<'_, HashMap<String, Groups>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether replicas enough have everything that was done in this part, of which `note` is a free name, since its server
    /// was in this history.
    pub(crate) async fn confirm(&self, note: &str, since: &History) -> Result<bool, Failure> {
        let limit = (self.patience + self.replicas.timeout) * 2;
        let mut told = self.join(note);
        let confirmed = within(limit, async {
            let answer = told.wait_for(Option::is_some).await.map_err(|_| Failure::Odd)?;
            answer.clone().unwrap_or(Err(Failure::Odd))
        });
        Ok(confirmed.await?.as_ref() == Some(since))
    }

    fn join(&self, note: &str) -> Told {
        let mut groups = self.groups();
        let part = groups.entry(note.to_owned()).or_default();
        if let Some(last) = part.last.as_ref().filter(|_| part.gathers) {
            return last.clone();
        }
        let (tell, told) = watch::channel(None);
        let before = part.last.replace(told.clone());
        part.gathers = true;
        let (waiting, note) = (self.clone(), note.to_owned());
        tokio::spawn(async move {
            if let Some(mut before) = before {
                // Whatever became of it, it is this one's turn.
                let _ = before.wait_for(Option::is_some).await;
            }
            waiting.groups().entry(note.clone()).or_default().gathers = false;
            tell.send_replace(Some(waiting.wait(&note).await));
        });
        told
    }

    async fn wait(&self, note: &str) -> Result<Confirmed, Failure> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("SET").arg(note).arg("");
        pipeline.cmd("WAIT").arg(self.replicas.count).arg(self.replicas.timeout.as_millis() as u64);
        let limit = self.patience + self.replicas.timeout;
        let taken = within(limit, self.lane.road()).await?;
        let mut road = taken.road.clone();
        let answer = within(limit, async {
            let reached = road.send_together(pipeline, note).await?.pop().ok_or(Failure::Odd)?;
            let is_enough = redis::from_redis_value::<u32>(reached)? >= self.replicas.count;
            Ok(if is_enough { Some(History::of(&mut road, note).await?) } else { None })
        });
        let answer = answer.await;
        self.lane.heed(&taken, taken.road.part(note), &answer);
        answer
    }
}
