use std::{
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use archipelago::{
    Value,
    manager::subscriber::{DeadLetter, DeadLetterAtRest},
    proto::{Limits, Op, Slot, decode_value},
};
use clap::Args;
use serde_json::{Map, json};

use super::{error::OperateError, output, store::AtRest, target::FormArgs};

/// List the events that subscribers put aside, because their handlers failed on them too often.
///
/// They are in the store that the application gave its subscriber as `dead_letter_store`. The application is what retries or
/// discards them; while it runs, its store is in use, and cannot be read.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(super) form: FormArgs,
    /// The folder of the store. Nothing in it is changed.
    #[arg(long, value_name = "FOLDER")]
    store: PathBuf,
    /// Those of this subscriber. Default those of all.
    #[arg(long, value_name = "NAME")]
    subscriber: Option<String>,
    /// So many at most.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    limit: usize,
}

pub(super) async fn run(options: Options) -> Result<(), OperateError> {
    let letters = AtRest::dead_letters(&options.store, options.subscriber, options.limit).await?;
    if letters.is_empty() && !options.form.json {
        return output::line("there are no dead letters");
    }
    let mut table =
        output::table(["subscriber", "message", "event", "what", "entity", "failed", "times", "because"]);
    let (mut damaged, is_cut) = (0, letters.len() == options.limit);
    for DeadLetterAtRest { subscriber, letter, .. } in letters {
        match letter {
            Err(error) => {
                damaged += 1;
                eprintln!("left out, of {subscriber}: {error}");
            }
            Ok(letter) if options.form.json => output::json(&document(&subscriber, &letter))?,
            Ok(letter) => {
                let ago = SystemTime::now().duration_since(letter.failed_at).unwrap_or_default();
                table.add_row([
                    subscriber,
                    letter.id.sequence.to_string(),
                    letter.event.dot.to_string(),
                    operation(&letter.event.op).to_owned(),
                    letter.event.entity.to_string(),
                    format!("{} ago", output::span(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX))),
                    letter.attempts.to_string(),
                    letter.reason,
                ]);
            }
        }
    }
    if !options.form.json {
        output::line(table.to_string())?;
        if is_cut {
            output::line("there may be more: --limit says how many are shown")?;
        }
    }
    match damaged {
        0 => Ok(()),
        damaged => {
            Err(OperateError::Store(format!("{damaged} dead letters cannot be read, and were left out")))
        }
    }
}

fn operation(op: &Op) -> &'static str {
    match op {
        Op::Put(_) => "put",
        Op::Patch(_) => "patch",
        Op::Delete => "delete",
    }
}

fn document(subscriber: &str, letter: &DeadLetter) -> serde_json::Value {
    let shown = |bytes| {
        let value = decode_value::<Value>(bytes, &Limits::default()).ok();
        value.and_then(|value| serde_json::to_value(&value).ok())
    };
    let unix_ms = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let value = match &letter.event.op {
        Op::Put(value) => json!(shown(value)),
        Op::Delete => serde_json::Value::Null,
        Op::Patch(slots) => {
            let fields = slots.iter().map(|(slot, value)| {
                let name = match slot {
                    Slot::Root => String::new(),
                    Slot::Field(name) => name.to_string(),
                };
                (name, json!(value.as_ref().map(shown)))
            });
            fields.collect::<Map<_, _>>().into()
        }
    };
    json!({
        "subscriber": subscriber,
        "message": letter.id.sequence,
        "event": letter.event.dot.to_string(),
        "operation": operation(&letter.event.op),
        "id": letter.event.entity.to_string(),
        "value": value,
        "attempts": letter.attempts,
        "reason": letter.reason,
        "failed_unix_ms": unix_ms(letter.failed_at),
        "stored_unix_ms": unix_ms(letter.stored_at),
    })
}
