//! What was fetched from the provider and holds for a while: its metadata, its keys. One fetches and the others share the
//! answer. A failure is never kept; what was there before it goes on serving.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;

use crate::LoginError;

/// How long an answer holds.
const FRESH: Duration = Duration::from_secs(60 * 60);

/// How long after a fetch there is none again, whoever asks for what is not there.
const REST: Duration = Duration::from_secs(30);

/// Cloning gives another view of the same answer.
pub(crate) struct Cache<T>(Arc<Shared<T>>);

struct Shared<T> {
    entry: Mutex<Option<Entry<T>>>,
    /// Who may fetch: one at a time.
    turn: Arc<Semaphore>,
}

struct Entry<T> {
    value: Arc<T>,
    fetched_at: SystemTime,
    tried_at: SystemTime,
}

impl<T> Clone for Cache<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self(Arc::new(Shared { entry: Mutex::default(), turn: Arc::new(Semaphore::new(1)) }))
    }
}

impl<T: Send + Sync + 'static> Cache<T> {
    /// The answer, fetched when there is none, or when it is old or does not serve and the last fetch is long enough ago.
    /// A fetch goes on when nobody waits for it any more: otherwise whoever hangs up quickly could put it off for ever.
    pub(crate) async fn get(
        &self,
        now: SystemTime,
        serves: impl Fn(&T) -> bool,
        fetch: impl Future<Output = Result<T, LoginError>> + Send + 'static,
    ) -> Result<Arc<T>, LoginError> {
        if let Some(value) = self.usable(now, &serves) {
            return Ok(value);
        }
        let turn = self.0.turn.clone().acquire_owned().await;
        if let Some(value) = self.usable(now, &serves) {
            return Ok(value);
        }
        let cache = self.clone();
        let fetching = tokio::spawn(async move {
            let kept = cache.keep(now, fetch.await);
            drop(turn);
            kept
        });
        fetching.await.unwrap_or_else(|error| Err(LoginError::unreachable("a fetch was given up").with_source(error)))
    }

    /// What is there, unless a fetch is due.
    fn usable(&self, now: SystemTime, serves: impl Fn(&T) -> bool) -> Option<Arc<T>> {
        let slot = self.0.entry.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = slot.as_ref()?;
        let is_good = is_within(FRESH, entry.fetched_at, now) && serves(&entry.value);
        (is_good || is_within(REST, entry.tried_at, now)).then(|| entry.value.clone())
    }

    fn keep(&self, now: SystemTime, answer: Result<T, LoginError>) -> Result<Arc<T>, LoginError> {
        let mut slot = self.0.entry.lock().unwrap_or_else(PoisonError::into_inner);
        match (answer, &mut *slot) {
            (Ok(value), slot) => {
                let value = Arc::new(value);
                *slot = Some(Entry { value: value.clone(), fetched_at: now, tried_at: now });
                Ok(value)
            }
            (Err(error), Some(entry)) => {
                tracing::warn!(
                    ?error,
                    "what was fetched from the identity provider could not be renewed; the old is used"
                );
                entry.tried_at = now;
                Ok(entry.value.clone())
            }
            (Err(error), None) => Err(error),
        }
    }
}

/// Whether that was no longer ago than this. A clock that was set back tells nothing.
fn is_within(span: Duration, then: SystemTime, now: SystemTime) -> bool {
    now.duration_since(then).is_ok_and(|ago| ago < span)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::UNIX_EPOCH;

    use super::*;

    #[derive(Clone, Default)]
    struct Provider(Arc<AtomicUsize>);

    impl Provider {
        fn fetch(&self, answers: bool) -> impl Future<Output = Result<usize, LoginError>> + Send + 'static {
            let count = self.0.clone();
            async move {
                let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                tokio::task::yield_now().await;
                if answers { Ok(number) } else { Err(LoginError::unreachable("down")) }
            }
        }

        fn fetched(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[tokio::test]
    async fn an_answer_holds_for_an_hour() {
        let (cache, provider) = (Cache::default(), Provider::default());
        for (now, expected) in [(0, 1), (3_599, 1), (3_600, 2), (3_700, 2), (0, 3)] {
            assert_eq!(*cache.get(at(now), |_| true, provider.fetch(true)).await.unwrap(), expected, "{now}");
        }
    }

    #[tokio::test]
    async fn what_is_not_there_is_asked_for_every_thirty_seconds_at_most() {
        let (cache, provider) = (Cache::default(), Provider::default());
        for now in 0..95 {
            cache.get(at(now), |_| false, provider.fetch(true)).await.unwrap();
        }
        assert_eq!(provider.fetched(), 4);
    }

    #[tokio::test]
    async fn a_failure_is_not_kept_and_the_old_answer_serves() {
        let (cache, provider) = (Cache::default(), Provider::default());
        assert!(cache.get(at(0), |_| true, provider.fetch(false)).await.is_err());
        assert_eq!(*cache.get(at(0), |_| true, provider.fetch(true)).await.unwrap(), 2);
        assert_eq!(*cache.get(at(3_600), |_| true, provider.fetch(false)).await.unwrap(), 2);
        assert_eq!(*cache.get(at(3_629), |_| true, provider.fetch(true)).await.unwrap(), 2, "not yet again");
        assert_eq!(*cache.get(at(3_630), |_| true, provider.fetch(true)).await.unwrap(), 4);
    }

    #[tokio::test]
    async fn many_share_one_fetch_and_it_outlives_who_asked() {
        let (cache, provider) = (Cache::<usize>::default(), Provider::default());
        let mut given_up = Box::pin(cache.get(at(0), |_| true, provider.fetch(true)));
        assert!(
            std::future::poll_fn(|context| std::task::Poll::Ready(given_up.as_mut().poll(context))).await.is_pending()
        );
        drop(given_up);
        let asking: Vec<_> = (0..50)
            .map(|_| {
                let (cache, provider) = (cache.clone(), provider.clone());
                tokio::spawn(async move { *cache.get(at(0), |_| true, provider.fetch(true)).await.unwrap() })
            })
            .collect();
        for asking in asking {
            assert_eq!(asking.await.unwrap(), 1);
        }
        assert_eq!(provider.fetched(), 1);
    }
}
