//! Asking before something is changed that cannot be changed back.

use std::io::IsTerminal as _;

use anyhow::bail;

use crate::output::{self, Misused};

/// Asks on a terminal; elsewhere `--yes` has to be said. An answer other than yes is an error, so that a script stops.
pub(crate) fn agreed(yes: bool, what: &str) -> anyhow::Result<()> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        bail!(Misused(format!(
            "expected --yes, for nobody is there to ask whether to {what}; --dry-run shows what it would do"
        )));
    }
    output::note(&format!("About to {what}. Go on? [y/N]"));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => bail!("nothing was changed"),
    }
}
