//! Lines of text as a history.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::document::TornKind;
use crate::history::{Aftermath, Event, Failure, History, NoteId, Payload, Phase, ValueId, Values};
use crate::object::{Object, Operation};

use super::interner::Interner;
use super::{JsonlError, Wrong};

#[derive(Deserialize)]
struct Head<'a> {
    format: u32,
    object: Object,
    #[serde(borrow, default)]
    initial: Option<&'a RawValue>,
    #[serde(default)]
    roles: BTreeMap<u32, String>,
    #[serde(default)]
    end_line: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
enum Kind {
    #[serde(rename = "invoke")]
    Invoke,
    #[serde(rename = "ok")]
    Ok,
    #[serde(rename = "fail")]
    Fail,
    #[serde(rename = "info")]
    Info,
    #[serde(rename = "end")]
    End,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: Kind,
    time_ns: Option<u64>,
    client: Option<u32>,
    op: Option<Operation>,
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    #[serde(default)]
    torn: Option<TornKind>,
    #[serde(borrow, default)]
    error: Option<Cow<'a, str>>,
    #[serde(default)]
    reason: Option<Failure>,
    #[serde(default)]
    applied: Option<bool>,
    #[serde(default)]
    held: Option<bool>,
    #[serde(default)]
    refused: Option<bool>,
    #[serde(default)]
    limit: Option<String>,
    #[serde(default)]
    aftermath: Option<Aftermath>,
}

/// Keeps a `null` apart from an absent key.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Makes a history of lines.
#[derive(Debug)]
pub struct Reader {
    history: Option<History>,
    interner: Interner,
    lines: usize,
    time_ns: u64,
    /// The compare-and-set that each client has pending: its return need not repeat it.
    comparing: HashMap<u32, (Option<ValueId>, ValueId)>,
    wants_end: bool,
    ended: bool,
    blank: Option<usize>,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// A reader that has seen nothing.
    pub fn new() -> Self {
        Self {
            history: None,
            interner: Interner::default(),
            lines: 0,
            time_ns: 0,
            comparing: HashMap::new(),
            wants_end: false,
            ended: false,
            blank: None,
        }
    }

    /// Eats the next line, with its newline. The last line may lack it; any other that does is
    /// taken for a last one that was cut off when it does not parse.
    ///
    /// # Errors
    /// When the line is cut off or malformed. The reader is then as it was before the line.
    pub fn line(&mut self, bytes: &[u8]) -> Result<(), JsonlError> {
        let line = self.lines + 1;
        let ends = bytes.last() == Some(&b'\n');
        let result = std::str::from_utf8(bytes)
            .map_err(|error| Wrong {
                reason: format!("not UTF-8 from byte {} on", error.valid_up_to()),
                hint: None,
                cut: error.error_len().is_none(),
            })
            .and_then(|text| self.eat(text));
        match result {
            Ok(()) => {
                self.lines = line;
                Ok(())
            }
            Err(Wrong { cut: true, .. }) if !ends => Err(JsonlError::CutOff { line }),
            Err(Wrong { reason, hint, .. }) => Err(JsonlError::Malformed { line, reason, hint }),
        }
    }

    /// Whether a closing line was announced and has not come.
    pub const fn lacks_end(&self) -> bool {
        self.wants_end && !self.ended
    }

    /// The history.
    ///
    /// # Errors
    /// When there is none, or its closing line is missing.
    pub fn finish(self) -> Result<History, JsonlError> {
        if self.lacks_end() {
            return Err(JsonlError::NoEnd { line: self.lines });
        }
        self.whole_lines()
    }

    /// The history as far as it goes, after [`JsonlError::is_cut`]: its limit says where it was cut
    /// off, so that nothing that might come later is taken for absent.
    ///
    /// # Errors
    /// When not even the first line is whole.
    pub fn finish_cut(self) -> Result<History, JsonlError> {
        let lines = self.lines;
        let mut history = self.whole_lines()?;
        if history.limit.is_none() {
            history.limit = Some(format!("the history is cut off after line {lines}"));
        }
        Ok(history)
    }

    fn whole_lines(self) -> Result<History, JsonlError> {
        let Some(mut history) = self.history else {
            return Err(JsonlError::Malformed {
                line: 1,
                reason: "there is no history".to_owned(),
                hint: Some(HEAD_HINT),
            });
        };
        history.values = Values::Json(self.interner.texts);
        Ok(history)
    }

    fn eat(&mut self, text: &str) -> Result<(), Wrong> {
        if text.trim_ascii().is_empty() {
            self.blank.get_or_insert(self.lines + 1);
            return Ok(());
        }
        if let Some(blank) = self.blank {
            return Err(Wrong::new(format!(
                "it comes after line {blank}, which is blank; only the end may be"
            )));
        }
        if self.ended {
            return Err(Wrong::new("it comes after the line of type `end`, which must be the last"));
        }
        if self.history.is_none() { self.head(text) } else { self.event(text) }
    }

    fn head(&mut self, text: &str) -> Result<(), Wrong> {
        let head: Head<'_> = serde_json::from_str(text)
            .map_err(|error| Wrong { hint: Some(HEAD_HINT), ..Wrong::from(error) })?;
        if head.format != 1 {
            let format = head.format;
            return Err(Wrong::hinted(
                format!("format {format} is not known to this version"),
                "it reads format 1",
            ));
        }
        let mut history = History::new(head.object, Values::Json(Vec::new()));
        history.roles = head.roles;
        if let Some(initial) = head.initial {
            match head.object {
                Object::Register => history.initial = Some(self.interner.intern(initial.get())?),
                Object::Set | Object::Log => {
                    let list: Vec<&RawValue> = serde_json::from_str(initial.get()).map_err(|_| {
                        Wrong::new(format!("the initial state of a {} is an array", head.object))
                    })?;
                    for element in list {
                        history.initial_list.push(self.interner.intern(element.get())?);
                    }
                }
                Object::Lock => {
                    return Err(Wrong::hinted(
                        "a lock has no initial value",
                        "a lock that is held from the beginning is an acquire that returned",
                    ));
                }
            }
        }
        self.wants_end = head.end_line;
        self.history = Some(history);
        Ok(())
    }

    fn event(&mut self, text: &str) -> Result<(), Wrong> {
        let line: Line<'_> = serde_json::from_str(text)?;
        let history = self.history.as_mut().expect("the first line is there");
        let phase = match line.kind {
            Kind::Invoke => Phase::Invoke,
            Kind::Ok => Phase::Ok,
            Kind::Fail => Phase::Fail,
            Kind::Info => Phase::Info,
            Kind::End => {
                history.limit = line.limit;
                history.aftermath = line.aftermath.unwrap_or_default();
                self.ended = true;
                return Ok(());
            }
        };
        let lacks = |key: &str| Wrong::new(format!("the event lacks `{key}`"));
        let time_ns = line.time_ns.ok_or_else(|| lacks("time_ns"))?;
        let client = line.client.ok_or_else(|| lacks("client"))?;
        let operation = line.op.ok_or_else(|| lacks("op"))?;
        if time_ns < self.time_ns {
            return Err(Wrong::hinted(
                format!("time_ns goes back from {} to {time_ns}", self.time_ns),
                "events stand in real-time order",
            ));
        }
        if !history.object.operations().contains(&operation) {
            let known: Vec<&str> = history.object.operations().iter().map(|known| known.name()).collect();
            return Err(Wrong::new(format!(
                "a {} has no operation {operation}; it has {}",
                history.object,
                known.join(", ")
            )));
        }
        let value = line.value.map(RawValue::get);
        let failed = || -> Option<(Failure, &str)> {
            let told = line.reason.is_some() || line.error.is_some();
            told.then(|| (line.reason.unwrap_or(Failure::Error), line.error.as_deref().unwrap_or("")))
        };
        let interner = &mut self.interner;
        let payload = match (phase, operation) {
            (Phase::Ok, Operation::Read) => read_of(history, interner, &line, value)?,
            (Phase::Invoke | Phase::Ok, Operation::Cas) => {
                let (from, to) = match value {
                    Some(value) => comparison(interner, value)?,
                    None => *self.comparing.get(&client).ok_or_else(|| no_value(operation))?,
                };
                let applied = match (phase, line.applied) {
                    (Phase::Ok, None) => {
                        return Err(Wrong::hinted(
                            "a cas that returned lacks `applied`",
                            "write \"applied\":true, or false when the comparison was seen to fail",
                        ));
                    }
                    (_, applied) => applied.unwrap_or(false),
                };
                self.comparing.insert(client, (from, to));
                Payload::Cas { from, to, applied: applied && phase == Phase::Ok }
            }
            (Phase::Invoke, Operation::Write | Operation::Update | Operation::Append) => {
                Payload::Value(written(interner, value.ok_or_else(|| no_value(operation))?)?)
            }
            (Phase::Ok, Operation::Write | Operation::Update | Operation::Append) => match value {
                None | Some("null") => Payload::None,
                Some(value) => Payload::Value(interner.intern(value)?),
            },
            (Phase::Ok, Operation::Acquire) => Payload::Entered { held: line.held.unwrap_or(true) },
            (Phase::Invoke, Operation::Release) => Payload::Left { refused: line.refused.unwrap_or(false) },
            (Phase::Invoke, Operation::Read | Operation::Acquire) | (Phase::Ok, Operation::Release) => {
                Payload::None
            }
            (Phase::Fail | Phase::Info, _) => match failed() {
                Some((failure, message)) => Payload::Failed(failure, history.add_note(message)),
                None => Payload::None,
            },
        };
        self.time_ns = time_ns;
        history.events.push(Event { time_ns, payload, client, phase, operation });
        Ok(())
    }
}

const HEAD_HINT: &str =
    "the first line names the object: {\"format\":1,\"object\":\"register\",\"initial\":null}";

fn no_value(operation: Operation) -> Wrong {
    Wrong::new(format!("the {operation} lacks its `value`"))
}

/// What a read that returned saw.
fn read_of(
    history: &mut History,
    interner: &mut Interner,
    line: &Line<'_>,
    value: Option<&str>,
) -> Result<Payload, Wrong> {
    if let Some(kind) = line.torn {
        let note: NoteId = history.add_note(line.error.as_deref().unwrap_or(""));
        return Ok(Payload::Torn(kind, note));
    }
    match value {
        None => Err(Wrong::hinted(
            "a read that returned lacks what it saw",
            "write \"value\", null for the initial absence, or \"torn\":\"partial\"",
        )),
        Some("null") => Ok(Payload::Absent),
        Some(value) if history.object == Object::Register => Ok(Payload::Value(interner.intern(value)?)),
        Some(value) => {
            let list: Vec<&RawValue> = serde_json::from_str(value)
                .map_err(|_| Wrong::new(format!("a read of a {} brings an array", history.object)))?;
            let mut ids = Vec::with_capacity(list.len());
            for element in list {
                ids.push(interner.intern(element.get())?);
            }
            Ok(Payload::List(history.add_list(ids)))
        }
    }
}

fn written(interner: &mut Interner, value: &str) -> Result<ValueId, Wrong> {
    if value == "null" {
        return Err(Wrong::hinted(
            "null cannot be written: a read of it could not be told from the initial absence",
            "use another value, for example \"null\"",
        ));
    }
    interner.intern(value)
}

fn comparison(interner: &mut Interner, value: &str) -> Result<(Option<ValueId>, ValueId), Wrong> {
    let (from, to): (&RawValue, &RawValue) = serde_json::from_str(value)
        .map_err(|_| Wrong::hinted("the value of a cas is no pair", "write \"value\":[from, to]"))?;
    let from = if from.get() == "null" { None } else { Some(interner.intern(from.get())?) };
    Ok((from, written(interner, to.get())?))
}
