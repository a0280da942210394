//! A history as lines of text.

use std::fmt::Write as _;

use serde::Serialize;

use crate::history::{Aftermath, Event, History, Payload, Phase, ValueId, Values};
use crate::object::Object;

/// The lines of a history, each without its newline.
pub fn lines(history: &History) -> impl Iterator<Item = String> + '_ {
    let initial = match history.object {
        Object::Register => history.initial.map_or_else(|| "null".to_owned(), |value| spelt(history, value)),
        Object::Set | Object::Log => spelt_list(history, &history.initial_list),
        Object::Lock => "null".to_owned(),
    };
    let mut head = format!("{{\"format\":1,\"object\":\"{}\",\"initial\":{initial}", history.object);
    if !history.roles.is_empty() {
        let roles = serde_json::to_string(&history.roles).expect("names by number can be written as JSON");
        let _ = write!(head, ",\"roles\":{roles}");
    }
    head.push_str(",\"end_line\":true}");
    std::iter::once(head)
        .chain(history.events.iter().map(|event| event_line(history, event)))
        .chain(std::iter::once_with(|| end_line(history)))
}

fn event_line(history: &History, event: &Event) -> String {
    let Event { time_ns, client, phase, operation, .. } = event;
    let mut out =
        format!("{{\"time_ns\":{time_ns},\"client\":{client},\"type\":\"{phase}\",\"op\":\"{operation}\"");
    let mut put = |key: &str, value: &str| {
        let _ = write!(out, ",\"{key}\":{value}");
    };
    match event.payload {
        Payload::None => {}
        Payload::Value(value) => put("value", &spelt(history, value)),
        Payload::Absent => put("value", "null"),
        Payload::Cas { from, to, applied } => {
            let from = from.map_or_else(|| "null".to_owned(), |from| spelt(history, from));
            put("value", &format!("[{from},{}]", spelt(history, to)));
            if *phase == Phase::Ok {
                put("applied", if applied { "true" } else { "false" });
            }
        }
        Payload::Torn(kind, note) => {
            put("torn", &quoted(kind.name()));
            put("error", &quoted(history.note(note)));
        }
        Payload::List(list) => put("value", &spelt_list(history, history.list(list))),
        Payload::Failed(failure, note) => {
            put("reason", &quoted(failure.name()));
            put("error", &quoted(history.note(note)));
        }
        Payload::Entered { held: true } | Payload::Left { refused: false } => {}
        Payload::Entered { held: false } => put("held", "false"),
        Payload::Left { refused: true } => put("refused", "true"),
    }
    out.push('}');
    out
}

fn end_line(history: &History) -> String {
    #[derive(Serialize)]
    struct End<'h> {
        r#type: &'static str,
        limit: &'h Option<String>,
        aftermath: &'h Aftermath,
    }
    let end = End { r#type: "end", limit: &history.limit, aftermath: &history.aftermath };
    serde_json::to_string(&end).expect("texts and lists of texts can be written as JSON")
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text can be written as JSON")
}

fn spelt(history: &History, value: ValueId) -> String {
    match &history.values {
        Values::Stamps(_) => format!("\"{}\"", history.value_name(value)),
        Values::Json(texts) => texts[value.0 as usize].clone(),
    }
}

fn spelt_list(history: &History, values: &[ValueId]) -> String {
    let values: Vec<String> = values.iter().map(|&value| spelt(history, value)).collect();
    format!("[{}]", values.join(","))
}
