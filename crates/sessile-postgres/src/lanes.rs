//! The hot path: a few connections that all requests share. A request hands its statement to one of them and waits for
//! its own answer only; the driver pipelines what is under way.

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

/// One statement and its parameter types, run on shared connections.
pub(crate) struct Lanes {
    connector: Connector,
    sql: String,
    types: &'static [Type],
    lanes: Vec<Lane>,
    next: AtomicUsize,
    lost_statements: AtomicUsize,
    unnamed: AtomicBool,
    connect_timeout: Duration,
}

struct Lane {
    link: Mutex<Option<Arc<Link>>>,
    /// One attempt to connect at a time.
    connecting: Semaphore,
    failed_at: Mutex<Option<Instant>>,
}

/// A connection and the statement prepared on it; without one each use sends it along.
struct Link {
    client: Client,
    statement: Option<Statement>,
}

impl Lanes {
    pub(crate) fn new(
        connector: Connector,
        sql: String,
        types: &'static [Type],
        count: usize,
        unnamed: bool,
        connect_timeout: Duration,
    ) -> Self {
        let lane = || Lane { link: Mutex::new(None), connecting: Semaphore::new(1), failed_at: Mutex::new(None) };
        Self {
            connector,
            sql,
            types,
            lanes: (0..count.max(1)).map(|_| lane()).collect(),
            next: AtomicUsize::new(0),
            lost_statements: AtomicUsize::new(0),
            unnamed: AtomicBool::new(unnamed),
            connect_timeout,
        }
    }

    /// Runs the statement; once more when the connection broke under it or the server forgot it, for it only reads.
    pub(crate) async fn query_opt(
        &self,
        values: &[&(dyn ToSql + Sync)],
        limit: Duration,
    ) -> Result<Option<Row>, Failure> {
        match self.attempt(values, limit).await {
            Err(failure) if failure.is_lost_statement() => {
                self.statement_lost();
                self.attempt(values, limit).await
            }
            Err(failure) if failure.is_disconnect() => self.attempt(values, limit).await,
            done => done,
        }
    }

    async fn attempt(&self, values: &[&(dyn ToSql + Sync)], limit: Duration) -> Result<Option<Row>, Failure> {
        let lane = &self.lanes[self.next.fetch_add(1, Ordering::Relaxed) % self.lanes.len()];
        let link = match lane.open_link() {
            Some(link) => link,
            None => self.connect(lane).await?,
        };
        let answer = match tokio::time::timeout(limit, self.run(&link, values)).await {
            Ok(answer) => answer.map_err(Failure::from),
            Err(_) => {
                self.stop(&link);
                Err(Failure::Slow(limit))
            }
        };
        if answer.as_ref().is_err_and(|failure| failure.is_lost_statement() || matches!(failure, Failure::Slow(_))) {
            lane.drop_link(&link);
        }
        answer
    }

    /// One message batch either way: behind a pooler an unnamed statement in two would be another client's.
    async fn run(&self, link: &Link, values: &[&(dyn ToSql + Sync)]) -> Result<Option<Row>, tokio_postgres::Error> {
        match &link.statement {
            Some(statement) => link.client.query_opt(statement, values).await,
            None => {
                let typed: Vec<_> = values.iter().copied().zip(self.types.iter().cloned()).collect();
                link.client.query_typed_opt(&self.sql, &typed).await
            }
        }
    }

    async fn connect(&self, lane: &Lane) -> Result<Arc<Link>, Failure> {
        let _turn = lane.connecting.acquire().await;
        if let Some(link) = lane.open_link() {
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
        let (client, _task) = self.connector.open().await?;
        let statement = match self.is_unnamed() {
            true => None,
            false => Some(client.prepare_typed(&self.sql, self.types).await?),
        };
        Ok(Link { client, statement })
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
    fn open_link(&self) -> Option<Arc<Link>> {
        let link = self.link.lock().unwrap_or_else(PoisonError::into_inner).clone();
        link.filter(|link| !link.client.is_closed())
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
