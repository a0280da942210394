//! `[state]`: the state file.

use std::ops::Range;

use tearproof_core::document::{Format, Shape};
use tearproof_core::log::MIN_RECORD;
use tearproof_core::object::Object;
use tearproof_core::scenario::StateFile;
use tearproof_core::units::Bytes;

use super::diagnostic::{Mistake, Report};
use super::table::{At, Section};

/// The keys of the table.
pub(super) const KEYS: &[&str] = &["file", "format", "object", "size", "grow", "opaque"];

/// Length of a value when the definition does not say, in bytes.
const SIZE: u32 = 4096;
/// Length of a log's record when the definition does not say, in bytes.
const RECORD: u32 = 128;
/// The longest name, in bytes: strategies append to it, and file systems end at 255.
const LONGEST_NAME: usize = 200;

/// What the definition says of the state file.
pub(super) struct State {
    /// The state file, with defaults in place of what is wrong.
    pub file: StateFile,
    /// What it stands for, if that is known.
    pub object: Option<At<Object>>,
    /// Where it says that the file has a shape of its own, if it does.
    pub opaque: Option<Range<usize>>,
}

/// Reads the table.
pub(super) fn read(section: &Section<'_>, report: &Report<'_>) -> State {
    section.require("file", "file = \"state.json\"");
    section.require("object", "object = \"register\"`, `\"set\"`, `\"log\"` or `\"lock\"");
    let objects: Vec<(&str, Object)> = Object::ALL.iter().map(|object| (object.name(), *object)).collect();
    let formats: Vec<(&str, Format)> = Format::ALL.iter().map(|format| (format.name(), *format)).collect();
    let object = section.name("object", "object", &objects);
    let file = section.text("file", "file = \"state.json\"");
    if let Some(file) = &file {
        check_file_name(report, file);
    }
    let name = file.map_or("state", |file| file.value);
    let format = section.name("format", "format", &formats).map_or_else(|| format_of(name), |at| at.value);
    let (size, grow) = lengths(section, object.as_ref().map(|at| at.value), report);
    let opaque = section.boolean("opaque").filter(|opaque| opaque.value).map(|opaque| opaque.span);
    if let (Some(span), Some(object)) = (&opaque, &object)
        && object.value != Object::Set
    {
        let message = format!("only a set can be opaque, and this is a {}", object.value);
        report.add(
            Mistake::at(span.clone(), message)
                .label("the file has a shape of its own")
                .other(object.span.clone(), "so its reads must be answered with elements")
                .help("leave `opaque` out: the harness makes the initial value and checks values by itself"),
        );
    }
    State {
        file: StateFile {
            file: name.to_owned(),
            format,
            object: object.as_ref().map_or(Object::Register, |at| at.value),
            size,
            grow,
            opaque: opaque.is_some(),
        },
        object,
        opaque,
    }
}

fn format_of(name: &str) -> Format {
    match name.rsplit_once('.') {
        Some((_, "json")) => Format::Json,
        Some((_, "yaml" | "yml")) => Format::Yaml,
        _ => Format::Bytes,
    }
}

fn check_file_name(report: &Report<'_>, file: &At<&str>) {
    let name = file.value;
    let wrong = if name.is_empty() {
        "is empty"
    } else if name.contains('/') {
        "contains a slash"
    } else if name == "." || name == ".." {
        "is a directory"
    } else if name.chars().any(char::is_control) {
        "contains a control character"
    } else if name.len() > LONGEST_NAME {
        "is longer than 200 bytes"
    } else {
        return;
    };
    report.add(Mistake::at(file.span.clone(), format!("the name of the state file {wrong}")).help(
        "write a plain name such as `state.json`: the file lies in a directory made for each execution",
    ));
}

/// `size` and `grow`.
fn lengths(section: &Section<'_>, object: Option<Object>, report: &Report<'_>) -> (u32, u32) {
    let default = if object == Some(Object::Log) { RECORD } else { SIZE };
    let most = u64::from(Shape::MAX_SIZE);
    let (least, what) = match object {
        Some(Object::Register) => (u64::from(Shape::MIN_SIZE), "a value"),
        Some(Object::Log) => (u64::from(MIN_RECORD), "a record"),
        _ => (1, "a state file"),
    };
    let size = section.size("size");
    if let Some(size) = &size
        && !(least..=most).contains(&size.value)
    {
        let (limit, bound) = if size.value < least { ("at least", least) } else { ("at most", most) };
        let message = format!("{what} of {} is impossible", Bytes(size.value));
        report.add(Mistake::at(size.span.clone(), message).label(format!("{limit} {}", Bytes(bound))).help(
            format!(
                "write a size from `{}` to `{}`; a value carries its author, its number and its checksum",
                Bytes(least),
                Bytes(most)
            ),
        ));
        return (default, 0);
    }
    let grow = section.size("grow");
    let length = size.map_or(u64::from(default), |size| size.value);
    if let Some(grow) = &grow {
        if object.is_some_and(|object| object != Object::Register) {
            let message = "`grow` is how much longer every fourth value of a register is";
            report.add(
                Mistake::at(grow.span.clone(), message)
                    .label("not a register")
                    .help("leave it out: a set and a log grow by themselves"),
            );
        } else if grow.value > most || length + grow.value > most {
            let message = format!("a value of {} is impossible", Bytes(length.saturating_add(grow.value)));
            report.add(
                Mistake::at(grow.span.clone(), message)
                    .label("too much to add")
                    .help(format!("`size` and `grow` together reach at most `{}`", Bytes(most))),
            );
            return (default, 0);
        }
    }
    let grow = grow.map_or(0, |grow| grow.value);
    (u32::try_from(length).unwrap_or(default), u32::try_from(grow).unwrap_or(0))
}
