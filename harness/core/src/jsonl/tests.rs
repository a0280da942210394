//! What is read and written, line by line.

use super::interner::Interner;
use super::*;
use crate::history::{History, Payload, ValueId};
use crate::object::Object;

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
    let text = r#"{"format":1,"object":"set","initial":["a"],"roles":{"0":"agent","1":"page"}}
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
    assert_eq!(history.client_name(1), "page 1");
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
