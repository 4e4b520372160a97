//! Ending sessions: one, all of a user's, those of a provider's session, everyone's.

use sessile_core::{CutOff, EndedSession, Ending, Error, Handle, StoreKey};

use crate::RedisStore;
use crate::device::{all_ended, ended};
use crate::names::{Home, PARTITIONS};
use crate::script::{END, EVERYONE, REVOKE_ALL, Word};
use crate::store::{lost_track, safe};
use crate::time::{KEPT, millis, millis_up};

/// How often all of a user's sessions are looked up. Each time it was not enough, another sign-in of theirs succeeded.
const TRIES: usize = 100;

/// What must hold for a session to be ended.
#[derive(Clone, Copy, Default)]
pub(crate) struct Only<'a> {
    /// It has this key.
    pub(crate) key: Option<&'a StoreKey>,
    /// It is alive at this time.
    pub(crate) alive: Option<i64>,
    /// It had expired by then.
    pub(crate) expired: Option<i64>,
    /// It was signed in from this session of a provider.
    pub(crate) provider: Option<&'a str>,
    /// It was signed in before this time.
    pub(crate) since: Option<i64>,
}

impl Only<'_> {
    fn arguments(&self) -> [String; 5] {
        let time = |time: Option<i64>| time.map(|time| time.to_string()).unwrap_or_default();
        [
            self.key.map(|key| key.as_str().to_owned()).unwrap_or_default(),
            time(self.alive),
            time(self.expired),
            self.provider.unwrap_or_default().to_owned(),
            time(self.since),
        ]
    }
}

fn words(ending: &Ending) -> [String; 3] {
    let reason = ending.reason.as_deref().unwrap_or_default();
    [ending.end.to_string(), millis(ending.at).to_string(), reason.to_owned()]
}

impl RedisStore {
    /// Ends a session, if it is active and as asked for.
    pub(crate) async fn end(
        &self,
        home: &Home,
        handle: &Handle,
        ending: &Ending,
        only: Only<'_>,
    ) -> Result<Option<EndedSession>, Error> {
        let mut arguments = vec![handle.to_string()];
        arguments.extend(words(ending));
        arguments.push(KEPT.to_string());
        arguments.extend(only.arguments());
        let keys = home.keys(Some(handle.as_str()), &[]);
        let (answer, is_safe) = match only.expired {
            Some(_) => (self.link.run(&END, &keys, &arguments).await?, true),
            None => self.link.run_for_good(&END, &keys, &arguments).await?,
        };
        let ip = answer.rest.first().map(String::as_str).unwrap_or_default();
        safe((answer.word == Word::Done).then(|| ended(handle.clone(), &home.owner, ip)), is_safe)
    }

    pub(crate) async fn end_all(
        &self,
        home: &Home,
        keep: Option<&Handle>,
        ending: &Ending,
    ) -> Result<Vec<EndedSession>, Error> {
        for _ in 0..TRIES {
            let crowd = self.crowd(home, "").await?;
            let mut arguments = vec![
                home.owner.to_string(),
                millis_up(ending.at).to_string(),
                keep.map(Handle::to_string).unwrap_or_default(),
            ];
            arguments.extend(words(ending));
            arguments.push(KEPT.to_string());
            arguments.extend(crowd.iter().cloned());
            let (answer, is_safe) = self.link.run_for_good(&REVOKE_ALL, &home.keys(None, &crowd), &arguments).await?;
            if answer.word != Word::Again {
                return safe(all_ended(&home.owner, &answer.rest), is_safe);
            }
        }
        Err(lost_track())
    }

    /// Those that are written down under a provider's session. Each ends by itself: whoever is interrupted asks again.
    pub(crate) async fn end_of_provider(
        &self,
        provider_session: &str,
        ending: &Ending,
    ) -> Result<Vec<EndedSession>, Error> {
        if provider_session.is_empty() {
            return Ok(Vec::new());
        }
        let members = redis::cmd("SMEMBERS").arg(self.names.provider(provider_session)).to_owned();
        let members: Vec<String> =
            redis::from_redis_value(self.link.ask(members).await?).map_err(crate::failure::Failure::from)?;
        let only = Only { alive: Some(millis_up(ending.at)), provider: Some(provider_session), ..Only::default() };
        let mut sessions = Vec::new();
        for member in members {
            let Some((handle, owner)) = member.split_once(':') else { continue };
            let Some(handle) = Handle::parse(handle) else { continue };
            sessions.extend(self.end(&self.names.home(owner), &handle, ending, only).await?);
        }
        Ok(sessions)
    }

    /// Says whether that is later than what was in force. Every partition has its own copy, so that a read finds it where
    /// the row is. It is in force when all have it.
    pub(crate) async fn cut_everyone_off(&self, cut_off: CutOff, ending: &Ending) -> Result<bool, Error> {
        let [how, at, why] = words(ending);
        let arguments = [millis(cut_off.before).to_string(), how, at, why, i32::from(cut_off.swept).to_string()];
        let keys = (0..PARTITIONS).map(|partition| self.names.index(partition, "all"));
        let answers = self.link.all(keys, |link, key| {
            let arguments = arguments.clone();
            async move { link.run_for_good(&EVERYONE, &[key], &arguments).await }
        });
        let answers = answers.await?;
        let is_new = answers.iter().any(|(answer, _)| answer.word == Word::Done);
        safe(is_new, answers.iter().all(|(_, is_safe)| *is_safe))
    }
}
