//! `history.jsonl`: a history as text, one event a line, written by tearproof or by any tool.
//!
//! The first line names the object and its initial state, each following line is one event, in
//! real-time order. Tearproof's own histories end with a line of type `end`, announced by
//! `"end_line":true` in the first, with what the events do not say: the limit that ended the
//! recording early, and the state directory afterwards.
//!
//! ```text
//! {"format":1,"object":"register","initial":null}
//! {"time_ns":1000,"client":0,"type":"invoke","op":"write","value":4}
//! {"time_ns":2100,"client":0,"type":"ok","op":"write","value":4}
//! {"time_ns":2200,"client":1,"type":"invoke","op":"read"}
//! {"time_ns":2500,"client":1,"type":"ok","op":"read","torn":"partial","error":"only the first 512 bytes"}
//! {"time_ns":2600,"client":2,"type":"invoke","op":"write","value":5}
//! {"time_ns":2700,"client":2,"type":"fail","op":"write","reason":"busy","error":"locked by 4711"}
//! {"type":"end","limit":null,"aftermath":{"inspected":true,"left_behind":["state.tmp"]}}
//! ```
//!
//! | key | where | meaning |
//! |---|---|---|
//! | `initial` | first line | the value of a register, `null` for none; an array for a set or log |
//! | `value` | all but `acquire`, `release` | a value; `[from, to]` for `cas`; an array for a read of a set or log |
//! | `applied` | `ok` of `cas` | whether the comparison succeeded |
//! | `torn`, `error` | `ok` of `read` | in which way what was read is no value, and in words |
//! | `reason`, `error` | `fail`, `info` | why, as one of [`Failure`], and in words |
//! | `held` | `ok` of `acquire` | `false`: the strategy had given the lock up again |
//! | `refused` | `invoke` of `release` | `true`: the holder had been fenced off |
//!
//! Other keys are ignored. Values are equal when they are equal as JSON: spaces, the order of keys
//! and the spelling of strings and numbers do not matter, so `4`, `4.0` and `4e0` are one value
//! (fractions are compared as 64-bit floating point). Stamps are written as strings: `"c3#17"`.
//!
//! [`Reader`] eats lines as bytes, so that a caller can stream a file of any size; [`lines`] is the
//! way back. That events pair is not looked at here: [`History::operations`] says so, and
//! [`line_of`] finds the line of an event.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::document::TornKind;
use crate::history::{Aftermath, Event, Failure, History, NoteId, Payload, Phase, ValueId, Values};
use crate::object::{Object, Operation};

/// Text that is no history, or not a whole one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonlError {
    /// A line is not what it should be.
    #[error("line {line}: {reason}{}", hint.map(|hint| format!(" ({hint})")).unwrap_or_default())]
    Malformed {
        /// Which, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
        /// What to write instead.
        hint: Option<&'static str>,
    },
    /// The text ends in the middle of a line: the writer died or the disk was full. What came
    /// before is whole, and [`Reader::finish_cut`] gives it.
    #[error(
        "line {line}: the file is cut off in the middle of this line (its writer died; the lines before it are whole)"
    )]
    CutOff {
        /// Which, counted from 1.
        line: usize,
    },
    /// The closing line that the first one announces is not there. What is there is whole, and
    /// [`Reader::finish_cut`] gives it.
    #[error(
        "line {line}: the file ends after this line, without the closing line of type `end` (its writer died; the lines are whole)"
    )]
    NoEnd {
        /// The last line there is, counted from 1.
        line: usize,
    },
}

impl JsonlError {
    /// Whether what was read before is a whole part of a history.
    pub const fn is_cut(&self) -> bool {
        matches!(self, Self::CutOff { .. } | Self::NoEnd { .. })
    }

    /// The line, counted from 1.
    pub const fn line(&self) -> usize {
        match self {
            Self::Malformed { line, .. } | Self::CutOff { line } | Self::NoEnd { line } => *line,
        }
    }
}

/// The line, counted from 1, of the event with this index.
pub const fn line_of(event: usize) -> usize {
    event + 2
}

/// What is wrong with a line, before its number is known.
struct Wrong {
    reason: String,
    hint: Option<&'static str>,
    cut: bool,
}

impl Wrong {
    fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), hint: None, cut: false }
    }

    fn hinted(reason: impl Into<String>, hint: &'static str) -> Self {
        Self { reason: reason.into(), hint: Some(hint), cut: false }
    }
}

impl From<serde_json::Error> for Wrong {
    fn from(error: serde_json::Error) -> Self {
        let text = error.to_string();
        // Every line is a document of its own, so its "line 1" would only mislead.
        let reason = match text.rfind(" at line ") {
            Some(at) if error.column() > 0 => format!("{}, in column {}", &text[..at], error.column()),
            _ => text,
        };
        Self { reason, hint: None, cut: error.is_eof() }
    }
}

#[derive(Deserialize)]
struct Head<'a> {
    format: u32,
    object: Object,
    #[serde(borrow, default)]
    initial: Option<&'a RawValue>,
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

/// Numbers the values in order of first appearance, equal ones alike.
#[derive(Debug, Default)]
struct Interner {
    texts: Vec<String>,
    /// The number of each small natural number, plus one; 0 when it has none.
    small: Vec<u32>,
    /// From the hash of a text to its number. Where two texts share one, the second takes the next
    /// free hash.
    by_hash: HashMap<u64, u32, HashIsKey>,
}

impl Interner {
    const SMALL: usize = 1 << 26;

    /// The number of a value. `raw` is valid JSON without space around it.
    fn intern(&mut self, raw: &str) -> Result<ValueId, Wrong> {
        let bytes = raw.as_bytes();
        let natural = bytes.len() <= 8 && bytes.iter().all(u8::is_ascii_digit);
        if natural {
            let number = bytes.iter().fold(0usize, |number, digit| number * 10 + usize::from(digit - b'0'));
            // The table stays in proportion to the number of values.
            if number < Self::SMALL && number < 1024 + 8 * self.texts.len() {
                return self.intern_small(number, raw);
            }
        }
        let plain = natural || (bytes[0] == b'"' && !bytes.contains(&b'\\'));
        if plain { self.intern_text(raw) } else { self.intern_text(&canonical(raw)?) }
    }

    fn intern_small(&mut self, number: usize, raw: &str) -> Result<ValueId, Wrong> {
        if self.small.len() <= number {
            self.small.resize((number + 1).max(self.small.len() * 2).min(Self::SMALL), 0);
        }
        if self.small[number] == 0 {
            // It may have come before the table reached so far.
            self.small[number] = self.intern_text(raw)?.0 + 1;
        }
        Ok(ValueId(self.small[number] - 1))
    }

    fn intern_text(&mut self, text: &str) -> Result<ValueId, Wrong> {
        let mut hash = hash(text.as_bytes());
        while let Some(&id) = self.by_hash.get(&hash) {
            if self.texts[id as usize] == text {
                return Ok(ValueId(id));
            }
            hash = hash.wrapping_add(1);
        }
        let id = u32::try_from(self.texts.len())
            .ok()
            .filter(|&id| id < u32::MAX - 1)
            .ok_or_else(|| Wrong::new("more than 2^32 different values"))?;
        self.by_hash.insert(hash, id);
        self.texts.push(text.to_owned());
        Ok(ValueId(id))
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut word = bytes.len() as u64;
    for chunk in bytes.chunks(8) {
        let mut padded = [0; 8];
        padded[..chunk.len()].copy_from_slice(chunk);
        word = crate::plan::mix(word ^ u64::from_le_bytes(padded));
    }
    word
}

/// For keys that are hashes already.
#[derive(Clone, Copy, Debug, Default)]
struct HashIsKey(u64);

impl std::hash::BuildHasher for HashIsKey {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

impl std::hash::Hasher for HashIsKey {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = hash(bytes);
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// One spelling for all texts of a JSON value: no spaces, keys in order, strings with as few
/// escapes as there can be, whole numbers without fraction and exponent.
fn canonical(raw: &str) -> Result<Cow<'_, str>, Wrong> {
    let bytes = raw.as_bytes();
    Ok(match bytes[0] {
        b'{' => {
            let members: std::collections::BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(raw)?;
            let mut out = String::from("{");
            for (index, (key, value)) in members.iter().enumerate() {
                let comma = if index == 0 { "" } else { "," };
                let key = serde_json::to_string(key)?;
                let _ = write!(out, "{comma}{key}:{}", canonical(value.get())?);
            }
            out.push('}');
            out.into()
        }
        b'[' => {
            let members: Vec<&RawValue> = serde_json::from_str(raw)?;
            let mut out = String::from("[");
            for (index, value) in members.iter().enumerate() {
                let comma = if index == 0 { "" } else { "," };
                let _ = write!(out, "{comma}{}", canonical(value.get())?);
            }
            out.push(']');
            out.into()
        }
        b'"' if bytes.contains(&b'\\') => {
            serde_json::to_string(&serde_json::from_str::<String>(raw)?)?.into()
        }
        b'-' | b'0'..=b'9' => number(raw),
        _ => raw.into(),
    })
}

fn number(raw: &str) -> Cow<'_, str> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if raw == "-0" {
        return "0".into();
    }
    // Whole numbers of any length are kept as they are; JSON has no leading zeros.
    if !raw.contains(['.', 'e', 'E']) {
        return raw.into();
    }
    match raw.parse::<f64>() {
        Ok(number) if number.fract() == 0.0 && number.abs() < EXACT => format!("{}", number as i64).into(),
        Ok(number) if number.is_finite() => format!("{number:?}").into(),
        _ => raw.into(),
    }
}

/// The lines of a history, each without its newline.
pub fn lines(history: &History) -> impl Iterator<Item = String> + '_ {
    let initial = match history.object {
        Object::Register => history.initial.map_or_else(|| "null".to_owned(), |value| spelt(history, value)),
        Object::Set | Object::Log => spelt_list(history, &history.initial_list),
        Object::Lock => "null".to_owned(),
    };
    let head =
        format!("{{\"format\":1,\"object\":\"{}\",\"initial\":{initial},\"end_line\":true}}", history.object);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<History, JsonlError> {
        let mut reader = Reader::new();
        for line in text.split_inclusive('\n') {
            reader.line(line.as_bytes())?;
        }
        reader.finish()
    }

    const EXAMPLE: &str = r#"{"format":1,"object":"register","initial":null}
{"time_ns":1000,"client":0,"type":"invoke","op":"write","value":4}
{"time_ns":1700,"client":1,"type":"invoke","op":"read","value":null}
{"time_ns":2100,"client":0,"type":"ok","op":"write","value":4}
{"time_ns":2500,"client":1,"type":"ok","op":"read","value":4}
"#;

    #[test]
    fn the_documented_example_is_a_history() {
        let history = read(EXAMPLE).expect("well formed");
        assert_eq!(history.object, Object::Register);
        assert_eq!(history.initial, None);
        assert_eq!(history.events.len(), 4);
        assert_eq!(history.events[1].payload, Payload::None);
        assert_eq!(history.events[3].payload, Payload::Value(ValueId(0)));
        assert_eq!(history.value_name(ValueId(0)), "4");
        assert_eq!(history.operations().map(|spans| spans.len()), Ok(2));
    }

    #[test]
    fn a_history_reads_back_as_it_was_written() {
        let text = r#"{"format":1,"object":"set","initial":["a"]}
{"time_ns":1,"client":0,"type":"invoke","op":"update","value":"b"}
{"time_ns":2,"client":0,"type":"info","op":"update","reason":"killed","error":"signal \"9\""}
{"time_ns":3,"client":1,"type":"invoke","op":"read"}
{"time_ns":4,"client":1,"type":"ok","op":"read","value":["a","b"]}
{"time_ns":5,"client":1,"type":"invoke","op":"read"}
{"time_ns":6,"client":1,"type":"ok","op":"read","torn":"partial","error":"3 bytes"}
{"type":"end","limit":"the ring was full","aftermath":{"left_behind":["x.tmp"],"inspected":true}}
"#;
        let history = read(text).expect("well formed");
        assert_eq!(history.limit.as_deref(), Some("the ring was full"));
        let written: String = lines(&history).map(|line| line + "\n").collect();
        assert_eq!(read(&written), Ok(history));
    }

    #[test]
    fn locks_and_comparisons_read_back_as_they_were_written() {
        for text in [
            r#"{"format":1,"object":"lock"}
{"time_ns":1,"client":0,"type":"invoke","op":"acquire"}
{"time_ns":2,"client":0,"type":"ok","op":"acquire","held":false}
{"time_ns":3,"client":0,"type":"invoke","op":"release","refused":true}
{"time_ns":4,"client":0,"type":"ok","op":"release"}
"#,
            r#"{"format":1,"object":"register","initial":1}
{"time_ns":1,"client":0,"type":"invoke","op":"cas","value":[1,2]}
{"time_ns":2,"client":0,"type":"ok","op":"cas","applied":true}
{"time_ns":3,"client":0,"type":"invoke","op":"cas","value":[null,3]}
{"time_ns":4,"client":0,"type":"ok","op":"cas","applied":false}
"#,
        ] {
            let history = read(text).expect("well formed");
            let written: String = lines(&history).map(|line| line + "\n").collect();
            assert_eq!(read(&written), Ok(history));
        }
    }

    #[test]
    fn equal_json_is_one_value() {
        let mut interner = Interner::default();
        for group in [
            &["4", "4.0", "4e0", "0.4e1"][..],
            &["0", "-0", "0.0", "-0.0"],
            &["40000", "4e4"],
            &[r#""a""#, r#""\u0061""#],
            &[r#""\/\n""#, r#""/\u000a""#],
            &[r#"{"a":1,"b":[1,2]}"#, r#"{ "b" : [1.0, 2], "\u0061" : 1 }"#],
            &["0.1", "1e-1", "0.10"],
        ] {
            let ids: Vec<_> = group.iter().map(|raw| interner.intern(raw).ok()).collect();
            assert!(ids.iter().all(|id| id.is_some() && *id == ids[0]), "{group:?}: {ids:?}");
        }
        assert_eq!(interner.texts.len(), 7);
        let big = ["12345678901234567890123", "12345678901234567890124"];
        let ids: Vec<_> = big.iter().map(|raw| interner.intern(raw).ok()).collect();
        assert_ne!(ids[0], ids[1], "whole numbers are not rounded");
        let kinds = ["true", "\"true\"", "\"4\"", "[4]", "[[4]]", "{}", "[]"];
        let ids: std::collections::HashSet<_> = kinds.iter().map(|raw| interner.intern(raw).ok()).collect();
        assert_eq!(ids.len(), kinds.len());
    }

    #[test]
    fn a_number_keeps_its_name_when_the_table_grows_past_it() {
        let mut interner = Interner::default();
        let early = interner.intern("5000").ok();
        for number in 0..2000 {
            assert!(interner.intern(&number.to_string()).is_ok());
        }
        assert_eq!(interner.intern("5000").ok(), early);
    }

    #[test]
    fn what_is_wrong_is_said_with_the_line() {
        let head = "{\"format\":1,\"object\":\"register\",\"initial\":null}\n";
        for (text, expected) in [
            ("", "line 1: there is no history"),
            ("{\"format\":2,\"object\":\"register\"}\n", "line 1: format 2 is not known"),
            ("{\"object\":\"register\"}\n", "line 1: missing field `format`"),
            (&format!("{head}nonsense\n"), "line 2: expected ident, in column 2"),
            (&format!("{head}{{\"type\":\"ok\"}}\n"), "line 2: the event lacks `time_ns`"),
            (
                &format!("{head}{{\"time_ns\":1,\"client\":0,\"type\":\"invoke\",\"op\":\"update\"}}\n"),
                "line 2: a register has no operation update; it has read, write, cas",
            ),
            (
                &format!("{head}{{\"time_ns\":1,\"client\":0,\"type\":\"invoke\",\"op\":\"write\"}}\n"),
                "line 2: the write lacks its `value`",
            ),
            (
                &format!("{EXAMPLE}{{\"time_ns\":7,\"client\":0,\"type\":\"invoke\",\"op\":\"read\"}}\n"),
                "line 6: time_ns goes back from 2500 to 7",
            ),
            (
                &format!("{EXAMPLE}{{\"time_ns\":3000,\"client\":0,\"type\":\"began\",\"op\":\"read\"}}\n"),
                "line 6: unknown variant `began`, expected one of `invoke`, `ok`, `fail`, `info`, `end`",
            ),
            (&EXAMPLE.replacen("\n", "\n\n", 1), "line 3: it comes after line 2, which is blank"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.to_string().starts_with(expected), "{error}");
            assert!(!error.is_cut());
        }
    }

    #[test]
    fn a_line_that_was_cut_off_is_told_from_a_wrong_one_at_every_byte() {
        let whole: Vec<&str> = EXAMPLE.split_inclusive('\n').collect();
        let last = whole.len() - 1;
        for cut in 1..whole[last].len() - 2 {
            let mut reader = Reader::new();
            for line in &whole[..last] {
                reader.line(line.as_bytes()).expect("well formed");
            }
            assert_eq!(reader.line(&whole[last].as_bytes()[..cut]), Err(JsonlError::CutOff { line: 5 }));
            let part = reader.finish_cut().expect("the lines before are whole");
            assert_eq!(part.events.len(), 3);
            assert_eq!(part.limit.as_deref(), Some("the history is cut off after line 4"));
        }
        // Only the newline is missing.
        assert!(read(EXAMPLE.trim_end()).is_ok());
    }

    #[test]
    fn a_history_of_ours_without_its_closing_line_is_not_whole() {
        let history = read(EXAMPLE).expect("well formed");
        let written: Vec<String> = lines(&history).collect();
        let text: String = written[..written.len() - 1].iter().map(|line| format!("{line}\n")).collect();
        let error = read(&text).expect_err("the closing line is missing");
        assert_eq!(error, JsonlError::NoEnd { line: 5 });
        assert!(error.is_cut());
    }
}
