//! What the dashboard's handlers share: the application's sessions, the dashboard's own, and figures that are worth keeping
//! for a few seconds, because a store may look at every row for them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use sessile_core::codec::Secret;
use sessile_core::{Check, Clock, Config, Cookie, Error, MemoryStore, SameSite, Secure, Sessions, StoreStats};

use super::Admin;
use super::attempts::Attempts;
use super::confirmed::Confirmed;
use super::figures::Figures;
use crate::demo::times::Moment;

/// How long a look at the whole store is good for, however many operators look.
const FRESH: Duration = Duration::from_secs(10);

/// And at least so many times as long as the look took: a store that has much to count is left in peace the longer.
const REST: u32 = 50;

/// How many of the users with the most sessions are shown.
const TOP: u32 = 10;

/// The dashboard's own sessions end when nobody used them for so long, and at most so long after the sign-in.
const IDLE: Duration = Duration::from_secs(15 * 60);
const ABSOLUTE: Duration = Duration::from_secs(8 * 60 * 60);

/// What handlers share.
#[derive(Debug)]
pub(super) struct Dashboard {
    /// The application's.
    pub(super) sessions: Sessions,
    /// The dashboard's own.
    pub(super) own: Sessions,
    pub(super) figures: Figures,
    pub(super) hosts: Vec<String>,
    /// Tokens that were typed in.
    pub(super) typed: Attempts,
    /// Tokens that came with requests. They are counted apart, so that a script with an old token keeps nobody out.
    pub(super) sent: Attempts,
    pub(super) confirmed: Confirmed,
    settings_checks: Vec<Check>,
    stats: Kept<Option<StoreStats>>,
    checks: Kept<Vec<Check>>,
}

impl Dashboard {
    pub(super) fn new(admin: Admin) -> Self {
        let own = if admin.secure { admin.own_secure } else { admin.own };
        let own = own.clock(ClockOf(admin.sessions.clone())).trusted_proxies(admin.trusted_proxies);
        Self {
            own: Sessions::new(MemoryStore::new(), own),
            sessions: admin.sessions,
            figures: admin.figures,
            hosts: admin.hosts,
            typed: Attempts::default(),
            sent: Attempts::default(),
            confirmed: Confirmed::default(),
            settings_checks: admin.checks,
            stats: Kept::default(),
            checks: Kept::default(),
        }
    }

    pub(super) fn now(&self) -> SystemTime {
        self.sessions.now()
    }

    /// The store's figures; `None` when it does not count.
    pub(super) async fn stats(&self) -> Result<Arc<Option<StoreStats>>, Error> {
        let (now, begun) = (self.now(), Instant::now());
        if let Some(kept) = self.stats.at(now) {
            return Ok(kept);
        }
        let stats = match self.sessions.store().stats() {
            Some(stats) => Some(stats.stats(now, TOP).await?),
            None => None,
        };
        Ok(self.stats.keep(now, begun.elapsed(), stats))
    }

    /// That the sweeper of this process fails, where it does.
    fn sweeper_check(&self, now: SystemTime) -> Option<Check> {
        let failed = Moment::seen_at(now, self.figures.sweep_failed_at()?).distance;
        let finding = format!("The last round of this instance's sweeper failed, {failed}.");
        let remedy = "Look in the server's log for: expired sessions could not be removed";
        Some(Check::warning("sweeper.round", finding, remedy))
    }

    /// What the doctor says of settings and store, the worst first.
    pub(super) async fn checks(&self) -> Arc<Vec<Check>> {
        let (now, begun) = (self.now(), Instant::now());
        if let Some(kept) = self.checks.at(now) {
            return kept;
        }
        let mut checks = self.settings_checks.clone();
        checks.extend(self.sweeper_check(now));
        checks.extend(self.sessions.examine().await);
        checks.sort_by_key(|check| std::cmp::Reverse(check.verdict));
        self.checks.keep(now, begun.elapsed(), checks)
    }
}

/// The settings of the dashboard's own sessions, signed with a secret that nobody else knows and that dies with the process.
pub(super) fn own_config(secure: bool) -> Result<Config, Error> {
    let (name, secure) =
        if secure { ("__Host-sessile-admin", Secure::Always) } else { ("sessile-admin", Secure::Never) };
    let cookie = Cookie::new(name).secure(secure).same_site(SameSite::Strict).persistent(false);
    let config = Config::new(vec![Secret::generate()?])?.cookie(cookie)?.counted(false);
    Ok(config.idle(IDLE).absolute(ABSOLUTE).history(Duration::ZERO))
}

/// The clock of the application's sessions.
struct ClockOf(Sessions);

impl Clock for ClockOf {
    fn now(&self) -> SystemTime {
        self.0.now()
    }
}

/// A value that is good until a time.
#[derive(Debug)]
struct Kept<T>(Mutex<Option<(Until, Arc<T>)>>);

#[derive(Clone, Copy, Debug)]
struct Until {
    from: SystemTime,
    good_for: Duration,
}

impl Until {
    /// A clock that was set back makes it old.
    fn is_good(self, now: SystemTime) -> bool {
        now.duration_since(self.from).is_ok_and(|age| age < self.good_for)
    }
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Kept<T> {
    fn at(&self, now: SystemTime) -> Option<Arc<T>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().filter(|(until, _)| until.is_good(now)).map(|(_, value)| value.clone())
    }

    fn keep(&self, from: SystemTime, took: Duration, value: T) -> Arc<T> {
        let (value, good_for) = (Arc::new(value), FRESH.max(took * REST));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Until { from, good_for }, value.clone()));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dear_is_kept_longer() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let kept = Kept::default();
        kept.keep(at(100), Duration::from_millis(1), 1);
        assert_eq!([109, 110, 99].map(|now| kept.at(at(now)).is_some()), [true, false, false]);
        kept.keep(at(100), Duration::from_secs(2), 2);
        assert_eq!([199, 200].map(|now| kept.at(at(now)).is_some()), [true, false]);
    }
}
