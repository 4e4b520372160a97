//! What is kept for operators: three more tables beside the registry's, named after it. They are made when something is
//! first written into them, or by `sessile migrate` for an application that may make none; until then they are empty.

use async_trait::async_trait;
use sessile_core::{Action, Error, Operations, Operator, Role, SecretUse};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use crate::PostgresStore;
use crate::catalogue::find_or_create;
use crate::failure::Failure;
use crate::names::{derived, qualified, quote};
use crate::private::Private;
use crate::registry_table::{Needed, TEXT, TIME, find};
use crate::rows::get;
use crate::sql::Names;
use crate::table::Table;
use crate::time::{moment, whole_millis};
use crate::transaction::Values;

/// One of the tables.
#[derive(Clone, Copy)]
enum Kind {
    Operators,
    Audit,
    Secrets,
}

const KINDS: [Kind; 3] = [Kind::Operators, Kind::Audit, Kind::Secrets];

/// What the tables are called, unquoted.
#[derive(Clone, Debug)]
pub(crate) struct OperationNames {
    schema: String,
    registry: String,
}

impl OperationNames {
    /// Those beside the registry with this name.
    pub(crate) fn new(schema: &str, registry: &str) -> Self {
        Self { schema: schema.to_owned(), registry: registry.to_owned() }
    }

    /// Those of a store.
    pub(crate) fn of(table: &Table) -> &Self {
        &table.operations
    }

    fn name(&self, kind: Kind) -> String {
        derived("", &self.registry, kind.suffix())
    }

    fn quoted(&self, kind: Kind) -> String {
        qualified(Some(&self.schema), &self.name(kind))
    }

    /// The quoted names of all of Sessile's tables.
    pub(crate) fn all_tables(&self, names: &Names) -> Vec<String> {
        let Names { data, registry, cutoffs, moves, .. } = names;
        [data, registry, cutoffs, moves].into_iter().cloned().chain(self.all()).collect()
    }

    /// The quoted names of these tables.
    pub(crate) fn all(&self) -> [String; 3] {
        KINDS.map(|kind| self.quoted(kind))
    }

    /// The SQL that makes those of the tables that are missing.
    pub(crate) async fn missing(&self, client: &Client) -> Result<Vec<String>, Error> {
        let mut missing = Vec::new();
        for kind in KINDS {
            if find(client, &self.quoted(kind), kind.needed()).await?.is_none() {
                missing.push(self.create(kind));
            }
        }
        Ok(missing)
    }

    fn create(&self, kind: Kind) -> String {
        let key = quote(&derived("", &self.name(kind), "_pkey"));
        format!("CREATE TABLE {} ({});", self.quoted(kind), kind.columns().replace("{key}", &key))
    }
}

impl Kind {
    fn suffix(self) -> &'static str {
        match self {
            Self::Operators => "_operators",
            Self::Audit => "_audit",
            Self::Secrets => "_secrets",
        }
    }

    fn needed(self) -> &'static [Needed] {
        match self {
            Self::Operators => &[
                ("name", TEXT, true),
                ("role", TEXT, true),
                ("token_hash", &["bytea"], true),
                ("created_at", TIME, true),
            ],
            Self::Audit => &[
                ("id", &["bigint"], false),
                ("at", TIME, true),
                ("actor", TEXT, true),
                ("action", TEXT, true),
                ("target", TEXT, true),
                ("sessions", &["bigint"], true),
                ("reason", TEXT, true),
                ("ip", &["inet"], true),
            ],
            Self::Secrets => {
                &[("fingerprint", TEXT, true), ("cookies", &["bigint"], true), ("last_used_at", TIME, true)]
            }
        }
    }

    fn columns(self) -> &'static str {
        match self {
            Self::Operators => {
                "name text NOT NULL CONSTRAINT {key} PRIMARY KEY, role text NOT NULL, token_hash bytea NOT NULL, \
                 created_at timestamptz(3) NOT NULL"
            }
            Self::Audit => {
                "id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT {key} PRIMARY KEY, at timestamptz(3) NOT NULL, \
                 actor text NOT NULL, action text NOT NULL, target text NOT NULL, sessions bigint NOT NULL, reason text, ip inet"
            }
            Self::Secrets => {
                "fingerprint text NOT NULL CONSTRAINT {key} PRIMARY KEY, cookies bigint NOT NULL, \
                 last_used_at timestamptz(3) NOT NULL"
            }
        }
    }
}

impl PostgresStore {
    /// Reads a table that may not be there yet, in which case it is empty. `{}` stands for its name.
    async fn read(&self, kind: Kind, sql: &str, values: Values<'_>) -> Result<Vec<Row>, Error> {
        let table = OperationNames::of(self.table().await?).quoted(kind);
        match self.query(&sql.replace("{}", &table), values).await {
            Err(failure) if failure.is(&SqlState::UNDEFINED_TABLE) => Ok(Vec::new()),
            rows => Ok(rows?),
        }
    }

    /// Writes into a table, which is made when it is missing. `{}` stands for its name.
    async fn write(&self, kind: Kind, sql: &str, values: Values<'_>) -> Result<Vec<Row>, Error> {
        let names = OperationNames::of(self.table().await?);
        let sql = sql.replace("{}", &names.quoted(kind));
        match self.query(&sql, values).await {
            Err(failure) if failure.is(&SqlState::UNDEFINED_TABLE) => {
                self.make(names, kind).await?;
                Ok(self.query(&sql, values).await?)
            }
            rows => Ok(rows?),
        }
    }

    /// Makes one of the tables, or finds that another process just did.
    async fn make(&self, names: &OperationNames, kind: Kind) -> Result<(), Error> {
        let lease = self.lease().await?;
        let Some(client) = lease.client() else { return Err(Failure::Down.into()) };
        let quoted = names.quoted(kind);
        let sql = names.create(kind);
        let create = || async { Ok(client.batch_execute(&sql).await?) };
        find_or_create(&quoted, || find(client, &quoted, kind.needed()), create).await?;
        lease.finished();
        Ok(())
    }
}

#[async_trait]
impl Operations for PostgresStore {
    async fn add_operator(&self, operator: &Operator) -> Result<bool, Error> {
        const SQL: &str = "INSERT INTO {} (name, role, token_hash, created_at) VALUES ($1, $2, $3, to_timestamp($4)) \
            ON CONFLICT (name) DO NOTHING RETURNING 1";
        operator.check()?;
        let values: Values<'_> = &[
            (&&*operator.name, Type::TEXT),
            (&operator.role.as_str(), Type::TEXT),
            (&Private(&operator.token_hash[..]), Type::BYTEA),
            (&whole_millis(operator.created_at), Type::FLOAT8),
        ];
        Ok(!self.write(Kind::Operators, SQL, values).await?.is_empty())
    }

    async fn operators(&self) -> Result<Vec<Operator>, Error> {
        const SQL: &str =
            "SELECT name, role, token_hash, date_part('epoch', created_at) FROM {} ORDER BY name COLLATE \"C\"";
        self.read(Kind::Operators, SQL, &[]).await?.iter().map(operator).collect()
    }

    async fn remove_operator(&self, name: &str) -> Result<bool, Error> {
        const SQL: &str = "DELETE FROM {} WHERE name = $1 RETURNING 1";
        if name.contains('\0') {
            return Ok(false);
        }
        Ok(!self.read(Kind::Operators, SQL, &[(&name, Type::TEXT)]).await?.is_empty())
    }

    async fn record(&self, action: &Action) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO {} (at, actor, action, target, sessions, reason, ip) \
            VALUES (to_timestamp($1), $2, $3, $4, $5, $6, $7::text::inet)";
        let action = action.cleaned();
        let sessions = i64::try_from(action.sessions).unwrap_or(i64::MAX);
        let ip = action.ip.map(|ip| ip.to_string());
        let values: Values<'_> = &[
            (&whole_millis(action.at), Type::FLOAT8),
            (&&*action.actor, Type::TEXT),
            (&&*action.action, Type::TEXT),
            (&Private(&*action.target), Type::TEXT),
            (&sessions, Type::INT8),
            (&action.reason.as_deref(), Type::TEXT),
            (&Private(ip), Type::TEXT),
        ];
        self.write(Kind::Audit, SQL, values).await.map(drop)
    }

    async fn actions(&self, before: Option<i64>, limit: u32) -> Result<Vec<(i64, Action)>, Error> {
        const SQL: &str = "SELECT id, date_part('epoch', at), actor, action, target, sessions, reason, host(ip) FROM {} \
            WHERE id < $1 ORDER BY id DESC LIMIT $2";
        let values: Values<'_> = &[(&before.unwrap_or(i64::MAX), Type::INT8), (&i64::from(limit), Type::INT8)];
        self.read(Kind::Audit, SQL, values).await?.iter().map(action).collect()
    }

    async fn note_secrets(&self, uses: &[SecretUse]) -> Result<(), Error> {
        // Several instances note the same secrets: all in one order, or they would wait for one another in a circle.
        const SQL: &str = "INSERT INTO {} AS s (fingerprint, cookies, last_used_at) \
            SELECT fingerprint, sum(cookies)::int8, to_timestamp(max(at)) \
            FROM unnest($1::text[], $2::int8[], $3::float8[]) AS u (fingerprint, cookies, at) \
            GROUP BY fingerprint ORDER BY fingerprint \
            ON CONFLICT (fingerprint) DO UPDATE SET cookies = s.cookies + excluded.cookies, \
              last_used_at = greatest(s.last_used_at, excluded.last_used_at)";
        if uses.is_empty() {
            return Ok(());
        }
        let fingerprints: Vec<&str> = uses.iter().map(|secret| &*secret.fingerprint).collect();
        let cookies: Vec<i64> = uses.iter().map(|secret| i64::try_from(secret.cookies).unwrap_or(i64::MAX)).collect();
        let times: Vec<f64> = uses.iter().map(|secret| whole_millis(secret.last_used_at)).collect();
        let values: Values<'_> =
            &[(&fingerprints, Type::TEXT_ARRAY), (&cookies, Type::INT8_ARRAY), (&times, Type::FLOAT8_ARRAY)];
        self.write(Kind::Secrets, SQL, values).await.map(drop)
    }

    async fn secrets(&self) -> Result<Vec<SecretUse>, Error> {
        const SQL: &str = "SELECT fingerprint, cookies, date_part('epoch', last_used_at) FROM {} \
            ORDER BY last_used_at DESC, fingerprint COLLATE \"C\"";
        self.read(Kind::Secrets, SQL, &[]).await?.iter().map(secret).collect()
    }
}

fn operator(row: &Row) -> Result<Operator, Error> {
    let wrong = |what: &str| Error::poisoned(format!("expected an operator with {what}, found something else"));
    Ok(Operator {
        name: get::<&str>(row, 0)?.into(),
        role: Role::parse(get(row, 1)?).ok_or_else(|| wrong("a role, viewer or admin"))?,
        token_hash: get::<&[u8]>(row, 2)?.try_into().map_err(|_| wrong("a hash of 32 bytes"))?,
        created_at: moment(get(row, 3)?),
    })
}

fn action(row: &Row) -> Result<(i64, Action), Error> {
    let text = |at| get::<&str>(row, at).map(Box::from);
    let action = Action {
        at: moment(get(row, 1)?),
        actor: text(2)?,
        action: text(3)?,
        target: text(4)?,
        sessions: u64::try_from(get::<i64>(row, 5)?).unwrap_or_default(),
        reason: get::<Option<&str>>(row, 6)?.map(Box::from),
        ip: get::<Option<&str>>(row, 7)?.and_then(|ip| ip.parse().ok()),
    };
    Ok((get(row, 0)?, action))
}

fn secret(row: &Row) -> Result<SecretUse, Error> {
    let cookies = u64::try_from(get::<i64>(row, 1)?).unwrap_or_default();
    Ok(SecretUse { fingerprint: get::<&str>(row, 0)?.into(), cookies, last_used_at: moment(get(row, 2)?) })
}
