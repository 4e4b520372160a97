//! What is inside a session, as far as an operator has to know: which keys the application stored, and how large what is
//! under them is. The values are the user's; the dashboard never shows them.

use sessile_core::{Device, Error};

use super::state::Dashboard;

/// Keys that are not the application's: Express's cookie object and Sessile's own facts.
const OURS: [&str; 2] = ["cookie", "sessile"];

/// One key of a session's document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) name: String,
    /// The size of the value as JSON text, in bytes.
    pub(super) bytes: u64,
}

/// The application's keys; `None` where there is no row to read, or none that can be read.
pub(super) async fn keys(dashboard: &Dashboard, device: &Device) -> Result<Option<Vec<Key>>, Error> {
    let store = dashboard.sessions.store();
    let Some(registry) = store.registry() else { return Ok(None) };
    let Some(key) = registry.key(&device.handle).await? else { return Ok(None) };
    match store.load(&key, dashboard.now()).await {
        Ok(record) => Ok(record.map(|record| {
            let own = record.data.iter().filter(|(name, _)| !OURS.contains(name));
            own.map(|(name, json)| Key { name: name.to_owned(), bytes: json.len() as u64 }).collect()
        })),
        Err(error) if error.is_poisoned() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Why it is alive or over, in sentences.
pub(super) async fn explanation(dashboard: &Dashboard, device: &Device) -> Result<Vec<String>, Error> {
    let explanation = dashboard.sessions.explain(&device.handle).await?;
    Ok(explanation.map(|explanation| explanation.sentences).unwrap_or_default())
}
