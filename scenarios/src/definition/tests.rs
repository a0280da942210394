//! What the reader takes and what it refuses, each refusal with its report as people see it.

use super::*;
use miette::{GraphicalReportHandler, GraphicalTheme};
use std::time::Duration;
use tearproof_core::claim::{Guarantee, Hazard};
use tearproof_core::object::Operation;
use tearproof_core::scenario::*;

const REGISTER: &[Object] = &[Object::Register];
const SET: &[Object] = &[Object::Register, Object::Set];
const LOCK: &[Object] = &[Object::Lock];

const fn info(name: &'static str, objects: &'static [Object]) -> StrategyInfo {
    StrategyInfo { name, algorithm: "", claims: &[], source: "", objects, broken: false, timed: false }
}

static IN_PLACE: StrategyInfo = info("in-place-truncate", SET);
static RENAME: StrategyInfo = info("temp-rename", SET);
static ATOMIC: StrategyInfo = info("write-file-atomic", SET);
static END_FILE: StrategyInfo = info("end-file", REGISTER);
static FLOCK: StrategyInfo = info("lock-flock", LOCK);
static APPEND: StrategyInfo = info("append-log", &[Object::Log]);

/// A few strategies, so that the reader is tested without the real ones.
fn known() -> Vec<&'static StrategyInfo> {
    vec![&IN_PLACE, &RENAME, &ATOMIC, &END_FILE, &FLOCK, &APPEND]
}

fn read_text(text: &str) -> Result<Scenario, DefinitionErrors> {
    parse("mine.toml", text, Path::new("/here"), &known())
}

fn accept(text: &str) -> Scenario {
    read_text(text).unwrap_or_else(|errors| panic!("{}", render(&errors)))
}

fn render(errors: &DefinitionErrors) -> String {
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(100);
    let mut out = String::new();
    handler.render_report(&mut out, errors).expect("a report renders");
    out.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[test]
fn every_built_in_definition_is_right_and_says_what_it_is_about() {
    for (name, text) in built_in() {
        // Every strategy that a definition names is taken for one that keeps anything.
        struct Anything;
        impl Known for Anything {
            fn find(&self, name: &str) -> Option<&'static StrategyInfo> {
                static ANY: StrategyInfo = info("any", Object::ALL);
                (!name.is_empty()).then_some(&ANY)
            }
            fn names(&self) -> Vec<&'static str> {
                Vec::new()
            }
        }
        let scenario = load_built_in(name, &Anything)
            .expect("it is there")
            .unwrap_or_else(|errors| panic!("{}", render(&errors)));
        assert_eq!(scenario.name, *name);
        assert!(text.starts_with("# Raced: ") && text.contains("\n# Settled: "), "{name}");
        assert!(scenario.source.starts_with("seed 00") && !scenario.summary.is_empty(), "{name}");
    }
}
