//! `sessile explain`: why a session is alive or over, in sentences.

use serde_json::{Value, json};
use sessile::{Explanation, Handle};

use super::{Outcome, handle};
use crate::args::ExplainArgs;
use crate::output::{self, Found, Text, Tone};
use crate::{store, times};

pub(crate) async fn explain(args: &ExplainArgs) -> Outcome {
    let handle = handle(&args.handle)?;
    let sessions = store::sessions(&args.store).await?;
    let Some(explained) = sessions.explain(&handle).await? else { return Ok(Found::Nothing) };
    if args.output.json {
        output::print_json(&described(&handle, &explained))?
    } else {
        text(&explained).print()?
    }
    Ok(Found::Something)
}

fn described(handle: &Handle, explained: &Explanation) -> Value {
    let Explanation { alive, sentences, next } = explained;
    let next = next.map(|(limit, at)| json!({ "limit": limit, "at": times::shown(at) }));
    json!({ "handle": handle.as_str(), "alive": alive, "sentences": sentences, "next": next })
}

fn text(explained: &Explanation) -> Text {
    let mut text = Text::default();
    match explained.alive {
        true => text.paint(Tone::Good, "alive"),
        false => text.paint(Tone::Bad, "over"),
    };
    text.say("\n");
    for sentence in &explained.sentences {
        text.say(&sentence.replace('\n', "\\n")).say("\n");
    }
    text
}
