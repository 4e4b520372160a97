//! The command `sessile`: a server to look at, changes to the database, and a look at the settings in force.

mod args;
mod config;
mod demo;
mod migrate;
mod output;
mod provider;
mod reference;
mod secret;
mod store;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command, ConfigCommand};

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Demo(args) => demo::run(args).await,
        Command::Migrate(args) => migrate::run(&args).await,
        Command::Config(ConfigCommand::Check(args)) => config::check(&args),
        Command::Config(ConfigCommand::Reference) => output::print(&reference::page()),
    };
    done.map_or_else(|error| output::fail(&error), |()| ExitCode::SUCCESS)
}
