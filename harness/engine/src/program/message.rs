//! The lines of the worker protocol, version 1: requests as the harness writes them, answers as
//! workers do.
//!
//! Beyond what is needed, an answer may carry `torn` (a failed read whose own parser or checksum
//! refused what was in the file), `failure` (why, as histories call it), `records` (the records of
//! a log instead of its text), `held` and `token` (see [`tearproof_core::strategy::Held`]). With
//! `"reusable":true` in its `ready` a worker says that what it did before has no bearing on what it does, so
//! that one process may play in many executions that are explored.
//! Fields that are not known are ignored on both sides.

use serde::{Deserialize, Serialize};
use tearproof_core::document::TornKind;
use tearproof_core::history::Failure;
use tearproof_core::object::Operation;

use super::base64;

/// The version of the protocol.
pub(super) const PROTOCOL: u32 = 1;

/// What an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Ready,
    Ok,
    Fail,
    Info,
    Skip,
}

/// An answer with whatever it carries.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    pub t: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proto: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ops: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reusable: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_base64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elements: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub torn: Option<TornKind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Answer {
    /// An answer that carries nothing.
    pub fn new(t: Kind, id: Option<u64>) -> Self {
        Self {
            t,
            id,
            proto: None,
            name: None,
            ops: None,
            reusable: None,
            value: None,
            value_base64: None,
            elements: None,
            records: None,
            missing: None,
            held: None,
            token: None,
            error: None,
            busy: None,
            failure: None,
            torn: None,
            reason: None,
        }
    }
}

/// A request as a worker reads it.
#[derive(Debug, Deserialize)]
pub(super) struct Request {
    pub t: Wanted,
    #[serde(default)]
    pub proto: Option<u32>,
    #[serde(default)]
    pub client: Option<u32>,
    #[serde(default)]
    pub id: Option<u64>,
    #[serde(default)]
    pub op: Option<String>,
    #[serde(default)]
    pub path: Option<String>,
    #[serde(default)]
    pub value: Option<String>,
    #[serde(default)]
    pub value_base64: Option<String>,
    #[serde(default)]
    pub element: Option<String>,
    #[serde(default)]
    pub record: Option<String>,
    #[serde(default)]
    pub record_base64: Option<String>,
    #[serde(default)]
    pub timeout_ms: Option<u64>,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Wanted {
    Hello,
    Op,
    Stop,
}

/// The argument of an operation.
#[derive(Clone, Copy, Debug)]
pub(super) enum Argument<'a> {
    None,
    /// The document of a write.
    Value(&'a [u8]),
    /// The element of an update.
    Element(&'a str),
    /// The record of an append, without its newline.
    Record(&'a [u8]),
    /// The patience of an acquire, in milliseconds.
    TimeoutMs(u64),
}

/// Writes the greeting into `out`, replacing what is there.
pub(super) fn write_hello(out: &mut Vec<u8>, client: u32, seed: u64) {
    out.clear();
    out.extend_from_slice(
        format!("{{\"t\":\"hello\",\"proto\":{PROTOCOL},\"client\":{client},\"seed\":{seed}}}\n").as_bytes(),
    );
}

/// Writes the request to stop into `out`, replacing what is there.
pub(super) fn write_stop(out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(b"{\"t\":\"stop\"}\n");
}

/// Writes the request for an operation into `out`, replacing what is there.
pub(super) fn write_operation(
    out: &mut Vec<u8>,
    id: u64,
    operation: Operation,
    path: &str,
    argument: Argument<'_>,
) {
    use std::io::Write;
    out.clear();
    let infallible = "writing into a vector cannot fail";
    write!(out, "{{\"t\":\"op\",\"id\":{id},\"op\":\"{operation}\"").expect(infallible);
    push_text(out, "path", path);
    match argument {
        Argument::None => {}
        Argument::Value(bytes) => push_bytes(out, "value", bytes),
        Argument::Element(element) => push_text(out, "element", element),
        Argument::Record(bytes) => push_bytes(out, "record", bytes),
        Argument::TimeoutMs(ms) => write!(out, ",\"timeout_ms\":{ms}").expect(infallible),
    }
    out.extend_from_slice(b"}\n");
}

/// Writes an answer as a line into `out`, replacing what is there.
pub(super) fn write_answer(out: &mut Vec<u8>, answer: &Answer) {
    out.clear();
    serde_json::to_writer(&mut *out, answer).expect("an answer is representable in JSON");
    out.push(b'\n');
}

fn push_text(out: &mut Vec<u8>, field: &str, text: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(field.as_bytes());
    out.extend_from_slice(b"\":");
    serde_json::to_writer(out, text).expect("a text is representable in JSON");
}

fn push_bytes(out: &mut Vec<u8>, field: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => push_text(out, field, text),
        Err(_) => {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(field.as_bytes());
            out.extend_from_slice(b"_base64\":\"");
            base64::encode(bytes, out);
            out.push(b'"');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_spelt_as_documented() {
        let mut out = Vec::new();
        write_operation(&mut out, 17, Operation::Write, "/s/state.json", Argument::Value(b"a\"b\n"));
        assert_eq!(
            out,
            b"{\"t\":\"op\",\"id\":17,\"op\":\"write\",\"path\":\"/s/state.json\",\"value\":\"a\\\"b\\n\"}\n"
        );
        write_operation(&mut out, 18, Operation::Write, "p", Argument::Value(&[0xff]));
        assert_eq!(
            out,
            b"{\"t\":\"op\",\"id\":18,\"op\":\"write\",\"path\":\"p\",\"value_base64\":\"/w==\"}\n"
        );
        write_operation(&mut out, 19, Operation::Acquire, "p", Argument::TimeoutMs(250));
        assert_eq!(out, b"{\"t\":\"op\",\"id\":19,\"op\":\"acquire\",\"path\":\"p\",\"timeout_ms\":250}\n");
        write_hello(&mut out, 3, 7);
        assert_eq!(out, b"{\"t\":\"hello\",\"proto\":1,\"client\":3,\"seed\":7}\n");
    }

    #[test]
    fn an_answer_survives_and_unknown_fields_do_no_harm() {
        let mut out = Vec::new();
        let answer = Answer {
            torn: Some(TornKind::Empty),
            error: Some("no".to_owned()),
            ..Answer::new(Kind::Fail, Some(3))
        };
        write_answer(&mut out, &answer);
        assert_eq!(out, b"{\"t\":\"fail\",\"id\":3,\"error\":\"no\",\"torn\":\"empty\"}\n");
        let back: Answer = serde_json::from_slice(b"{\"t\":\"ok\",\"id\":3,\"mood\":\"good\"}").unwrap();
        assert_eq!((back.t, back.id), (Kind::Ok, Some(3)));
    }
}
