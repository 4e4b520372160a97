//! Opening connections, for the lanes and for the pool alike.
//!
//! Where the URL names several servers all of them are tried at once: one that is silent, as a dead host is, must not
//! use up the time in which another one could be reached. And of those that take writes the newest primary is chosen,
//! not the first in the list: a former primary that comes back takes writes too.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Connect;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout_at};
use tokio_postgres::{Client, Config, Error, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::primary::Primary;
use crate::servers;

/// How long the other servers may take once one that takes writes has answered.
const GRACE: Duration = Duration::from_millis(200);

/// Opens connections and runs each on a task of its own. A clone is cheap.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) config: Arc<Config>,
    servers: Arc<[Config]>,
    pub(crate) tls: MakeRustlsConnect,
    /// The server's certificate is checked.
    pub(crate) verifies: bool,
    pub(crate) primary: Arc<Primary>,
}

/// A connection to a server that takes writes.
struct Opened {
    client: Client,
    task: JoinHandle<()>,
    timeline: u32,
}

impl Connector {
    pub(crate) fn new(config: Config, tls: MakeRustlsConnect, verifies: bool, primary: Primary) -> Self {
        let servers = servers::each(&config).into();
        Self { config: Arc::new(config), servers, tls, verifies, primary: Arc::new(primary) }
    }

    pub(crate) async fn open(&self) -> Result<(Client, JoinHandle<()>), Error> {
        loop {
            let began = std::time::Instant::now();
            let opened = match &self.servers[..] {
                [one] => open(one, self.tls.clone()).await,
                several => self.open_primary(several).await,
            };
            // Whoever left the primary meanwhile may have meant the server that this one leads to.
            if opened.is_err() || !self.primary.was_left(began) {
                return opened;
            }
        }
    }

    /// The one on the newest timeline, of those that take writes and answer in time.
    async fn open_primary(&self, servers: &[Config]) -> Result<(Client, JoinHandle<()>), Error> {
        let mut attempts = JoinSet::new();
        for server in servers {
            let (server, tls) = (server.clone(), self.tls.clone());
            attempts.spawn(async move { open_on_timeline(&server, tls).await });
        }
        let (mut newest, mut refused, mut grace) = (None::<Opened>, None, None);
        while !attempts.is_empty() {
            // One that was found to be a former primary meanwhile is no reason not to wait for the others.
            let is_good = newest.as_ref().is_some_and(|newest| !self.primary.is_former(newest.timeline));
            match next(&mut attempts, grace.filter(|_| is_good)).await {
                Some(Ok(opened)) => {
                    self.primary.meet(opened.timeline);
                    grace = grace.or_else(|| Some(Instant::now() + GRACE));
                    newest = Some(newer(newest, opened));
                }
                Some(Err(error)) => refused = Some(telling(refused, error)),
                None if is_good => break,
                None => {}
            }
        }
        match (newest, refused) {
            // A former primary is no substitute for the one that cannot be reached.
            (Some(opened), Some(error)) if self.primary.is_former(opened.timeline) => Err(error),
            (Some(opened), _) => Ok(self.take(opened)),
            (None, Some(error)) => Err(error),
            // Not a single answer: the runtime is ending.
            (None, None) => open(&self.config, self.tls.clone()).await,
        }
    }

    fn take(&self, opened: Opened) -> (Client, JoinHandle<()>) {
        if self.primary.is_former(opened.timeline) {
            self.primary.start_over(opened.timeline);
        }
        (opened.client, opened.task)
    }

    /// Finds out whether another server was promoted, when this one does not answer: a primary that has lost its
    /// standbys waits for them with every commit.
    pub(crate) fn look_around(&self) {
        if self.servers.len() < 2 || !self.primary.may_look() {
            return;
        }
        let (connector, limit) = (self.clone(), self.config.get_connect_timeout().copied().unwrap_or(GRACE));
        tokio::spawn(async move { tokio::time::timeout(limit, connector.open()).await.map(drop) });
    }
}

/// The next answer; `None` when there is none to come, or not in time.
async fn next(attempts: &mut JoinSet<Result<Opened, Error>>, until: Option<Instant>) -> Option<Result<Opened, Error>> {
    loop {
        let answer = match until {
            Some(until) => timeout_at(until, attempts.join_next()).await.ok()?,
            None => attempts.join_next().await,
        };
        if let Ok(answer) = answer? {
            return Some(answer);
        }
    }
}

fn newer(newest: Option<Opened>, opened: Opened) -> Opened {
    match newest {
        Some(newest) if newest.timeline >= opened.timeline => newest,
        _ => opened,
    }
}

/// Of two errors the one that says more: what a server answered, before what happened on the way to one.
fn telling(first: Option<Error>, second: Error) -> Error {
    match first {
        Some(first) if first.as_db_error().is_some() || second.as_db_error().is_none() && takes_no_writes(&first) => {
            first
        }
        _ => second,
    }
}

/// The server was reached, and the driver did not want it because it takes no writes.
pub(crate) fn takes_no_writes(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    // The system gives this kind only with a number of its own.
    source.is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error().is_none())
}

async fn open(server: &Config, tls: MakeRustlsConnect) -> Result<(Client, JoinHandle<()>), Error> {
    let (client, connection) = server.connect(tls).await?;
    let task = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to PostgreSQL ended");
        }
    });
    Ok((client, task))
}

async fn open_on_timeline(server: &Config, tls: MakeRustlsConnect) -> Result<Opened, Error> {
    let (client, task) = open(server, tls).await?;
    let timeline = timeline(&client).await?;
    Ok(Opened { client, task, timeline })
}

/// The number of the server's timeline, or 0 where it keeps none that we may know.
async fn timeline(client: &Client) -> Result<u32, Error> {
    const FILE: &str = "SELECT pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn())";
    let messages = match client.simple_query(FILE).await {
        Err(error) if error.as_db_error().is_some() => return Ok(0),
        answer => answer?,
    };
    let file = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    // The first eight of its digits are the timeline.
    Ok(file.and_then(|name| u32::from_str_radix(name.get(..8)?, 16).ok()).unwrap_or_default())
}

impl Connect for Connector {
    fn connect(
        &self,
        _: &Config,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + '_>> {
        Box::pin(self.open())
    }
}

/// The driver's settings for this store: a dead peer is noticed, a slow one is not waited for.
pub(crate) fn tune(config: &mut Config, connect_timeout: Duration) {
    config.connect_timeout(connect_timeout);
    config.keepalives_idle(Duration::from_secs(15)).keepalives_interval(Duration::from_secs(5)).keepalives_retries(3);
    config.tcp_user_timeout(Duration::from_secs(15));
    if config.get_application_name().is_none() {
        config.application_name("sessile");
    }
}
