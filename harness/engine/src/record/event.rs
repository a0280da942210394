//! What is recorded: [`RawEvent`], and how it is spelt in the words of a ring.
//!
//! A record's tag holds the client (32 bits), the phase (2), the operation (3), the kind of payload
//! (4) and two flags. Its payload begins with the time; the intended start follows where there is
//! one, and then what the kind needs. Lists are spelt in whichever of two ways is shorter: one word
//! a value, or two words for a run of one client's consecutive values. Both keep the order.

use tearproof_core::document::{Stamp, TornKind};
use tearproof_core::history::{Failure, Phase};
use tearproof_core::object::Operation;

/// Bytes of a text that are kept. What is longer is cut, between characters.
pub const LONGEST_TEXT: usize = 240;

/// Words of the longest record that is not a list.
pub(super) const LONGEST_PLAIN: usize = 1 + 1 + 1 + 1 + LONGEST_TEXT / 8;

/// What an event carries, as the client saw it. See [`tearproof_core::Payload`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RawPayload {
    /// Nothing.
    None,
    /// A value, element or record.
    Value(Stamp),
    /// A completed read saw the initial absence.
    Absent,
    /// A completed read saw no value: how so, and in words.
    Torn(TornKind, String),
    /// A completed read of a set or a log saw these, in this order.
    List(Vec<Stamp>),
    /// Why an operation ended in `fail` or `info`.
    Failed(Failure, String),
    /// A completed acquire.
    Entered {
        /// Whether the strategy still held its lock when it returned.
        held: bool,
    },
    /// The invocation of a release.
    Left {
        /// Whether the holder's writes were refused.
        refused: bool,
    },
}

/// One event as the client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawEvent {
    /// CLOCK_MONOTONIC in nanoseconds.
    pub time_ns: u64,
    /// Who.
    pub client: u32,
    /// Which moment of the operation.
    pub phase: Phase,
    /// Which operation.
    pub operation: Operation,
    /// When an invocation was due, on the same clock, for clients with a fixed rate.
    pub intended_ns: Option<u64>,
    /// What it carries.
    pub payload: RawPayload,
}

/// Everything of an event but its payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub time_ns: u64,
    pub client: u32,
    pub phase: Phase,
    pub operation: Operation,
    pub intended_ns: Option<u64>,
}

/// A payload that is about to be recorded, borrowed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Carried<'a> {
    None,
    Value(Stamp),
    Absent,
    Torn(TornKind, &'a str),
    List(&'a [Stamp]),
    Failed(Failure, &'a str),
    Entered { held: bool },
    Left { refused: bool },
}

impl<'a> From<&'a RawPayload> for Carried<'a> {
    fn from(payload: &'a RawPayload) -> Self {
        match payload {
            RawPayload::None => Self::None,
            RawPayload::Value(stamp) => Self::Value(*stamp),
            RawPayload::Absent => Self::Absent,
            RawPayload::Torn(kind, text) => Self::Torn(*kind, text),
            RawPayload::List(stamps) => Self::List(stamps),
            RawPayload::Failed(failure, text) => Self::Failed(*failure, text),
            RawPayload::Entered { held } => Self::Entered { held: *held },
            RawPayload::Left { refused } => Self::Left { refused: *refused },
        }
    }
}

const NONE: u64 = 0;
const VALUE: u64 = 1;
const ABSENT: u64 = 2;
const TORN: u64 = 3;
const LIST: u64 = 4;
const RUNS: u64 = 5;
const FAILED: u64 = 6;
const ENTERED: u64 = 7;
const LEFT: u64 = 8;

const PHASE: u32 = 32;
const OPERATION: u32 = 34;
const KIND: u32 = 37;
const FLAG: u32 = 41;
const INTENDED: u32 = 42;

/// Spells an event: returns the tag and puts the payload into `words`, replacing what is there.
pub(super) fn encode(moment: &Moment, carried: Carried<'_>, words: &mut Vec<u64>) -> u64 {
    words.clear();
    words.push(moment.time_ns);
    let mut tag =
        u64::from(moment.client) | (moment.phase as u64) << PHASE | (moment.operation as u64) << OPERATION;
    if let Some(intended_ns) = moment.intended_ns {
        words.push(intended_ns);
        tag |= 1 << INTENDED;
    }
    let (kind, flag) = match carried {
        Carried::None => (NONE, false),
        Carried::Value(stamp) => {
            words.push(stamp.pack());
            (VALUE, false)
        }
        Carried::Absent => (ABSENT, false),
        Carried::Torn(kind, text) => {
            push_text(kind as u64, text, words);
            (TORN, false)
        }
        Carried::List(stamps) => (push_list(stamps, words), false),
        Carried::Failed(failure, text) => {
            push_text(failure as u64, text, words);
            (FAILED, false)
        }
        Carried::Entered { held } => (ENTERED, held),
        Carried::Left { refused } => (LEFT, refused),
    };
    tag | kind << KIND | u64::from(flag) << FLAG
}

/// One word with `code` and the length in bytes, then the bytes, eight a word.
fn push_text(code: u64, text: &str, words: &mut Vec<u64>) {
    let end = (0..=text.len().min(LONGEST_TEXT)).rev().find(|&end| text.is_char_boundary(end));
    let text = &text[..end.unwrap_or(0)];
    words.push(code | (text.len() as u64) << 8);
    words.extend(text.as_bytes().chunks(8).map(|chunk| {
        let mut bytes = [0; 8];
        bytes[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(bytes)
    }));
}

fn push_list(stamps: &[Stamp], words: &mut Vec<u64>) -> u64 {
    let follows = |[one, next]: &[Stamp; 2]| {
        next.client == one.client && one.sequence.checked_add(1) == Some(next.sequence)
    };
    let runs = stamps.chunk_by(|&one, &next| follows(&[one, next]));
    if 2 * runs.clone().count() < stamps.len() {
        words.extend(runs.flat_map(|run| [run[0].pack(), run.len() as u64]));
        RUNS
    } else {
        words.extend(stamps.iter().map(|stamp| stamp.pack()));
        LIST
    }
}

/// The phase of an event with this tag.
pub fn phase_of(tag: u64) -> Phase {
    Phase::ALL[(tag >> PHASE & 3) as usize]
}

/// Reads what [`encode`] spelt.
///
/// # Errors
/// What is wrong with the words, in words.
pub(super) fn decode(tag: u64, words: &[u64]) -> Result<RawEvent, String> {
    let mut words = words.iter().copied();
    let mut next = |what: &str| words.next().ok_or_else(|| format!("the record ends before its {what}"));
    let time_ns = next("time")?;
    let intended_ns = if tag >> INTENDED & 1 == 1 { Some(next("intended time")?) } else { None };
    let phase = phase_of(tag);
    let operation = name(Operation::ALL, tag >> OPERATION & 7, "operation")?;
    let flag = tag >> FLAG & 1 == 1;
    let payload = match tag >> KIND & 15 {
        NONE => RawPayload::None,
        VALUE => RawPayload::Value(Stamp::unpack(next("value")?)),
        ABSENT => RawPayload::Absent,
        TORN => {
            let (kind, text) = take_text(next("text")?, &mut words)?;
            RawPayload::Torn(name(TornKind::ALL, kind, "kind of torn read")?, text)
        }
        LIST => RawPayload::List(words.by_ref().map(Stamp::unpack).collect()),
        RUNS => RawPayload::List(take_runs(&mut words)?),
        FAILED => {
            let (failure, text) = take_text(next("text")?, &mut words)?;
            RawPayload::Failed(name(Failure::ALL, failure, "reason")?, text)
        }
        ENTERED => RawPayload::Entered { held: flag },
        LEFT => RawPayload::Left { refused: flag },
        kind => return Err(format!("{kind} is no kind of payload")),
    };
    match words.len() {
        0 => Ok(RawEvent { time_ns, client: tag as u32, phase, operation, intended_ns, payload }),
        more => Err(format!("{more} words are left over")),
    }
}

fn name<T: Copy>(all: &[T], code: u64, what: &str) -> Result<T, String> {
    all.get(code as usize).copied().ok_or_else(|| format!("{code} is no {what}"))
}

fn take_text(first: u64, words: &mut impl Iterator<Item = u64>) -> Result<(u64, String), String> {
    let length = (first >> 8) as usize;
    if length > LONGEST_TEXT {
        return Err(format!("a text of {length} bytes"));
    }
    let mut bytes: Vec<u8> = words.take(length.div_ceil(8)).flat_map(u64::to_le_bytes).collect();
    if bytes.len() < length {
        return Err(format!("{} of the {length} bytes of a text", bytes.len()));
    }
    bytes.truncate(length);
    let text = String::from_utf8(bytes).map_err(|_| "a text is not UTF-8".to_owned())?;
    Ok((first & 0xff, text))
}

fn take_runs(words: &mut impl Iterator<Item = u64>) -> Result<Vec<Stamp>, String> {
    let mut stamps = Vec::new();
    while let Some(first) = words.next() {
        let first = Stamp::unpack(first);
        let length = words.next().ok_or("a run has no length")?;
        let last = u64::from(first.sequence).checked_add(length).filter(|&end| length > 0 && end <= 1 << 32);
        let Some(end) = last else { return Err(format!("a run of {length} values from {first} on")) };
        let run = u64::from(first.sequence)..end;
        stamps.extend(run.map(|sequence| Stamp::new(first.client, sequence as u32)));
    }
    Ok(stamps)
}

#[cfg(test)]
pub(super) mod tests;
