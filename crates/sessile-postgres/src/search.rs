//! Looking for sessions among everybody's, for operators. Only what is asked for stands in the statement, so that PostgreSQL
//! can choose the index for it. There is none for everybody's sessions by time: the lists of single users would be read through
//! it. So a search that names nobody reads the whole registry.

use std::time::SystemTime;

use sessile_core::{Device, Error, Handle, Page, Search, Status, StoreKey};
use tokio_postgres::types::{ToSql, Type};

use crate::PostgresStore;
use crate::columns::Columns;
use crate::private::Private;
use crate::registry::place;
use crate::rows::{device, device_columns, get};
use crate::sql::Names;
use crate::time::{whole_millis, whole_seconds};

/// SQL: everyone's cut-off ended the session of the row `r` of the registry.
pub(crate) fn ended_with_everyone(names: &Names) -> String {
    let cutoffs = &names.cutoffs;
    format!(
        "coalesce(coalesce(r.authenticated_at, r.created_at) < (SELECT not_before FROM {cutoffs} WHERE user_id = ''), false)"
    )
}

/// A statement in the making.
struct Statement<'a> {
    sql: String,
    values: Vec<(&'a (dyn ToSql + Sync), Type)>,
}

impl<'a> Statement<'a> {
    /// One more condition; `$` stands for its value.
    fn and(&mut self, condition: &str, value: &'a (dyn ToSql + Sync), kind: Type) {
        self.values.push((value, kind));
        let condition = condition.replace('$', &format!("${}", self.values.len()));
        self.sql.push_str(&format!(" AND {condition}"));
    }
}

/// What is asked, as values for a statement.
struct Values<'a> {
    now: f64,
    since: Option<f64>,
    before: Option<f64>,
    owner: Private<Option<&'a str>>,
    handle: Option<&'a str>,
    network: Option<String>,
    end: &'static str,
}

impl<'a> Values<'a> {
    fn of(search: &'a Search, now: SystemTime) -> Self {
        Self {
            now: whole_seconds(now),
            since: search.since.map(whole_millis),
            before: search.before.map(whole_millis),
            owner: Private(search.owner.as_ref().map(|owner| owner.as_str())),
            handle: search.handle.as_ref().map(Handle::as_str),
            network: search.network.map(|network| network.to_string()),
            end: if let Some(Status::EndedBy(end)) = search.status { end.as_str() } else { "active" },
        }
    }

    /// The conditions of what is asked.
    fn narrow(&'a self, statement: &mut Statement<'a>, status: Option<Status>, names: &Names) {
        if self.handle.is_some() {
            statement.and("r.id = $::text::uuid", &self.handle, Type::TEXT);
        }
        if self.owner.0.is_some() {
            statement.and("r.user_id = $", &self.owner, Type::TEXT);
        }
        if self.network.is_some() {
            statement.and("r.ip_address <<= $::text::inet", &self.network, Type::TEXT);
        }
        if self.since.is_some() {
            statement.and("r.created_at >= to_timestamp($)", &self.since, Type::FLOAT8);
        }
        if self.before.is_some() {
            let began_before = "coalesce(r.authenticated_at, r.created_at) < to_timestamp($)";
            statement.and(began_before, &self.before, Type::FLOAT8);
        }
        let Names { data, columns: Columns { key, end, .. }, .. } = names;
        let lives = format!(
            "r.status = 'active' AND NOT {} \
             AND EXISTS (SELECT FROM {data} s WHERE s.{key} = r.sid AND s.{end} >= to_timestamp($))",
            ended_with_everyone(names)
        );
        match status {
            None => {}
            Some(Status::Live) => statement.and(&lives, &self.now, Type::FLOAT8),
            Some(Status::Ended) => statement.and("r.status <> $", &self.end, Type::TEXT),
            Some(Status::EndedBy(_)) => statement.and("r.status = $", &self.end, Type::TEXT),
        }
    }
}

impl PostgresStore {
    pub(crate) async fn searches(&self, search: &Search, now: SystemTime, page: &Page) -> Result<Vec<Device>, Error> {
        let names = &self.table().await?.names;
        let ((at, handle), values) = (place(page), Values::of(search, now));
        let limit = i64::from(page.limit);
        let begin = format!(
            "SELECT {} FROM {} r WHERE (r.created_at, r.id) < (to_timestamp($1), $2::text::uuid)",
            device_columns(names),
            names.registry
        );
        let mut statement = Statement { sql: begin, values: vec![(&at, Type::FLOAT8), (&handle, Type::TEXT)] };
        values.narrow(&mut statement, search.status, names);
        statement.values.push((&limit, Type::INT8));
        let sql = format!("{} ORDER BY r.created_at DESC, r.id DESC LIMIT ${}", statement.sql, statement.values.len());
        self.query(&sql, &statement.values).await?.iter().map(device).collect()
    }

    /// One statement, whatever there is to count, within the time that a statement may take.
    pub(crate) async fn counts(&self, search: &Search, now: SystemTime) -> Result<u64, Error> {
        let names = &self.table().await?.names;
        let values = Values::of(search, now);
        let begin = format!("SELECT count(*) FROM {} r WHERE true", names.registry);
        let mut statement = Statement { sql: begin, values: Vec::new() };
        values.narrow(&mut statement, search.status, names);
        let rows = self.query(&statement.sql, &statement.values).await?;
        let count = rows.first().map(|row| get::<i64>(row, 0)).transpose()?;
        Ok(count.and_then(|count| count.try_into().ok()).unwrap_or_default())
    }

    pub(crate) async fn key_of(&self, handle: &Handle) -> Result<Option<StoreKey>, Error> {
        let registry = &self.table().await?.names.registry;
        let sql = format!("SELECT sid::text FROM {registry} WHERE id = $1::text::uuid AND sid IS NOT NULL");
        let rows = self.query(&sql, &[(&handle.as_str(), Type::TEXT)]).await?;
        rows.first().map(|row| get::<&str>(row, 0).map(StoreKey::stored)).transpose()
    }
}
