//! Tokens that were wrong, counted for each address they came from: a guess is hopeless, but guessing costs the store and
//! fills the audit. The memory is bounded, however many addresses a stranger has.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// So many in a window, from one address.
const MOST: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);

/// So many addresses are remembered.
const ADDRESSES: usize = 10_000;

/// What was tried lately, by address.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    windows: Mutex<HashMap<Option<IpAddr>, Window>>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    began: SystemTime,
    tried: u32,
}

impl Attempts {
    /// Counts one attempt, before it is known to be wrong, so that many at once are counted too.
    ///
    /// # Errors
    /// How long to wait, when there were too many.
    pub(super) fn begin(&self, ip: Option<IpAddr>, now: SystemTime) -> Result<(), Duration> {
        self.with(|windows| {
            if windows.len() >= ADDRESSES {
                make_room(windows, now);
            }
            let fresh = Window { began: now, tried: 0 };
            let window = windows.entry(counted(ip)).or_insert(fresh);
            if left(window, now).is_zero() {
                *window = fresh;
            }
            if window.tried >= MOST {
                return Err(left(window, now));
            }
            window.tried += 1;
            Ok(())
        })
    }

    /// The attempt was right: it does not count.
    pub(super) fn forgive(&self, ip: Option<IpAddr>) {
        self.with(|windows| {
            if let Some(window) = windows.get_mut(&counted(ip)) {
                window.tried = window.tried.saturating_sub(1);
            }
        });
    }

    fn with<T>(&self, look: impl FnOnce(&mut HashMap<Option<IpAddr>, Window>) -> T) -> T {
        look(&mut self.windows.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Forgets windows that are over; where all are young, every second one, for the memory matters more than the count.
fn make_room(windows: &mut HashMap<Option<IpAddr>, Window>, now: SystemTime) {
    windows.retain(|_, window| !left(window, now).is_zero());
    if windows.len() >= ADDRESSES {
        let mut keep = false;
        windows.retain(|_, _| {
            keep = !keep;
            keep
        });
    }
}

fn left(window: &Window, now: SystemTime) -> Duration {
    let gone = now.duration_since(window.began).unwrap_or_default();
    WINDOW.saturating_sub(gone)
}

/// A customer of an IPv6 network has 2^64 addresses: they count as one.
fn counted(ip: Option<IpAddr>) -> Option<IpAddr> {
    ip.map(|ip| match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from(u128::from(ip) >> 64 << 64)),
        ip => ip,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> Option<IpAddr> {
        Some(IpAddr::V4(number.into()))
    }

    #[test]
    fn the_eleventh_attempt_within_a_minute_waits_and_other_addresses_do_not() {
        let (attempts, now) = (Attempts::default(), SystemTime::UNIX_EPOCH);
        (0..MOST).for_each(|_| attempts.begin(address(1), now).unwrap());
        assert_eq!(attempts.begin(address(1), now + Duration::from_secs(20)), Err(Duration::from_secs(40)));
        assert_eq!(attempts.begin(address(2), now), Ok(()));
        assert_eq!(attempts.begin(address(1), now + WINDOW), Ok(()));
    }

    #[test]
    fn what_was_right_does_not_count() {
        let (attempts, now) = (Attempts::default(), SystemTime::UNIX_EPOCH);
        for _ in 0..100 {
            attempts.begin(address(1), now).unwrap();
            attempts.forgive(address(1));
        }
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_count_together() {
        let (attempts, now) = (Attempts::default(), SystemTime::UNIX_EPOCH);
        for host in 0..MOST {
            attempts.begin(format!("2001:db8::{host:x}").parse().ok(), now).unwrap();
        }
        assert!(attempts.begin("2001:db8::ffff".parse().ok(), now).is_err());
        assert!(attempts.begin("2001:db8:0:1::1".parse().ok(), now).is_ok());
    }

    #[test]
    fn the_memory_is_bounded() {
        let (attempts, now) = (Attempts::default(), SystemTime::UNIX_EPOCH);
        (0..3 * ADDRESSES as u32).for_each(|number| attempts.begin(address(number), now).unwrap());
        assert!(attempts.with(|windows| windows.len()) <= ADDRESSES);
    }
}
