//! The command `sessile`: a server to look at, who is signed in where, how the store is, changes to it, and the settings in
//! force.

mod args;
mod audit;
mod config;
mod confirm;
mod demo;
mod doctor;
mod keys;
mod manual;
mod migrate;
mod operators;
mod output;
mod progress;
mod provider;
mod reference;
mod secret;
mod sessions;
mod stats;
mod store;
mod table;
mod times;
mod transfer;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command, ConfigCommand};
use output::Found;

#[tokio::main]
async fn main() -> ExitCode {
    let done = run(Args::parse().command).await;
    done.map_or_else(|error| output::fail(&error), ExitCode::from)
}

async fn run(command: Command) -> anyhow::Result<Found> {
    match command {
        Command::List(args) => return sessions::list(&args).await,
        Command::Show(args) => return sessions::show(&args).await,
        Command::History(args) => return sessions::history(&args).await,
        Command::Revoke(args) => return sessions::revoke(&args).await,
        Command::Explain(args) => return sessions::explain(&args).await,
        Command::Sweep(args) => return sessions::sweep(&args).await,
        Command::Stats(args) => return stats::run(&args).await,
        Command::Doctor(args) => return doctor::run(&args).await,
        Command::Keys(command) => return keys::run(&command).await,
        Command::Operators(command) => return operators::run(&command).await,
        Command::Export(args) => transfer::export(&args).await,
        Command::Import(args) => return transfer::import(&args).await,
        Command::Completions(args) => manual::completions(&args),
        Command::Man(args) => manual::pages(&args),
        Command::Demo(args) => demo::run(args).await,
        Command::Migrate(args) => migrate::run(&args).await,
        Command::Config(ConfigCommand::Check(args)) => config::check(&args),
        Command::Config(ConfigCommand::Reference) => output::print(&reference::page()),
    }
    .map(|()| Found::Something)
}
