//! Whether a JSON document is a `run.json`: its fields, and the rules that hold among them.
//!
//! Written by hand against the contract of the format, not derived from the types that write it, so
//! that a field that changes its name or meaning there is noticed here. Unknown fields are
//! allowed: the format grows.

mod cursor;

use std::collections::HashSet;
use std::fmt;

use serde_json::Value;

use cursor::{At, Problems};

/// One thing that is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: a JSON pointer (RFC 6901).
    pub pointer: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pointer = if self.pointer.is_empty() { "/" } else { &self.pointer };
        write!(f, "{pointer}: {}", self.message)
    }
}

const HAZARDS: [&str; 5] = ["concurrency", "pause", "kill", "power-loss", "io-error"];
const ENGINES: [&str; 4] = ["stress", "explore", "crash", "fault"];
const VERDICTS: [&str; 5] = ["verified", "not-observed", "violated", "inconclusive", "not-applicable"];
const OPERATIONS: [&str; 7] = ["read", "write", "cas", "update", "append", "acquire", "release"];
const TORN: [&str; 5] = ["empty", "partial", "mixed", "missing", "foreign"];
/// Each guarantee with the anomalies that breach it.
const GUARANTEES: [(&str, &[&str]); 9] = [
    ("atomic-reads", &["torn-read"]),
    ("no-lost-updates", &["lost-update", "wiped-state"]),
    ("linearizable", &["stale-read", "non-monotonic-read"]),
    ("mutual-exclusion", &["two-holders", "unprotected-section"]),
    ("progress", &["deadlock", "stuck-lock", "retries-exhausted", "livelock"]),
    ("durability", &["lost-data", "lost-name"]),
    ("errors-reported", &["silent-failure", "value-destroyed"]),
    ("no-residue", &["leaked-file", "leaked-lock"]),
    (
        "metadata-kept",
        &[
            "mode-drift",
            "symlink-replaced",
            "hard-link-broken",
            "xattr-lost",
            "owner-drift",
            "victim-truncated",
        ],
    ),
];
/// From the smallest to the largest.
const PERCENTILES: [&str; 7] = ["min_ns", "p50_ns", "p90_ns", "p99_ns", "p99_9_ns", "max_ns", "count"];

/// Everything that is wrong with a document; nothing for a good one.
pub fn validate(document: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    run(&At::root(document), &mut problems);
    problems
}

fn run(root: &At<'_>, problems: &mut Problems) {
    if root.object(problems).is_none() {
        return;
    }
    if let Some(format) = root.field("format", problems)
        && format.value.as_u64() != Some(1)
    {
        format.report("should be 1", problems);
    }
    if let Some(tool) = root.field("tool", problems).filter(|tool| tool.object(problems).is_some()) {
        for key in ["name", "version"] {
            tool.field(key, problems).and_then(|field| field.filled(problems));
        }
    }
    if let Some(host) = root.field("host", problems).filter(|host| host.object(problems).is_some()) {
        host.field("kernel", problems).and_then(|field| field.text(problems));
        host.field("filesystem", problems).and_then(|field| field.text(problems));
        if let Some(cpus) = host.field("cpus", problems)
            && cpus.whole(problems) == Some(0)
        {
            cpus.report("should be at least 1", problems);
        }
    }
    root.field("seed", problems).and_then(|seed| seed.whole(problems));
    if let Some(started) = root.field("started", problems) {
        let text = started.text(problems);
        if text.is_some_and(|text| text.parse::<jiff::Timestamp>().is_err()) {
            started.report("should be a time as in RFC 3339, for example 2026-11-21T04:13:12Z", problems);
        }
    }
    for option in root.optional("options").map(|list| list.items(problems)).unwrap_or_default() {
        option.text(problems);
    }
    root.optional("elapsed_ms").and_then(|elapsed| elapsed.whole(problems));
    root.optional("interrupted").and_then(|flag| flag.flag(problems));
    for witness in root.optional("kept").map(|list| list.items(problems)).unwrap_or_default() {
        kept(&witness, problems);
    }
    let mut names = HashSet::new();
    for item in root.field("scenarios", problems).map(|list| list.items(problems)).unwrap_or_default() {
        // One and the same scenario may have run in several directories.
        let directory = item.value.get("directory").and_then(Value::as_str).unwrap_or_default();
        if let Some(name) = scenario(&item, problems)
            && !names.insert((name, directory))
        {
            item.report(format!("scenario `{name}` comes twice"), problems);
        }
    }
}

fn kept(witness: &At<'_>, problems: &mut Problems) {
    if witness.object(problems).is_none() {
        return;
    }
    for key in ["file", "token"] {
        witness.field(key, problems).and_then(|field| field.text(problems));
    }
    witness.optional("reproduced").and_then(|flag| flag.flag(problems));
    witness.optional("explanation").and_then(|text| text.text(problems));
    if let Some(breaks) = witness.optional("breaks") {
        claims(&breaks, problems);
    }
}

fn scenario<'a>(scenario: &At<'a>, problems: &mut Problems) -> Option<&'a str> {
    scenario.object(problems)?;
    let name = scenario.field("name", problems).and_then(|name| name.filled(problems));
    if let Some(requires) = scenario.optional("requires") {
        claims(&requires, problems);
    }
    for key in ["summary", "source", "filesystem", "directory"] {
        scenario.optional(key).and_then(|field| field.text(problems));
    }
    let mut names = HashSet::new();
    for item in scenario.field("strategies", problems).map(|list| list.items(problems)).unwrap_or_default() {
        if let Some(name) = strategy(&item, problems)
            && !names.insert(name)
        {
            item.report(format!("strategy `{name}` comes twice"), problems);
        }
    }
    name
}

fn claims<'a>(list: &At<'a>, problems: &mut Problems) -> HashSet<&'a str> {
    let mut known = HashSet::new();
    for item in list.items(problems) {
        let Some(text) = item.text(problems) else { continue };
        let halves = text.split_once('@');
        let good = |(guarantee, hazard): (&str, &str)| {
            GUARANTEES.iter().any(|(name, _)| *name == guarantee) && HAZARDS.contains(&hazard)
        };
        if !halves.is_some_and(good) {
            item.report(format!("`{text}` is no claim of the form guarantee@hazard"), problems);
        } else if !known.insert(text) {
            item.report(format!("`{text}` comes twice"), problems);
        }
    }
    known
}

fn strategy<'a>(strategy: &At<'a>, problems: &mut Problems) -> Option<&'a str> {
    strategy.object(problems)?;
    let name = strategy.field("name", problems).and_then(|name| name.filled(problems));
    strategy.field("origin", problems).and_then(|origin| origin.one_of(&["built-in", "command"], problems));
    strategy.optional("broken").and_then(|flag| flag.flag(problems));
    let claimed = strategy.field("claims", problems).map(|list| claims(&list, problems));
    let mut cells = HashSet::new();
    for item in strategy.field("verdicts", problems).map(|list| list.items(problems)).unwrap_or_default() {
        if let Some(key) = cell(&item, claimed.as_ref(), problems)
            && !cells.insert(key)
        {
            item.report(format!("the cell {}@{} by {} comes twice", key.0, key.1, key.2), problems);
        }
    }
    for (operation, item) in
        strategy.field("latency", problems).map(|map| map.entries(problems)).unwrap_or_default()
    {
        known_operation(operation, &item, problems);
        latency(&item, problems);
    }
    let rates = strategy.field("throughput_per_s", problems).map(|map| map.entries(problems));
    for (operation, item) in rates.unwrap_or_default() {
        known_operation(operation, &item, problems);
        item.number(problems);
    }
    if let Some(torn) = strategy.optional("torn_reads").and_then(At::not_null) {
        torn_reads(&torn, problems);
        // What was counted must have been judged: a torn read without a breach is a silent pass.
        let seen = torn.value.get("torn").and_then(Value::as_u64).is_some_and(|torn| torn > 0);
        let cells = strategy.value.get("verdicts").and_then(Value::as_array).into_iter().flatten();
        let breach = |cell: &Value| {
            cell["guarantee"] == "atomic-reads"
                && cell["hazard"] == "concurrency"
                && cell["verdict"] == "violated"
        };
        if seen && !cells.into_iter().any(breach) {
            torn.report("reads were torn, yet atomic-reads@concurrency is not violated", problems);
        }
    }
    for item in strategy.optional("errors").map(|list| list.items(problems)).unwrap_or_default() {
        if item.object(problems).is_some() {
            item.field("operation", problems).and_then(|field| field.one_of(&OPERATIONS, problems));
            item.field("hazard", problems).and_then(|field| field.one_of(&HAZARDS, problems));
            item.field("message", problems).and_then(|field| field.text(problems));
            item.field("count", problems).and_then(|field| field.whole(problems));
        }
    }
    for item in strategy.optional("problems").map(|list| list.items(problems)).unwrap_or_default() {
        item.text(problems);
    }
    name
}

fn known_operation(name: &str, at: &At<'_>, problems: &mut Problems) {
    if !OPERATIONS.contains(&name) {
        at.report(format!("`{name}` is none of {}", OPERATIONS.join(", ")), problems);
    }
}

/// A cell; what tells it apart from the others of its strategy.
fn cell<'a>(
    cell: &At<'a>,
    claimed: Option<&HashSet<&str>>,
    problems: &mut Problems,
) -> Option<(&'a str, &'a str, &'a str)> {
    cell.object(problems)?;
    let names: Vec<&str> = GUARANTEES.iter().map(|(name, _)| *name).collect();
    let guarantee = cell.field("guarantee", problems).and_then(|field| field.one_of(&names, problems));
    let hazard = cell.field("hazard", problems).and_then(|field| field.one_of(&HAZARDS, problems));
    let engine = cell.field("engine", problems).and_then(|field| field.one_of(&ENGINES, problems));
    let verdict = cell.field("verdict", problems).and_then(|field| field.one_of(&VERDICTS, problems));
    let flag = cell.field("claimed", problems);
    if let (Some(flag), Some(claimed), Some(guarantee), Some(hazard)) = (&flag, claimed, guarantee, hazard) {
        let expected = claimed.contains(format!("{guarantee}@{hazard}").as_str());
        if flag.flag(problems).is_some_and(|flag| flag != expected) {
            let not = if expected { "" } else { "not " };
            flag.report(format!("{guarantee}@{hazard} is {not}among the claims of the strategy"), problems);
        }
    }
    if let Some(scope) = cell.field("scope", problems).filter(|scope| scope.object(problems).is_some()) {
        self::scope(&scope, verdict, problems);
    }
    if let Some(anomalies) = cell.field("anomalies", problems) {
        let items = anomalies.items(problems);
        match verdict {
            Some("violated") if items.is_empty() => {
                anomalies.report("a violated guarantee needs an anomaly", problems);
            }
            Some(verdict) if verdict != "violated" && !items.is_empty() => {
                anomalies.report(format!("an anomaly was seen, yet the verdict is {verdict}"), problems);
            }
            _ => {}
        }
        let mut kinds = HashSet::new();
        for item in &items {
            if let Some(kind) = anomaly(item, guarantee, problems)
                && !kinds.insert(kind)
            {
                item.report(format!("anomaly `{kind}` comes twice"), problems);
            }
        }
    }
    Some((guarantee?, hazard?, engine?))
}

fn scope(scope: &At<'_>, verdict: Option<&str>, problems: &mut Problems) {
    let executions = scope.field("executions", problems);
    let count = executions.as_ref().and_then(|field| field.whole(problems));
    let exhausted = scope.field("exhausted", problems).and_then(|field| field.flag(problems));
    for key in ["operations", "preemption_bound"] {
        scope.field(key, problems).and_then(At::not_null).and_then(|field| field.whole(problems));
    }
    for key in ["kills", "pauses"] {
        scope.optional(key).and_then(At::not_null).and_then(|field| field.whole(problems));
    }
    for (_, count) in scope.optional("clients").map(|map| map.entries(problems)).unwrap_or_default() {
        count.whole(problems);
    }
    for sampling in scope.optional("sampling").map(|list| list.items(problems)).unwrap_or_default() {
        for key in ["depth", "schedules", "threads", "steps"] {
            sampling.field(key, problems).and_then(|field| field.whole(problems));
        }
        if let Some(missed) = sampling.field("missed_at_most", problems)
            && missed.number(problems).is_some_and(|missed| !(0.0..=1.0).contains(&missed))
        {
            missed.report("should be a probability", problems);
        }
    }
    let limit = scope.field("limit", problems);
    let has_limit = limit.as_ref().is_some_and(|limit| !limit.value.is_null());
    if let Some(limit) = limit.and_then(At::not_null) {
        limit.filled(problems);
    }
    match verdict {
        Some("verified") if exhausted == Some(false) => {
            scope.report("verified, though not every execution was run", problems);
        }
        Some("inconclusive") if !has_limit => {
            scope.report("inconclusive, without the limit that was hit", problems)
        }
        Some(verdict @ ("verified" | "not-observed" | "violated")) if count == Some(0) => {
            scope.report(format!("{verdict}, though nothing was executed"), problems);
        }
        _ => {}
    }
}

fn anomaly<'a>(anomaly: &At<'a>, guarantee: Option<&str>, problems: &mut Problems) -> Option<&'a str> {
    anomaly.object(problems)?;
    let all: Vec<&str> = GUARANTEES.iter().flat_map(|(_, kinds)| kinds.iter().copied()).collect();
    let field = anomaly.field("kind", problems);
    let kind = field.as_ref().and_then(|field| field.one_of(&all, problems));
    if let (Some(field), Some(kind), Some(guarantee)) = (&field, kind, guarantee) {
        let breaches = GUARANTEES.iter().any(|(name, kinds)| *name == guarantee && kinds.contains(&kind));
        if !breaches {
            field.report(format!("{kind} is no breach of {guarantee}"), problems);
        }
    }
    if let Some(count) = anomaly.field("count", problems)
        && count.whole(problems) == Some(0)
    {
        count.report("should be at least 1", problems);
    }
    anomaly.field("first_after_ms", problems).and_then(At::not_null).and_then(|field| field.whole(problems));
    for (name, item) in anomaly.optional("by_kind").map(|map| map.entries(problems)).unwrap_or_default() {
        if !TORN.contains(&name) {
            item.report(format!("`{name}` is none of {}", TORN.join(", ")), problems);
        }
        item.whole(problems);
    }
    if let Some(witness) =
        anomaly.field("witness", problems).filter(|witness| witness.object(problems).is_some())
    {
        witness.field("explanation", problems).and_then(|field| field.filled(problems));
        witness.field("replay", problems).and_then(At::not_null).and_then(|field| field.filled(problems));
        for step in witness.field("steps", problems).map(|list| list.items(problems)).unwrap_or_default() {
            if step.object(problems).is_some() {
                step.field("time_ns", problems).and_then(|field| field.whole(problems));
                step.field("client", problems).and_then(|field| field.whole(problems));
                step.optional("role").and_then(At::not_null).and_then(|field| field.filled(problems));
                step.field("what", problems).and_then(|field| field.filled(problems));
                if let Some(mark) = step.optional("mark").and_then(At::not_null)
                    && !matches!(mark.value.as_u64(), Some(1 | 2))
                {
                    mark.report("should be 1 or 2", problems);
                }
                step.optional("source").and_then(At::not_null).and_then(|field| field.filled(problems));
            }
        }
        for said in witness.optional("stderr").map(|list| list.items(problems)).unwrap_or_default() {
            if said.object(problems).is_some() {
                said.field("client", problems).and_then(|field| field.whole(problems));
                said.optional("role").and_then(At::not_null).and_then(|field| field.filled(problems));
                said.field("left_out", problems).and_then(|field| field.whole(problems));
                for line in said.field("lines", problems).map(|list| list.items(problems)).unwrap_or_default()
                {
                    line.filled(problems);
                }
            }
        }
    }
    kind
}

fn latency(latency: &At<'_>, problems: &mut Problems) {
    if latency.object(problems).is_none() {
        return;
    }
    let mut before: Option<(&str, u64)> = None;
    for key in PERCENTILES {
        let Some(field) = latency.field(key, problems) else { continue };
        let Some(value) = field.whole(problems).filter(|_| key != "count") else { continue };
        if let Some((name, smaller)) = before.filter(|(_, smaller)| *smaller > value) {
            field.report(format!("{value} is less than {name}, which is {smaller}"), problems);
        }
        before = Some((key, value));
    }
    let Some(mean) = latency.field("mean_ns", problems) else { return };
    let bound = |key: &str| latency.value.get(key).and_then(Value::as_f64);
    if let (Some(value), Some(min), Some(max)) = (mean.number(problems), bound("min_ns"), bound("max_ns")) {
        // Histograms keep values to about three digits, so the mean may lie a little beyond either end.
        if value < min * 0.99 || value > max * 1.01 {
            mean.report("lies outside of min_ns and max_ns", problems);
        }
    }
}

fn torn_reads(torn: &At<'_>, problems: &mut Problems) {
    if torn.object(problems).is_none() {
        return;
    }
    let mut number = |key: &str| torn.field(key, problems).and_then(|field| field.whole(problems));
    let (reads, some) = (number("reads"), number("torn"));
    number("writes");
    number("elapsed_ns");
    if let (Some(reads), Some(some)) = (reads, some)
        && some > reads
    {
        torn.report(format!("{some} torn reads among {reads}"), problems);
    }
}

#[cfg(test)]
mod tests;
