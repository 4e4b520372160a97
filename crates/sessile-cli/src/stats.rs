//! `sessile stats`: the queries that people run by hand, in one screen.

use std::time::{Duration, SystemTime};

use indicatif::{HumanBytes, HumanCount};
use serde_json::{Value, json};
use sessile::{Sessions, Storage, StoreStats};

use crate::args::StatsArgs;
use crate::output::{self, Found, Misused, Text, Tone};
use crate::sessions::Unswept;
use crate::table::{self, Fit, Table};
use crate::{store, times};

pub(crate) async fn run(args: &StatsArgs) -> anyhow::Result<Found> {
    let sessions = store::sessions(&args.store).await?;
    Unswept::told(&sessions).await?;
    while print(args, &sessions).await? {
        let Some(seconds) = args.watch else { break };
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(seconds.into())) => {}
            // Whoever has seen enough has not failed.
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    Ok(Found::Something)
}

/// One screen; says whether anybody still looks.
async fn print(args: &StatsArgs, sessions: &Sessions) -> anyhow::Result<bool> {
    let now = sessions.now();
    let counts = || Misused("this session store keeps no figures; use it on PostgreSQL or SQLite".into());
    let stats = sessions.store().stats().ok_or_else(counts)?.stats(now, args.top).await?;
    if args.output.json {
        return Text::json(&described(&stats, now)).print_to_reader();
    }
    if args.watch.is_some() {
        output::clear()?;
    }
    screen(&stats, now).print_to_reader()
}

fn described(stats: &StoreStats, now: SystemTime) -> Value {
    json!({
        "at": times::shown(now),
        "active": stats.active,
        "signed_in": stats.signed_in,
        "expired": stats.expired,
        "total": stats.active + stats.expired,
        "oldest_expiry": stats.oldest_expiry.map(times::shown),
        "newest_expiry": stats.newest_expiry.map(times::shown),
        "expiring_per_minute": stats.expiring,
        "average_bytes": stats.average_bytes,
        "p99_bytes": stats.p99_bytes,
        "storage": stats.storage.as_ref().map(storage_described),
        "top_users": stats.top_owners.iter()
            .map(|(user, sessions)| json!({ "user": user.as_str(), "sessions": sessions })).collect::<Vec<_>>(),
    })
}

fn storage_described(storage: &Storage) -> Value {
    json!({
        "table_bytes": storage.table_bytes,
        "index_bytes": storage.index_bytes,
        "total_bytes": storage.total_bytes,
        "dead_rows": storage.dead_rows,
        "last_vacuum": storage.last_vacuum.map(times::shown),
        "last_autovacuum": storage.last_autovacuum.map(times::shown),
        "hot_ratio": storage.hot_ratio,
    })
}

fn screen(stats: &StoreStats, now: SystemTime) -> Text {
    let mut text = table::facts(facts(stats, now));
    if let Some(plot) = plot(&stats.expiring) {
        let most = stats.expiring.iter().max().copied().unwrap_or(0);
        text.paint(Tone::Head, "\nEND WITHIN THE NEXT HOUR, BY MINUTE")
            .say(&format!(" (at most {most} in one)\n{plot}\n"));
        text.paint(Tone::Faint, &format!("{:<15}{:<15}{:<15}{:<15}60 min\n", "now", "15 min", "30 min", "45 min"));
    }
    if !stats.top_owners.is_empty() {
        let mut users = Table::new([("USER", Fit::Cut), ("SESSIONS", Fit::Whole)]);
        for (user, sessions) in &stats.top_owners {
            users.row([user.to_string(), count(*sessions)]);
        }
        text.say("\n").append(users.text());
    }
    text
}

fn facts(stats: &StoreStats, now: SystemTime) -> Vec<(String, String)> {
    let time = |time: Option<SystemTime>, none: &str| time.map_or_else(|| none.to_owned(), times::shown);
    let mut facts = vec![
        ("at", times::shown(now)),
        ("active", format!("{}, of them signed in {}", count(stats.active), count(stats.signed_in))),
        ("expired", format!("{}, waiting for a sweep", count(stats.expired))),
        ("total", count(stats.active + stats.expired)),
        ("first end", time(stats.oldest_expiry, "-")),
        ("last end", time(stats.newest_expiry, "-")),
        ("size", sizes(stats)),
    ];
    if let Some(storage) = &stats.storage {
        facts.push(("on disk", disk(storage)));
        facts.extend(storage.dead_rows.map(|rows| ("dead rows", count(rows))));
        if storage.dead_rows.is_some() {
            facts.push(("vacuum", format!("by hand {}", time(storage.last_vacuum, "never"))));
            facts.push(("autovacuum", time(storage.last_autovacuum, "never")));
        }
        facts.extend(
            storage.hot_ratio.map(|ratio| ("updates", format!("{:.0} % left the indexes alone (HOT)", ratio * 100.0))),
        );
    }
    facts.into_iter().map(|(name, fact)| (name.to_owned(), fact)).collect()
}

fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

fn sizes(stats: &StoreStats) -> String {
    match (stats.average_bytes, stats.p99_bytes) {
        (Some(average), Some(p99)) => {
            format!("{} on average, 99 of 100 at most {}", HumanBytes(average), HumanBytes(p99))
        }
        _ => "-".into(),
    }
}

fn disk(storage: &Storage) -> String {
    let [table, index, total] = [storage.table_bytes, storage.index_bytes, storage.total_bytes].map(HumanBytes);
    format!("sessions {table}, their indexes {index}, everything of Sessile's {total}")
}

/// A bar for each minute; nothing where no session ends.
fn plot(expiring: &[u64]) -> Option<String> {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = *expiring.iter().max().filter(|most| **most > 0)?;
    let bar = |&sessions: &u64| match sessions {
        0 => '·',
        // The highest bar is the most there is, and a single session is seen.
        _ => BARS[usize::try_from((u128::from(sessions) * 8).div_ceil(u128::from(most)) - 1).unwrap_or(7).min(7)],
    };
    Some(expiring.iter().map(bar).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_is_the_highest_bar_and_one_is_seen() {
        assert_eq!(plot(&[0, 1, 50, 100]).as_deref(), Some("·▁▄█"));
        assert_eq!(plot(&[u64::MAX, 1, 0]).as_deref(), Some("█▁·"));
        assert_eq!(plot(&[0, 0]), None);
    }
}
