//! A trace as JSON: one object a call, in the order in which the calls were made.

use std::fmt::Write;

use serde_json::json;
use tearproof_engine::trace::{Outcome, Trace};

/// The records, one a line.
pub fn lines(trace: &Trace) -> String {
    let mut out = String::new();
    for record in &trace.records {
        let path =
            |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.to_string_lossy().into_owned());
        let (result, errno) = match record.outcome {
            Outcome::Returned(value) => (Some(value), None),
            Outcome::Failed(errno) => {
                (Some(-1), Some(record.errno_name().unwrap_or_else(|| errno.to_string())))
            }
            Outcome::Never => (None, None),
        };
        let line = json!({
            "time_ns": record.at_ns,
            "took_ns": record.took_ns,
            "pid": record.pid,
            "tid": record.tid,
            "call": record.name,
            "path": path(&record.path),
            "path2": path(&record.path2),
            "bytes": record.bytes(),
            "result": result,
            "errno": errno,
        });
        // Writing to a text never fails.
        let _ = writeln!(out, "{line}");
    }
    out
}
