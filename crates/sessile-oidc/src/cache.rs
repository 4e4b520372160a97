//! What was fetched from the provider and holds for a while: its metadata, its keys. One fetches and the others share the
//! answer. What was there before a failure goes on serving; where there was nothing, the failure is the answer for a moment.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;

use crate::LoginError;

/// How long an answer holds.
const FRESH: Duration = Duration::from_secs(60 * 60);

/// How long after a fetch there is none again, whoever asks for what is not there.
const REST: Duration = Duration::from_secs(30);

/// How long after a failure, where there is nothing to serve, nobody is asked again.
const PAUSE: Duration = Duration::from_secs(5);

/// Cloning gives another view of the same answer.
pub(crate) struct Cache<T>(Arc<Shared<T>>);

struct Shared<T> {
    kept: Mutex<Kept<T>>,
    /// Who may fetch: one at a time.
    turn: Arc<Semaphore>,
}

enum Kept<T> {
    Nothing,
    Failure { error: LoginError, tried_at: SystemTime },
    Answer { value: Arc<T>, fetched_at: SystemTime, tried_at: SystemTime },
}

impl<T> Clone for Cache<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self(Arc::new(Shared { kept: Mutex::new(Kept::Nothing), turn: Arc::new(Semaphore::new(1)) }))
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
        if let Some(known) = self.known(now, &serves) {
            return known;
        }
        let turn = self.0.turn.clone().acquire_owned().await;
        if let Some(known) = self.known(now, &serves) {
            return known;
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
    fn known(&self, now: SystemTime, serves: impl Fn(&T) -> bool) -> Option<Result<Arc<T>, LoginError>> {
        match &*self.0.kept.lock().unwrap_or_else(PoisonError::into_inner) {
            Kept::Nothing => None,
            Kept::Failure { error, tried_at } => is_within(PAUSE, *tried_at, now).then(|| Err(error.again())),
            Kept::Answer { value, fetched_at, tried_at } => {
                let is_good = is_within(FRESH, *fetched_at, now) && serves(value);
                (is_good || is_within(REST, *tried_at, now)).then(|| Ok(value.clone()))
            }
        }
    }

    fn keep(&self, now: SystemTime, answer: Result<T, LoginError>) -> Result<Arc<T>, LoginError> {
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match (answer, &mut *kept) {
            (Ok(value), kept) => {
                let value = Arc::new(value);
                *kept = Kept::Answer { value: value.clone(), fetched_at: now, tried_at: now };
                Ok(value)
            }
            (Err(error), Kept::Answer { value, tried_at, .. }) => {
                tracing::warn!(
                    ?error,
                    "what was fetched from the identity provider could not be renewed; the old is used"
                );
                *tried_at = now;
                Ok(value.clone())
            }
            (Err(error), kept) => {
                *kept = Kept::Failure { error: error.again(), tried_at: now };
                Err(error)
            }
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
    async fn a_failure_is_the_answer_for_five_seconds_where_there_is_no_other() {
        let (cache, provider) = (Cache::<usize>::default(), Provider::default());
        let first = cache.get(at(0), |_| true, provider.fetch(false)).await.unwrap_err();
        for now in [0, 4] {
            let again = cache.get(at(now), |_| true, provider.fetch(true)).await.unwrap_err();
            assert_eq!((again.code(), again.to_string()), (first.code(), first.to_string()));
            assert_ne!(again.reference(), first.reference());
        }
        assert_eq!(provider.fetched(), 1);
        assert_eq!(*cache.get(at(5), |_| true, provider.fetch(true)).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn after_a_failure_the_old_answer_serves() {
        let (cache, provider) = (Cache::default(), Provider::default());
        assert!(cache.get(at(0), |_| true, provider.fetch(false)).await.is_err());
        assert_eq!(*cache.get(at(5), |_| true, provider.fetch(true)).await.unwrap(), 2);
        assert_eq!(*cache.get(at(3_605), |_| true, provider.fetch(false)).await.unwrap(), 2);
        assert_eq!(*cache.get(at(3_634), |_| true, provider.fetch(true)).await.unwrap(), 2, "not yet again");
        assert_eq!(*cache.get(at(3_635), |_| true, provider.fetch(true)).await.unwrap(), 4);
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
