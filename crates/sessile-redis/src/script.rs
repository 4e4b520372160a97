//! The scripts. Each is one state change, runs alone on the server, and touches the keys that it is given and no others.

use std::sync::LazyLock;

use redis::{Cmd, Value, cmd};

use crate::failure::Failure;

/// A script and the name that the server knows it by.
pub(crate) struct Script {
    text: &'static str,
    hash: String,
}

impl Script {
    fn new(text: &'static str) -> Self {
        Self { text, hash: redis::Script::new(text).get_hash().to_owned() }
    }

    /// Calls it by its name.
    pub(crate) fn by_name(&self, keys: &[impl AsRef<str>], arguments: &[String]) -> Cmd {
        call("EVALSHA", &self.hash, keys, arguments)
    }

    /// Calls it with its text, which makes it known.
    pub(crate) fn by_text(&self, keys: &[impl AsRef<str>], arguments: &[String]) -> Cmd {
        call("EVAL", self.text, keys, arguments)
    }
}

fn call(how: &str, script: &str, keys: &[impl AsRef<str>], arguments: &[String]) -> Cmd {
    let mut command = cmd(how);
    command.arg(script).arg(keys.len());
    for key in keys {
        command.arg(key.as_ref());
    }
    command.arg(arguments);
    command
}

macro_rules! scripts {
    ($($name:ident = $($file:literal)+;)*) => {
        $(pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!(include_str!("lua/common.lua"), $(include_str!(concat!("lua/", $file, ".lua"))),+))
        });)*

        /// All of them, each with the name of its file.
        #[cfg(test)]
        const ALL: &[(&str, &LazyLock<Script>)] = &[$((stringify!($name), &$name),)*];
    };
}

scripts! {
    INSERT = "insert";
    WRITE = "write";
    TOUCH = "touch";
    REMOVE = "remove";
    CLAIM = "claim";
    UNCLAIM = "unclaim";
    MOVED = "moved";
    PEND = "pend";
    LEAVE = "leave";
    SETTLE = "settle";
    LIFT = "lift";
    END = "home" "end";
    ENTER = "home" "enter";
    ARRIVE = "home" "arrive";
    ABANDON = "home" "abandon";
    DEPART = "home" "depart";
    ROTATE = "home" "rotate";
    CUT_OFF = "home" "cut_off";
    END_SOME = "home" "end_some";
    FORGET = "home" "forget";
    SEEN = "seen";
    EVERYONE = "everyone";
    SWEPT = "swept";
    HANDLE = "handle";
    NOTE = "note";
    HOLD = "hold";
    CUT = "cut";
    PAST = "home" "past";
    USES = "uses";
    GONE_TO = "gone_to";
}

/// What a script answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Done,
    /// The session is over, or had ended by then.
    Gone,
    Stale,
    /// The session is not here, or not any more.
    Away,
    /// What is there may mean something or not: that has to be looked up elsewhere.
    Look,
    /// There are sessions of the user that the script was not given.
    Again,
    /// Another sign-in of this session is under way.
    Busy,
    CutOff,
    Full,
    /// It was so already.
    Known,
    /// It has not ended.
    Alive,
}

/// A word and what belongs to it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) word: Word,
    pub(crate) rest: Vec<String>,
}

impl Answer {
    pub(crate) fn read(value: Value) -> Result<Self, Failure> {
        let mut words: Vec<String> = match value {
            Value::Array(_) => redis::from_redis_value(value)?,
            value => vec![redis::from_redis_value(value)?],
        };
        if words.is_empty() {
            return Err(Failure::Odd);
        }
        let word = match words.remove(0).as_str() {
            "done" => Word::Done,
            "gone" => Word::Gone,
            "stale" => Word::Stale,
            "away" => Word::Away,
            "look" => Word::Look,
            "again" => Word::Again,
            "busy" => Word::Busy,
            "cutoff" => Word::CutOff,
            "full" => Word::Full,
            "known" => Word::Known,
            "alive" => Word::Alive,
            _ => return Err(Failure::Odd),
        };
        Ok(Self { word, rest: words })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_script_names_a_key_that_it_was_not_given() {
        for (name, script) in ALL {
            let calls = script.text.lines().filter(|line| !line.trim_start().starts_with("--"));
            let literal = |line: &&str| {
                line.contains("call('") && line.split("', ").nth(1).is_some_and(|key| key.starts_with('\''))
            };
            let found: Vec<_> = calls.filter(literal).collect();
            assert!(found.is_empty(), "{name}: {found:?}");
        }
    }
}
