//! What comes back from the server, read without trust: a column that is not as expected is an error and no panic.

use sessile_core::{Device, DeviceFacts, End, EndedSession, Ending, Error, Handle};
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use crate::sql::Names;
use crate::time::moment;

/// What [`device`] reads of the row `r` of the registry.
pub(crate) fn device_columns(names: &Names) -> String {
    let requests = if names.counts { "coalesce(r.requests, 0)" } else { "0::int8" };
    format!("{DEVICE}, {requests}")
}

/// How many columns that are.
pub(crate) const DEVICE_COLUMNS: usize = 15;

const DEVICE: &str = "r.id::text, r.user_id, host(r.ip_address), r.user_agent, r.device, r.auth_method, \
    date_part('epoch', r.created_at), date_part('epoch', r.authenticated_at), date_part('epoch', r.last_seen_at), \
    date_part('epoch', r.expires_at), r.status, date_part('epoch', r.logged_out_at), r.end_reason, r.provider_session";

/// One column of a row.
pub(crate) fn get<'a, T: FromSql<'a>>(row: &'a Row, at: usize) -> Result<T, Error> {
    let wrong = |error| Error::poisoned("expected a row of the registry, found something else").with_source(error);
    row.try_get(at).map_err(wrong)
}

/// Whether the statement's answer, which is one row, says yes here.
pub(crate) fn says(rows: &[Row], at: usize) -> Result<bool, Error> {
    rows.first().map_or(Ok(false), |row| get(row, at))
}

/// A number that the statement's answer has in each row.
pub(crate) fn count(rows: &[Row], at: usize) -> Result<u64, Error> {
    let count = rows.first().map_or(Ok(0), |row| get::<i64>(row, at))?;
    Ok(u64::try_from(count).unwrap_or_default())
}

/// A session of the registry, from its [columns](device_columns).
pub(crate) fn device(row: &Row) -> Result<Device, Error> {
    let text = |at| get::<Option<&str>>(row, at).map(|text| text.map(Box::from));
    let time = |at| get::<Option<f64>>(row, at).map(|time| time.map(moment));
    let begun = time(6)?.unwrap_or(std::time::UNIX_EPOCH);
    let EndedSession { handle, owner, ip } =
        ended(row, 0)?.ok_or_else(|| Error::poisoned("expected a row of the registry, found one without a handle"))?;
    Ok(Device {
        handle,
        owner,
        facts: DeviceFacts {
            ip,
            user_agent: text(3)?,
            device: text(4)?,
            auth_method: text(5)?,
            provider_session: text(13)?,
        },
        created_at: begun,
        authenticated_at: time(7)?,
        last_seen_at: time(8)?.unwrap_or(begun),
        expires_at: time(9)?.unwrap_or(begun),
        requests: get::<i64>(row, 14)?.try_into().unwrap_or_default(),
        ended: ending(row, 10)?,
    })
}

/// Which session a row is about: handle, user and address from this column on; `None` when the row is about none.
pub(crate) fn ended(row: &Row, at: usize) -> Result<Option<EndedSession>, Error> {
    let Some(handle) = get::<Option<&str>>(row, at)?.and_then(Handle::parse) else { return Ok(None) };
    let owner = get::<Option<&str>>(row, at + 1)?.unwrap_or_default().into();
    let ip = get::<Option<&str>>(row, at + 2)?.and_then(|ip| ip.parse().ok());
    Ok(Some(EndedSession { handle, owner, ip }))
}

/// Which sessions these rows are about.
pub(crate) fn all_ended(rows: &[Row], at: usize) -> Result<Vec<EndedSession>, Error> {
    rows.iter().filter_map(|row| ended(row, at).transpose()).collect()
}

/// How a session ended: status, time and reason from this column on; `None` while it is active.
pub(crate) fn ending(row: &Row, at: usize) -> Result<Option<Ending>, Error> {
    let end = get::<Option<&str>>(row, at)?.and_then(End::parse);
    let (Some(end), Some(time)) = (end, get::<Option<f64>>(row, at + 1)?) else { return Ok(None) };
    let reason = get::<Option<&str>>(row, at + 2)?.map(Box::from);
    Ok(Some(Ending { end, at: moment(time), reason }))
}
