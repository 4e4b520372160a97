//! How often one client may do what costs the application something: present forged cookies, have sessions made, try to
//! sign in.
//!
//! Counting is the generic cell rate algorithm over two tables of fixed size, each with its own secret hash: a client is
//! over its rate when both say so. So there is nothing to prune and nothing that grows, however many addresses an attacker
//! has, and nobody can aim at another one's place. Two clients that share a place in one table rarely share the other.
//! (The keyed stores of `governor` grow with their keys, which a stranger chooses.)

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hash};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::clock::to_millis;

/// How many clients one table tells apart.
const PLACES: usize = 1 << 15;

/// A clock that was set back by less is waited for, in milliseconds: what was counted still counts.
const CLOCK_STEP: u64 = 60_000;

/// What happens to a client that is over its rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// It is said to observers, as [`Refusal::RateLimited`](crate::Refusal::RateLimited), and the request goes on: to see
    /// what enforcing would do.
    LogOnly,
    /// The request is refused: 429 with `Retry-After` (RFC 6585).
    Enforce,
}

/// So many in so much time: all at once if the client likes, and after that one more for each part of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    per: Duration,
}

impl Rate {
    /// So many a minute, at least 1.
    pub fn per_minute(count: u32) -> Self {
        Self { count: count.max(1), per: Duration::from_secs(60) }
    }

    /// So many an hour, at least 1.
    pub fn per_hour(count: u32) -> Self {
        Self { count: count.max(1), per: Duration::from_secs(60 * 60) }
    }

    fn per_millis(self) -> u64 {
        u64::try_from(self.per.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Rates for what one client network, or one session, may do. A network is an IPv4 address or an IPv6 /64, as far as
/// [trusted proxies](crate::Config::trusted_proxies) tell it: behind a proxy that is not trusted all clients are one. What
/// has no address is not limited.
///
/// ```
/// # use sessile_core::{Config, Error};
/// use sessile_core::{Enforcement, Limits, Rate};
///
/// # let secret = "gUnXRPzrkuQ0rDtBSHXmFJC2AbVBv4Ds";
/// let limits = Limits::new(Enforcement::Enforce).sign_ins(Rate::per_minute(5));
/// let config = Config::new(secret)?.limits(limits);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub(crate) enforcement: Enforcement,
    forged: Rate,
    created: Rate,
    sign_ins: Rate,
}

impl Limits {
    /// 30 forged cookies, 60 new sessions and 10 tries to sign in a minute for each network, and as many tries for each
    /// session.
    pub fn new(enforcement: Enforcement) -> Self {
        Self {
            enforcement,
            forged: Rate::per_minute(30),
            created: Rate::per_minute(60),
            sign_ins: Rate::per_minute(10),
        }
    }

    /// Requests with a cookie that has no good signature and whose handler asks for the session, for each network.
    pub fn forged(mut self, rate: Rate) -> Self {
        self.forged = rate;
        self
    }

    /// Sessions that are stored for the first time, for each network. What a request reads makes none.
    pub fn created(mut self, rate: Rate) -> Self {
        self.created = rate;
        self
    }

    /// Tries to sign in ([`Exchange::try_sign_in`](crate::Exchange::try_sign_in)), for each network and for each session.
    pub fn sign_ins(mut self, rate: Rate) -> Self {
        self.sign_ins = rate;
        self
    }
}

/// What a client is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Network(IpAddr);

impl Network {
    pub(crate) fn of(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V4(v4) => IpAddr::V4(v4),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(v6.to_bits() & !u128::from(u64::MAX))),
        })
    }
}

/// What has been counted.
pub(crate) struct Limiter {
    pub(crate) limits: Limits,
    pub(crate) forged: Counted,
    pub(crate) created: Counted,
    pub(crate) sign_ins: Counted,
}

impl Limiter {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            forged: Counted::new(limits.forged),
            created: Counted::new(limits.created),
            sign_ins: Counted::new(limits.sign_ins),
            limits,
        }
    }
}

/// One rate, and how far each client is with it.
pub(crate) struct Counted {
    rate: Rate,
    tables: [Table; 2],
}

/// When the client in each place has used up nothing of its rate: milliseconds since 1970.
struct Table {
    hash: RandomState,
    free_at: Box<[AtomicU64]>,
}

impl Counted {
    fn new(rate: Rate) -> Self {
        let table = || Table { hash: RandomState::new(), free_at: (0..PLACES).map(|_| AtomicU64::new(0)).collect() };
        Self { rate, tables: [table(), table()] }
    }

    /// Counts one more; how long to wait when that is one too many. What is refused does not count.
    pub(crate) fn count(&self, client: &impl Hash, now: SystemTime) -> Result<(), Duration> {
        let now = u64::try_from(to_millis(now)).unwrap_or(0);
        let waits = self.tables.each_ref().map(|table| self.count_in(table.place(client), now));
        match waits {
            [Some(one), Some(other)] => Err(Duration::from_millis(one.min(other))),
            _ => Ok(()),
        }
    }

    /// How long to wait, in milliseconds.
    fn count_in(&self, place: &AtomicU64, now: u64) -> Option<u64> {
        let per = self.rate.per_millis();
        let each = (per / u64::from(self.rate.count)).max(1);
        // What is far further ahead than the rate allows was counted before the clock went back, and means nothing now.
        let is_of_now = |at: &u64| *at <= now + per + per.max(CLOCK_STEP);
        let next = |free_at: u64| Some(free_at).filter(is_of_now).unwrap_or(now).max(now) + each;
        let count = |free_at| Some(next(free_at)).filter(|next| *next <= now + per);
        let counted = place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
        counted.err().map(|free_at| next(free_at) - now - per)
    }
}

impl Table {
    fn place(&self, client: &impl Hash) -> &AtomicU64 {
        // The remainder is below the length, so the place is there.
        &self.free_at[self.hash.hash_one(client) as usize % PLACES]
    }
}
