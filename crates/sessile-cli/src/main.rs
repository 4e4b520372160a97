//! The command `sessile`: a server to look at, who is signed in where, changes to the database, and the settings in force.

mod args;
mod config;
mod demo;
mod logs;
mod metrics_page;
mod migrate;
mod output;
mod provider;
mod reference;
mod secret;
mod serve;
mod serving;
mod sessions;
mod store;
mod systemd;
mod times;

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
        Command::Sweep(args) => return sessions::sweep(&args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Serve(args) => serve::run(args).await,
        Command::Migrate(args) => migrate::run(&args).await,
        Command::Config(ConfigCommand::Check(args)) => config::check(&args),
        Command::Config(ConfigCommand::Reference) => output::print(&reference::page()),
        Command::Config(ConfigCommand::Metrics) => output::print(&metrics_page::page()),
    }
    .map(|()| Found::Something)
}
