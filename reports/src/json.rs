//! `run.json`: a run as JSON, and back.
//!
//! The shape is that of the types in `tearproof_core::run`. Whether a file that somebody else made
//! or changed keeps its inner rules is the business of [`validate`](crate::validate).

use serde::Deserialize;
use tearproof_core::run::Run;

/// Why a text is no run.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// It is no JSON, or not of this shape.
    #[error("not a run.json: {0}")]
    Shape(#[from] serde_json::Error),
    /// It was written by another version of the format.
    #[error("run.json of format {found}; this version reads format {known}", known = Run::FORMAT)]
    Format {
        /// The number in the file.
        found: u64,
    },
}

/// A run as text, indented, with a line break at its end.
///
/// # Panics
/// Never: a run holds nothing that JSON cannot say.
pub fn to_json(run: &Run) -> String {
    let mut text = serde_json::to_string_pretty(run).expect("the keys of a run are names");
    text.push('\n');
    text
}

/// Reads a run.
///
/// # Errors
/// When the text is no JSON, lacks a field, or has another format number. That is looked at first:
/// a later format may have any shape.
pub fn from_json(text: &str) -> Result<Run, JsonError> {
    #[derive(Deserialize)]
    struct Numbered {
        format: u64,
    }
    let Numbered { format } = serde_json::from_str(text)?;
    if format != u64::from(Run::FORMAT) {
        return Err(JsonError::Format { found: format });
    }
    Ok(serde_json::from_str(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn a_run_reads_back_as_it_was_written() {
        let run = sample::run(vec![sample::index()]);
        let text = to_json(&run);
        assert!(text.ends_with("}\n"));
        assert_eq!(from_json(&text).expect("its own output"), run);
        assert_eq!(to_json(&from_json(&text).expect("its own output")), text);
    }

    #[test]
    fn what_is_unknown_is_present_as_null() {
        let value: serde_json::Value =
            serde_json::from_str(&to_json(&sample::run(vec![sample::index()]))).expect("JSON");
        let cells = value["scenarios"][0]["strategies"][0]["verdicts"].as_array().expect("cells");
        let broken = cells.iter().find(|cell| cell["verdict"] == "violated").expect("a broken cell");
        let keys = |value: &serde_json::Value| {
            value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>()
        };
        assert_eq!(
            keys(&broken["scope"]),
            ["executions", "exhausted", "limit", "operations", "preemption_bound"]
        );
        assert!(broken["scope"]["limit"].is_null());
        assert_eq!(keys(&broken["anomalies"][0]["witness"]), ["explanation", "replay", "steps"]);
        assert_eq!(
            keys(&value["scenarios"][0]["strategies"][0]["latency"]["update"]),
            ["count", "max_ns", "mean_ns", "min_ns", "p50_ns", "p90_ns", "p99_9_ns", "p99_ns"]
        );
    }

    #[test]
    fn another_format_is_refused_by_its_number() {
        let error = from_json(r#"{"format": 2, "anything": []}"#).unwrap_err().to_string();
        assert_eq!(error, "run.json of format 2; this version reads format 1");
        assert!(from_json("{").unwrap_err().to_string().starts_with("not a run.json: "));
    }
}
