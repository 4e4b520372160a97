//! Moving sessions out of memory and into it: the shortest reading of the rules that [`Transfer`] names.

use std::collections::btree_map::Entry as Slot;
use std::time::SystemTime;

use async_trait::async_trait;

use super::{Entry, MemoryStore, Row, Tables, whole};
use crate::record::UserId;
use crate::registry::{CutOff, Device, Ending};
use crate::{Error, Imported, Piece, Place, StoreKey, Transfer};

/// How many kinds of pieces there are.
const KINDS: u8 = 5;

impl Tables {
    /// All pieces of a kind, each with its place, in order.
    fn pieces(&self, kind: u8, now: SystemTime) -> Vec<(Box<str>, Piece)> {
        let mut pieces: Vec<_> = match kind {
            0 => self.sessions(now),
            1 => self.devices.iter().map(|(handle, entry)| (handle.as_str().into(), entry.piece())).collect(),
            2 => self
                .cut_offs
                .iter()
                .map(|(owner, before)| (owner.clone(), Piece::OwnerCutOff(UserId::from(&**owner), *before)))
                .collect(),
            3 => self
                .everyone
                .iter()
                .map(|(cut_off, ending)| ("".into(), Piece::CutOff(*cut_off, ending.clone())))
                .collect(),
            _ => self
                .moves
                .iter()
                .map(|(from, (to, at))| (from.as_str().into(), Piece::Moved(from.clone(), to.clone(), *at)))
                .collect(),
        };
        pieces.sort_by(|one, other| one.0.cmp(&other.0));
        pieces
    }

    fn sessions(&self, now: SystemTime) -> Vec<(Box<str>, Piece)> {
        let live = self.rows.iter().filter(|(_, row)| row.expires_at >= now);
        let sessions = live.map(|(key, row)| {
            let (key, document, expires_at) = (key.clone(), row.document.clone(), row.expires_at);
            (key.as_str().into(), Piece::Session { key, document, expires_at })
        });
        sessions.filter(|(_, piece)| piece.check().is_ok()).collect()
    }

    /// Whether the piece was written.
    fn take(&mut self, piece: &Piece) -> bool {
        match piece {
            Piece::Session { key, document, expires_at } => {
                let is_free = !self.rows.contains_key(key) && !self.is_over(key);
                if is_free {
                    self.rows.insert(key.clone(), Row { document: document.clone(), expires_at: *expires_at });
                }
                is_free
            }
            Piece::Device(key, device) => match &device.ended {
                Some(ending) => self.take_ended(key.as_ref(), device, ending),
                None => self.take_live(key.as_ref(), device),
            },
            Piece::OwnerCutOff(owner, before) => self.take_owner_cut_off(owner, *before),
            Piece::CutOff(cut_off, ending) => self.take_cut_off(*cut_off, ending),
            Piece::Moved(from, to, at) => self.take_move(from, to, *at),
        }
    }

    fn take_ended(&mut self, key: Option<&StoreKey>, device: &Device, ending: &Ending) -> bool {
        let is_new = match self.devices.entry(device.handle.clone()) {
            Slot::Vacant(slot) => {
                slot.insert(Entry { key: key.cloned(), device: device.clone() });
                true
            }
            Slot::Occupied(_) => self.end(&device.handle, ending).is_some(),
        };
        if let Some(key) = key
            && self.active_under(key).is_none()
        {
            self.rows.remove(key);
        }
        is_new
    }

    fn take_live(&mut self, key: Option<&StoreKey>, device: &Device) -> bool {
        let Some(key) = key else { return false };
        let is_known = self.devices.contains_key(&device.handle) || self.active_under(key).is_some();
        if self.is_over(key) || (!is_known && self.is_cut_off(&device.owner, device.began())) {
            self.rows.remove(key);
            return false;
        }
        if !is_known {
            let entry = Entry { key: Some(key.clone()), device: device.clone() };
            self.devices.insert(device.handle.clone(), entry);
        }
        !is_known
    }

    fn take_owner_cut_off(&mut self, owner: &UserId, before: SystemTime) -> bool {
        let in_force = self.cut_offs.get(owner.as_str());
        let is_later = in_force.is_none_or(|in_force| *in_force < before);
        if is_later {
            self.cut_offs.insert(owner.as_str().into(), before);
        }
        is_later
    }

    fn take_cut_off(&mut self, cut_off: CutOff, ending: &Ending) -> bool {
        let is_later = self.everyone.as_ref().is_none_or(|(in_force, _)| in_force.before < cut_off.before);
        if is_later {
            self.everyone = Some((CutOff { before: whole(cut_off.before), ..cut_off }, ending.clone()));
        }
        is_later
    }

    fn take_move(&mut self, from: &StoreKey, to: &StoreKey, at: SystemTime) -> bool {
        if self.moves.contains_key(from) {
            return false;
        }
        self.moves.insert(from.clone(), (to.clone(), whole(at)));
        self.follow(from, to);
        self.rows.remove(from);
        true
    }
}

impl Entry {
    fn piece(&self) -> Piece {
        Piece::Device(self.key.clone(), self.device.clone())
    }
}

#[async_trait]
impl Transfer for MemoryStore {
    async fn export(&self, from: &Place, now: SystemTime, limit: u32) -> Result<(Vec<Piece>, Option<Place>), Error> {
        let pieces = self.tables().pieces(from.kind, now);
        let mut rest = pieces.into_iter().filter(|(place, _)| from.after.as_ref().is_none_or(|after| place > after));
        let page: Vec<_> = rest.by_ref().take(limit as usize).collect();
        let after = page.last().map(|(place, _)| place.clone()).or_else(|| from.after.clone());
        let next = match rest.next() {
            Some(_) => Some(Place { kind: from.kind, after }),
            None => Some(Place { kind: from.kind + 1, after: None }).filter(|next| next.kind < KINDS),
        };
        Ok((page.into_iter().map(|(_, piece)| piece).collect(), next))
    }

    async fn import(&self, pieces: &[Piece]) -> Result<Imported, Error> {
        pieces.iter().try_for_each(Piece::check)?;
        let mut tables = self.tables();
        let written = pieces.iter().map(|piece| u64::from(tables.take(piece))).sum();
        Ok(Imported { written, present: pieces.len() as u64 - written })
    }

    async fn size(&self) -> Result<u64, Error> {
        let tables = self.tables();
        Ok((tables.rows.len() + tables.devices.len()) as u64)
    }
}
