//! What went wrong in a scenario, in prose: broken claims first, then the weaknesses that nobody
//! denied, then the errors that clients met and what the environment kept from running.
//!
//! One entry a strategy and kind of anomaly. The evidence that is shown is the shortest there is,
//! of whichever hazard and engine; `run.json` has the rest.

use std::collections::BTreeMap;

use tearproof_core::claim::{AnomalyKind, Claim};
use tearproof_core::history::client_name;
use tearproof_core::run::{Cell, Run, ScenarioRun, StrategyRun};
use tearproof_core::units::Nanos;
use tearproof_core::verdict::{Anomaly, StandardError, Step, Verdict, Witness};

use crate::assessment;
use crate::number;
use crate::statistics;
use crate::style::{Ink, Line, Page, columns_of};
use crate::terminal::{self, Details};

/// Steps of a witness that a summary shows.
const STEPS: usize = 8;
/// Lines of each program's standard error beside it.
const STDERR_LINES: usize = 3;
/// Messages of one strategy, or of one scenario of many strategies, that a summary shows.
const MESSAGES: usize = 3;
/// Up to so many strategies in a run a summary speaks of each by itself.
const FEW: usize = 10;

/// Of which kinds of anomaly an example was given further up, and of which strategy in which scenario.
#[derive(Debug, Default)]
pub struct Explained(BTreeMap<AnomalyKind, String>);

impl Explained {
    /// Where an example of this kind was given.
    fn place(&self, kind: AnomalyKind) -> Option<&str> {
        self.0.get(&kind).map(String::as_str)
    }

    /// Notes that one is given of this strategy in the scenario with this label, if it is the first.
    fn note(&mut self, kind: AnomalyKind, label: &str, entry: &Entry<'_>) {
        self.0.entry(kind).or_insert_with(|| format!("{label}/{}", entry.strategy.name));
    }
}

fn see_above(place: &str, page: &mut Page) {
    page.wrap(&Line::of(Ink::Faint, format!("     example: see {place} above; --full shows each")), 7);
}

/// One kind of breach of one strategy, under all hazards and by all engines that saw it.
struct Entry<'a> {
    strategy: &'a StrategyRun,
    kind: AnomalyKind,
    seen: Vec<(&'a Cell, &'a Anomaly)>,
}

impl<'a> Entry<'a> {
    fn count(&self) -> u64 {
        self.seen.iter().map(|(_, anomaly)| anomaly.count).sum()
    }

    /// The one with the fewest steps, though not one without any.
    fn shortest(&self) -> &'a Witness {
        let by_length = |(_, anomaly): &&(&Cell, &Anomaly)| {
            let steps = anomaly.witness.steps.len();
            if steps == 0 { usize::MAX } else { steps }
        };
        let (_, anomaly) = self.seen.iter().min_by_key(by_length).expect("an entry is made from an anomaly");
        &anomaly.witness
    }

    fn broken_claims(&self) -> Vec<Claim> {
        let mut claims: Vec<Claim> = self
            .seen
            .iter()
            .filter(|(cell, _)| cell.claimed)
            .map(|(cell, _)| Claim::new(cell.guarantee, cell.hazard))
            .collect();
        claims.sort_unstable();
        claims.dedup();
        claims
    }
}

fn entries<'a>(strategies: &[&'a StrategyRun], claimed: bool) -> Vec<Entry<'a>> {
    let mut all: Vec<Entry<'a>> = Vec::new();
    for &strategy in strategies {
        let mut by_kind: BTreeMap<AnomalyKind, Vec<(&Cell, &Anomaly)>> = BTreeMap::new();
        let violated = |cell: &&Cell| cell.verdict == Verdict::Violated && cell.claimed == claimed;
        for cell in strategy.verdicts.iter().filter(violated) {
            for anomaly in &cell.anomalies {
                by_kind.entry(anomaly.kind).or_default().push((cell, anomaly));
            }
        }
        all.extend(by_kind.into_iter().map(|(kind, mut seen)| {
            seen.sort_by_key(|(cell, _)| (cell.hazard, cell.engine));
            Entry { strategy, kind, seen }
        }));
    }
    all
}

/// Writes everything that there is to say of a scenario beyond its tables. `explained` is what an
/// example was given of further up; in a run of many strategies one example of a kind is enough.
pub fn write(
    run: &Run,
    scenario: &ScenarioRun,
    details: Details,
    explained: &mut Explained,
    page: &mut Page,
) {
    let rows: usize = run.scenarios.iter().map(|scenario| scenario.strategies.len()).sum();
    let brief = details == Details::Summary && rows > FEW;
    let label = terminal::label(run, scenario);
    let strategies: Vec<&StrategyRun> =
        assessment::ranked(scenario).into_iter().map(|(strategy, _)| strategy).collect();
    let broken = entries(&strategies, true);
    if !broken.is_empty() {
        page.gap();
        page.line(
            Line::of(Ink::Alarm, "✗! Broken claims")
                .with(Ink::Faint, ": these strategies promise what they do not keep"),
        );
    }
    for entry in &broken {
        page.gap();
        head(entry, details, true, page);
        witness(entry.shortest(), details, true, page);
        explained.note(entry.kind, &label, entry);
        let command = terminal::command(run, Some(scenario), Some(&entry.strategy.name));
        page.wrap(&Line::of(Ink::Faint, "     reproduce  ").plain(command), 16);
    }
    let weak = entries(&strategies, false);
    if !weak.is_empty() {
        page.gap();
        page.line(
            Line::of(Ink::Bad, "✗ Weaknesses")
                .with(Ink::Faint, ": seen broken, but not claimed, so they do not fail the run"),
        );
    }
    if brief {
        by_kind(&label, &weak, explained, page);
        errors_by_message(&strategies, page);
    } else {
        for entry in &weak {
            head(entry, details, false, page);
            // One example of a kind is instructive; the twentieth is not.
            match explained.place(entry.kind).filter(|_| details == Details::Summary) {
                Some(place) => see_above(place, page),
                None => witness(entry.shortest(), details, true, page),
            }
            explained.note(entry.kind, &label, entry);
        }
        errors(&strategies, details, page);
    }
    undecided(&strategies, page);
    problems(&strategies, page);
}

/// Why something could not be decided, promised or not: each reason once. What is among the problems
/// of a strategy need not be said again.
fn undecided(strategies: &[&StrategyRun], page: &mut Page) {
    let mut reasons: BTreeMap<&str, Vec<(&str, Vec<Claim>)>> = BTreeMap::new();
    for strategy in strategies {
        for cell in strategy.verdicts.iter().filter(|cell| cell.verdict == Verdict::Inconclusive) {
            let reason = cell.scope.limit.as_deref().unwrap_or("no limit was named");
            if strategy.problems.iter().any(|problem| problem == reason) {
                continue;
            }
            let who = reasons.entry(reason).or_default();
            if who.last().is_none_or(|(name, _)| *name != strategy.name) {
                who.push((&strategy.name, Vec::new()));
            }
            if let Some((_, claims)) = who.last_mut() {
                claims.push(Claim::new(cell.guarantee, cell.hazard));
            }
        }
    }
    if reasons.is_empty() {
        return;
    }
    page.gap();
    page.line(
        Line::of(Ink::Doubtful, "? Inconclusive").with(Ink::Faint, ": what kept it from being decided"),
    );
    for (reason, who) in reasons {
        let cells = who.iter().map(|(name, claims)| format!("{name} ({})", assessment::in_words(claims)));
        let line = Line::of(Ink::Plain, "   ").plain(reason).plain(": ");
        page.wrap(&line.with(Ink::Strong, cells.collect::<Vec<_>>().join(", ")), 7);
    }
}

/// The weaknesses of many strategies: for each kind who has it and how often, and one example of
/// each kind in a run.
fn by_kind(label: &str, weak: &[Entry<'_>], explained: &mut Explained, page: &mut Page) {
    let mut kinds: BTreeMap<AnomalyKind, Vec<&Entry<'_>>> = BTreeMap::new();
    for entry in weak {
        kinds.entry(entry.kind).or_default().push(entry);
    }
    for (kind, entries) in kinds {
        let who = entries
            .iter()
            .map(|entry| unbroken(&format!("{} × {}", entry.strategy.name, number::count(entry.count()))));
        let line = Line::of(Ink::Plain, "   ")
            .with(Ink::Bad, kind.name())
            .plain("  ")
            .plain(who.collect::<Vec<_>>().join(", "));
        page.wrap(&line, 7);
        if let Some(place) = explained.place(kind) {
            see_above(place, page);
        } else {
            let example = entries[0];
            explained.note(kind, label, example);
            page.wrap(&Line::of(Ink::Faint, format!("     for example {}:", example.strategy.name)), 7);
            witness(example.shortest(), Details::Summary, true, page);
        }
    }
}

/// The errors of many strategies: what was said, how often, and to how many of them.
fn errors_by_message(strategies: &[&StrategyRun], page: &mut Page) {
    let mut messages: BTreeMap<&str, (u64, Vec<&str>)> = BTreeMap::new();
    for strategy in strategies {
        for error in &strategy.errors {
            let (times, who) = messages.entry(&error.message).or_default();
            *times += error.count;
            if who.last() != Some(&strategy.name.as_str()) {
                who.push(&strategy.name);
            }
        }
    }
    if messages.is_empty() {
        return;
    }
    page.gap();
    page.line(
        Line::of(Ink::Strong, "Errors")
            .with(Ink::Faint, ": what clients were told when an operation did not succeed"),
    );
    let mut messages: Vec<_> = messages.into_iter().collect();
    messages.sort_by_key(|(message, (times, _))| (std::cmp::Reverse(*times), *message));
    for (message, (times, who)) in messages.iter().take(MESSAGES) {
        let to = match who[..] {
            [one] => one.to_owned(),
            [first, ..] => format!("{first} and {}", number::of(who.len() as u64 - 1, "other", "others")),
            [] => String::new(),
        };
        let line = Line::of(Ink::Plain, "   ")
            .plain(*message)
            .with(Ink::Faint, format!("  ×\u{a0}{} ({to})", number::count(*times)));
        page.wrap(&line, 7);
    }
    if let Some(rest) = messages.len().checked_sub(MESSAGES).filter(|&rest| rest > 0) {
        page.line(Line::of(
            Ink::Faint,
            format!("   {}", number::of(rest as u64, "message more", "messages more")),
        ));
    }
}

/// What, how often, under which hazard, and how soon.
fn head(entry: &Entry<'_>, details: Details, claimed: bool, page: &mut Page) {
    let ink = if claimed { Ink::Alarm } else { Ink::Strong };
    let mut line = Line::of(Ink::Plain, "   ").with(ink, &entry.strategy.name);
    line.push(Ink::Plain, ": ");
    line.push(Ink::Bad, entry.kind.name());
    line.push(Ink::Plain, format!(" ×\u{a0}{}", number::count(entry.count())));
    let engine = entry.seen[0].0.engine;
    let one_engine = entry.seen.iter().all(|(cell, _)| cell.engine == engine);
    let by_hazard = entry.seen.iter().map(|(cell, anomaly)| {
        let many =
            if entry.seen.len() > 1 { format!("{} ", number::count(anomaly.count)) } else { String::new() };
        let who = if one_engine { String::new() } else { format!(" by {}", cell.engine) };
        let soon =
            anomaly.first_after_ms.map_or_else(String::new, |ms| format!(", first after {}", after(ms)));
        unbroken(&format!("{many}under {}{who}{soon}", cell.hazard))
    });
    line.push(Ink::Plain, if entry.seen.len() > 1 { ": " } else { " " });
    line.push(Ink::Plain, by_hazard.collect::<Vec<_>>().join("; "));
    if one_engine {
        line.push(Ink::Faint, format!(" ({engine})"));
    }
    page.wrap(&line, 7);
    if claimed {
        let claims = entry.broken_claims();
        let claims: Vec<String> = claims.iter().map(Claim::to_string).collect();
        page.wrap(&Line::of(Ink::Plain, "     it claims ").with(Ink::Strong, claims.join(", ")), 7);
    }
    if entry.kind == AnomalyKind::TornRead {
        torn(entry, page);
    }
    if details == Details::Full {
        for (cell, anomaly) in &entry.seen {
            let text = format!(
                "     {} of {} under {}: {}",
                number::of(anomaly.count, "breach", "breaches"),
                number::of(cell.scope.executions, "execution", "executions"),
                cell.hazard,
                if cell.scope.exhausted { "every one within the bounds" } else { "a sample" },
            );
            page.wrap(&Line::of(Ink::Faint, text), 7);
        }
    }
}

/// `3 ms`, `1.20 s`: what was counted in milliseconds has no decimals of them.
fn after(ms: u64) -> String {
    match ms {
        0 => "less than 1 ms".to_owned(),
        1..1_000 => format!("{ms} ms"),
        _ => number::nanos(ms as f64 * 1e6),
    }
}

/// The same text, to be kept on one line.
fn unbroken(text: &str) -> String {
    text.replace(' ', "\u{a0}")
}

/// How reads were torn, how many of them, and in which window.
fn torn(entry: &Entry<'_>, page: &mut Page) {
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, anomaly) in &entry.seen {
        for (kind, count) in &anomaly.by_kind {
            *kinds.entry(kind).or_default() += count;
        }
    }
    let mut parts = Vec::new();
    if !kinds.is_empty() {
        let kinds: Vec<String> = kinds
            .iter()
            .map(|(kind, &times)| unbroken(&format!("{kind} × {}", number::count(times))))
            .collect();
        parts.push(kinds.join(", "));
    }
    if let Some(torn) = entry.strategy.torn_reads.as_ref().filter(|torn| torn.torn > 0)
        && let Some(interval) = statistics::race_window_ns(torn)
    {
        parts.push(format!("race window per write {}", unbroken(&number::interval(interval, number::nanos))));
    }
    if !parts.is_empty() {
        page.wrap(&Line::of(Ink::Plain, "     ").plain(parts.join("; ")), 7);
    }
}

/// The explanation and, where `steps` says so or everything is asked for, what happened.
pub fn witness(witness: &Witness, details: Details, steps: bool, page: &mut Page) {
    page.wrap(&Line::of(Ink::Plain, "     ").plain(&witness.explanation), 5);
    if !steps && details == Details::Summary {
        return;
    }
    let chosen = match details {
        Details::Full => (0..witness.steps.len()).collect(),
        Details::Summary => chosen(&witness.steps),
    };
    // Where clients run one step at a time, times are the numbers of steps.
    let stepwise = witness.replay.is_some();
    let time = |step: &Step| match stepwise {
        true => format!("{}.", step.time_ns),
        false => Nanos(step.time_ns).to_string(),
    };
    let times: Vec<String> = witness.steps.iter().map(time).collect();
    let wide = chosen.iter().map(|&at| times[at].chars().count()).max().unwrap_or(0);
    let who = |step: &Step| client_name(step.client, step.role.as_deref());
    let called = chosen.iter().map(|&at| columns_of(&who(&witness.steps[at]))).max().unwrap_or(0);
    let mut next = 0;
    for &at in &chosen {
        left_out(at - next, page);
        next = at + 1;
        let step = &witness.steps[at];
        let mut line = match step.mark {
            Some(mark) => Line::of(Ink::Strong, format!("     ({mark}) ")),
            None => Line::of(Ink::Plain, "         "),
        };
        line.push(Ink::Faint, format!("{:>wide$}", times[at]));
        line.push(Ink::Strong, format!("  {:<called$}  ", who(step)));
        line.push(if step.mark.is_some() { Ink::Strong } else { Ink::Plain }, &step.what);
        let indent = 9 + wide + 2;
        page.wrap(&line, indent);
        if let Some(source) = &step.source {
            let line = Line::of(Ink::Plain, " ".repeat(indent + called + 4)).plain(source);
            page.wrap(&line, indent + called + 4);
        }
    }
    left_out(witness.steps.len() - next, page);
    stderr(&witness.stderr, details, page);
    if let Some(token) = &witness.replay {
        // A token that is cut would be worth nothing.
        let line = Line::of(Ink::Faint, "     replay     ").plain(format!("tearproof replay {token}"));
        page.wrap(&line, 16);
    }
}

/// The end of what programs wrote to their standard error.
fn stderr(all: &[StandardError], details: Details, page: &mut Page) {
    for said in all {
        let who = client_name(said.client, said.role.as_deref());
        let most = if details == Details::Full { said.lines.len() } else { STDERR_LINES };
        let (left_out, shown) = said.lines.split_at(said.lines.len().saturating_sub(most));
        let earlier = match said.left_out + left_out.len() as u64 {
            0 => String::new(),
            lines => format!(" (… {} before)", number::of(lines, "line", "lines")),
        };
        page.line(Line::of(Ink::Faint, "     stderr     ").with(Ink::Strong, who).with(Ink::Faint, earlier));
        for line in shown {
            page.wrap(&Line::of(Ink::Plain, "                ").plain(line), 18);
        }
    }
}

fn left_out(steps: usize, page: &mut Page) {
    if steps > 0 {
        let text = format!("         … {} left out", number::of(steps as u64, "step", "steps"));
        page.line(Line::of(Ink::Faint, text));
    }
}

/// The steps that a summary shows: the two that conflict, then what is nearest to them.
fn chosen(steps: &[Step]) -> Vec<usize> {
    let marked: Vec<usize> = (0..steps.len()).filter(|&at| steps[at].mark.is_some()).collect();
    let mut order: Vec<usize> = (0..steps.len()).collect();
    // Without a mark the end is where it went wrong.
    let distance = |at: usize| match marked.iter().map(|mark| mark.abs_diff(at)).min() {
        Some(nearest) => nearest,
        None => steps.len() - at,
    };
    order.sort_by_key(|&at| distance(at));
    order.truncate(STEPS.max(marked.len()));
    order.sort_unstable();
    order
}

fn errors(strategies: &[&StrategyRun], details: Details, page: &mut Page) {
    if strategies.iter().all(|strategy| strategy.errors.is_empty()) {
        return;
    }
    page.gap();
    page.line(
        Line::of(Ink::Strong, "Errors")
            .with(Ink::Faint, ": what clients were told when an operation did not succeed"),
    );
    for strategy in strategies {
        let shown = if details == Details::Full { strategy.errors.len() } else { MESSAGES };
        for error in strategy.errors.iter().take(shown) {
            let line = Line::of(Ink::Plain, "   ")
                .with(Ink::Strong, &strategy.name)
                .plain(format!(
                    ": {}\u{a0}×\u{a0}{} under {}: ",
                    error.operation,
                    number::count(error.count),
                    error.hazard
                ))
                .plain(&error.message);
            page.wrap(&line, 7);
        }
        let rest = strategy.errors.iter().skip(shown);
        let (messages, times) =
            rest.fold((0, 0), |(messages, times), error| (messages + 1, times + error.count));
        if messages > 0 {
            let text = format!(
                "       {} more, ×\u{a0}{}",
                number::of(messages, "message", "messages"),
                number::count(times)
            );
            page.line(Line::of(Ink::Faint, text));
        }
    }
}

fn problems(strategies: &[&StrategyRun], page: &mut Page) {
    if strategies.iter().all(|strategy| strategy.problems.is_empty()) {
        return;
    }
    page.gap();
    page.line(Line::of(Ink::Doubtful, "? Problems").with(Ink::Faint, ": what did not run as it should have"));
    for strategy in strategies {
        for problem in &strategy.problems {
            let line =
                Line::of(Ink::Plain, "   ").with(Ink::Strong, &strategy.name).plain(": ").plain(problem);
            page.wrap(&line, 7);
        }
    }
}
