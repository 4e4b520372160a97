//! What may be typed about single sessions, and lists of them.

use clap::ValueEnum;

use super::{OutputArgs, StoreArgs};

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
pub(crate) struct ExplainArgs {
    /// The session's public name
    pub(crate) handle: String,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SweepArgs {
    /// Only what expired at least so long ago: 90s, 30m, 1h, 7d
    #[arg(long, value_name = "SPAN")]
    pub(crate) older_than: Option<String>,
    /// So many rows in one step
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) batch: u32,
    /// Rest so many times as long as a step took, for live traffic's sake; 0 goes on at once
    #[arg(long, value_name = "TIMES", default_value_t = 9, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    pub(crate) rest: u32,
    /// Look again until a whole round found nothing; without it one round, as a server's sweeper makes them
    #[arg(long)]
    pub(crate) until_done: bool,
    /// Count what has expired and change nothing
    #[arg(long, conflicts_with_all = ["until_done"])]
    pub(crate) dry_run: bool,
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
