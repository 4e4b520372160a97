//! `sessile config reference`: the page of the manual that describes every setting, made from their declarations.

use sessile::settings::{DEFAULT_FILE, Declared, declared};

const HEAD: &str = "\
<!-- Made by `sessile config reference`; a test compares. Do not edit. -->

# Configuration

Settings come from code, from environment variables and from the file `sessile.toml`. The nearest source wins: code, then
the environment, then the file. Only the secret is required.

`sessile config check` prints what is in force and where each value comes from, without secrets. When something is wrong
it lists everything that is, and ends with exit code 2.

```rust,ignore
let settings = Settings::builder()
    .set(\"cookie.name\", \"sid\")     // in code
    .environment()                 // COOKIE_NAME, SESSION_SECRET, …
    .default_file()                // sessile.toml in the working directory, if it is there
    .resolve()?;                   // or everything that is wrong
let config = settings.config();
```

- All lengths of time are whole numbers of milliseconds, in every source.
- An empty environment variable counts as not set.
- A list stands between commas in a variable, and as that or as an array in the file. Spaces around a comma do not count.
- A secret can be kept in a file: `SESSION_SECRET_FILE` and `DATABASE_URL_FILE` name one. A line break at its end does not
  count.
- An unknown setting in the file is an error; a variable whose name is nearly one of these is warned of.
- \"Express\" is the default with `session.profile = \"express\"`, where it differs.
";

pub(crate) fn page() -> String {
    let mut page = HEAD.to_owned();
    for (section, settings) in sections() {
        page.push_str(&format!(
            "\n## {}\n\n| setting | environment variable | value | default | meaning |\n|---|---|---|---|---|\n",
            title(section)
        ));
        page.extend(settings.into_iter().map(row));
    }
    page.push_str(&format!("\n## All of them in `{DEFAULT_FILE}`\n\n```toml\n{}```\n", sample()));
    page
}

/// A file that sets everything. Its secret is one that is refused.
pub(crate) fn sample() -> String {
    let mut file = String::new();
    // What belongs to no table has to stand before all of them.
    let (loose, tables): (Vec<_>, Vec<_>) = sections().into_iter().partition(|(section, _)| section.is_empty());
    for (section, settings) in loose.into_iter().chain(tables) {
        if !section.is_empty() {
            file.push_str(&format!("\n[{section}]\n"));
        }
        for setting in settings {
            let name = setting.path().rsplit('.').next().unwrap_or_default();
            file.push_str(&format!("{name} = {}\n", setting.example()));
        }
    }
    file
}

/// The settings by the first part of their path; the empty one for those that have only one part.
fn sections() -> Vec<(&'static str, Vec<&'static Declared>)> {
    let mut sections: Vec<(&str, Vec<&Declared>)> = Vec::new();
    for setting in declared() {
        let name = setting.path().split_once('.').map_or("", |(section, _)| section);
        match sections.last_mut() {
            Some((last, settings)) if *last == name => settings.push(setting),
            _ => sections.push((name, vec![setting])),
        }
    }
    sections
}

fn title(section: &str) -> &str {
    match section {
        "session" => "Sessions",
        "cookie" => "The cookie",
        "registry" => "Devices",
        "limits" => "Limits",
        "oidc" => "The identity provider",
        "database" => "The database",
        "pool" => "Connections",
        "table" => "The table",
        "redis" => "Redis and Valkey",
        "sweep" => "Sweeping",
        "server" => "The server `sessile serve`",
        "" => "The address and its proxies",
        other => other,
    }
}

fn row(setting: &Declared) -> String {
    let (usual, express) = setting.default();
    let express = express.map(|express| format!("; Express: {express}")).unwrap_or_default();
    // `__Host-sid` is no emphasis.
    let default = format!("{usual}{express}").replace('_', r"\_");
    let (path, variable, kind, help) = (setting.path(), setting.variable(), setting.kind(), setting.help());
    format!("| `{path}` | `{variable}` | {kind} | {default} | {help} |\n")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use sessile::settings::Settings;

    #[test]
    fn the_sample_file_works_but_for_its_secret() {
        let path = std::env::temp_dir().join(format!("sessile-sample-{}.toml", std::process::id()));
        std::fs::write(&path, sample()).unwrap();
        let error = Settings::builder().file(&path).resolve().unwrap_err();
        std::fs::remove_file(&path).unwrap();
        let [problem] = error.problems() else { panic!("{error}") };
        assert!(problem.message().contains("found a sample"), "{problem}");
        assert!(declared().all(|setting| sample().contains(&format!(" = {}\n", setting.example()))));
    }
}
