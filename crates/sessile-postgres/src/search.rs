//! Looking for sessions among everybody's, for operators. Only what is asked for stands in the statement, so that PostgreSQL
//! can choose the index for it. There is none for everybody's sessions by time: the lists of single users would be read through
//! it. So a search that names nobody reads the whole registry.

use std::time::SystemTime;

use sessile_core::{Device, Error, Handle, Page, Search, Status, StoreKey};
use tokio_postgres::types::{ToSql, Type};

use crate::PostgresStore;
use crate::private::Private;
use crate::registry::place;
use crate::rows::{DEVICE, device, get};
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

impl PostgresStore {
    pub(crate) async fn searches(&self, search: &Search, now: SystemTime, page: &Page) -> Result<Vec<Device>, Error> {
        let names = &self.table().await?.names;
        let (at, handle) = place(page);
        let (now, since) = (whole_seconds(now), search.since.map(whole_millis));
        let owner = Private(search.owner.as_ref().map(|owner| owner.as_str()));
        let one = search.handle.as_ref().map(Handle::as_str);
        let network = search.network.map(|network| network.to_string());
        let end = if let Some(Status::EndedBy(end)) = search.status { end.as_str() } else { "active" };
        let limit = i64::from(page.limit);
        let begin = format!(
            "SELECT {DEVICE} FROM {} r WHERE (r.created_at, r.id) < (to_timestamp($1), $2::text::uuid)",
            names.registry
        );
        let mut statement = Statement { sql: begin, values: vec![(&at, Type::FLOAT8), (&handle, Type::TEXT)] };
        if one.is_some() {
            statement.and("r.id = $::text::uuid", &one, Type::TEXT);
        }
        if search.owner.is_some() {
            statement.and("r.user_id = $", &owner, Type::TEXT);
        }
        if network.is_some() {
            statement.and("r.ip_address <<= $::text::inet", &network, Type::TEXT);
        }
        if since.is_some() {
            statement.and("r.created_at >= to_timestamp($)", &since, Type::FLOAT8);
        }
        let lives = format!(
            "r.status = 'active' AND NOT {} \
             AND EXISTS (SELECT FROM {} s WHERE s.sid = r.sid AND s.expire >= to_timestamp($))",
            ended_with_everyone(names),
            names.data
        );
        match search.status {
            None => {}
            Some(Status::Live) => statement.and(&lives, &now, Type::FLOAT8),
            Some(Status::Ended) => statement.and("r.status <> $", &end, Type::TEXT),
            Some(Status::EndedBy(_)) => statement.and("r.status = $", &end, Type::TEXT),
        }
        statement.values.push((&limit, Type::INT8));
        let sql = format!("{} ORDER BY r.created_at DESC, r.id DESC LIMIT ${}", statement.sql, statement.values.len());
        self.query(&sql, &statement.values).await?.iter().map(device).collect()
    }

    pub(crate) async fn key_of(&self, handle: &Handle) -> Result<Option<StoreKey>, Error> {
        let registry = &self.table().await?.names.registry;
        let sql = format!("SELECT sid::text FROM {registry} WHERE id = $1::text::uuid AND sid IS NOT NULL");
        let rows = self.query(&sql, &[(&handle.as_str(), Type::TEXT)]).await?;
        rows.first().map(|row| get::<&str>(row, 0).map(StoreKey::stored)).transpose()
    }
}
