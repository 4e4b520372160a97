//! What the store does in several statements: a session and its row in the registry change together. Each function runs in
//! one [whole](crate::writer::whole) write, and asks everything before it changes anything, so that a refusal has written
//! nothing.

use std::time::SystemTime;

use rusqlite::Connection;
use sessile_core::{
    Alignment, AtLimit, Device, DeviceFacts, End, EndedSession, Ending, Handle, SignIn, SignedIn, StoreKey, Swept,
    UserId, Written,
};

use crate::change::Change;
use crate::entries::{Ended, Entries, GiveWay};
use crate::export::Export;
use crate::figures::Figures;
use crate::import::Import;
use crate::lists::Lists;
use crate::operations::Operating;
use crate::registry_table::Tables;
use crate::rows::Rows;
use crate::tidy::Tidying;
use crate::times::millis;

/// Every statement of a store.
pub(crate) struct Statements {
    pub(crate) rows: Rows,
    pub(crate) entries: Entries,
    pub(crate) lists: Lists,
    pub(crate) tidying: Tidying,
    pub(crate) export: Export,
    pub(crate) import: Import,
    pub(crate) figures: Figures,
    pub(crate) operating: Operating,
}

/// A sign-in, ready to be written.
pub(crate) struct Signing {
    pub(crate) from: Option<StoreKey>,
    pub(crate) to: StoreKey,
    pub(crate) row: Change,
    pub(crate) device: Device,
    /// When the credentials were presented.
    pub(crate) presented: SystemTime,
    pub(crate) sign_in: SignIn,
    /// When it is written.
    pub(crate) at: SystemTime,
}

impl Statements {
    pub(crate) fn on(tables: &Tables) -> Self {
        Self {
            rows: Rows::on(tables),
            entries: Entries::on(tables),
            lists: Lists::on(tables),
            tidying: Tidying::on(tables),
            export: Export::on(tables),
            import: Import::on(tables),
            figures: Figures::on(tables),
            operating: Operating::on(tables),
        }
    }

    /// Those on the session table, and those on the registry. Those that look at every row, and those on tables which may
    /// not be there, are left out.
    pub(crate) fn all(&self) -> [Vec<&str>; 2] {
        let lists = [&self.lists.all()[..], &self.tidying.all(), &self.export.all()].concat();
        let registry = [&self.entries.all()[..], &lists, &self.import.all()].concat();
        [self.rows.all(), registry]
    }

    pub(crate) fn rotate(
        &self,
        connection: &Connection,
        from: &StoreKey,
        to: &StoreKey,
        row: &Change,
        at: SystemTime,
    ) -> rusqlite::Result<Written> {
        if self.entries.is_over(connection, from)? {
            return Ok(Written::Gone);
        }
        let written = self.rows.rotate(connection, from, to, row)?;
        if written == Written::Done {
            self.entries.follow(connection, from, to, at)?;
        }
        Ok(written)
    }

    pub(crate) fn remove(&self, connection: &Connection, key: &StoreKey, ending: &Ending) -> rusqlite::Result<bool> {
        self.entries.end_under(connection, key.as_str(), ending)?;
        self.rows.remove(connection, key.as_str())
    }

    pub(crate) fn sweep(&self, connection: &Connection, now: SystemTime, limit: u32) -> rusqlite::Result<Swept> {
        let ending = Ending { end: End::Expired, at: now, reason: None };
        let mut swept = Swept::default();
        for sid in self.rows.sweep(connection, now, limit)? {
            let ended = self.entries.end_under(connection, sid, &ending)?;
            swept.expired.extend(ended.into_iter().filter_map(|ended| ended.session));
            swept.removed += 1;
        }
        Ok(swept)
    }

    pub(crate) fn revoke(
        &self,
        connection: &Connection,
        owner: &UserId,
        handle: &Handle,
        ending: &Ending,
    ) -> rusqlite::Result<Option<EndedSession>> {
        let ended = self.entries.end_own(connection, owner, handle, ending)?;
        Ok(self.remove_all(connection, ended)?.pop())
    }

    /// The cut-off is rounded up: a sign-in of the millisecond before counts as earlier.
    pub(crate) fn revoke_all(
        &self,
        connection: &Connection,
        owner: &UserId,
        keep: Option<&Handle>,
        ending: &Ending,
        before: i64,
    ) -> rusqlite::Result<Vec<EndedSession>> {
        self.register_others(connection, owner, before, ending.at)?;
        self.entries.cut_off(connection, owner.as_str(), before, ending)?;
        let ended = self.entries.end_all(connection, owner, keep, ending)?;
        self.remove_all(connection, ended)
    }

    /// Another program may have signed the user in where the registry knows of somebody else, or of nobody. It is told, so
    /// that what began before this time is among those that are about to end.
    fn register_others(
        &self,
        connection: &Connection,
        owner: &UserId,
        before: i64,
        at: SystemTime,
    ) -> rusqlite::Result<()> {
        for key in self.rows.unknown_of(connection, owner, at)? {
            // What cannot be read is left as it is, here as everywhere.
            let Ok(Some(record)) = self.rows.load(connection, &key, at) else { continue };
            let Ok(Some(device)) = record.device(DeviceFacts::default()) else { continue };
            if device.owner == *owner && millis(device.began()) < before {
                self.follow(connection, &key, Some(&device), at)?;
            }
        }
        Ok(())
    }

    pub(crate) fn revoke_provider_session(
        &self,
        connection: &Connection,
        provider_session: &str,
        ending: &Ending,
    ) -> rusqlite::Result<Vec<EndedSession>> {
        let ended = self.entries.end_from(connection, provider_session, ending)?;
        self.remove_all(connection, ended)
    }

    /// Removes the sessions of rows that ended.
    pub(crate) fn remove_all(&self, connection: &Connection, ended: Vec<Ended>) -> rusqlite::Result<Vec<EndedSession>> {
        for sid in ended.iter().filter_map(|ended| ended.sid.as_deref()) {
            self.rows.remove(connection, sid)?;
        }
        Ok(ended.into_iter().filter_map(|ended| ended.session).collect())
    }

    pub(crate) fn sign_in(&self, connection: &Connection, signing: &Signing) -> rusqlite::Result<SignedIn> {
        let (entries, Signing { device, sign_in, at, .. }) = (&self.entries, signing);
        if entries.is_cut_off(connection, &device.owner, signing.presented)? {
            return Ok(SignedIn::CutOff);
        }
        let known = entries.known(connection, &device.handle)?;
        if known.is_some_and(|(is_active, _)| !is_active) {
            return Ok(SignedIn::Gone);
        }
        let too_many = self.too_many(connection, signing)?;
        if too_many > 0 && sign_in.limit.is_some_and(|limit| limit.policy == AtLimit::Deny) {
            return Ok(SignedIn::Full);
        }
        match self.write_row(connection, signing)? {
            Written::Done => {}
            Written::Gone => return Ok(SignedIn::Gone),
            Written::Stale => return Ok(SignedIn::Stale),
        }
        let replaced = GiveWay {
            under: &signing.to,
            also: sign_in.replaces.as_ref(),
            but: Some(&device.handle),
            tombstone: signing.from.as_ref(),
            at: *at,
        };
        entries.give_way(connection, &replaced)?;
        let created_at = known.map_or(device.created_at, |(_, created_at)| created_at);
        entries.put(connection, &signing.to, &Device { created_at, ..device.clone() })?;
        self.evict(connection, signing, too_many).map(SignedIn::Done)
    }

    /// How many of the user's other sessions have to go for this one.
    fn too_many(&self, connection: &Connection, signing: &Signing) -> rusqlite::Result<u32> {
        let Signing { from, device, sign_in, at, .. } = signing;
        let Some(limit) = sign_in.limit else { return Ok(0) };
        let others = self.entries.count(connection, &device.owner, (&device.handle, from.as_ref()), *at)?;
        Ok((others + 1).saturating_sub(limit.sessions.max(1)))
    }

    /// The session of a sign-in.
    fn write_row(&self, connection: &Connection, signing: &Signing) -> rusqlite::Result<Written> {
        let Signing { from, to, row, at, .. } = signing;
        match from {
            None => self.rows.insert(connection, to, row),
            Some(from) => self.rotate(connection, from, to, row, *at),
        }
    }

    fn evict(
        &self,
        connection: &Connection,
        Signing { device, at, .. }: &Signing,
        count: u32,
    ) -> rusqlite::Result<Vec<EndedSession>> {
        let ending = Ending { end: End::Evicted, at: *at, reason: None };
        let mut evicted = Vec::new();
        if count > 0 {
            for id in self.entries.oldest(connection, &device.owner, &device.handle, *at, count)? {
                let ended = self.entries.end_one(connection, &id, &ending)?;
                evicted.extend(self.remove_all(connection, ended)?);
            }
        }
        Ok(evicted)
    }

    pub(crate) fn align(
        &self,
        connection: &Connection,
        key: &StoreKey,
        device: Option<&Device>,
        at: SystemTime,
    ) -> rusqlite::Result<Alignment> {
        if !self.rows.is_alive(connection, key, at)? {
            return Ok(Alignment::Over);
        }
        if let Some(device) = device
            && let Some(known) = self.entries.known_under(connection, key, &device.owner)?
        {
            self.entries.give_way(connection, &GiveWay { but: Some(&known), ..GiveWay::former(key, at) })?;
            return Ok(Alignment::Device(known));
        }
        self.follow(connection, key, device, at).map(|(alignment, _)| alignment)
    }

    /// Makes the registry say that this device, or nobody, is signed in; or removes what is over. Also whose session ended.
    pub(crate) fn follow(
        &self,
        connection: &Connection,
        key: &StoreKey,
        device: Option<&Device>,
        at: SystemTime,
    ) -> rusqlite::Result<(Alignment, Vec<EndedSession>)> {
        let is_cut_off = match device {
            Some(device) => self.entries.is_cut_off(connection, &device.owner, device.began())?,
            None => false,
        };
        let is_over = is_cut_off || self.entries.is_over(connection, key)?;
        let ended = self.entries.give_way(connection, &GiveWay::former(key, at))?;
        if is_over {
            self.rows.remove(connection, key.as_str())?;
            return Ok((Alignment::Over, ended));
        }
        let Some(device) = device else { return Ok((Alignment::Nobody, ended)) };
        // What cannot be looked up is not taken for free.
        let is_free = |handle: &Handle| self.entries.known(connection, handle).is_ok_and(|known| known.is_none());
        let device = device.clone().under_a_free_handle(key, is_free);
        let device = device.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        self.entries.put(connection, key, &device)?;
        Ok((Alignment::Device(device.handle), ended))
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;
    use sessile_core::TableKind;

    use super::*;
    use crate::table;

    /// How SQLite would run this statement, one line for each table that it looks at.
    fn plan(connection: &Connection, sql: &str) -> Vec<String> {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let values = vec![None::<i64>; statement.parameter_count()];
        let lines = statement.query_map(rusqlite::params_from_iter(values), |row| row.get(3)).unwrap();
        lines.map(Result::unwrap).collect()
    }

    #[test]
    fn every_statement_goes_through_the_index_that_is_meant_for_it() {
        for kind in [TableKind::Express, TableKind::Columns] {
            goes_through_its_index(kind);
        }
    }

    fn goes_through_its_index(kind: TableKind) {
        let mut connection = Connection::open_in_memory().unwrap();
        let mut tables = Tables::new("session", None);
        table::ensure(&mut connection, &mut tables, Some(kind)).unwrap();
        let statements = Statements::on(&tables);
        for sql in statements.all().concat() {
            let plan = plan(&connection, sql);
            assert!(
                plan.iter().all(|line| !line.starts_with("SCAN") || line == "SCAN CONSTANT ROW"),
                "{sql}\n{plan:?}"
            );
        }
        for (sql, index) in [
            (&statements.lists.live, "r USING INDEX IDX_sessions_active (user_id=? AND (created_at,id)<(?,?))"),
            (&statements.lists.history, "r USING INDEX IDX_sessions_ended (user_id=? AND (logged_out_at,id)<(?,?))"),
            (&statements.entries.known_under, "USING INDEX IDX_sessions_sid (sid=?)"),
            (&statements.entries.end_from, "USING INDEX IDX_sessions_provider_session (provider_session=?)"),
        ] {
            let plan = plan(&connection, sql);
            assert!(plan[0].contains(index), "{plan:?}");
            assert!(plan.iter().all(|line| !line.contains("TEMP")), "{sql} sorts: {plan:?}");
        }
    }
}
