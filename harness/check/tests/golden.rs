//! Golden histories: every guarantee and every kind of anomaly that the checkers report, mostly in
//! pairs of a history that is fine and one that differs from it by the breach.
//!
//! The first line of each file says under `expect` what must be found: the kinds of anomaly with
//! their counts for each guarantee that is violated (and torn reads under `by_kind`), or
//! `"inconclusive"`. Every other guarantee must hold or say nothing. `about` says why.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tearproof_check::check;
use tearproof_core::jsonl::Reader;
use tearproof_core::{AnomalyKind, Finding, Guarantee, History, Witness};

fn histories() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/histories");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(files.len() > 50, "the histories are there");
    files
}

fn read(path: &Path) -> (Value, History) {
    let text = std::fs::read(path).expect("readable");
    let mut reader = Reader::new();
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        reader.line(line).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    let head = text.split(|&byte| byte == b'\n').next().expect("a first line");
    let head: Value = serde_json::from_slice(head).expect("the first line is JSON");
    (head["expect"].clone(), reader.finish().unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// The findings in the form in which the files expect them.
fn found(findings: &[(Guarantee, Finding)]) -> Value {
    let mut found = serde_json::Map::new();
    for (guarantee, finding) in findings {
        match finding {
            Finding::Violated(anomalies) => {
                let mut kinds: BTreeMap<String, Value> = BTreeMap::new();
                for anomaly in anomalies {
                    assert_eq!(anomaly.kind.breaches(), *guarantee);
                    kinds.insert(anomaly.kind.to_string(), json!(anomaly.count));
                    if !anomaly.by_kind.is_empty() {
                        kinds.insert("by_kind".to_owned(), json!(anomaly.by_kind));
                    }
                }
                found.insert(guarantee.to_string(), json!(kinds));
            }
            Finding::Inconclusive(reason) => {
                assert!(!reason.is_empty());
                found.insert(guarantee.to_string(), json!("inconclusive"));
            }
            Finding::Holds | Finding::NotApplicable => {}
        }
    }
    Value::Object(found)
}

#[test]
fn every_history_is_found_to_be_what_it_is() {
    for path in histories() {
        let (expected, history) = read(&path);
        let findings = check(&history).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(found(&findings), expected, "{}: {findings:#?}", path.display());
        let violated = findings.iter().any(|(_, finding)| matches!(finding, Finding::Violated(_)));
        let named_bad = path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("-bad"));
        assert_eq!(violated, named_bad, "{}", path.display());
    }
}

#[test]
fn every_witness_explains_itself_in_a_few_steps() {
    for path in histories() {
        let (_, history) = read(&path);
        for (guarantee, finding) in check(&history).expect("well formed") {
            let Finding::Violated(anomalies) = finding else { continue };
            for anomaly in anomalies {
                let witness = &anomaly.witness;
                let shown = format!("{}: {witness:#?}", path.display());
                assert!(witness.explanation.len() > 40, "{shown}");
                if matches!(guarantee, Guarantee::NoResidue | Guarantee::MetadataKept) {
                    continue;
                }
                assert!(anomaly.first_after_ms.is_some(), "{shown}");
                assert!((2..=6).contains(&witness.steps.len()), "{shown}");
                assert!(witness.steps.is_sorted_by_key(|step| step.time_ns), "{shown}");
                let mut marks: Vec<u8> = witness.steps.iter().filter_map(|step| step.mark).collect();
                marks.sort_unstable();
                assert_eq!(marks, [1, 2], "{shown}");
                for mark in ["(1)", "(2)"] {
                    assert!(witness.explanation.contains(mark), "{shown}");
                }
            }
        }
    }
}

#[test]
fn every_anomaly_that_the_checkers_report_has_a_history() {
    let seen: BTreeSet<AnomalyKind> = histories()
        .iter()
        .flat_map(|path| check(&read(path).1).expect("well formed"))
        .filter_map(|(_, finding)| match finding {
            Finding::Violated(anomalies) => Some(anomalies),
            _ => None,
        })
        .flatten()
        .map(|anomaly| anomaly.kind)
        .collect();
    // What a history cannot show is left to the engines that watch more than clients.
    let elsewhere = [
        AnomalyKind::Livelock,
        AnomalyKind::LostData,
        AnomalyKind::LostName,
        AnomalyKind::SilentFailure,
        AnomalyKind::ValueDestroyed,
    ];
    for kind in AnomalyKind::ALL {
        assert_eq!(seen.contains(kind), !elsewhere.contains(kind), "{kind}");
    }
}

#[test]
fn every_witness_names_the_part_that_a_client_plays_where_it_is_known() {
    let mut named = 0;
    for path in histories() {
        let (_, mut history) = read(&path);
        for client in history.events.iter().map(|event| event.client).collect::<BTreeSet<u32>>() {
            history.roles.insert(client, "agent".to_owned());
        }
        for (_, finding) in check(&history).expect("well formed") {
            let Finding::Violated(anomalies) = finding else { continue };
            for Witness { explanation, steps, .. } in anomalies.iter().map(|anomaly| &anomaly.witness) {
                let words: Vec<&str> = explanation.split_whitespace().collect();
                let bare = words.windows(2).find(|pair| {
                    pair[0].eq_ignore_ascii_case("client")
                        && pair[1].starts_with(|c: char| c.is_ascii_digit())
                });
                assert_eq!(bare, None, "{}: {explanation}", path.display());
                assert!(steps.iter().all(|step| step.role.as_deref() == Some("agent")), "{}", path.display());
                named += usize::from(explanation.contains("agent "));
            }
        }
    }
    assert!(named > 25, "explanations name who did it: {named}");
}

#[test]
fn a_stale_read_is_explained_as_a_contradiction() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/histories");
    let (_, history) = read(&folder.join("register-stale-read-bad.jsonl"));
    let findings = check(&history).expect("well formed");
    let (_, Finding::Violated(anomalies)) = &findings[2] else { panic!("{findings:#?}") };
    assert_eq!(
        anomalies[0].witness.explanation,
        "1 came before 2, because client 0's write of 1 had returned before client 0's write of 2 was invoked; \
         but 2 came before 1, because client 0's write of 2 had returned (1) before client 1 invoked the read \
         that returned 1 (2): a contradiction"
    );
}
