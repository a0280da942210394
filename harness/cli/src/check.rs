//! `tearproof check`: a recorded history, judged again; and the validation of a `run.json`.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use anyhow::Context;
use tearproof_core::claim::Hazard;
use tearproof_core::history::History;
use tearproof_core::jsonl::{self, JsonlError, Reader};
use tearproof_core::tally::Tally;
use tearproof_reports::terminal::Style;
use tearproof_reports::validate;

use crate::Outcome;
use crate::args::{CheckFormat, CheckOptions};
use crate::diagnose::Failure;
use crate::result_file;
use crate::run::terminal_width;
use crate::stdout::print;

/// Reads a history, checks it, prints the verdicts.
pub fn check(options: &CheckOptions, color: bool) -> Outcome {
    let name = options.file.display().to_string();
    let history = if name == "-" {
        read(&name, io::stdin().lock())?
    } else {
        let unusable = |error: io::Error| {
            let hint = "give the path of a history.jsonl, or - for standard input";
            Failure::at_path("reading", &options.file, &error, hint)
        };
        let file = File::open(&options.file).map_err(unusable)?;
        // A directory can be opened, and only reading it fails.
        if file.metadata().map_err(unusable)?.is_dir() {
            return Err(unusable(io::ErrorKind::IsADirectory.into()));
        }
        read(&name, BufReader::with_capacity(1 << 20, file))?
    };
    let findings = tearproof_check::check(&history).map_err(|error| {
        Failure::usage(
            format!("{name}, line {}: {}", jsonl::line_of(error.event), error.reason),
            "every operation is an `invoke` and later, by the same client, one `ok`, `fail` or `info`",
        )
    })?;
    let mut tally = Tally::default();
    tally.add(findings, &history, 0);
    let cells = tally.cells(Hazard::Concurrency, None, None);
    match options.format {
        CheckFormat::Text => {
            print(&tearproof_reports::check::render(&cells, Style { width: terminal_width(), color }))?;
        }
        CheckFormat::Json => print(&tearproof_reports::check::to_json(&cells))?,
    }
    Ok(tearproof_reports::check::outcome(&cells).exit_code())
}

/// A file that was cut off is judged as far as it goes, and what is not broken by then is
/// inconclusive.
fn read(name: &str, mut input: impl BufRead) -> Result<History, Failure> {
    let malformed = |error: JsonlError| {
        Failure::usage(
            format!("{name}, {error}"),
            "`tearproof check --help` shows the format; one event a line",
        )
    };
    let mut reader = Reader::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = input.read_until(b'\n', &mut line).with_context(|| format!("reading {name}"))?;
        if length == 0 {
            break;
        }
        match reader.line(&line) {
            Ok(()) => {}
            Err(error) if error.is_cut() => {
                eprintln!("{name}, {error}: judged as far as it goes");
                return reader.finish_cut().map_err(malformed);
            }
            Err(error) => return Err(malformed(error)),
        }
    }
    if reader.lacks_end() {
        eprintln!("{name} ends without its closing line, so its writer died: judged as far as it goes");
        return reader.finish_cut().map_err(malformed);
    }
    reader.finish().map_err(malformed)
}

/// Writes a history, for `check` to read.
///
/// # Errors
/// When it cannot be written; an earlier one is then still there.
pub fn write_history(path: &Path, history: &History) -> Result<(), anyhow::Error> {
    result_file::write(path, |out| jsonl::lines(history).try_for_each(|line| writeln!(out, "{line}")))
}

/// Checks the shape of a `run.json`.
pub fn validate(path: &Path) -> Outcome {
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::at_path("reading", path, &error, "give the path of a run.json"))?;
    let document = serde_json::from_str(&text).map_err(|error| {
        Failure::usage(format!("{}: {error}", path.display()), "a run.json is one JSON document")
    })?;
    let problems = validate::validate(&document);
    let mut report = String::new();
    for problem in &problems {
        report.push_str(&format!("{}: {}\n", problem.pointer, problem.message));
    }
    report.push_str(&format!("{}: {} problems\n", path.display(), problems.len()));
    print(&report)?;
    Ok(if problems.is_empty() { 0 } else { 2 })
}
