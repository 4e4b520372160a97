//! The way to the server or the cluster: one shared connection, or one for each of the cluster's servers, on which the
//! commands of all requests follow one another without waiting.

use std::fmt;
use std::time::Duration;

use redis::aio::{ConnectionLike, ConnectionManager};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{Route, SingleNodeRoutingInfo, SlotAddr};
use redis::{Cmd, Pipeline, Value};
use tokio::task::JoinSet;

use crate::failure::Failure;
use crate::names::slot_of;
use crate::script::{Answer, Script};

/// How many replicas have to have a sign-out, and within which time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replicas {
    pub(crate) count: u32,
    pub(crate) timeout: Duration,
}

#[derive(Clone)]
pub(crate) enum Road {
    Server(ConnectionManager),
    Cluster(ClusterConnection),
}

/// Cloning it shares the connections.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) road: Road,
    /// For commands that are followed by `WAIT`, which holds up everything behind it on its connection.
    pub(crate) waiting: Option<(Road, Replicas)>,
    pub(crate) patience: Duration,
}

/// Nothing: it knows passwords.
impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Road {
    async fn send(&mut self, command: &Cmd) -> Result<Value, Failure> {
        let value = match self {
            Self::Server(connection) => connection.req_packed_command(command).await?,
            Self::Cluster(connection) => connection.req_packed_command(command).await?,
        };
        Ok(value.extract_error()?)
    }

    /// Several commands' answers; the key says which server they go to.
    async fn send_together(&mut self, pipeline: Pipeline, key: &str) -> Result<Vec<Value>, Failure> {
        let count = pipeline.cmd_iter().count();
        let values = match self {
            Self::Server(connection) => connection.req_packed_commands(&pipeline, 0, count).await?,
            Self::Cluster(connection) => connection.route_pipeline(pipeline, 0, count, primary_of(key)).await?,
        };
        values.into_iter().map(|value| Ok(value.extract_error()?)).collect()
    }
}

/// The server that decides about this key.
fn primary_of(key: &str) -> SingleNodeRoutingInfo {
    SingleNodeRoutingInfo::SpecificNode(Route::new(slot_of(key), SlotAddr::Master))
}

async fn within<T>(patience: Duration, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(patience, work).await.unwrap_or(Err(Failure::Slow(patience)))
}

impl Link {
    /// One command that changes nothing, again when the connection broke meanwhile.
    pub(crate) async fn ask(&self, command: Cmd) -> Result<Value, Failure> {
        within(self.patience, async {
            let mut road = self.road.clone();
            match road.send(&command).await {
                Err(failure) if failure.is_disconnect() => road.send(&command).await,
                answer => answer,
            }
        })
        .await
    }

    /// One command that changes something, and is not sent twice.
    pub(crate) async fn tell(&self, command: Cmd) -> Result<Value, Failure> {
        within(self.patience, async { self.road.clone().send(&command).await }).await
    }

    /// Several that change nothing, in one go, on what has this key's tag; their answers in the same order.
    pub(crate) async fn ask_together(&self, commands: &[Cmd], key: &str) -> Result<Vec<Value>, Failure> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        for command in commands {
            pipeline.add_command(command.clone());
        }
        within(self.patience, async {
            let mut road = self.road.clone();
            match road.send_together(pipeline.clone(), key).await {
                Err(failure) if failure.is_disconnect() => road.send_together(pipeline, key).await,
                answer => answer,
            }
        })
        .await
    }

    /// The same for several tags at once: each group of commands has the key that it goes by.
    pub(crate) async fn ask_groups(&self, groups: Vec<(String, Vec<Cmd>)>) -> Result<Vec<Vec<Value>>, Failure> {
        match self.road {
            Road::Server(_) => {
                let sizes: Vec<_> = groups.iter().map(|(_, commands)| commands.len()).collect();
                let commands: Vec<_> = groups.into_iter().flat_map(|(_, commands)| commands).collect();
                let mut values = self.ask_together(&commands, "").await?.into_iter();
                Ok(sizes.into_iter().map(|size| values.by_ref().take(size).collect()).collect())
            }
            Road::Cluster(_) => {
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
        let value = within(self.patience, async {
            let mut road = self.road.clone();
            match road.send(&script.by_name(keys, arguments)).await {
                Err(failure) if failure.is_lost_script() => road.send(&script.by_text(keys, arguments)).await,
                answer => answer,
            }
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
        let Some((road, replicas)) = &self.waiting else {
            return Ok((self.run(script, keys, arguments).await?, true));
        };
        let Some(first) = keys.first() else { return Err(Failure::Odd) };
        let mut wait = redis::cmd("WAIT");
        wait.arg(replicas.count).arg(replicas.timeout.as_millis() as u64);
        let mut pipeline = redis::pipe();
        pipeline.add_command(script.by_text(keys, arguments)).add_command(wait);
        let (mut road, limit) = (road.clone(), self.patience + replicas.timeout);
        let mut values = within(limit, road.send_together(pipeline, first.as_ref())).await?.into_iter();
        let (Some(answer), Some(reached)) = (values.next(), values.next()) else { return Err(Failure::Odd) };
        let reached: u32 = redis::from_redis_value(reached)?;
        Ok((Answer::read(answer)?, reached >= replicas.count))
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
