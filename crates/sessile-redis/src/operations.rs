//! What is kept for operators: a hash of them, a list of what they did, and how often each secret verified cookies. It is
//! little, and all of it lies in one slot.

use async_trait::async_trait;
use redis::Value;
use serde::{Deserialize, Serialize};
use sessile_core::{Action, Error, Operations, Operator, Role, SecretUse};

use crate::RedisStore;
use crate::failure::Failure;
use crate::lists::scored;
use crate::script::USES;
use crate::time::{from_millis, millis};

/// An operator, as their field of the hash has it.
#[derive(Serialize, Deserialize)]
struct KeptOperator {
    role: String,
    token_hash: [u8; 32],
    created_at: i64,
}

/// An action, as an element of the list.
#[derive(Serialize, Deserialize)]
struct KeptAction {
    at: i64,
    actor: Box<str>,
    action: Box<str>,
    target: Box<str>,
    sessions: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip: Option<std::net::IpAddr>,
}

impl KeptAction {
    fn of(action: &Action) -> Self {
        let Action { at, actor, action, target, sessions, reason, ip } = action.cleaned();
        Self { at: millis(at), actor, action, target, sessions, reason, ip }
    }

    fn into_action(self) -> Action {
        let Self { at, actor, action, target, sessions, reason, ip } = self;
        Action { at: from_millis(at), actor, action, target, sessions, reason, ip }
    }
}

fn to_json(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value)
        .map_err(|error| Error::value("what is kept for operators is no JSON").with_source(error))
}

fn operator(name: &str, json: &str) -> Option<Operator> {
    let KeptOperator { role, token_hash, created_at } = serde_json::from_str(json).ok()?;
    Some(Operator { name: name.into(), role: Role::parse(&role)?, token_hash, created_at: from_millis(created_at) })
}

#[async_trait]
impl Operations for RedisStore {
    async fn add_operator(&self, operator: &Operator) -> Result<bool, Error> {
        operator.check()?;
        let Operator { name, role, token_hash, created_at } = operator;
        let kept = KeptOperator { role: role.to_string(), token_hash: *token_hash, created_at: millis(*created_at) };
        let mut add = redis::cmd("HSETNX");
        add.arg(self.names.operators("names")).arg(&**name).arg(to_json(&kept)?);
        Ok(redis::from_redis_value(self.link.tell(add).await?).map_err(Failure::from)?)
    }

    async fn operators(&self) -> Result<Vec<Operator>, Error> {
        let all = redis::cmd("HGETALL").arg(self.names.operators("names")).to_owned();
        let all: std::collections::BTreeMap<String, String> =
            redis::from_redis_value(self.link.ask(all).await?).map_err(Failure::from)?;
        Ok(all.iter().filter_map(|(name, json)| operator(name, json)).collect())
    }

    async fn remove_operator(&self, name: &str) -> Result<bool, Error> {
        let remove = redis::cmd("HDEL").arg(self.names.operators("names")).arg(name).to_owned();
        Ok(redis::from_redis_value(self.link.tell(remove).await?).map_err(Failure::from)?)
    }

    async fn record(&self, action: &Action) -> Result<(), Error> {
        let mut push = redis::cmd("RPUSH");
        push.arg(self.names.operators("actions")).arg(to_json(&KeptAction::of(action))?);
        self.link.tell(push).await?;
        Ok(())
    }

    async fn actions(&self, before: Option<i64>, limit: u32) -> Result<Vec<(i64, Action)>, Error> {
        let name = self.names.operators("actions");
        let count = self.link.ask(redis::cmd("LLEN").arg(&name).to_owned()).await?;
        let count: i64 = redis::from_redis_value(count).map_err(Failure::from)?;
        // Numbers begin at 1, places in the list at 0: the last place is that before the number.
        let last = before.map_or(count, |before| before.saturating_sub(1).clamp(0, count)) - 1;
        if last < 0 || limit == 0 {
            return Ok(Vec::new());
        }
        let first = (last + 1 - i64::from(limit)).max(0);
        let range = self.link.ask(redis::cmd("LRANGE").arg(name).arg(first).arg(last).to_owned()).await?;
        let kept: Vec<String> = redis::from_redis_value(range).map_err(Failure::from)?;
        let numbered: Vec<_> = (first + 1..).zip(kept).collect();
        let read = |(number, json): (i64, String)| {
            Some((number, serde_json::from_str::<KeptAction>(&json).ok()?.into_action()))
        };
        Ok(numbered.into_iter().rev().filter_map(read).collect())
    }

    async fn note_secrets(&self, uses: &[SecretUse]) -> Result<(), Error> {
        let keys = [self.names.operators("secrets"), self.names.operators("secrets_at")];
        for SecretUse { fingerprint, cookies, last_used_at } in uses {
            let arguments = [fingerprint.to_string(), cookies.to_string(), millis(*last_used_at).to_string()];
            self.link.run(&USES, &keys, &arguments).await?;
        }
        Ok(())
    }

    async fn secrets(&self) -> Result<Vec<SecretUse>, Error> {
        let (counts, times) = (self.names.operators("secrets"), self.names.operators("secrets_at"));
        let all = redis::cmd("HGETALL").arg(&counts).to_owned();
        let at = redis::cmd("ZRANGE").arg(times).arg(0).arg(-1).arg("WITHSCORES").to_owned();
        let mut values = self.link.ask_together(&[all, at], &counts).await?.into_iter();
        let (Some(all), Some(at)) = (values.next(), values.next()) else { return Err(Failure::Odd.into()) };
        Ok(uses(all, at)?)
    }
}

/// The last used first, then by name.
fn uses(counts: Value, times: Value) -> Result<Vec<SecretUse>, Failure> {
    let counts: std::collections::HashMap<String, u64> = redis::from_redis_value(counts)?;
    let mut times = scored(times)?;
    times.sort_by(|(one, name), (other, next)| other.cmp(one).then_with(|| name.cmp(next)));
    let with_count = |(at, name): (i64, String)| {
        let cookies = *counts.get(&name)?;
        Some(SecretUse { fingerprint: name.into(), cookies, last_used_at: from_millis(at) })
    };
    Ok(times.into_iter().filter_map(with_count).collect())
}
