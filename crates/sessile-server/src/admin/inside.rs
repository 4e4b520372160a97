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

/// What is found when a session's row is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Inside {
    /// The application's keys.
    Keys(Vec<Key>),
    /// A row that is no session's document.
    Unreadable,
    /// No row.
    Nothing,
}

impl Inside {
    /// The keys, as far as anybody can read them.
    pub(super) fn keys(self) -> Option<Vec<Key>> {
        match self {
            Self::Keys(keys) => Some(keys),
            Self::Unreadable | Self::Nothing => None,
        }
    }
}

/// Looks at a session's row.
pub(super) async fn look(dashboard: &Dashboard, device: &Device) -> Result<Inside, Error> {
    let store = dashboard.sessions.store();
    let Some(registry) = store.registry() else { return Ok(Inside::Nothing) };
    let Some(key) = registry.key(&device.handle).await? else { return Ok(Inside::Nothing) };
    match store.load(&key, dashboard.now()).await {
        Ok(None) => Ok(Inside::Nothing),
        Ok(Some(record)) => {
            let own = record.data.iter().filter(|(name, _)| !OURS.contains(name));
            Ok(Inside::Keys(own.map(|(name, json)| Key { name: name.to_owned(), bytes: json.len() as u64 }).collect()))
        }
        Err(error) if error.is_poisoned() => Ok(Inside::Unreadable),
        Err(error) => Err(error),
    }
}

/// Why it is alive or over, in sentences.
pub(super) async fn explanation(dashboard: &Dashboard, device: &Device) -> Result<Vec<String>, Error> {
    let explanation = dashboard.sessions.explain(&device.handle).await?;
    Ok(explanation.map(|explanation| explanation.sentences).unwrap_or_default())
}
