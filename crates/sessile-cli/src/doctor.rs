//! `sessile doctor`: what is wrong, how that is known, and what to do about it, for somebody who was woken up. The worst
//! comes first. It looks at the settings and at the store, creates nothing and changes nothing.

use serde_json::{Value, json};
use sessile::settings::Settings;
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
    let settings = builder.fallback("session.secret", secret::random()?).resolve()?;
    let mut checks = about_settings(&settings, has_secret);
    checks.extend(store::to_examine(&settings)?.examine(SystemClock.now()).await);
    checks.sort_by_key(|check| std::cmp::Reverse(check.verdict));
    if args.output.json {
        output::print_json(&described(&checks))?
    } else {
        text(&checks).print()?
    }
    Ok(outcome(&checks, args.strict))
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

fn described(checks: &[Check]) -> Value {
    let one = |check: &Check| json!({ "name": check.name, "verdict": check.verdict.as_str(), "finding": check.finding, "remedy": check.remedy });
    json!({
        "ok": worst(checks) != Verdict::Failed,
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
