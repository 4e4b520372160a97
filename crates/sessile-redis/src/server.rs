//! What the server says of itself: which one it is, what it does when its memory is full, and what it keeps when it dies.
//! Managed services may not tell; then the log says so once.

use redis::{Cmd, Value};
use sessile_core::{Check, Error};
use tracing::warn;

use crate::failure::Failure;
use crate::link::Link;

/// What a server does that loses nothing which it acknowledged.
const EVERY_WRITE: &str = "append-only file, flushed with every write";

/// What was found out when the store was opened.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    address: String,
    product: String,
    /// The policies of all servers; empty when nobody knows.
    eviction: Vec<String>,
    durability: &'static str,
}

impl Server {
    /// Asks every primary. One that may not be asked is not a failure.
    pub(crate) async fn look(link: &Link, address: String) -> Result<Self, Error> {
        let info = told(link, redis::cmd("INFO").arg("server").to_owned()).await?;
        if link.history("").await?.is_some_and(|history| !history.is_told()) {
            warn!(
                "expected the server's replication id in INFO replication, found none; while a failover goes on, the replicas of \
                 another primary may confirm a sign-out"
            );
        }
        let settings = [settings(link, "maxmemory-policy").await?, settings(link, "append*").await?].concat();
        let eviction = values(&settings, "maxmemory-policy");
        if eviction.is_empty() {
            warn!(
                "expected to read the server's maxmemory-policy, found that CONFIG is denied; make sure that it is noeviction"
            );
        }
        Ok(Self { address, product: product(&info), eviction, durability: durability(&settings) })
    }

    /// An error where sessions that live may be thrown away.
    pub(crate) fn refuse_eviction(&self, allowed: bool) -> Result<(), Error> {
        let policy = self.eviction.iter().find(|policy| *policy != "noeviction");
        match policy {
            Some(policy) if !allowed => Err(Error::config(format!(
                "expected a server with maxmemory-policy noeviction, found {policy}, which throws live sessions away when memory is full; set noeviction, or allow eviction"
            ))),
            _ => Ok(()),
        }
    }

    pub(crate) fn examine_eviction(&self) -> Check {
        const NAME: &str = "redis.eviction";
        const REMEDY: &str = "set maxmemory-policy to noeviction, and give the server memory enough";
        match self.eviction.iter().find(|policy| *policy != "noeviction") {
            Some(policy) => {
                let finding = format!(
                    "The server's maxmemory-policy is {policy}: it throws live sessions away when its memory is full."
                );
                Check::failed(NAME, finding, REMEDY)
            }
            None if self.eviction.is_empty() => {
                Check::warning(NAME, "The server does not tell what it does when its memory is full.", REMEDY)
            }
            None => Check::good(NAME, "The server refuses writes when its memory is full, and throws nothing away."),
        }
    }

    pub(crate) fn examine_durability(&self) -> Check {
        const NAME: &str = "redis.durability";
        if self.durability == EVERY_WRITE {
            return Check::good(NAME, "An acknowledged sign-out survives a crash of the server.");
        }
        let finding = format!("A crash of the server may undo the last sign-outs ({}).", self.durability);
        Check::warning(NAME, finding, "set appendonly yes and appendfsync always, or accept the loss")
    }

    /// For a log line.
    pub(crate) fn describe(&self) -> String {
        format!("{} at {} ({})", self.product, self.address, self.durability)
    }
}

/// Settings of every primary whose names fit; nothing where they are not told.
async fn settings(link: &Link, names: &str) -> Result<Vec<String>, Failure> {
    match told(link, redis::cmd("CONFIG").arg("GET").arg(names).to_owned()).await {
        Err(failure) if failure.is_refusal() => Ok(Vec::new()),
        settings => settings,
    }
}

/// What every primary answers, as all the texts in it, in order.
async fn told(link: &Link, command: Cmd) -> Result<Vec<String>, Failure> {
    let value = link.ask_primaries(command).await?;
    let mut texts = Vec::new();
    gather(&value, &mut texts);
    Ok(texts)
}

/// Names and values follow each other, however the protocol and the number of servers wrap them.
pub(crate) fn gather(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| gather(value, texts)),
        Value::Map(pairs) => pairs.iter().for_each(|(name, value)| {
            gather(name, texts);
            gather(value, texts);
        }),
        value => texts.extend(redis::from_redis_value_ref::<String>(value).ok()),
    }
}

pub(crate) fn values(texts: &[String], name: &str) -> Vec<String> {
    texts.windows(2).filter(|pair| pair[0] == name).map(|pair| pair[1].clone()).collect()
}

/// `Valkey 8.1.8` or `Redis 7.0.15`, from the text of INFO.
fn product(info: &[String]) -> String {
    let line = |name: &str| {
        info.iter().flat_map(|text| text.lines()).find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
    };
    match (line("valkey_version"), line("redis_version")) {
        (Some(version), _) => format!("Valkey {}", version.trim()),
        (None, Some(version)) => format!("Redis {}", version.trim()),
        (None, None) => "Redis".into(),
    }
}

/// The weakest of all servers' counts.
fn durability(settings: &[String]) -> &'static str {
    let (kept, flushed) = (values(settings, "appendonly"), values(settings, "appendfsync"));
    if kept.is_empty() {
        return "durability unknown";
    }
    if kept.iter().any(|kept| kept != "yes") {
        return "no append-only file: what was written last is lost with the server";
    }
    match flushed.iter().map(String::as_str).max_by_key(|how| match *how {
        "always" => 0,
        "everysec" => 1,
        _ => 2,
    }) {
        Some("always") => EVERY_WRITE,
        Some("everysec") => "append-only file, flushed every second",
        _ => "append-only file, flushed when the system likes",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[&str]) -> Vec<String> {
        pairs.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn the_weakest_server_counts() {
        let of = |pairs: &[&str]| durability(&settings(pairs));
        assert!(of(&[]).contains("unknown"));
        assert!(of(&["appendonly", "yes", "appendfsync", "always"]).contains("every write"));
        assert!(of(&["appendonly", "yes", "appendfsync", "always", "appendonly", "no"]).contains("no append-only"));
        let mixed = ["appendonly", "yes", "appendfsync", "always", "appendonly", "yes", "appendfsync", "everysec"];
        assert!(of(&mixed).contains("every second"));
    }

    #[test]
    fn products_are_told_apart() {
        let of = |text: &str| product(&[text.to_owned()]);
        assert_eq!(of("# Server\r\nredis_version:7.2.4\r\nvalkey_version:8.1.8\r\n"), "Valkey 8.1.8");
        assert_eq!(of("redis_version:7.0.15\r\n"), "Redis 7.0.15");
        assert_eq!(of(""), "Redis");
    }
}
