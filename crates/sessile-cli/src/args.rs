//! What may be typed: here what all commands share, and the commands that serve; the others are in modules of their own.

mod sessions;
mod whole;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub(crate) use sessions::{ExplainArgs, HistoryArgs, ListArgs, PageArgs, RevokeArgs, ShowArgs, StatusArg, SweepArgs};
pub(crate) use whole::{
    AddOperatorArgs, CompletionsArgs, DoctorArgs, ExportArgs, GenerateArgs, ImportArgs, KeysCommand, ManArgs,
    MigrateArgs, OperatorsCommand, RemoveOperatorArgs, StatsArgs, StoreAndOutputArgs,
};

/// Server-side sessions in the database you already have.
#[derive(Debug, Parser)]
#[command(name = "sessile", version, arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a small shop whose carts live in sessions
    Demo(DemoArgs),
    /// Run the sweeper, sign-in and "your devices" for an application; and for operators dashboard, metrics and health
    Serve(ServeArgs),
    /// List who is signed in where, the latest first
    List(ListArgs),
    /// Show one session, without its data unless asked for
    Show(ShowArgs),
    /// Say why a session is alive or over, and what ends it next
    Explain(ExplainArgs),
    /// List how a user's sessions ended, the latest end first
    History(HistoryArgs),
    /// End sessions. It shows them and asks first
    Revoke(RevokeArgs),
    /// Remove what has expired, and bring the registry into step
    Sweep(SweepArgs),
    /// Show the store's figures: how many sessions, how old, how large
    Stats(StatsArgs),
    /// Examine the settings and the store, and say what is wrong and what to do
    Doctor(DoctorArgs),
    /// Create what is missing, or change the database: print the SQL, then run it
    Migrate(MigrateArgs),
    /// Make a secret, or see which secrets cookies are still signed with
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Look at the settings
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Write all sessions into a file, to move them to another store
    Export(ExportArgs),
    /// Read sessions from such a file; nobody is signed out by the move
    Import(ImportArgs),
    /// Say who may use the dashboard
    #[command(subcommand)]
    Operators(OperatorsCommand),
    /// Print the completions for a shell
    Completions(CompletionsArgs),
    /// Print the manual page, or write a page for each command
    Man(ManArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say which settings are in force and where each comes from, or everything that is wrong with them (exit code 2)
    Check(CheckArgs),
    /// Print the page that describes every setting, in Markdown
    Reference,
    /// Print the page that describes every metric, in Markdown
    #[command(hide = true)]
    Metrics,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where the sessions are.
#[derive(Debug, clap::Args)]
pub(crate) struct StoreArgs {
    /// The session store: postgres://…, redis://… or sqlite:PATH [default: database.url, which is DATABASE_URL]. Others on
    /// this host can see what is typed here; a password belongs into DATABASE_URL
    #[arg(long, value_name = "URL")]
    pub(crate) store: Option<String>,
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
}

/// How it is printed.
#[derive(Debug, clap::Args)]
pub(crate) struct OutputArgs {
    /// Print JSON; of a list, a line for each entry
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Where to listen; port 0 takes any free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    pub(crate) listen: String,
    /// Run an identity provider for development beside it, on another port of this computer, to sign in at
    #[arg(long)]
    pub(crate) idp: bool,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// Where to listen for everybody; port 0 takes any free one [default: server.listen, which is 127.0.0.1:8080]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,
    /// Where to listen for operators [default: server.admin_listen, which is 127.0.0.1:9090]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) admin: Option<String>,
    /// Do not listen for operators
    #[arg(long, conflicts_with = "admin")]
    pub(crate) no_admin: bool,
    /// Only ask the server that runs with these settings whether it is ready, for a health check
    #[arg(long)]
    pub(crate) probe: bool,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SettingsArgs {
    /// The file with the settings, which has to be there [default: sessile.toml, if there]
    #[arg(long, value_name = "PATH")]
    pub(crate) config: Option<PathBuf>,
}
