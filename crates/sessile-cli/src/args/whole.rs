//! What may be typed about a store as a whole, its operators, its secrets, and the command itself.

use std::path::PathBuf;

use clap::Subcommand;

use super::{OutputArgs, StoreArgs};

/// Where, and how it is printed.
#[derive(Debug, clap::Args)]
pub(crate) struct StoreAndOutputArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct StatsArgs {
    /// Show them again and again, every so many seconds
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "5",
        value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) watch: Option<u32>,
    /// So many of the users with the most sessions
    #[arg(long, value_name = "NUMBER", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    pub(crate) top: u32,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    /// Let a warning be a failure, too
    #[arg(long)]
    pub(crate) strict: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

#[derive(Debug, clap::Args)]
#[group(id = "change", multiple = false, args = ["guard", "unguard", "timestamptz", "columns"])]
pub(crate) struct MigrateArgs {
    /// Install the guard: a trigger on PostgreSQL that keeps an Express app from bringing ended sessions back, and tells
    /// the registry of its sign-ins and sign-outs
    #[arg(long)]
    pub(crate) guard: bool,
    /// Remove the guard
    #[arg(long)]
    pub(crate) unguard: bool,
    /// Make the column expire a timestamptz, under traffic: it then means the same in every time zone
    #[arg(long)]
    pub(crate) timestamptz: bool,
    /// Make the columns table, which services in Go share (id, user_id, values, created_at, expires_at), or the indexes that
    /// it lacks. Sessions move into it, and nobody is signed out: sessile export --store URL |
    /// SESSION_TABLE_KIND=columns sessile import --store URL --yes -
    #[arg(long)]
    pub(crate) columns: bool,
    /// The time zone that the sessions were written in, which is the application's [default: the connection's, if no role
    /// that writes has another]
    #[arg(long, value_name = "ZONE", requires = "timestamptz")]
    pub(crate) zone: Option<String>,
    /// The top-level key under which Express keeps the signed-in user, which is the application's session.user_key
    #[arg(long, value_name = "KEY", requires = "guard", conflicts_with = "unguard")]
    pub(crate) user_key: Option<String>,
    /// Do not ask before sessions end in the registry, because the user key has somebody else there, or nobody
    #[arg(long, requires = "guard")]
    pub(crate) yes: bool,
    /// Print the SQL and run none of it. Before the guard, tables of Sessile's own that are missing are made, as at any start
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Print a new secret for SESSION_SECRET, and nothing else
    Generate(GenerateArgs),
    /// List the secrets that are set, and how many cookies each of them verified
    List(StoreAndOutputArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct GenerateArgs {
    /// So many, a line for each
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) count: u32,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// Write into this file, which must not be there yet; without it to standard output, if that is no terminal
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    /// The file that an export wrote; - for standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Check the file and say what is in it; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OperatorsCommand {
    /// Add an operator and print their token, this once
    Add(AddOperatorArgs),
    /// List the operators
    List(StoreAndOutputArgs),
    /// Remove an operator; their token is worth nothing at once
    Remove(RemoveOperatorArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct AddOperatorArgs {
    /// How they are called in the audit
    pub(crate) name: String,
    /// They may look and change nothing
    #[arg(long)]
    pub(crate) viewer: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RemoveOperatorArgs {
    /// How they are called in the audit
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// Which shell
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// Write sessile.1, sessile-list.1, … into this directory; without it the main page goes to standard output
    pub(crate) directory: Option<PathBuf>,
}
