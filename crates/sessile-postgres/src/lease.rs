//! A pooled connection for one statement or one transaction. When that is given up (its time is over, its client went
//! away) the server is told to stop it and to undo it, and the connection goes back only when it has: so statements that
//! nobody waits for do not pile up on the server, do not take effect later, and do not keep the next request waiting.

use std::time::{Duration, Instant};

use deadpool_postgres::Object;
use tokio::runtime::Handle;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::connect::Connector;
use crate::failure::Failure;

/// How long the server may take to stop a statement before its connection is given up too.
const PATIENCE: Duration = Duration::from_secs(2);

/// A connection while a statement or a transaction runs on it.
pub(crate) struct Lease {
    client: Option<Object>,
    connector: Connector,
    in_transaction: bool,
}

impl Lease {
    pub(crate) fn new(client: Object, connector: Connector) -> Self {
        Self { client: Some(client), connector, in_transaction: false }
    }

    /// From here on there may be something to undo.
    pub(crate) fn begins_transaction(&mut self) {
        self.in_transaction = true;
    }

    /// The connection; `None` once it was given back.
    pub(crate) fn client(&self) -> Option<&Object> {
        self.client.as_ref()
    }

    /// Learns from a failure whether this server is the primary still.
    pub(crate) fn heed(&self, failure: &Failure) {
        match &self.client {
            Some(client) if failure.is_read_only() => self.connector.primary.leave(opened(client)),
            Some(_) if matches!(failure, Failure::Slow(_)) => self.connector.look_around(),
            _ => {}
        }
    }

    /// All was answered, and no transaction is open: the connection is anybody's again, unless its server was left.
    pub(crate) fn finished(mut self) {
        match self.client.take() {
            Some(client) if self.connector.primary.was_left(opened(&client)) => drop(Object::take(client)),
            client => drop(client),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (Some(client), Ok(runtime)) = (self.client.take(), Handle::try_current()) else { return };
        runtime.spawn(stop(client, self.connector.tls.clone(), self.in_transaction));
    }
}

/// When a pooled connection was opened.
pub(crate) fn opened(client: &Object) -> Instant {
    Object::metrics(client).created
}

/// Stops and undoes what runs on this connection and gives it back; or gives it up, when the server does not say that it
/// did. A connection that is given up is closed, which ends its transaction too.
async fn stop(client: Object, tls: MakeRustlsConnect, in_transaction: bool) {
    let stopped = tokio::time::timeout(PATIENCE, async {
        client.cancel_token().cancel_query(tls).await?;
        if in_transaction { client.batch_execute("ROLLBACK").await } else { client.check_connection().await }
    });
    if !matches!(stopped.await, Ok(Ok(()))) {
        drop(Object::take(client));
    }
}
