//! What happens once: an entry of a map that one request takes, however many try, and a name that one call takes, on
//! whichever instance. Sign-in flows, links in mails and messages of other servers need both, and with a read and a
//! write of one's own each is a race.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::edit::{Change, Edit, from_json, to_json};
use crate::store::Written;
use crate::{Error, Lifetime, Record, Session, Sessions, StoreKey};

/// A map, its values as they are written.
type Entries = BTreeMap<String, Box<RawValue>>;

impl Session {
    /// Removes one entry of the map under this key and returns it; the key goes with its last entry. Of two requests that
    /// take the same entry one succeeds, as with [`take`](Session::take), and requests that take or add others are not in
    /// each other's way.
    ///
    /// ```
    /// # use sessile_core::{Session, Error};
    /// fn confirm(session: &Session, token: &str) -> Result<Option<String>, Error> {
    ///     session.take_entry("addresses to confirm", token)
    /// }
    /// ```
    ///
    /// # Errors
    /// When what is stored under the key is no map, or the entry is not a `T`; then nothing is removed.
    pub fn take_entry<T: DeserializeOwned>(&self, key: &str, entry: &str) -> Result<Option<T>, Error> {
        let Some(json) = self.get::<Entries>(key)?.and_then(|mut entries| entries.remove(entry)) else {
            return Ok(None);
        };
        let value = from_json(key, json.get())?;
        self.edit_key(key, Edit::Update { key: key.into(), change: without(key, entry, json) })?;
        Ok(Some(value))
    }
}

/// Removes exactly this entry, or fails.
fn without(key: &str, entry: &str, json: Box<RawValue>) -> Change {
    let (key, entry) = (key.to_owned(), entry.to_owned());
    Arc::new(move |there| {
        let mut entries: Entries = there.map(|json| from_json(&key, json)).transpose()?.unwrap_or_default();
        if entries.remove(&entry).is_none_or(|other| other.get() != json.get()) {
            return Err(Error::taken(&key));
        }
        if entries.is_empty() { Ok(None) } else { to_json(&key, &entries).map(Some) }
    })
}

impl Sessions {
    /// Takes this name for at least so long: true for the first who does, on whichever instance, false for everybody else.
    /// For messages that another server may send twice, and links that work once. The name is kept as a hash, in a row like
    /// a session's that no cookie leads to and that expires by itself.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn once(&self, name: &str, span: Duration) -> Result<bool, Error> {
        let (config, now) = (self.config(), self.now());
        let mut record = Record::fresh(config.fresh_cookie(true), now)?;
        record.cookie.set_max_age(Some(span));
        record.cookie.touch(now);
        record.seal(None)?;
        record.expires_at = Lifetime { idle: span, absolute: None, ..config.lifetime }.expires_at(now, None);
        let written = self.store().insert(&StoreKey::once(name), &record).await?;
        Ok(written == Written::Done)
    }

    /// Whether this name was taken by [`once`](Sessions::once), and is not free again.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn happened(&self, name: &str) -> Result<bool, Error> {
        Ok(self.store().load(&StoreKey::once(name), self.now()).await?.is_some())
    }
}
