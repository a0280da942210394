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
//! | `roles` | first line | what clients are there for, by number: `{"1":"writer"}`; witnesses name them so |
//! | `value` | all but `acquire`, `release` | a value; `[from, to]` for `cas`; an array for a read of a set or log |
//! | `applied` | `ok` of `cas` | whether the comparison succeeded |
//! | `torn`, `error` | `ok` of `read` | in which way what was read is no value, and in words |
//! | `reason`, `error` | `fail`, `info` | why, as one of [`Failure`](crate::history::Failure), and in words |
//! | `held` | `ok` of `acquire` | `false`: the strategy had given the lock up again |
//! | `refused` | `invoke` of `release` | `true`: the holder had been fenced off |
//!
//! Other keys are ignored. Values are equal when they are equal as JSON: spaces, the order of keys
//! and the spelling of strings and numbers do not matter, so `4`, `4.0` and `4e0` are one value
//! (fractions are compared as 64-bit floating point). Stamps are written as strings: `"c3#17"`.
//!
//! [`Reader`] eats lines as bytes, so that a caller can stream a file of any size; [`lines`] is the
//! way back. That events pair is not looked at here: [`operations`](crate::History::operations) says so, and
//! [`line_of`] finds the line of an event.

mod interner;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use reader::Reader;
pub use writer::lines;

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
