//! The doctor's questions to a server: whether it answers, whether it may throw live sessions away, and what it keeps when
//! it dies. Nothing is written.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use sessile_core::{Check, Examine, Store as _};

use crate::{RedisBuilder, RedisStore};

/// How far the server's clock may be from this host's. It decides about nothing but when to throw things away.
const SKEW: Duration = Duration::from_secs(60);

#[async_trait]
impl Examine for RedisBuilder {
    async fn examine(&self, now: SystemTime) -> Vec<Check> {
        match self.clone().allow_eviction(true).connect().await {
            Ok(store) => Examine::examine(&store, now).await,
            Err(error) => vec![Check::failed(
                "redis.reachable",
                error.to_string(),
                "see whether the server runs, and whether the URL, the user and the password are right",
            )],
        }
    }
}

#[async_trait]
impl Examine for RedisStore {
    async fn examine(&self, now: SystemTime) -> Vec<Check> {
        let reachable = Check::good("redis.reachable", format!("{} answers.", self.description()));
        let mut checks = vec![reachable, self.server.examine_eviction(), self.server.examine_durability()];
        checks.push(match self.time().await {
            Ok(theirs) => clock(theirs.unwrap_or(now), now),
            Err(error) => Check::failed("redis.clock", error.to_string(), "try again"),
        });
        checks
    }
}

fn clock(theirs: SystemTime, ours: SystemTime) -> Check {
    let apart = theirs.duration_since(ours).unwrap_or_else(|later| later.duration());
    if apart <= SKEW {
        return Check::good("redis.clock", "The server's clock and this host's agree.");
    }
    let seconds = apart.as_secs();
    Check::warning(
        "redis.clock",
        format!("The server's clock and this host's are {seconds} s apart."),
        "synchronise both, with NTP for example",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use sessile_core::Verdict;

    #[test]
    fn clocks_may_differ_a_little() {
        let ours = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        assert_eq!(clock(ours + SKEW, ours).verdict, Verdict::Good);
        assert_eq!(clock(ours - SKEW * 2, ours).verdict, Verdict::Warning);
    }
}
