//! The way to the server or the cluster: commands and scripts on the road that is open, within the time that an answer may
//! take.

use std::fmt;
use std::time::Duration;

use redis::{Cmd, Value};
use tokio::task::JoinSet;

use crate::failure::Failure;
use crate::lane::Lane;
use crate::names::note_of;
use crate::replicas::{History, Waiting};
use crate::road::Road;
use crate::script::{Answer, Script};

/// Cloning it shares the connections.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) lane: Lane,
    /// The road of those who wait for replicas.
    pub(crate) waiting: Option<Waiting>,
    pub(crate) patience: Duration,
    pub(crate) is_cluster: bool,
}

/// Nothing: it knows passwords.
impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

pub(crate) async fn within<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::time::timeout(patience, work).await.unwrap_or(Err(Failure::Slow(patience)))
}

impl Link {
    /// Does this on the road that is open, and lets the lane know how it went.
    async fn on_road<T>(&self, key: &str, work: impl AsyncFnOnce(Road) -> Result<T, Failure>) -> Result<T, Failure> {
        let taken = within(self.patience, self.lane.road()).await?;
        let outcome = within(self.patience, work(taken.road.clone())).await;
        self.lane.heed(&taken, taken.road.part(key), &outcome);
        outcome
    }

    /// Several that change nothing, in one go, on what has this key's tag; their answers in the same order. Again when the
    /// connection broke meanwhile.
    pub(crate) async fn ask_together(&self, commands: &[Cmd], key: &str) -> Result<Vec<Value>, Failure> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        for command in commands {
            pipeline.add_command(command.clone());
        }
        let send = async || {
            let pipeline = pipeline.clone();
            let ask = async move |mut road: Road| match road.send_together(pipeline.clone(), key).await {
                Err(failure) if failure.is_moving() => road.send_singly(&pipeline).await,
                answer => answer,
            };
            self.on_road(key, ask).await
        };
        match send().await {
            Err(failure) if failure.is_worth_another_road() => send().await,
            answer => answer,
        }
    }

    /// One command that changes nothing, again when the connection broke meanwhile.
    pub(crate) async fn ask(&self, command: Cmd) -> Result<Value, Failure> {
        match self.tell(command.clone()).await {
            Err(failure) if failure.is_worth_another_road() => self.tell(command).await,
            answer => answer,
        }
    }

    /// One command that changes something, and is not sent twice.
    pub(crate) async fn tell(&self, command: Cmd) -> Result<Value, Failure> {
        let key = first_key(&command);
        self.on_road(&key, async move |mut road| road.send(&command).await).await
    }

    /// What every primary answers.
    pub(crate) async fn ask_primaries(&self, command: Cmd) -> Result<Value, Failure> {
        self.on_road("", async move |mut road| road.ask_primaries(&command).await).await
    }

    /// The same for several tags at once: each group of commands has the key that it goes by.
    pub(crate) async fn ask_groups(&self, groups: Vec<(String, Vec<Cmd>)>) -> Result<Vec<Vec<Value>>, Failure> {
        match self.is_cluster {
            false => {
                let sizes: Vec<_> = groups.iter().map(|(_, commands)| commands.len()).collect();
                let commands: Vec<_> = groups.into_iter().flat_map(|(_, commands)| commands).collect();
                let mut values = self.ask_together(&commands, "").await?.into_iter();
                Ok(sizes.into_iter().map(|size| values.by_ref().take(size).collect()).collect())
            }
            true => {
                let ask = |link: Self, (key, commands): (String, Vec<Cmd>)| async move {
                    link.ask_together(&commands, &key).await
                };
                self.all(groups.into_iter(), ask).await
            }
        }
    }

    /// Runs a script.
    pub(crate) async fn run(
        &self,
        script: &Script,
        keys: &[impl AsRef<str>],
        arguments: &[String],
    ) -> Result<Answer, Failure> {
        let key = keys.first().map_or("", AsRef::as_ref);
        let value = self.on_road(key, async |mut road| match road.send(&script.by_name(keys, arguments)).await {
            Err(failure) if failure.is_lost_script() => road.send(&script.by_text(keys, arguments)).await,
            answer => answer,
        });
        Answer::read(value.await?)
    }

    /// Runs a script, and waits until as many replicas have what it did as were asked for.
    pub(crate) async fn run_for_good(
        &self,
        script: &Script,
        keys: &[impl AsRef<str>],
        arguments: &[String],
    ) -> Result<(Answer, bool), Failure> {
        let Some(first) = keys.first().map(AsRef::as_ref) else { return Err(Failure::Odd) };
        let since = self.history(first).await?;
        let answer = self.run(script, keys, arguments).await?;
        Ok((answer, self.confirm(first, since).await?))
    }

    /// The history that the server of this key is in, for whoever wants to confirm what comes then; nothing where no
    /// replicas are waited for.
    pub(crate) async fn history(&self, key: &str) -> Result<Option<History>, Failure> {
        match &self.waiting {
            Some(_) => self.on_road(key, async |mut road| History::of(&mut road, key).await).await.map(Some),
            None => Ok(None),
        }
    }

    /// Whether replicas enough, if any were asked for, have what was done where this key is, since that history was asked
    /// for.
    pub(crate) async fn confirm(&self, key: &str, since: Option<History>) -> Result<bool, Failure> {
        match self.waiting.as_ref().zip(since) {
            Some((waiting, since)) => waiting.confirm(&note_of(key, self.is_cluster), &since).await,
            None => Ok(true),
        }
    }

    /// The same for many at once, in the same order.
    pub(crate) async fn all<I, T, F>(
        &self,
        items: impl Iterator<Item = I>,
        work: impl Fn(Link, I) -> F,
    ) -> Result<Vec<T>, Failure>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let mut tasks = JoinSet::new();
        for (place, item) in items.enumerate() {
            let work = work(self.clone(), item);
            tasks.spawn(async move { (place, work.await) });
        }
        let mut answers = tasks.join_all().await;
        answers.sort_by_key(|(place, _)| *place);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }
}

/// The first key of a command that has one.
fn first_key(command: &Cmd) -> String {
    match command.args_iter().nth(1) {
        Some(redis::Arg::Simple(key)) => String::from_utf8_lossy(key).into_owned(),
        _ => String::new(),
    }
}
