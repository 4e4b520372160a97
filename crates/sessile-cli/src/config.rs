//! `sessile config check`: which settings are in force and where each comes from.

use std::path::Path;

use serde_json::{Value, json};
use sessile::settings::{Builder, Explained, Origin, Settings, SettingsError};

use crate::args::{CheckArgs, SettingsArgs};
use crate::output::{self, Text, Tone};
use crate::table::{Fit, Table};

/// The environment and the file, as every command reads them.
pub(crate) fn builder(args: &SettingsArgs) -> Builder {
    let builder = Settings::builder().environment();
    match &args.config {
        Some(path) => builder.file(Path::new(path)),
        None => builder.default_file(),
    }
}

pub(crate) fn check(args: &CheckArgs) -> anyhow::Result<()> {
    let resolved = builder(&args.settings).resolve();
    if args.json {
        let report = resolved.as_ref().map_or_else(problems_json, settings_json);
        output::print_json(&report)?;
    } else if let Ok(settings) = &resolved {
        text(settings).print()?;
    }
    Ok(resolved.map(drop)?)
}

fn text(settings: &Settings) -> Text {
    let mut table = Table::new([
        ("SETTING", Fit::Whole),
        ("ENVIRONMENT VARIABLE", Fit::Droppable),
        ("VALUE", Fit::Cut),
        ("FROM", Fit::Cut),
    ]);
    for one in settings.explain() {
        let tone = if one.origin == Origin::Default { Tone::Faint } else { Tone::Plain };
        table.toned(tone, [one.name.into(), one.variable.into(), one.value, one.origin.to_string()]);
    }
    let mut text = table.text();
    for warning in settings.warnings() {
        text.say("\n").paint(Tone::Warning, "warning:").say(&format!(" {warning}"));
    }
    text.say(&format!("\nsession {}\n", settings.config().description()));
    text
}

fn settings_json(settings: &Settings) -> Value {
    let one = |one: Explained| json!({ "name": one.name, "variable": one.variable, "value": one.value, "origin": one.origin.to_string() });
    json!({
        "ok": true,
        "settings": settings.explain().map(one).collect::<Vec<_>>(),
        "warnings": settings.warnings(),
    })
}

fn problems_json(error: &SettingsError) -> Value {
    let problems = error.problems().iter().map(|problem| {
        let source = |(name, origin): &(String, _)| json!({ "name": name, "origin": ToString::to_string(origin) });
        json!({ "settings": problem.sources().iter().map(source).collect::<Vec<_>>(), "message": problem.message() })
    });
    json!({ "ok": false, "problems": problems.collect::<Vec<_>>() })
}
