//! The names of keys, and which of them share a slot.
//!
//! In a cluster a script may touch keys of one slot only, and what a script has to touch together is not known beforehand:
//! the sessions of one user, the index of what ends when. So everything lies in one of 128 partitions, each of which has a
//! hash tag of its own. A session key, a user, a handle and a provider's session each belong to the partition that their
//! text hashes to; the indexes that the sweeper and operators read are one per partition. The tags are chosen such that
//! each partition has another 128 of the 16 384 slots, so that a cluster that is cut into even ranges gets even shares.
//!
//! In `sessile:{7}:k:…` the tag is always the same piece, whatever text follows: nothing in a key or a user's name can move
//! it to another slot.

use std::sync::LazyLock;

use sessile_core::{Handle, StoreKey};

/// How many partitions there are. What is stored depends on it: it cannot be changed.
pub(crate) const PARTITIONS: usize = 128;

/// How many slots every cluster has.
const SLOTS: usize = 16_384;

/// The tag of each partition: the first number whose slot is one of the partition's.
static TAGS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut tags = vec![String::new(); PARTITIONS];
    let mut left = PARTITIONS;
    for number in 0_u32.. {
        let text = number.to_string();
        let tag = &mut tags[slot(&text) / (SLOTS / PARTITIONS)];
        if tag.is_empty() {
            *tag = text;
            left -= 1;
        }
        if left == 0 {
            break;
        }
    }
    tags
});

/// CRC-16/XMODEM, as clusters hash.
fn crc16(text: &str) -> usize {
    let step = |crc: u16, _| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
    let crc = text.bytes().fold(0_u16, |crc, byte| (0..8).fold(crc ^ (u16::from(byte) << 8), step));
    usize::from(crc)
}

fn slot(tag: &str) -> usize {
    crc16(tag) % SLOTS
}

/// The slot of one of our names, which has a tag.
pub(crate) fn slot_of(name: &str) -> u16 {
    let tag = name.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or(name, |(tag, _)| tag);
    u16::try_from(slot(tag)).unwrap_or_default()
}

/// What is written, before replicas are waited for, where this name of ours is: in a cluster in its partition.
pub(crate) fn note_of(name: &str, is_cluster: bool) -> String {
    let (prefix, rest) = name.split_once('{').unwrap_or((name, ""));
    match rest.split_once('}').filter(|_| is_cluster) {
        Some((tag, _)) => format!("{prefix}{{{tag}}}:wait"),
        None => format!("{prefix}wait"),
    }
}

/// The partition that this text belongs to.
pub(crate) fn partition(text: &str) -> usize {
    crc16(text) % PARTITIONS
}

/// The names of one store.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    prefix: Box<str>,
}

/// Where a key leads, or where the row itself is.
#[derive(Clone, Debug)]
pub(crate) struct KeyPlace {
    pub(crate) name: String,
    /// The index of what ends when, and the row's name in it.
    pub(crate) ends: String,
    pub(crate) member: String,
    /// The partition's copy of everyone's cut-off.
    pub(crate) all: String,
    /// The index of what moved when.
    pub(crate) moves: String,
}

/// Where a user's sessions are.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) owner: Box<str>,
    base: String,
}

impl Names {
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into() }
    }

    /// What all names of a partition begin with.
    fn base(&self, partition: usize) -> String {
        format!("{}{{{}}}:", self.prefix, TAGS[partition])
    }

    fn of(&self, kind: &str, text: &str) -> String {
        format!("{}{kind}:{text}", self.base(partition(text)))
    }

    /// One of a partition's indexes: `ends`, `gone`, `born`, `cuts` or `moves`; or its copy of everyone's cut-off, `all`.
    pub(crate) fn index(&self, partition: usize, kind: &str) -> String {
        format!("{}{kind}", self.base(partition))
    }

    pub(crate) fn key(&self, key: &StoreKey) -> KeyPlace {
        let text = key.as_str();
        let base = self.base(partition(text));
        KeyPlace {
            name: format!("{base}k:{text}"),
            ends: format!("{base}ends"),
            member: format!("k:{text}"),
            all: format!("{base}all"),
            moves: format!("{base}moves"),
        }
    }

    pub(crate) fn home(&self, owner: &str) -> Home {
        Home { owner: owner.into(), base: self.base(partition(owner)) }
    }

    /// What is kept for operators, all of it together.
    pub(crate) fn operators(&self, what: &str) -> String {
        format!("{}o:{what}", self.base(0))
    }

    /// A device in this partition, of whichever user.
    pub(crate) fn device_in(&self, partition: usize, handle: &str) -> String {
        format!("{}d:{handle}", self.base(partition))
    }

    /// Who has this handle.
    pub(crate) fn handle(&self, handle: &Handle) -> String {
        self.of("h", handle.as_str())
    }

    /// What was signed in from this session of a provider.
    pub(crate) fn provider(&self, provider_session: &str) -> String {
        self.of("s", provider_session)
    }
}

impl KeyPlace {
    pub(crate) fn keys(&self) -> [&str; 2] {
        [&self.name, &self.ends]
    }

    /// Those that a script takes which notes a move.
    pub(crate) fn keys_and_moves(&self) -> [&str; 3] {
        [&self.name, &self.ends, &self.moves]
    }
}

impl Home {
    pub(crate) fn device(&self, handle: &str) -> String {
        format!("{}d:{handle}", self.base)
    }

    pub(crate) fn live(&self) -> String {
        format!("{}l:{}", self.base, self.owner)
    }

    pub(crate) fn past(&self) -> String {
        format!("{}p:{}", self.base, self.owner)
    }

    pub(crate) fn ends(&self) -> String {
        format!("{}ends", self.base)
    }

    pub(crate) fn all(&self) -> String {
        format!("{}all", self.base)
    }

    /// The keys that every script on a home takes, in the order of `home.lua`, then the device and others.
    pub(crate) fn keys(&self, device: Option<&str>, others: &[String]) -> Vec<String> {
        let index = |kind: &str| format!("{}{kind}", self.base);
        let mut keys =
            vec![self.live(), self.past(), self.ends(), index("gone"), index("born"), index("cuts"), self.all()];
        keys.push(device.map_or_else(|| self.live(), |handle| self.device(handle)));
        keys.extend(others.iter().map(|handle| self.device(handle)));
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_clusters() {
        // From the cluster specification.
        assert_eq!(crc16("123456789"), 0x31c3);
        assert_eq!(slot("foo"), 12_182);
    }

    #[test]
    fn each_partition_has_its_own_share_of_the_slots() {
        for (partition, tag) in TAGS.iter().enumerate() {
            assert_eq!(slot(tag) / 128, partition);
        }
    }

    #[test]
    fn whatever_is_in_a_name_the_tag_is_the_partitions() {
        let names = Names::new("sessile:");
        for text in ["a", "}", "{a}", "}{", "{}"] {
            let name = names.key(&StoreKey::stored(text)).name;
            let tag = name.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
            assert_eq!(tag, Some(TAGS[partition(text)].as_str()), "{name}");
        }
    }
}
