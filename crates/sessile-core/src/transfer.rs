//! Moving sessions from one store to another without signing anyone out: what is there, piece by piece, in constant memory.
//!
//! The keys move as they are, so both stores have to be used with the same secrets and the same form of keys.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;

use crate::clock::to_millis;
use crate::record::UserId;
use crate::registry::{CutOff, Device, DeviceFacts, Ending};
use crate::{Error, Record, SessionId, StoreKey};

/// The years 1 to 9999, in milliseconds since 1970.
const YEARS: std::ops::RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;

/// One thing that moves. A store gives its things in the order of these kinds: what ended after its row was read is then
/// known to have ended.
#[derive(Clone)]
pub enum Piece {
    /// A session's row.
    Session {
        /// Its key.
        key: StoreKey,
        /// The document as it is in the store.
        document: Arc<str>,
        /// When it ends.
        expires_at: SystemTime,
    },
    /// A row of the registry, of a session that lives or of one that ended, and the key it has or had; without one where
    /// that key lives on as somebody else's session.
    Device(Option<StoreKey>, Device),
    /// Sign-ins of this user from before this time are over.
    OwnerCutOff(UserId, SystemTime),
    /// Everyone's are, and what the registry will say of them.
    CutOff(CutOff, Ending),
    /// A session moved from the first key to the second, at this time.
    Moved(StoreKey, StoreKey, SystemTime),
}

impl Piece {
    /// Whether a store can take it, asked by every store before it writes. So that an import has one answer everywhere: a
    /// database that checks JSON refuses what a file would take.
    ///
    /// # Errors
    /// When a document is not a session's, a key cannot be one, a user has no name, a text holds U+0000, a time is not in
    /// the years 1 to 9999, requests are more than 2^53, or everyone's sessions are cut off later than that was decided.
    pub fn check(&self) -> Result<(), Error> {
        match self {
            Self::Session { key, document, expires_at } => {
                check_key(key)?;
                check_times([Some(*expires_at)])?;
                Record::stored(key, document.clone(), *expires_at, *expires_at).map(drop)
            }
            Self::Device(key, device) => {
                key.as_ref().map_or(Ok(()), check_key)?;
                check_device(device)
            }
            Self::Moved(from, to, at) => {
                check_key(from)?;
                check_key(to)?;
                check_times([Some(*at)])
            }
            Self::OwnerCutOff(owner, before) => {
                check_owner(owner)?;
                check_times([Some(*before)])
            }
            Self::CutOff(CutOff { before, .. }, ending) => {
                check_times([Some(*before)])?;
                check_ending(ending)?;
                let is_of_the_past = *before <= ending.at;
                is_of_the_past.then_some(()).ok_or_else(|| {
                    Error::value("expected sessions to be cut off before the time of that decision, found a later time")
                })
            }
        }
    }

    /// The same, with the owner that another program keeps under this top-level key where every store looks for it: a store
    /// that knows nothing of the key would take whom Sessile signed in before.
    ///
    /// # Errors
    /// When a document is not a session's.
    pub fn owned_under(self, user_key: &str) -> Result<Self, Error> {
        let Self::Session { key, document, expires_at } = self else { return Ok(self) };
        let mut record = Record::stored(&key, document.clone(), expires_at, expires_at)?;
        let known = record.owner.clone();
        record.owner_is_under(user_key);
        if record.owner == known {
            return Ok(Self::Session { key, document, expires_at });
        }
        record.note_owner()?;
        Ok(Self::Session { key, document: record.document().into(), expires_at })
    }

    /// Whether it cuts off sign-ins of a time that is still to come: nobody could sign in until then.
    pub fn cuts_off_after(&self, now: SystemTime) -> bool {
        match self {
            Self::OwnerCutOff(_, before) | Self::CutOff(CutOff { before, .. }, _) => *before > now,
            _ => false,
        }
    }
}

fn check_device(device: &Device) -> Result<(), Error> {
    let DeviceFacts { ip: _, user_agent, device: name, auth_method, provider_session } = &device.facts;
    check_owner(&device.owner)?;
    check_texts([user_agent, name, auth_method, provider_session])?;
    check_requests(device.requests)?;
    let Device { created_at, authenticated_at, last_seen_at, expires_at, .. } = device;
    check_times([Some(*created_at), *authenticated_at, Some(*last_seen_at), Some(*expires_at)])?;
    device.ended.as_ref().map_or(Ok(()), check_ending)
}

fn check_ending(ending: &Ending) -> Result<(), Error> {
    check_texts([&ending.reason])?;
    check_times([Some(ending.at)])
}

fn check_owner(owner: &UserId) -> Result<(), Error> {
    let is_name = !owner.as_str().is_empty() && !owner.as_str().contains('\0');
    is_name
        .then_some(())
        .ok_or_else(|| Error::value("expected a user to have a name without U+0000, found another or none"))
}

fn check_texts<const N: usize>(texts: [&Option<Box<str>>; N]) -> Result<(), Error> {
    let is_kept = texts.into_iter().flatten().all(|text| !text.contains('\0'));
    is_kept
        .then_some(())
        .ok_or_else(|| Error::value("expected texts without U+0000, which databases do not keep, found one"))
}

/// What every store can keep as a time.
fn check_times<const N: usize>(times: [Option<SystemTime>; N]) -> Result<(), Error> {
    let is_kept = times.into_iter().flatten().all(|time| YEARS.contains(&to_millis(time)));
    is_kept.then_some(()).ok_or_else(|| Error::value("expected times in the years 1 to 9999, found another"))
}

/// What every program reads as the number that it is.
fn check_requests(requests: u64) -> Result<(), Error> {
    let is_kept = requests <= 1 << 53;
    is_kept
        .then_some(())
        .ok_or_else(|| Error::value("expected a count of requests of at most 2^53, found a larger one"))
}

fn check_key(key: &StoreKey) -> Result<(), Error> {
    let is_key = SessionId::parse(key.as_str()).is_some();
    is_key.then_some(()).ok_or_else(|| {
        Error::value("expected the key of a session, of 1 to 512 bytes without U+0000, found something else")
    })
}

/// The kind alone: a piece has keys and data in it.
impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Session { .. } => "Session(…)",
            Self::Device(..) => "Device(…)",
            Self::OwnerCutOff(..) => "OwnerCutOff(…)",
            Self::CutOff(..) => "CutOff(…)",
            Self::Moved(..) => "Moved(…)",
        })
    }
}

/// Where a reader of [`Transfer::export`] is. It can be kept in memory only: it may hold a key.
#[derive(Clone, Default)]
pub struct Place {
    /// Which kind of piece comes next: 0 is the first.
    pub kind: u8,
    /// After which one of them; `None` for the first.
    pub after: Option<Box<str>>,
}

impl Place {
    /// The kind of [`Piece::CutOff`].
    pub const CUT_OFF: u8 = 3;
}

/// The kind alone.
impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// What became of pieces that were imported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Written.
    pub written: u64,
    /// There already, or over: left as it was.
    pub present: u64,
}

/// A store whose sessions can be taken out and put in.
///
/// What an import does with a piece depends on what is there:
///
/// - A session is written unless something lies under its key, or what was under it ended or moved away. Of an anonymous
///   session nobody knows that it ended.
/// - A device that lives is written unless the registry knows its handle, another device lives under its key, or it is over:
///   by an end or a move of its key, or by a cut-off, of its owner or of everyone, that is later than [`Device::began`].
///   The row of one that is over goes.
/// - A device that ended is written, and the row under its key goes unless another device lives there. One that lives here
///   ends as it ended there. The first end stays.
/// - A cut-off is written if it is later than the one in force.
/// - A move is written once. What lived under its first key goes, and a device that lived there follows to the second.
#[async_trait]
pub trait Transfer: Send + Sync {
    /// The next pieces from this place, at most `limit`, and the place after them; `None` after the last. There may be
    /// fewer, even none, before the last. Rows that had expired by `now` are left out, and so is what cannot be read.
    async fn export(&self, from: &Place, now: SystemTime, limit: u32) -> Result<(Vec<Piece>, Option<Place>), Error>;

    /// Puts pieces in, all or none of them. Never overwrites, so an import that broke off is begun again. A session that
    /// ended, here or in what is imported, stays ended: its row is not written, and goes if it is there.
    ///
    /// # Errors
    /// When one of the pieces fails [`Piece::check`]; when the store fails.
    async fn import(&self, pieces: &[Piece]) -> Result<Imported, Error>;

    /// The cut-off of everyone's sessions that is in force, and what the registry will say of them; `None` where there
    /// never was one.
    async fn cut_off(&self, now: SystemTime) -> Result<Option<(CutOff, Ending)>, Error> {
        let (pieces, _) = self.export(&Place { kind: Place::CUT_OFF, after: None }, now, 1).await?;
        Ok(pieces.into_iter().find_map(|piece| match piece {
            Piece::CutOff(cut_off, ending) => Some((cut_off, ending)),
            _ => None,
        }))
    }

    /// Whether a column of this store says whose a session is, so that a user key means nothing for
    /// [`Piece::owned_under`].
    async fn has_owner_column(&self) -> Result<bool, Error> {
        Ok(false)
    }

    /// How many sessions and rows of the registry there are, about: for a progress bar.
    async fn size(&self) -> Result<u64, Error>;
}
