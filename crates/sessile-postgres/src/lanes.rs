//! A few connections that all requests share. A request hands its statement to one of them and waits for its own answer
//! only; the driver pipelines what is under way.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, Statement};

use crate::connect::Connector;
use crate::failure::Failure;

/// After a failed attempt to connect, requests fail at once for this long instead of queueing up for the next one.
const REST: Duration = Duration::from_millis(100);

/// So many lost statements and the server is taken for a pooler that does not keep them.
const LOST_STATEMENTS: usize = 3;

/// A few statements, run on shared connections.
pub(crate) struct Lanes {
    connector: Connector,
    texts: Vec<Text>,
    lanes: Vec<Lane>,
    lost_statements: AtomicUsize,
    unnamed: AtomicBool,
    connect_timeout: Duration,
}

/// A statement and its parameters' types.
pub(crate) struct Text {
    pub(crate) sql: String,
    pub(crate) types: &'static [Type],
    /// What to make of the rows: only those that count, or none of them does.
    pub(crate) check: fn(Vec<Row>) -> Result<Vec<Row>, Failure>,
}

struct Lane {
    link: Mutex<Option<Arc<Link>>>,
    /// One attempt to connect at a time.
    connecting: Semaphore,
    failed_at: Mutex<Option<Instant>>,
}

/// A connection and the statements prepared on it; without them each use sends its own along.
struct Link {
    client: Client,
    statements: Vec<Statement>,
    opened: Instant,
}

impl Lanes {
    pub(crate) fn new(
        connector: Connector,
        texts: Vec<Text>,
        count: usize,
        unnamed: bool,
        connect_timeout: Duration,
    ) -> Self {
        let lane = || Lane { link: Mutex::new(None), connecting: Semaphore::new(1), failed_at: Mutex::new(None) };
        Self {
            connector,
            texts,
            lanes: (0..count.max(1)).map(|_| lane()).collect(),
            lost_statements: AtomicUsize::new(0),
            unnamed: AtomicBool::new(unnamed),
            connect_timeout,
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.lanes.len()
    }

    /// Runs a statement by its number on a lane by its number; once more when the connection broke under it, or the server
    /// forgot it or turned out not to be the primary, for it only reads.
    pub(crate) async fn query(
        &self,
        lane: usize,
        text: usize,
        values: &[&(dyn ToSql + Sync)],
        limit: Duration,
    ) -> Result<Vec<Row>, Failure> {
        match self.attempt(lane, text, values, limit).await {
            Err(failure) if failure.is_lost_statement() => {
                self.statement_lost();
                self.attempt(lane, text, values, limit).await
            }
            Err(failure) if failure.is_disconnect() || failure.is_read_only() => {
                self.attempt(lane, text, values, limit).await
            }
            done => done,
        }
    }

    async fn attempt(
        &self,
        lane: usize,
        text: usize,
        values: &[&(dyn ToSql + Sync)],
        limit: Duration,
    ) -> Result<Vec<Row>, Failure> {
        let lane = &self.lanes[lane % self.lanes.len()];
        let link = match self.open_link(lane) {
            Some(link) => link,
            None => self.connect(lane).await?,
        };
        let answer = match tokio::time::timeout(limit, self.run(&link, text, values)).await {
            Ok(answer) => answer.map_err(Failure::from).and_then(self.texts[text].check),
            Err(_) => {
                self.connector.look_around();
                self.stop(&link);
                Err(Failure::Slow(limit))
            }
        };
        let spoilt = |failure: &Failure| {
            failure.is_lost_statement() || failure.is_disconnect() || matches!(failure, Failure::Slow(_))
        };
        if answer.as_ref().is_err_and(spoilt) {
            lane.drop_link(&link);
        }
        if answer.as_ref().is_err_and(Failure::is_read_only) {
            self.connector.primary.leave(link.opened);
        }
        answer
    }

    /// One message batch either way: behind a pooler an unnamed statement in two would be another client's.
    async fn run(
        &self,
        link: &Link,
        text: usize,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        match link.statements.get(text) {
            Some(statement) => link.client.query(statement, values).await,
            None => {
                let Text { sql, types, .. } = &self.texts[text];
                let typed: Vec<_> = values.iter().copied().zip(types.iter().cloned()).collect();
                link.client.query_typed(sql, &typed).await
            }
        }
    }

    /// This lane's connection, if it is open and leads to the primary as far as is known.
    fn open_link(&self, lane: &Lane) -> Option<Arc<Link>> {
        lane.link().filter(|link| !link.client.is_closed() && !self.connector.primary.was_left(link.opened))
    }

    async fn connect(&self, lane: &Lane) -> Result<Arc<Link>, Failure> {
        let _turn = lane.connecting.acquire().await;
        if let Some(link) = self.open_link(lane) {
            return Ok(link);
        }
        if lane.is_resting() {
            return Err(Failure::Down);
        }
        let opened = tokio::time::timeout(self.connect_timeout, self.open()).await;
        let opened =
            opened.map_err(|_| Failure::Slow(self.connect_timeout)).and_then(|link| link.map_err(Failure::from));
        match opened {
            Ok(link) => {
                let link = Arc::new(link);
                *lane.link.lock().unwrap_or_else(PoisonError::into_inner) = Some(link.clone());
                Ok(link)
            }
            Err(failure) => {
                lane.rest();
                Err(failure)
            }
        }
    }

    async fn open(&self) -> Result<Link, tokio_postgres::Error> {
        // Who leaves the primary while this is under way means this connection too.
        let opened = Instant::now();
        let (client, _task) = self.connector.open().await?;
        let mut statements = Vec::new();
        for Text { sql, types, .. } in self.texts.iter().filter(|_| !self.is_unnamed()) {
            statements.push(client.prepare_typed(sql, types).await?);
        }
        Ok(Link { client, statements, opened })
    }

    /// Whether statements are sent whole: asked for, or found necessary.
    pub(crate) fn is_unnamed(&self) -> bool {
        self.unnamed.load(Ordering::Relaxed)
    }

    /// Tells the server to stop what runs on a connection that is given up, or it would go on for nobody.
    fn stop(&self, link: &Link) {
        let (token, tls) = (link.client.cancel_token(), self.connector.tls.clone());
        let limit = self.connect_timeout;
        tokio::spawn(async move { tokio::time::timeout(limit, token.cancel_query(tls)).await });
    }

    fn statement_lost(&self) {
        let lost = self.lost_statements.fetch_add(1, Ordering::Relaxed) + 1;
        if lost >= LOST_STATEMENTS && !self.unnamed.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the server keeps forgetting prepared statements, as a pooler in transaction mode does; sending statements unnamed from now on"
            );
        }
    }
}

impl Lane {
    fn link(&self) -> Option<Arc<Link>> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets this link, unless another one has taken its place already.
    fn drop_link(&self, gone: &Arc<Link>) {
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        if link.as_ref().is_some_and(|link| Arc::ptr_eq(link, gone)) {
            *link = None;
        }
    }

    fn rest(&self) {
        *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn is_resting(&self) -> bool {
        self.failed_at.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|at| at.elapsed() < REST)
    }
}
