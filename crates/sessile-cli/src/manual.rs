//! `sessile completions` and `sessile man`: what shells and `man` want to know, made from what may be typed.

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_mangen::Man;

use crate::args::{Args, CompletionsArgs, ManArgs};
use crate::output;

pub(crate) fn completions(args: &CompletionsArgs) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "sessile", &mut script);
    output::print_as_it_is(&script)
}

pub(crate) fn pages(args: &ManArgs) -> anyhow::Result<()> {
    match &args.directory {
        Some(directory) => clap_mangen::generate_to(Args::command(), directory).with_context(|| {
            format!(
                "expected a directory that pages can be written into, found another thing at {}",
                directory.display()
            )
        }),
        None => {
            let mut page = Vec::new();
            Man::new(Args::command()).render(&mut page)?;
            output::print_as_it_is(&page)
        }
    }
}
