//! What the strategies of a scenario cost: latency and throughput by operation, torn reads per
//! million and the race window, all measured under plain concurrency, as the headings say.

use tearproof_core::object::Operation;
use tearproof_core::run::{Latency, ScenarioRun, StrategyRun};
use tearproof_core::units::Nanos;

use crate::assessment;
use crate::grid::{Align, Column, Grid, Group, Row};
use crate::number;
use crate::statistics;
use crate::style::{Ink, Line, Page};
use crate::terminal::Details;

/// What stands for a number that there is none of.
const ABSENT: &str = "-";

/// A column of numbers; `-` where a strategy has none.
fn numbers(head: &str, strategies: &[&StrategyRun], show: impl Fn(&StrategyRun) -> Option<String>) -> Column {
    let cells = strategies.iter().map(|strategy| match show(strategy) {
        Some(text) => Line::of(Ink::Plain, text),
        None => Line::of(Ink::Faint, ABSENT),
    });
    Column { head: vec![Line::of(Ink::Faint, head)], cells: cells.collect(), align: Align::Right }
}

/// A point of the distribution of latencies, and what its column is called.
type Point = (&'static str, fn(&Latency) -> u64);

/// What a decision needs.
const FEW_POINTS: &[Point] = &[("p50", |latency| latency.p50_ns), ("p99", |latency| latency.p99_ns)];
/// Everything that `run.json` has.
const ALL_POINTS: &[Point] = &[
    ("p50", |latency| latency.p50_ns),
    ("p90", |latency| latency.p90_ns),
    ("p99", |latency| latency.p99_ns),
    ("p99.9", |latency| latency.p99_9_ns),
    ("max", |latency| latency.max_ns),
];

/// Writes the table of a scenario; nothing when nothing was measured.
pub fn write(scenario: &ScenarioRun, details: Details, page: &mut Page) {
    let points = if details == Details::Full { ALL_POINTS } else { FEW_POINTS };
    let strategies: Vec<&StrategyRun> =
        assessment::ranked(scenario).into_iter().map(|(strategy, _)| strategy).collect();
    let mut groups = Vec::new();
    // What changes the state is what the strategies differ in.
    let order = [
        Operation::Update,
        Operation::Write,
        Operation::Cas,
        Operation::Append,
        Operation::Acquire,
        Operation::Release,
        Operation::Read,
    ];
    for operation in order {
        let measured = |strategy: &&&StrategyRun| {
            strategy.latency.contains_key(&operation) || strategy.throughput_per_s.contains_key(&operation)
        };
        if !strategies.iter().any(|strategy| measured(&strategy)) {
            continue;
        }
        let latency = |strategy: &StrategyRun| strategy.latency.get(&operation).copied();
        let latency = |strategy: &StrategyRun| latency(strategy).filter(|latency| latency.count > 0);
        let mut columns: Vec<Column> = points
            .iter()
            .map(|(name, point)| {
                numbers(name, &strategies, |s| latency(s).map(|latency| Nanos(point(&latency)).to_string()))
            })
            .collect();
        columns.push(numbers("per s", &strategies, |s| {
            s.throughput_per_s.get(&operation).map(|&rate| number::short(rate))
        }));
        groups.push(Group { title: format!("{operation}, under concurrency"), columns });
    }
    if strategies.iter().any(|strategy| strategy.torn_reads.is_some()) {
        let torn = |strategy: &StrategyRun| {
            let interval = statistics::torn_per_million(strategy.torn_reads.as_ref()?)?;
            Some(number::interval(interval, number::short))
        };
        let window = |strategy: &StrategyRun| {
            let interval = statistics::race_window_ns(strategy.torn_reads.as_ref()?)?;
            Some(number::interval(interval, number::nanos))
        };
        groups.push(Group {
            title: format!(
                "torn reads, under concurrency ({:.0} % confidence)",
                statistics::CONFIDENCE * 100.0
            ),
            columns: vec![
                numbers("per million reads", &strategies, torn),
                numbers("race window per write", &strategies, window),
            ],
        });
    }
    if groups.is_empty() {
        return;
    }
    let rows =
        strategies.iter().map(|strategy| Row { name: crate::guarantees::name(strategy), heading: None });
    let grid = Grid { corner: "   strategy".to_owned(), rows: rows.collect(), groups };
    let absent = grid.groups.iter().flat_map(|group| &group.columns).flat_map(|column| &column.cells);
    let absent = absent.into_iter().any(|cell| *cell == Line::of(Ink::Faint, ABSENT));
    page.gap();
    grid.write(page);
    if absent {
        page.line(Line::of(Ink::Faint, "- not measured: no such operation completed after the warm-up"));
    }
}
