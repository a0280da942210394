//! How far the engines looked in a scenario: the size of the samples; and of what was explored which
//! clients played, and of which strategies every execution was run, up to which bound, or a sample.

use std::collections::{BTreeMap, BTreeSet};

use tearproof_core::claim::{Engine, Hazard};
use tearproof_core::run::{ScenarioRun, StrategyRun};
use tearproof_core::verdict::{Sampling, Scope};

use crate::number;
use crate::style::{Ink, Line, Page};
use crate::terminal::Details;

/// What was looked at of the executions of one strategy. In the order in which they are told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Extent {
    /// Every one.
    All,
    /// Every one with at most so many preemptions.
    Within(u32),
    /// Some, until nothing was left to be found out.
    UntilBroken,
    /// A sample.
    Sample,
    /// Some, and no more can be said.
    Unknown,
}

impl Extent {
    fn of(scope: &Scope) -> Self {
        match (scope.exhausted, scope.preemption_bound) {
            (true, None) => Self::All,
            (true, Some(bound)) => Self::Within(bound),
            (false, _) if !scope.sampling.is_empty() => Self::Sample,
            (false, _) if scope.limit.is_none() => Self::UntilBroken,
            (false, _) => Self::Unknown,
        }
    }

    fn words(self, operations: Option<u64>) -> String {
        let what = match self {
            Self::All | Self::Within(_) => "every execution",
            Self::UntilBroken => "until all was seen broken",
            Self::Sample => "a sample",
            Self::Unknown => "not to the end",
        };
        let each = operations.map(|count| format!(", {} each", number::of(count, "operation", "operations")));
        let bound = match self {
            Self::Within(bound) => {
                format!(", at most {}", number::of(bound.into(), "preemption", "preemptions"))
            }
            _ => String::new(),
        };
        format!("{what}{}{bound}:", each.unwrap_or_default())
    }
}

/// The executions and operations that the stress engine ran of a strategy under a hazard.
fn sample(strategy: &StrategyRun, hazard: Hazard) -> Option<(u64, u64)> {
    let cells = strategy.verdicts.iter();
    let cells = cells.filter(|cell| cell.engine == Engine::Stress && cell.hazard == hazard);
    let sizes = cells.map(|cell| (cell.scope.executions, cell.scope.operations.unwrap_or(0)));
    // An execution that could not tell is missing in some cells.
    sizes.reduce(|a, b| (a.0.max(b.0), a.1.max(b.1)))
}

/// Writes the size of the samples, if any were taken: of each strategy where everything is asked for.
fn sampled(scenario: &ScenarioRun, details: Details, page: &mut Page) {
    let mut ranges = Vec::new();
    for &hazard in Hazard::ALL {
        let sizes = scenario.strategies.iter().filter_map(|strategy| sample(strategy, hazard));
        let (executions, operations): (Vec<u64>, Vec<u64>) = sizes.unzip();
        if !executions.is_empty() {
            ranges.push(format!(
                "{}, {} under\u{a0}{hazard}",
                range(&executions, "execution", "executions"),
                range(&operations, "operation", "operations")
            ));
        }
    }
    if ranges.is_empty() {
        return;
    }
    let each = if scenario.strategies.len() > 1 { "of each strategy: " } else { "" };
    page.wrap(&Line::of(Ink::Strong, "sampled    ").plain(each).plain(ranges.join("; ")), 11);
    if details == Details::Full && scenario.strategies.len() > 1 {
        for strategy in &scenario.strategies {
            let sizes = Hazard::ALL.iter().filter_map(|&hazard| {
                let (executions, operations) = sample(strategy, hazard)?;
                Some(format!(
                    "{}, {} under\u{a0}{hazard}",
                    number::of(executions, "execution", "executions"),
                    number::of(operations, "operation", "operations")
                ))
            });
            let line = Line::of(Ink::Plain, "   ").with(Ink::Strong, &strategy.name).plain(": ");
            page.wrap(&line.plain(sizes.collect::<Vec<_>>().join("; ")), 6);
        }
    }
}

/// `3–41 executions`.
fn range(sizes: &[u64], one: &str, many: &str) -> String {
    let least = sizes.iter().copied().min().unwrap_or(0);
    let most = sizes.iter().copied().max().unwrap_or(0);
    if least == most {
        return number::of(most, one, many);
    }
    format!("{}–{}", number::count(least), number::of(most, one, many))
}

/// Writes how far was looked.
pub fn write(scenario: &ScenarioRun, details: Details, page: &mut Page) {
    sampled(scenario, details, page);
    explored(scenario, page);
}

/// What may have happened to clients in an execution that was explored.
fn faults(scenario: &ScenarioRun) -> String {
    let cells = scenario.strategies.iter().flat_map(|strategy| &strategy.verdicts);
    let scopes = || cells.clone().filter(|cell| cell.engine == Engine::Explore).map(|cell| &cell.scope);
    let mut told = String::new();
    if let Some(kills) = scopes().filter_map(|scope| scope.kills).max() {
        told += &format!(", at most {}", number::of(kills, "kill", "kills"));
    }
    if let Some(pauses) = scopes().filter_map(|scope| scope.pauses).max() {
        told += &format!(", at most {}", number::of(pauses, "pause", "pauses"));
        let lengths: BTreeSet<u64> = scopes().filter_map(|scope| scope.pause_ms).collect();
        let lengths: Vec<String> = lengths.into_iter().map(length).collect();
        if !lengths.is_empty() {
            told += &format!(" of {}", lengths.join(" or "));
        }
    }
    told
}

/// A length of time, in the largest unit that it is a multiple of.
fn length(milliseconds: u64) -> String {
    let units = [(3_600_000, "h"), (60_000, "min"), (1000, "s")];
    let fits = |&&(unit, _): &&(u64, _)| milliseconds >= unit && milliseconds.is_multiple_of(unit);
    units.iter().find(fits).map_or_else(
        || format!("{milliseconds}\u{a0}ms"),
        |(unit, name)| format!("{}\u{a0}{name}", milliseconds / unit),
    )
}

/// Writes how far was looked, if anything was explored.
fn explored(scenario: &ScenarioRun, page: &mut Page) {
    let explored = scenario.strategies.iter().filter_map(|strategy| {
        let mut cells = strategy.verdicts.iter().filter(|cell| cell.engine == Engine::Explore);
        cells.next().map(|cell| (strategy.name.as_str(), &cell.scope))
    });
    let mut groups: BTreeMap<_, Vec<(&str, &Scope)>> = BTreeMap::new();
    for (name, scope) in explored {
        groups.entry((Extent::of(scope), scope.operations)).or_default().push((name, scope));
    }
    let Some((_, first)) = groups.values().flatten().next() else { return };
    let clients: Vec<String> =
        first.clients.iter().map(|(role, count)| format!("{role} × {count}")).collect();
    let clients = if clients.is_empty() { "clients".to_owned() } else { clients.join(", ") };
    let line = Line::of(Ink::Strong, "explored   ").plain(clients).plain(faults(scenario));
    page.wrap(&line.plain("; in brackets: executions"), 11);
    for ((extent, operations), strategies) in &groups {
        let names = strategies.iter().map(|(name, scope)| {
            let executions = number::count(scope.executions);
            format!("{name}\u{a0}({executions}{})", missed(&scope.sampling))
        });
        let line = Line::of(Ink::Plain, "   ").with(Ink::Strong, extent.words(*operations));
        page.wrap(&line.plain(format!(" {}", names.collect::<Vec<_>>().join(", "))), 6);
    }
}

/// What the samples may have missed, in words. What is next to certain is not worth a word.
fn missed(sampling: &[Sampling]) -> String {
    if sampling.is_empty() {
        return String::new();
    }
    let told = sampling.iter().filter(|sampling| sampling.missed_at_most < 0.995).map(|sampling| {
        let Sampling { depth, schedules, missed_at_most, .. } = sampling;
        format!(
            "; {} miss a bug of depth {depth} with probability at most {}",
            number::of(*schedules, "random schedule", "random schedules"),
            probability(*missed_at_most)
        )
    });
    let told: String = told.collect();
    let drawn = sampling.iter().map(|sampling| sampling.schedules).sum();
    if told.is_empty() {
        let drawn = number::of(drawn, "random schedule", "random schedules");
        return format!("; {drawn}, too few to exclude anything");
    }
    told
}

fn probability(value: f64) -> String {
    match value {
        value if value >= 0.01 => format!("{value:.2}"),
        value if value >= 1e-12 => format!("{value:.0e}"),
        _ => "1e-12".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use tearproof_core::claim::{Claim, Guarantee, Hazard};

    use super::*;
    use crate::sample::{scenario, strategy};
    use crate::style::Style;

    fn shown(scopes: &[Scope]) -> String {
        let claim = Claim::new(Guarantee::AtomicReads, Hazard::Concurrency);
        let strategies = scopes.iter().enumerate().map(|(number, scope)| {
            let mut strategy = strategy(&format!("strategy-{number}"), &[claim], &[claim]);
            strategy.verdicts[0].engine = Engine::Explore;
            strategy.verdicts[0].scope = scope.clone();
            strategy
        });
        let scenario = scenario("index", vec![claim], strategies.collect());
        let mut page = Page::new(Style { width: 100, color: false });
        write(&scenario, Details::Summary, &mut page);
        page.finish()
    }

    #[test]
    fn what_was_exhausted_is_told_apart_from_what_was_bounded_and_what_was_sampled() {
        let clients = [("agent".to_owned(), 2), ("watcher".to_owned(), 1)].into_iter().collect();
        let all =
            Scope { executions: 1722, exhausted: true, operations: Some(2), clients, ..Scope::default() };
        let within = Scope { preemption_bound: Some(1), executions: 40_321, ..all.clone() };
        let sampling = [(2, 1000, 1e-4), (3, 3000, 0.37)].map(|(depth, schedules, missed_at_most)| {
            Sampling { depth, schedules, threads: 3, steps: 40, missed_at_most }
        });
        let sample = Scope { exhausted: false, sampling: sampling.to_vec(), ..all.clone() };
        let unknown = Scope { exhausted: false, limit: Some("the time was over".to_owned()), ..all.clone() };
        let broken = Scope { exhausted: false, operations: Some(1), ..all.clone() };
        insta::assert_snapshot!(shown(&[all, within, sample, unknown, broken]), @r"
        explored   agent × 2, watcher × 1; in brackets: executions
           every execution, 2 operations each: strategy-0 (1,722)
           every execution, 2 operations each, at most 1 preemption: strategy-1 (40,321)
           until all was seen broken, 1 operation each: strategy-4 (1,722)
           a sample, 2 operations each: strategy-2 (1,722; 1,000 random schedules miss a bug of depth 2 with
              probability at most 1e-4; 3,000 random schedules miss a bug of depth 3 with probability at
              most 0.37)
           not to the end, 2 operations each: strategy-3 (1,722)
        ");
    }

    #[test]
    fn what_may_have_happened_to_clients_is_told_with_its_bounds() {
        let all = Scope { executions: 7, exhausted: true, operations: Some(1), ..Scope::default() };
        let killed = Scope { kills: Some(1), ..all.clone() };
        let paused = |pause_ms| Scope { pauses: Some(1), pause_ms, ..all.clone() };
        let told = |scopes: &[Scope]| shown(scopes).lines().next().map(|line| line.replace('\u{a0}', " "));
        assert_eq!(
            told(&[killed, paused(Some(60)), paused(Some(7_200_000)), paused(None)]).as_deref(),
            Some(
                "explored   clients, at most 1 kill, at most 1 pause of 60 ms or 2 h; in brackets: executions"
            )
        );
        assert_eq!(
            told(&[paused(Some(90_000))]).as_deref(),
            Some("explored   clients, at most 1 pause of 90 s; in brackets: executions")
        );
    }

    #[test]
    fn the_size_of_each_sample_is_told() {
        let looked = crate::sample::claims(&[Guarantee::AtomicReads], &[Hazard::Concurrency, Hazard::Kill]);
        let mut small = strategy("small", &looked, &[]);
        small.verdicts[1].scope = Scope { executions: 1, operations: Some(19), ..Scope::default() };
        let scenario = scenario("index", looked.clone(), vec![strategy("large", &looked, &[]), small]);
        let mut page = Page::new(Style { width: 100, color: false });
        write(&scenario, Details::Full, &mut page);
        insta::assert_snapshot!(page.finish(), @r"
        sampled    of each strategy: 41 executions, 174,420 operations under concurrency; 1–41 executions,
                   19–174,420 operations under kill
           large: 41 executions, 174,420 operations under concurrency; 41 executions, 174,420 operations
              under kill
           small: 41 executions, 174,420 operations under concurrency; 1 execution, 19 operations under kill
        ");
    }

    #[test]
    fn a_run_that_explored_nothing_says_nothing_of_it() {
        assert_eq!(shown(&[]), "");
    }
}
