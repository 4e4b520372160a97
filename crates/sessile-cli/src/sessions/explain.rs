//! `sessile explain`: why a session is alive or over, in sentences.

use super::{Outcome, handle};
use crate::args::ExplainArgs;
use crate::output::Found;
use crate::store;

pub(crate) async fn explain(args: &ExplainArgs) -> Outcome {
    let _handle = handle(&args.handle)?;
    let _sessions = store::sessions(&args.store).await?;
    Ok(Found::Nothing)
}
