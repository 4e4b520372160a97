//! What may be typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Server-side sessions in the database you already have.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a small shop whose carts live in sessions
    Demo(DemoArgs),
    /// Change the database: print the SQL, then run it
    Migrate(MigrateArgs),
    /// Look at the settings
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say which settings are in force and where each comes from, or everything that is wrong with them (exit code 2)
    Check(CheckArgs),
    /// Print the page that describes every setting, in Markdown
    Reference,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
#[group(id = "change", required = true, multiple = false, args = ["guard", "unguard"])]
pub(crate) struct MigrateArgs {
    /// Install the guard: a trigger on PostgreSQL that keeps an Express app from bringing ended sessions back, and tells
    /// the registry of its sign-ins and sign-outs
    #[arg(long)]
    pub(crate) guard: bool,
    /// Remove the guard
    #[arg(long)]
    pub(crate) unguard: bool,
    /// The top-level key under which Express keeps the signed-in user, which is the application's session.user_key
    #[arg(long, value_name = "KEY", conflicts_with = "unguard")]
    pub(crate) user_key: Option<String>,
    /// Print the SQL and run none of it. Tables of Sessile's own that are missing are made, as at any start
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Where to listen; port 0 takes any free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    pub(crate) listen: String,
    /// Run an identity provider for development beside it, on another port of this computer, to sign in at
    #[arg(long)]
    pub(crate) idp: bool,
    /// Keep the sessions in this SQLite file, even when DATABASE_URL is set [default: sessile-demo.sqlite]
    #[arg(long, value_name = "PATH")]
    pub(crate) sqlite: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SettingsArgs {
    /// The file with the settings, which has to be there [default: sessile.toml, if there]
    #[arg(long, value_name = "PATH")]
    pub(crate) config: Option<PathBuf>,
}
