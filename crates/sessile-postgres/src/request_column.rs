//! The registry's column `requests`, which registries of earlier versions lack. It is added when the store is opened, by a
//! role that may and within a second of waiting for others; until then the store works as it did, and counts nothing.

use sessile_core::Error;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::failure::Failure;
use crate::migrate::Step;
use crate::rows::get;

/// What is to be said of the column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    There,
    Missing,
    /// Another column has the name, or this is no table that could get one.
    Impossible,
}

/// Whether the registry with this quoted name counts requests, once the column was added if it could be.
pub(crate) async fn ensure(client: &Client, registry: &str) -> Result<bool, Error> {
    let found = look(client, registry).await?;
    if found != Found::Missing {
        return Ok(found == Found::There);
    }
    // The statements of a batch are one transaction, which whatever fails undoes.
    if let Err(error) = client.batch_execute(&change(registry)).await {
        tracing::info!(
            ?error,
            "the registry {registry} has no column requests and it could not be added, so that no requests are counted; \
             as its owner: sessile migrate"
        );
    }
    Ok(look(client, registry).await? == Found::There)
}

/// The step that adds it to a registry that is there and lacks it.
pub(crate) async fn step(client: &Client, registry: &str) -> Result<Option<Step>, Error> {
    let is_missing = look(client, registry).await? == Found::Missing;
    Ok(is_missing.then(|| Step::Transaction(format!("BEGIN;\n{}\nCOMMIT;\n", change(registry)))))
}

/// With a constant for a default no row is written, however many there are.
fn change(registry: &str) -> String {
    format!(
        "SET LOCAL lock_timeout = '1s';\n\
         ALTER TABLE {registry} ADD COLUMN IF NOT EXISTS requests bigint NOT NULL DEFAULT 0;"
    )
}

async fn look(client: &Client, registry: &str) -> Result<Found, Error> {
    const LOOK: &str = "SELECT c.relkind IN ('r', 'p'), (SELECT format_type(a.atttypid, NULL) = 'bigint' \
          FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'requests' AND NOT a.attisdropped) \
        FROM pg_catalog.pg_class c WHERE c.oid = to_regclass($1)";
    let row = client.query_typed_one(LOOK, &[(&registry, Type::TEXT)]).await.map_err(Failure::from)?;
    Ok(match (get(&row, 0)?, get::<Option<bool>>(&row, 1)?) {
        (_, Some(true)) => Found::There,
        (true, None) => Found::Missing,
        _ => Found::Impossible,
    })
}
