//! How often each secret verified a cookie: counted here without a lock, and handed to the store now and then: with the
//! sweeper's rounds, and with requests, because an instance need not have a sweeper. An operator then knows when nobody needs the old secret any more. With one secret there is nothing to know.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tracing::warn;

use crate::clock::{from_millis, to_millis};
use crate::{Error, SecretUse, Sessions};

/// How long counts are gathered before a request hands them to the store.
const GATHERED: Duration = Duration::from_secs(60);

pub(crate) struct SecretUses {
    /// One for each secret, the signing one first; none where there is one secret.
    counts: Box<[Count]>,
    /// Since when a request has not handed them to the store, in milliseconds; 0 before the first.
    gathered_since: AtomicI64,
}

#[derive(Default)]
struct Count {
    cookies: AtomicU64,
    /// When it last did, in milliseconds. Not taken with the count: what is noted never goes back.
    last_used: AtomicI64,
}

impl SecretUses {
    pub(crate) fn of(secrets: usize) -> Self {
        let counts = if secrets > 1 { secrets } else { 0 };
        Self { counts: (0..counts).map(|_| Count::default()).collect(), gathered_since: AtomicI64::new(0) }
    }

    /// This secret verified a cookie. One that a codec of its own counts differently is not known here.
    pub(crate) fn note(&self, secret: usize, now: SystemTime) {
        self.add(secret, 1, to_millis(now));
    }

    fn add(&self, secret: usize, cookies: u64, last_used: i64) {
        if let Some(count) = self.counts.get(secret) {
            count.last_used.fetch_max(last_used, Ordering::Relaxed);
            count.cookies.fetch_add(cookies, Ordering::Relaxed);
        }
    }

    /// Whether it is time for a request to hand them over: one of those that ask at once is told so.
    fn is_due(&self, now: SystemTime) -> bool {
        if self.counts.is_empty() {
            return false;
        }
        let (now, since) = (to_millis(now), self.gathered_since.load(Ordering::Relaxed));
        let gathered = Duration::from_millis(now.saturating_sub(since).unsigned_abs());
        if since != 0 && gathered < GATHERED {
            return false;
        }
        let swapped = self.gathered_since.compare_exchange(since, now, Ordering::Relaxed, Ordering::Relaxed);
        since != 0 && swapped.is_ok()
    }

    /// What has gathered, and which secret it is of.
    fn take(&self) -> Vec<(usize, u64, i64)> {
        let counts = self.counts.iter().enumerate();
        let taken = counts.map(|(secret, count)| {
            let cookies = count.cookies.swap(0, Ordering::Relaxed);
            (secret, cookies, count.last_used.load(Ordering::Relaxed))
        });
        taken.filter(|(_, cookies, _)| *cookies > 0).collect()
    }

    fn put_back(&self, taken: &[(usize, u64, i64)]) {
        taken.iter().for_each(|(secret, cookies, last_used)| self.add(*secret, *cookies, *last_used));
    }
}

impl Sessions {
    /// The same with a request, if none has done so for a while.
    pub(crate) async fn write_secret_uses_in_time(&self) {
        if self.secret_uses().is_due(self.now()) {
            self.write_secret_uses().await;
        }
    }

    /// Hands what has gathered to the store. What it does not take is kept for the next time.
    pub(crate) async fn write_secret_uses(&self) {
        let taken = self.secret_uses().take();
        if let Err(error) = self.note_secrets(&taken).await {
            self.secret_uses().put_back(&taken);
            warn!(?error, "which secrets verified cookies could not be recorded; the next round tries again");
        }
    }

    async fn note_secrets(&self, taken: &[(usize, u64, i64)]) -> Result<(), Error> {
        let Some(operations) = self.store().operations().filter(|_| !taken.is_empty()) else { return Ok(()) };
        let fingerprints = self.config().fingerprints();
        let uses = taken.iter().filter_map(|(secret, cookies, last_used)| {
            let fingerprint = fingerprints.get(*secret)?.clone();
            Some(SecretUse { fingerprint, cookies: *cookies, last_used_at: from_millis(*last_used) })
        });
        operations.note_secrets(&uses.collect::<Vec<_>>()).await
    }
}
