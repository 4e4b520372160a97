//! `sessile keys`: a new secret, and which of the secrets that are set still verify cookies, so that an old one can go.

use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use sessile::{Cursor, Device, Page, Registry, Search, SecretUse, Sessions, Status};

use crate::args::{GenerateArgs, KeysCommand, StoreAndOutputArgs};
use crate::output::{self, Found, Tone};
use crate::table::{Fit, Table};
use crate::{store, times};

pub(crate) async fn run(command: &KeysCommand) -> anyhow::Result<Found> {
    match command {
        KeysCommand::Generate(args) => generate(args).map(|()| Found::Something),
        KeysCommand::List(args) => list(args).await,
    }
}

/// As `openssl rand -base64 32` prints them: no comma is in it, which separates secrets.
fn generate(args: &GenerateArgs) -> anyhow::Result<()> {
    for _ in 0..args.count {
        let mut random = [0; 32];
        getrandom::fill(&mut random).context("the operating system gave no random bytes")?;
        output::print(&format!("{}\n", BASE64_STANDARD.encode(random)))?;
    }
    Ok(())
}

/// A secret that is set, or that verified cookies once.
struct Key<'a> {
    fingerprint: &'a str,
    role: KeyRole,
    used: Option<&'a SecretUse>,
    /// A session that lives was not used since.
    is_waited_for: bool,
}

/// What a secret is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KeyRole {
    Signs,
    Verifies,
    Unset,
}

impl KeyRole {
    fn as_str(self) -> &'static str {
        match self {
            Self::Signs => "signs",
            Self::Verifies => "verifies",
            Self::Unset => "unset",
        }
    }
}

impl Key<'_> {
    /// Whether it was not used for longer than a session may be idle.
    fn is_old(&self, now: SystemTime, idle: Duration) -> bool {
        let is_over = |used: &SecretUse| now.duration_since(used.last_used_at).is_ok_and(|since| since > idle);
        self.role == KeyRole::Verifies && self.used.is_some_and(is_over)
    }

    /// Whether every session whose cookie it signed is over: it is old, and no session with a longer lifetime of its own
    /// waits for its user. Where no use was ever noted, nobody can tell.
    fn can_go(&self, now: SystemTime, idle: Duration) -> bool {
        self.is_old(now, idle) && !self.is_waited_for
    }

    fn advice(&self, now: SystemTime, idle: Duration) -> &'static str {
        match (self.role, self.used) {
            (KeyRole::Signs, _) => "keep it: it signs",
            (KeyRole::Unset, _) => "not set any more",
            (KeyRole::Verifies, None) => "keep it: no cookie of it was counted, and nobody knows since when",
            (KeyRole::Verifies, _) if self.can_go(now, idle) => "can be dropped: its sessions are over",
            (KeyRole::Verifies, _) if self.is_waited_for => "keep it: a session that lives was not used since",
            (KeyRole::Verifies, _) => "keep it: cookies still need it",
        }
    }
}

async fn list(args: &StoreAndOutputArgs) -> anyhow::Result<Found> {
    let settings = store::settings(&args.store)?.resolve()?;
    let sessions = store::existing(&settings).await?;
    let operations = sessions.store().operations().context("this session store counts no cookies")?;
    let (uses, config, now) = (operations.secrets().await?, settings.config(), sessions.now());
    let mut keys = keys(config.fingerprints(), &uses);
    for key in &mut keys {
        if let Some(used) = key.used.filter(|_| key.is_old(now, settings.idle())) {
            key.is_waited_for = is_waited_for(&sessions, used.last_used_at, now).await?;
        }
    }
    if args.output.json {
        keys.iter().try_for_each(|key| output::print_json(&described(key, now, settings.idle())))?;
    } else {
        table(&keys, now, settings.idle()).text().print()?;
    }
    Ok(Found::Something)
}

/// How long after its secret's use a session may be noted as used, by the same request.
const SAME_REQUEST: Duration = Duration::from_secs(5 * 60);

/// So many are read at once.
const READ: u32 = 1_000;

/// Whether a session that lives was last used when this secret was, or before: its user may come back with that cookie.
/// Whoever came since has a cookie of the newest secret. Of anonymous sessions, which are in no registry, the idle timeout
/// is all that is known.
async fn is_waited_for(sessions: &Sessions, last_used: SystemTime, now: SystemTime) -> anyhow::Result<bool> {
    let Some(registry) = sessions.store().registry() else { return Ok(false) };
    let search = Search { status: Some(Status::Live), ..Search::default() };
    let mut page = Page::first(READ);
    loop {
        let read = Registry::search(registry, &search, now, &page).await?;
        if read.iter().any(|device: &Device| device.last_seen_at <= last_used + SAME_REQUEST) {
            return Ok(true);
        }
        if read.len() < READ as usize {
            return Ok(false);
        }
        page.after = read.last().map(|device| Cursor { at: device.created_at, handle: device.handle.clone() });
    }
}

/// The secrets that are set, in their order, then those that were.
fn keys<'a>(set: &'a [Box<str>], uses: &'a [SecretUse]) -> Vec<Key<'a>> {
    let used = |fingerprint: &str| uses.iter().find(|used| *used.fingerprint == *fingerprint);
    let is_set = |used: &&SecretUse| set.contains(&used.fingerprint);
    let role = |index| if index == 0 { KeyRole::Signs } else { KeyRole::Verifies };
    let set = set.iter().enumerate().map(|(index, fingerprint)| Key {
        fingerprint,
        role: role(index),
        used: used(fingerprint),
        is_waited_for: false,
    });
    let unset = uses.iter().filter(|used| !is_set(used));
    let unset = unset.map(|used| Key {
        fingerprint: &used.fingerprint,
        role: KeyRole::Unset,
        used: Some(used),
        is_waited_for: false,
    });
    set.chain(unset).collect()
}

fn described(key: &Key<'_>, now: SystemTime, idle: Duration) -> Value {
    json!({
        "fingerprint": key.fingerprint,
        "role": key.role.as_str(),
        "cookies": key.used.map_or(0, |used| used.cookies),
        "last_used_at": key.used.map(|used| times::shown(used.last_used_at)),
        "can_go": key.can_go(now, idle),
    })
}

fn table(keys: &[Key<'_>], now: SystemTime, idle: Duration) -> Table {
    let mut table = Table::new([
        ("SECRET", Fit::Whole),
        ("ROLE", Fit::Whole),
        ("COOKIES", Fit::Whole),
        ("LAST USED", Fit::Droppable),
        ("ADVICE", Fit::Cut),
    ]);
    for key in keys {
        let tone = if key.can_go(now, idle) { Tone::Good } else { Tone::Plain };
        let cookies = key.used.map_or(0, |used| used.cookies).to_string();
        let last = key.used.map_or_else(|| "never".to_owned(), |used| times::shown(used.last_used_at));
        let advice = key.advice(now, idle).to_owned();
        table.toned(tone, [key.fingerprint.to_owned(), key.role.as_str().to_owned(), cookies, last, advice]);
    }
    table
}
