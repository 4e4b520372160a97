//! `sessile doctor`: what is wrong, how that is known, and what to do about it, for somebody who was woken up. The worst
//! comes first. It looks at the settings and at the store, creates nothing and changes nothing.

use serde_json::{Value, json};
use sessile::settings::{Problem, Settings, SettingsError};
use sessile::{Check, Clock as _, SystemClock, Verdict};

use crate::args::DoctorArgs;
use crate::output::{self, Found, Text, Tone};
use crate::{secret, store};

/// The checks that fail when there is no store to ask anything else.
const REACHABLE: [&str; 3] = ["postgres.reachable", "redis.reachable", "sqlite.file"];

/// The checks of the secret.
const SECRET: [&str; 2] = ["settings.secret", "settings.old_secrets"];

pub(crate) async fn run(args: &DoctorArgs) -> anyhow::Result<Found> {
    let builder = store::settings(&args.store)?;
    let has_secret = builder.is_set("session.secret");
    let mut checks = match builder.fallback("session.secret", secret::random()?).resolve() {
        Ok(settings) => [about_settings(&settings, has_secret), about_store(&settings).await?].concat(),
        Err(wrong) => [about_problems(&wrong), in_spite_of_the_secret(args).await?].concat(),
    };
    checks.sort_by_key(|check| std::cmp::Reverse(check.verdict));
    let outcome = outcome(&checks, args.strict);
    if args.output.json {
        output::print_json(&described(&checks, outcome))?
    } else {
        text(&checks).print()?
    }
    Ok(outcome)
}

async fn about_store(settings: &Settings) -> anyhow::Result<Vec<Check>> {
    Ok(store::to_examine(settings)?.examine(SystemClock.now()).await)
}

/// Settings that nothing starts with.
fn about_problems(wrong: &SettingsError) -> Vec<Check> {
    let failed = |problem: &Problem| {
        let is_secret = problem.sources().iter().any(|(setting, _)| setting == "session.secret");
        let remedy = match is_secret {
            true => "Set SESSION_SECRET to what `sessile keys generate` prints.",
            false => "Correct it; `sessile config check` says the same of all settings.",
        };
        Check::failed(if is_secret { SECRET[0] } else { "settings.valid" }, problem.to_string(), remedy)
    };
    wrong.problems().iter().map(failed).collect()
}

/// The look at the store takes no secret, so a wrong one is not in its way. Other wrong settings are: they may be about the
/// store.
async fn in_spite_of_the_secret(args: &DoctorArgs) -> anyhow::Result<Vec<Check>> {
    let builder = store::settings(&args.store)?.set("session.secret", secret::random()?);
    match builder.resolve() {
        Ok(settings) => {
            let mut checks = about_settings(&settings, true);
            checks.retain(|check| !SECRET.contains(&check.name));
            checks.extend(about_store(&settings).await?);
            Ok(checks)
        }
        Err(_) => Ok(vec![Check::warning(
            "settings.store",
            "The store was not examined: the settings that it is opened with are wrong.",
            "Correct them, then look again.",
        )]),
    }
}

/// What the settings say by themselves, as they are in this environment.
fn about_settings(settings: &Settings, has_secret: bool) -> Vec<Check> {
    let mut checks = settings.examine();
    if !has_secret {
        // The one that stands in for it is ours, and good.
        checks.retain(|check| !SECRET.contains(&check.name));
        checks.push(Check::warning(
            SECRET[0],
            "The secret is not set here, so nothing can be said of it.",
            "Run this with the environment and the sessile.toml of the application.",
        ));
    }
    let doubt = |warning: &String| {
        Check::warning(
            "settings.doubt",
            warning.as_str(),
            "`sessile config check` shows where each setting comes from.",
        )
    };
    checks.extend(settings.warnings().iter().map(doubt));
    checks
}

fn outcome(checks: &[Check], strict: bool) -> Found {
    let is_not_there = |check: &Check| check.verdict == Verdict::Failed && REACHABLE.contains(&check.name);
    match worst(checks) {
        Verdict::Failed if checks.iter().any(is_not_there) => Found::Unreachable,
        Verdict::Failed => Found::Fault,
        Verdict::Warning if strict => Found::Fault,
        _ => Found::Something,
    }
}

fn worst(checks: &[Check]) -> Verdict {
    checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Good)
}

fn count(checks: &[Check], verdict: Verdict) -> usize {
    checks.iter().filter(|check| check.verdict == verdict).count()
}

fn described(checks: &[Check], outcome: Found) -> Value {
    let one = |check: &Check| json!({ "name": check.name, "verdict": check.verdict.as_str(), "finding": check.finding, "remedy": check.remedy });
    json!({
        "ok": outcome == Found::Something,
        "failed": count(checks, Verdict::Failed),
        "warnings": count(checks, Verdict::Warning),
        "skipped": count(checks, Verdict::Skipped),
        "good": count(checks, Verdict::Good),
        "checks": checks.iter().map(one).collect::<Vec<_>>(),
    })
}

fn text(checks: &[Check]) -> Text {
    let mut text = Text::default();
    for check in checks {
        say(&mut text, check);
    }
    let [failed, warnings, skipped, good] =
        [Verdict::Failed, Verdict::Warning, Verdict::Skipped, Verdict::Good].map(|verdict| count(checks, verdict));
    let warnings = if warnings == 1 { "1 warning".into() } else { format!("{warnings} warnings") };
    let skipped = if skipped == 0 { String::new() } else { format!("{skipped} skipped, ") };
    text.paint(tone(worst(checks)), &format!("{failed} failed, {warnings}, {skipped}{good} good")).say("\n");
    text
}

/// What is well takes a line; what is not takes the room that it needs.
fn say(text: &mut Text, check: &Check) {
    let word = format!("{:<8}", check.verdict.as_str());
    if check.verdict == Verdict::Good {
        text.paint(tone(check.verdict), &word)
            .say(&format!(" {} ", check.finding))
            .paint(Tone::Faint, &format!("({})", check.name))
            .say("\n");
        return;
    }
    text.paint(tone(check.verdict), &word.to_uppercase()).paint(Tone::Head, &format!(" {}\n", check.name));
    text.say(&format!("         {}\n", check.finding));
    if let Some(remedy) = &check.remedy {
        text.say(&format!("         {}\n", remedy.replace('\n', "\n         ")));
    }
    text.say("\n");
}

fn tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Good => Tone::Good,
        Verdict::Skipped => Tone::Plain,
        Verdict::Warning => Tone::Warning,
        Verdict::Failed => Tone::Bad,
    }
}
