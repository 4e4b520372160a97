//! The HTTP contract, two instances on one database.

use sessile_core::{Config, KeyForm, Sessions, TableKind};
use sessile_postgres::PostgresStore;
use sessile_testkit::postgres::Database;
use sessile_testkit::{conformance, http_contract};

struct Postgres(Database);

impl http_contract::App for Postgres {
    async fn serve(&self, config: Config) -> String {
        let store = PostgresStore::connect(self.0.url()).await.unwrap();
        conformance::start(Sessions::new(store, config.key_form(KeyForm::Raw))).await
    }
}

http_contract!(two_instances, async || Postgres(Database::new().await));
http_contract!(columns, async || Columns(Database::new().await));

/// The same on the columns table.
struct Columns(Database);

impl http_contract::App for Columns {
    async fn serve(&self, config: Config) -> String {
        let store = PostgresStore::builder(self.0.url()).table_kind(TableKind::Columns).connect().await.unwrap();
        conformance::start(Sessions::new(store, config)).await
    }
}
