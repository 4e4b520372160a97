//! A pooled connection for one statement or one transaction. When that is given up (its time is over, its client went
//! away) the server is told to stop it and to undo it, and the connection goes back only when it has: so statements that
//! nobody waits for do not pile up on the server, do not take effect later, and do not keep the next request waiting.

use std::time::Duration;

use deadpool_postgres::Object;
use tokio::runtime::Handle;
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long the server may take to stop a statement before its connection is given up too.
const PATIENCE: Duration = Duration::from_secs(2);

/// A connection while a statement or a transaction runs on it.
pub(crate) struct Lease {
    client: Option<Object>,
    tls: MakeRustlsConnect,
    in_transaction: bool,
}

impl Lease {
    pub(crate) fn new(client: Object, tls: MakeRustlsConnect) -> Self {
        Self { client: Some(client), tls, in_transaction: false }
    }

    /// From here on there may be something to undo.
    pub(crate) fn begins_transaction(&mut self) {
        self.in_transaction = true;
    }

    /// The connection; `None` once it was given back.
    pub(crate) fn client(&self) -> Option<&Object> {
        self.client.as_ref()
    }

    /// All was answered, and no transaction is open: the connection is anybody's again.
    pub(crate) fn finished(mut self) {
        drop(self.client.take());
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (Some(client), Ok(runtime)) = (self.client.take(), Handle::try_current()) else { return };
        runtime.spawn(stop(client, self.tls.clone(), self.in_transaction));
    }
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
