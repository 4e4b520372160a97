//! `sessile show`: one session, and how much the application keeps in it. What that is, is the application's and its
//! user's: it is shown to who asks for it.

use serde_json::{Value, json};
use sessile::{Handle, Sessions};

use super::{Outcome, Unswept, described, handle, one, registry};
use crate::args::ShowArgs;
use crate::output::{self, Found};
use crate::{store, table};

pub(crate) async fn show(args: &ShowArgs) -> Outcome {
    let handle = handle(&args.handle)?;
    let sessions = store::sessions(&args.store).await?;
    let now = sessions.now();
    let Some(device) = one(registry(&sessions)?, &handle, now).await? else { return Ok(Found::Nothing) };
    let device = Unswept::told(&sessions).await?.mark(device);
    let mut shown = described(&device, now);
    shown["data"] = data(&sessions, &handle, args.data).await?;
    if args.output.json {
        output::print_json(&shown)?
    } else {
        table::facts(facts(&shown)).print()?
    }
    Ok(Found::Something)
}

/// The data, or how long each of its values is; nothing where the session is gone.
async fn data(sessions: &Sessions, handle: &Handle, whole: bool) -> anyhow::Result<Value> {
    let Some(key) = registry(sessions)?.key(handle).await? else { return Ok(Value::Null) };
    let Some(record) = sessions.store().load(&key, sessions.now()).await? else { return Ok(Value::Null) };
    let shown = |json: &str| if whole { value(json) } else { json!(format!("{} bytes", json.len())) };
    Ok(Value::Object(record.data.iter().map(|(key, json)| (key.to_owned(), shown(json))).collect()))
}

/// The value; as the text that is stored, where JavaScript wrote what no value here can be: 1e400, half a surrogate pair.
fn value(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|_| json.into())
}

/// A line for each thing that is known; without a count of requests nobody counts them.
fn facts(shown: &Value) -> Vec<(String, String)> {
    let is_known = |(name, value): &(&String, &Value)| !value.is_null() && **value != json!(0) && *name != "data";
    let known = shown.as_object().into_iter().flatten().filter(is_known);
    let mut facts: Vec<_> = known.map(|(name, value)| (name.replace('_', " "), text(value))).collect();
    let data = shown["data"].as_object().into_iter().flatten();
    facts.extend(data.map(|(key, value)| (format!("data.{key}"), text(value))));
    facts
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
