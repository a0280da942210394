//! What the strategies of a scenario cost: latency and throughput by operation, torn reads per
//! million and the race window, all measured under plain concurrency, as the headings say.

use tearproof_core::object::Operation;
use tearproof_core::run::{ScenarioRun, StrategyRun};
use tearproof_core::units::Nanos;

use crate::assessment;
use crate::grid::{Align, Column, Grid, Group, Row};
use crate::number;
use crate::statistics;
use crate::style::{Ink, Line, Page};

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

/// Writes the table of a scenario; nothing when nothing was measured.
pub fn write(scenario: &ScenarioRun, page: &mut Page) {
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
        groups.push(Group {
            title: format!("{operation}, under concurrency"),
            columns: vec![
                numbers("p50", &strategies, |s| latency(s).map(|latency| Nanos(latency.p50_ns).to_string())),
                numbers("p99", &strategies, |s| latency(s).map(|latency| Nanos(latency.p99_ns).to_string())),
                numbers("per s", &strategies, |s| {
                    s.throughput_per_s.get(&operation).map(|&rate| number::short(rate))
                }),
            ],
        });
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
