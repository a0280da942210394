//! A good run passes; each of many planted mistakes is named with its place.

use serde_json::json;

use super::*;
use crate::{json, sample};

fn good() -> Value {
    serde_json::from_str(&json::to_json(&sample::run(vec![sample::index()]))).expect("JSON")
}

const CELL: &str = "/scenarios/0/strategies/0/verdicts/0";

/// Where in the sample something is changed, what to (`null` removes it), and the one problem
/// that this makes.
fn planted() -> Vec<(String, Value, &'static str)> {
    let strategy = |rest: &str| format!("/scenarios/0/strategies/0/{rest}");
    let cell = |rest: &str| format!("{CELL}/{rest}");
    vec![
        ("/format".to_owned(), json!(2), "/format: should be 1"),
        ("/seed".to_owned(), json!(-1), "/seed: should be a whole number, not negative"),
        ("/seed".to_owned(), Value::Null, "/: lacks `seed`"),
        ("/started".to_owned(), json!("yesterday"), "/started: should be a time as in RFC 3339"),
        ("/tool/version".to_owned(), json!(""), "/tool/version: should not be empty"),
        ("/host/cpus".to_owned(), json!(0), "/host/cpus: should be at least 1"),
        ("/scenarios".to_owned(), json!({}), "/scenarios: should be an array"),
        (
            "/scenarios/0/requires".to_owned(),
            json!(["atomic-reads"]),
            "/scenarios/0/requires/0: `atomic-reads` is no claim",
        ),
        (
            strategy("origin"),
            json!("stolen"),
            "/scenarios/0/strategies/0/origin: `stolen` is none of built-in",
        ),
        (
            strategy("name"),
            json!("sqlite-wal"),
            "/scenarios/0/strategies/3: strategy `sqlite-wal` comes twice",
        ),
        (
            strategy("claims"),
            json!([
                "metadata-kept@concurrency",
                "metadata-kept@pause",
                "metadata-kept@kill",
                "metadata-kept@flood"
            ]),
            "/scenarios/0/strategies/0/claims/3: `metadata-kept@flood` is no claim",
        ),
        (
            strategy("latency/read/p90_ns"),
            json!(1),
            "/scenarios/0/strategies/0/latency/read/p90_ns: 1 is less than p50_ns",
        ),
        (
            strategy("latency/read/mean_ns"),
            json!(1),
            "/scenarios/0/strategies/0/latency/read/mean_ns: lies outside",
        ),
        (
            strategy("latency/read/p99_9_ns"),
            Value::Null,
            "/scenarios/0/strategies/0/latency/read: lacks `p99_9_ns`",
        ),
        (
            strategy("throughput_per_s/read"),
            json!("fast"),
            "/scenarios/0/strategies/0/throughput_per_s/read: should be a number",
        ),
        (
            strategy("throughput_per_s/dance"),
            json!(1),
            "/scenarios/0/strategies/0/throughput_per_s/dance: `dance` is none",
        ),
        (
            strategy("torn_reads/torn"),
            json!(9_999_999),
            "/scenarios/0/strategies/0/torn_reads: 9999999 torn reads among",
        ),
        (
            cell("guarantee"),
            json!("speed"),
            "/scenarios/0/strategies/0/verdicts/0/guarantee: `speed` is none of",
        ),
        (cell("hazard"), json!("pause"), "comes twice"),
        (
            cell("verdict"),
            json!("not-observed"),
            "verdicts/0/anomalies: an anomaly was seen, yet the verdict is not-observed",
        ),
        (cell("anomalies"), json!([]), "verdicts/0/anomalies: a violated guarantee needs an anomaly"),
        (
            cell("claimed"),
            json!(true),
            "verdicts/0/claimed: atomic-reads@concurrency is not among the claims",
        ),
        (cell("scope/executions"), json!(0), "verdicts/0/scope: violated, though nothing was executed"),
        (cell("scope/limit"), Value::Null, "verdicts/0/scope: lacks `limit`"),
        (
            cell("anomalies/0/kind"),
            json!("lost-update"),
            "verdicts/0/anomalies/0/kind: lost-update is no breach of atomic-reads",
        ),
        (cell("anomalies/0/count"), json!(0), "verdicts/0/anomalies/0/count: should be at least 1"),
        (cell("anomalies/0/witness/explanation"), json!(" "), "witness/explanation: should not be empty"),
        (cell("anomalies/0/witness/steps/6/mark"), json!(3), "witness/steps/6/mark: should be 1 or 2"),
        (
            cell("anomalies/0/witness/stderr"),
            json!([{"client": 1, "left_out": 0, "lines": [1]}]),
            "witness/stderr/0/lines/0: should be",
        ),
        (cell("anomalies/0/witness/steps/6/source"), json!(""), "steps/6/source: should not be empty"),
        (cell("anomalies/0/by_kind/odd"), json!(1), "by_kind/odd: `odd` is none of empty"),
        (
            "/scenarios/0/strategies/1/verdicts/0/verdict".to_owned(),
            json!("verified"),
            "/scenarios/0/strategies/1/verdicts/0/scope: verified, though not every execution was run",
        ),
        (
            "/scenarios/0/strategies/1/verdicts/0/verdict".to_owned(),
            json!("inconclusive"),
            "/scenarios/0/strategies/1/verdicts/0/scope: inconclusive, without the limit that was hit",
        ),
    ]
}

#[test]
fn a_good_run_has_no_problem() {
    assert_eq!(validate(&good()), []);
}

#[test]
fn every_planted_mistake_is_named_with_its_place() {
    for (pointer, value, expected) in planted() {
        let mut document = good();
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        let parent =
            document.pointer_mut(parent).expect("the sample has this").as_object_mut().expect("an object");
        match value {
            Value::Null => drop(parent.remove(key)),
            value => drop(parent.insert(key.to_owned(), value)),
        }
        let problems: Vec<String> = validate(&document).iter().map(Problem::to_string).collect();
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{pointer}: {problems:?}");
    }
}

#[test]
fn unknown_fields_are_allowed_and_other_documents_are_not() {
    let mut document = good();
    document["weather"] = json!("fine");
    assert_eq!(validate(&document), []);
    assert_eq!(validate(&json!([])).len(), 1);
    assert!(validate(&json!({})).len() >= 5);
}
