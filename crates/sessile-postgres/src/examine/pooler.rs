//! Whether a pooler stands between us and the server: one in transaction mode gives each transaction whatever connection
//! is free, so what was prepared on one is missing on the next. Two clients of our own that take turns find that out: their
//! transactions then change servers.

use sessile_core::{Check, Error};
use tokio_postgres::Client;

use super::Look;
use crate::failure::Failure;
use crate::rows::get;

const NAME: &str = "postgres.pooler";

pub(super) async fn examine(look: &Look<'_>, checks: &mut Vec<Check>) -> Result<(), Error> {
    let limit = look.store.settings().connect_timeout;
    let Ok(Ok((other, _task))) = tokio::time::timeout(limit, look.store.connector().open()).await else {
        // Connections may be scarce; that is another finding.
        return Ok(());
    };
    let moves = change_servers(&look.client, &other).await?;
    checks.push(judge(moves, look.store.is_unnamed()));
    Ok(())
}

fn judge(changes_servers: bool, is_unnamed: bool) -> Check {
    match (changes_servers, is_unnamed) {
        (false, false) => {
            Check::good(NAME, "Connections keep their server: no pooler in transaction mode. Statements are prepared.")
        }
        (false, true) => Check::good(NAME, "Connections keep their server. Statements are sent whole."),
        (true, true) => {
            Check::good(NAME, "A pooler in transaction mode stands before the server; statements are sent whole.")
        }
        (true, false) => Check::warning(
            NAME,
            "A pooler in transaction mode stands before the server (PgBouncer, RDS Proxy), and statements are prepared until \
             it has lost three: the first requests after each start are slower.",
            "Connect past the pooler; a program of your own may set PostgresBuilder::unnamed_statements(true) instead.",
        ),
    }
}

/// Whether a client's transactions are on several servers. The client that began first is the first to end in one round
/// and the last in the next: whether the pooler hands out what was used last or longest ago, one of the rounds shows it.
async fn change_servers(first: &Client, second: &Client) -> Result<bool, Failure> {
    let mut servers = [Vec::new(), Vec::new()];
    for swap in [false, true, false, true] {
        let clients = if swap { [second, first] } else { [first, second] };
        for (index, client) in clients.into_iter().enumerate() {
            client.batch_execute("BEGIN").await?;
            let row = client.query_typed_one("SELECT pg_backend_pid()", &[]).await?;
            let server: i32 = get(&row, 0).unwrap_or_default();
            servers[index ^ usize::from(swap)].push(server);
        }
        for client in [first, second] {
            client.batch_execute("COMMIT").await?;
        }
    }
    Ok(servers.iter().any(|seen| seen.iter().any(|server| *server != seen[0])))
}
