//! What may be typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

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
    /// Run the sweeper, sign-in and "your devices" for an application; and for operators dashboard, metrics and health
    Serve(ServeArgs),
    /// List who is signed in where, the latest first
    List(ListArgs),
    /// Show one session, without its data unless asked for
    Show(ShowArgs),
    /// List how a user's sessions ended, the latest end first
    History(HistoryArgs),
    /// End sessions. It shows them and asks first
    Revoke(RevokeArgs),
    /// Remove what has expired, and bring the registry into step
    Sweep(SweepArgs),
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

/// Which sessions.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum StatusArg {
    Active,
    Ended,
    LoggedOut,
    Revoked,
    Expired,
    Evicted,
    Any,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Of this user
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// In this state
    #[arg(long, value_name = "STATUS", default_value = "active")]
    pub(crate) status: StatusArg,
    /// From this address or network
    #[arg(long, value_name = "NETWORK")]
    pub(crate) ip: Option<String>,
    /// Signed in at this time or later: 2026-01-15T10:30:00Z, or a span back from now like 12h or 7d
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    #[command(flatten)]
    pub(crate) page: PageArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// The session's public name
    pub(crate) handle: String,
    /// Show what the application stored, too; without it only how much
    #[arg(long)]
    pub(crate) data: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct HistoryArgs {
    /// Whose
    #[arg(long, value_name = "USER")]
    pub(crate) user: String,
    #[command(flatten)]
    pub(crate) page: PageArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

#[derive(Debug, clap::Args)]
#[group(id = "which", required = true, multiple = false, args = ["handles", "user", "before", "everyone"])]
pub(crate) struct RevokeArgs {
    /// The sessions' public names
    #[arg(value_name = "HANDLE")]
    pub(crate) handles: Vec<String>,
    /// All of this user's
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// But not this one
    #[arg(long, value_name = "HANDLE", requires = "user", conflicts_with_all = ["handles", "before", "everyone"])]
    pub(crate) keep: Option<String>,
    /// Everybody's that were signed in before this time
    #[arg(long, value_name = "TIME")]
    pub(crate) before: Option<String>,
    /// Everybody's
    #[arg(long)]
    pub(crate) everyone: bool,
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Show what would end and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SweepArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// Which part of a long list.
#[derive(Debug, clap::Args)]
pub(crate) struct PageArgs {
    /// So many at most
    #[arg(long, value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
    /// Go on where an earlier list ended
    #[arg(long, value_name = "CURSOR")]
    pub(crate) after: Option<String>,
}

/// Where the sessions are.
#[derive(Debug, clap::Args)]
pub(crate) struct StoreArgs {
    /// The session store: postgres://… or sqlite:PATH [default: database.url, which is DATABASE_URL]. Others on this host
    /// can see what is typed here; a password belongs into DATABASE_URL
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
    pub(crate) store: StoreArgs,
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
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SettingsArgs {
    /// The file with the settings, which has to be there [default: sessile.toml, if there]
    #[arg(long, value_name = "PATH")]
    pub(crate) config: Option<PathBuf>,
}
