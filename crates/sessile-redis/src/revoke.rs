//! Ending sessions: one, all of a user's, those of a provider's session, everyone's.

use sessile_core::{CutOff, EndedSession, Ending, Error, Handle, StoreKey};

use crate::RedisStore;
use crate::device::{all_ended, ended};
use crate::names::{Home, PARTITIONS};
use crate::script::{CUT_OFF, END, END_SOME, EVERYONE, Word};
use crate::store::safe;
use crate::time::{KEPT, millis, millis_up};

/// So many of a user's sessions end in one script. Nobody else is answered meanwhile.
const AT_ONCE: usize = 200;

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

    /// All of a user's. Which those are is known when the cut-off is there, and later ones are not meant: so they may end
    /// some at a time, and whoever is interrupted asks again.
    pub(crate) async fn end_all(
        &self,
        home: &Home,
        keep: Option<&Handle>,
        ending: &Ending,
    ) -> Result<Vec<EndedSession>, Error> {
        let since = self.link.history(&home.live()).await?;
        let cut = millis_up(ending.at).to_string();
        let cut_off = self.link.run(&CUT_OFF, &home.keys(None, &[]), std::slice::from_ref(&cut)).await?;
        let mut fixed = vec![cut, keep.map(Handle::to_string).unwrap_or_default()];
        fixed.extend(words(ending));
        fixed.push(KEPT.to_string());
        let mut sessions = Vec::new();
        for handles in cut_off.rest.chunks(AT_ONCE) {
            let arguments = [fixed.as_slice(), handles].concat();
            let answer = self.link.run(&END_SOME, &home.keys(None, handles), &arguments).await?;
            sessions.extend(all_ended(&home.owner, &answer.rest));
        }
        safe(sessions, self.link.confirm(&home.live(), since).await?)
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
