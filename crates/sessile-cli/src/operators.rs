//! `sessile operators`: who may use the dashboard. A token is made here, printed once, and kept as its hash alone.

use anyhow::{Context as _, bail};
use serde_json::json;
use sessile::{Operations, Operator, Role, Sessions};

use crate::args::{AddOperatorArgs, OperatorsCommand, RemoveOperatorArgs, StoreAndOutputArgs};
use crate::output::{self, Found};
use crate::table::{Fit, Table};
use crate::{audit, store, times};

pub(crate) async fn run(command: &OperatorsCommand) -> anyhow::Result<Found> {
    match command {
        OperatorsCommand::Add(args) => add(args).await,
        OperatorsCommand::List(args) => list(args).await,
        OperatorsCommand::Remove(args) => remove(args).await,
    }
}

async fn add(args: &AddOperatorArgs) -> anyhow::Result<Found> {
    let sessions = store::sessions(&args.store).await?;
    let role = if args.viewer { Role::Viewer } else { Role::Admin };
    let (operator, token) = Operator::new(&args.name, role, sessions.now())?;
    if !operations(&sessions)?.add_operator(&operator).await? {
        bail!("there is an operator called {:?} already; remove them first, or choose another name", args.name);
    }
    audit::record(&sessions, "operator.add", &args.name, 0, Some(role.as_str())).await;
    if args.output.json {
        output::print_json(&json!({ "name": args.name, "role": role.as_str(), "token": token }))?;
    } else {
        output::print(&format!("{token}\n"))?;
        output::note(&format!("This is the token of {}, role {role}. It is not shown again.", args.name));
    }
    Ok(Found::Something)
}

async fn list(args: &StoreAndOutputArgs) -> anyhow::Result<Found> {
    let sessions = store::sessions(&args.store).await?;
    let operators = operations(&sessions)?.operators().await?;
    if operators.is_empty() {
        return Ok(Found::Nothing);
    }
    let mut table = Table::new([("NAME", Fit::Whole), ("ROLE", Fit::Whole), ("SINCE", Fit::Whole)]);
    for Operator { name, role, created_at, .. } in &operators {
        let since = times::shown(*created_at);
        if args.output.json {
            output::print_json(&json!({ "name": name, "role": role.as_str(), "created_at": since }))?;
        }
        table.row([name.to_string(), role.to_string(), since]);
    }
    if !args.output.json {
        table.text().print()?;
    }
    Ok(Found::Something)
}

async fn remove(args: &RemoveOperatorArgs) -> anyhow::Result<Found> {
    let sessions = store::sessions(&args.store).await?;
    let removed = operations(&sessions)?.remove_operator(&args.name).await?;
    if args.output.json {
        output::print_json(&json!({ "removed": removed }))?;
    }
    if !removed {
        return Ok(Found::Nothing);
    }
    audit::record(&sessions, "operator.remove", &args.name, 0, None).await;
    output::note(&format!("removed: {}", args.name));
    Ok(Found::Something)
}

fn operations(sessions: &Sessions) -> anyhow::Result<&dyn Operations> {
    sessions.store().operations().context("this session store keeps nothing for operators")
}
