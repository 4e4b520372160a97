//! A connection to the server, or one to each of the cluster's servers, on which the commands of all requests follow one
//! another without waiting.
//!
//! A server that became a replica answers reads as before, from what it had, and for as long as nobody closes the
//! connection. So every batch of commands to a single server begins with the question for its role, and what a replica
//! answers is not used. In a cluster that question is not needed: a replica sends whoever asks to the primary.

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr};
use redis::{Cmd, Pipeline, Value};
use tracing::warn;

use crate::failure::Failure;
use crate::names::slot_of;
use crate::server::{gather, values};

#[derive(Clone)]
pub(crate) enum Road {
    /// With the question for the server's role, if it may be asked.
    Server(MultiplexedConnection, Option<Cmd>),
    Cluster(ClusterConnection),
}

/// The server that decides about this key.
fn primary_of(key: &str) -> SingleNodeRoutingInfo {
    SingleNodeRoutingInfo::SpecificNode(Route::new(slot_of(key), SlotAddr::Master))
}

/// Whether that is the answer of a primary, to `ROLE` or to `HELLO`.
fn is_primary(answer: &Value) -> bool {
    let mut texts = Vec::new();
    gather(answer, &mut texts);
    values(&texts, "role").first().or(texts.first()).is_some_and(|role| role == "master")
}

/// The question that this server answers. Both may be denied.
async fn question(connection: &mut MultiplexedConnection) -> Result<Option<Cmd>, Failure> {
    for question in [redis::cmd("ROLE"), redis::cmd("HELLO")] {
        let answer = connection.req_packed_command(&question).await.and_then(Value::extract_error);
        match answer.map_err(Failure::from) {
            Ok(answer) if is_primary(&answer) => return Ok(Some(question)),
            Ok(_) => return Err(Failure::Replica),
            Err(failure) if !failure.is_refusal() => return Err(failure),
            Err(_) => {}
        }
    }
    warn!("expected to be told the server's role, found that ROLE is denied; allow it, or see that no replica is used");
    Ok(None)
}

impl Road {
    /// To a server, if it is the primary.
    pub(crate) async fn to_server(mut connection: MultiplexedConnection) -> Result<Self, Failure> {
        let question = question(&mut connection).await?;
        Ok(Self::Server(connection, question))
    }

    pub(crate) async fn send(&mut self, command: &Cmd) -> Result<Value, Failure> {
        if let Self::Cluster(connection) = self {
            return Ok(connection.req_packed_command(command).await?.extract_error()?);
        }
        let mut pipeline = redis::pipe();
        pipeline.add_command(command.clone());
        self.send_together(pipeline, "").await?.pop().ok_or(Failure::Odd)
    }

    /// Several commands' answers; the key says which server they go to.
    pub(crate) async fn send_together(&mut self, pipeline: Pipeline, key: &str) -> Result<Vec<Value>, Failure> {
        let values = match self {
            Self::Server(connection, None) => {
                let count = pipeline.cmd_iter().count();
                connection.req_packed_commands(&pipeline, 0, count).await?
            }
            Self::Server(connection, Some(question)) => {
                let mut asked = redis::pipe();
                asked.add_command(question.clone());
                for command in pipeline.cmd_iter() {
                    asked.add_command(command.clone());
                }
                let mut values = connection.req_packed_commands(&asked, 0, asked.cmd_iter().count()).await?;
                if values.is_empty() || !is_primary(&values.remove(0)) {
                    return Err(Failure::Replica);
                }
                values
            }
            Self::Cluster(connection) => {
                let count = pipeline.cmd_iter().count();
                connection.route_pipeline(pipeline, 0, count, primary_of(key)).await?
            }
        };
        values.into_iter().map(|value| Ok(value.extract_error()?)).collect()
    }

    /// The same one by one. While a slot moves, only the first of several in one go would be let in where it goes to.
    pub(crate) async fn send_singly(&mut self, pipeline: &Pipeline) -> Result<Vec<Value>, Failure> {
        let mut values = Vec::new();
        for command in pipeline.cmd_iter() {
            values.push(self.send(command).await?);
        }
        Ok(values)
    }

    /// What every primary answers.
    pub(crate) async fn ask_primaries(&mut self, command: &Cmd) -> Result<Value, Failure> {
        let Self::Cluster(connection) = self else { return self.send(command).await };
        let everywhere = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
        Ok(connection.route_command(command.clone(), everywhere).await?)
    }

    /// What is to be looked after by itself: the one server, or one of the places in a cluster.
    pub(crate) fn part(&self, key: &str) -> u16 {
        match self {
            Self::Server(..) => 0,
            Self::Cluster(_) => slot_of(key),
        }
    }
}
