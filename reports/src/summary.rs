//! The last screen of a run: what is recommended where, how the claims fared, what nobody looked
//! at, how the command will exit, and where to go from here.

use std::collections::BTreeMap;
use std::path::Path;

use tearproof_core::claim::Claim;
use tearproof_core::object::Operation;
use tearproof_core::run::{Outcome, Run, StrategyRun};
use tearproof_core::units::Nanos;
use tearproof_core::verdict::Verdict;

use crate::assessment::{self, Assessment};
use crate::number;
use crate::style::{Ink, Line, Page};
use crate::terminal::{self, Details};

/// Inconclusive claims that a summary names.
const INCONCLUSIVE: usize = 12;

/// How many claims came to what. A claim counts once for each scenario and strategy, whatever
/// number of engines looked at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClaimCount {
    /// Every execution within bounds kept it.
    pub verified: u64,
    /// No sampled execution broke it.
    pub not_observed: u64,
    /// It broke.
    pub violated: u64,
    /// It could not be decided.
    pub inconclusive: u64,
    /// Those of them that canaries make which were found broken, and so do not decide the exit code.
    pub excused: u64,
    /// It says nothing there.
    pub not_applicable: u64,
    /// No engine looked.
    pub unseen: u64,
    /// Those of them that a user's own program makes: they decide the exit code.
    pub unproven: u64,
}

fn strategies(run: &Run) -> impl Iterator<Item = &StrategyRun> {
    run.scenarios.iter().flat_map(|scenario| &scenario.strategies)
}

/// Counts the claims of a run.
pub fn count_claims(run: &Run) -> ClaimCount {
    let mut count = ClaimCount::default();
    for strategy in strategies(run) {
        for known in assessment::known(strategy).into_values().filter(|known| known.claimed) {
            match known.verdict {
                Verdict::Verified => count.verified += 1,
                Verdict::NotObserved => count.not_observed += 1,
                Verdict::Violated => count.violated += 1,
                Verdict::Inconclusive => {
                    count.inconclusive += 1;
                    count.excused += u64::from(strategy.is_exposed());
                }
                Verdict::NotApplicable => count.not_applicable += 1,
            }
        }
        let unseen = strategy.unseen_claims().len() as u64;
        count.unseen += unseen;
        count.unproven += if strategy.is_unproven() { unseen } else { 0 };
    }
    count
}

/// Writes it.
pub fn write(run: &Run, run_json: Option<&Path>, details: Details, page: &mut Page) {
    page.gap();
    page.rule(
        "result",
        &format!("{} {}, {}", run.tool.name, run.tool.version, number::nanos(run.elapsed_ms as f64 * 1e6)),
    );
    if run.interrupted {
        page.wrap(
            &Line::of(
                Ink::Doubtful,
                "interrupted: what was measured until then is shown, the rest did not run",
            ),
            0,
        );
    }
    recommendations(run, page);
    page.gap();
    let count = count_claims(run);
    claims(run, count, details, page);
    unseen(run, details, page);
    page.gap();
    outcome(run, count, page);
    if let Some(path) = run_json {
        field("everything", Line::of(Ink::Plain, path.display().to_string()), page);
    }
    if details == Details::Summary {
        field("more", Line::of(Ink::Plain, "--full shows every witness at full length"), page);
    }
    // Names that leave no choice are filled in.
    let scenario = match &run.scenarios[..] {
        [only] => Some(only),
        _ => None,
    };
    let strategy = match scenario.map(|scenario| &scenario.strategies[..]) {
        Some([only]) => Some(only.name.as_str()),
        _ => None,
    };
    let command = terminal::command(run, scenario, strategy);
    field("again", Line::of(Ink::Plain, command), page);
}

fn field(name: &str, value: Line, page: &mut Page) {
    let mut line = Line::of(Ink::Strong, format!("{name:<12}"));
    line.append(&value);
    page.wrap(&line, 12);
}

fn recommendations(run: &Run, page: &mut Page) {
    let names = run.scenarios.iter().map(|scenario| terminal::label(run, scenario));
    let wide = names.map(|name| crate::style::columns_of(&name)).max().unwrap_or(0).min(page.columns() / 3);
    for scenario in &run.scenarios {
        let ranked = assessment::ranked(scenario);
        let of = |wanted: &Assessment| {
            let same = ranked.iter().filter(|(_, assessment)| assessment.rank() == wanted.rank());
            let mut same: Vec<&StrategyRun> = same.map(|(strategy, _)| *strategy).collect();
            same.sort_by_key(|strategy| (weaknesses(strategy), cost(strategy)));
            same.into_iter().map(|strategy| strategy.name.as_str()).collect::<Vec<_>>()
        };
        let (good, open) = (of(&Assessment::Recommended), of(&Assessment::Undecided(Vec::new())));
        let thin = of(&Assessment::Thin(Vec::new()));
        let mut line = Line::of(Ink::Strong, terminal::label(run, scenario)).cut(wide).padded(wide + 2);
        if scenario.requires.is_empty() {
            line.push(Ink::Faint, "requires nothing: nothing to recommend");
        } else if good.is_empty() {
            line.push(Ink::Doubtful, "nothing to recommend");
        } else {
            line.push(Ink::Good, "use ");
            line.push(Ink::Plain, few(&good));
            line.append(&fastest(&ranked));
        }
        if !thin.is_empty() {
            line.push(Ink::Doubtful, "; hardly tested (give it more --budget): ");
            line.push(Ink::Plain, few(&thin));
        }
        if !open.is_empty() {
            line.push(Ink::Doubtful, "; undecided: ");
            line.push(Ink::Plain, few(&open));
        }
        // A recommendation is worth what was tested.
        let (_, untested) = assessment::tested_requirements(scenario);
        if !untested.is_empty() {
            line.push(Ink::Doubtful, "; required but not tested: ");
            line.push(Ink::Plain, assessment::in_words(&untested));
        }
        page.wrap(&line, wide + 2);
    }
}

/// Strategies that a decision names.
const NAMED: usize = 3;

/// The first of these names, and how many more there are.
fn few(names: &[&str]) -> String {
    let mut text = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    if let Some(more) = names.len().checked_sub(NAMED).filter(|&more| more > 0) {
        text.push_str(&format!(" and\u{a0}{more}\u{a0}more"));
    }
    text
}

/// How many of its cells are broken, promised or not.
fn weaknesses(strategy: &StrategyRun) -> usize {
    assessment::known(strategy).values().filter(|known| known.verdict == Verdict::Violated).count()
}

/// The operations that change the state: what strategies differ in.
const CHANGES: [Operation; 4] = [Operation::Update, Operation::Write, Operation::Append, Operation::Acquire];

/// The median of an operation that was measured.
fn median(strategy: &StrategyRun, operation: Operation) -> Option<u64> {
    strategy.latency.get(&operation).filter(|latency| latency.count > 0).map(|latency| latency.p50_ns)
}

/// What a change costs; last what was not measured.
fn cost(strategy: &StrategyRun) -> u64 {
    CHANGES.into_iter().find_map(|operation| median(strategy, operation)).unwrap_or(u64::MAX)
}

/// Which of several recommended strategies changes the state the fastest.
fn fastest(ranked: &[(&StrategyRun, Assessment)]) -> Line {
    let good: Vec<&StrategyRun> = ranked
        .iter()
        .filter(|(_, assessment)| *assessment == Assessment::Recommended)
        .map(|(strategy, _)| *strategy)
        .collect();
    // Compared only where every one of them was measured.
    let operation =
        CHANGES.into_iter().find(|&operation| good.iter().all(|s| median(s, operation).is_some()));
    let Some(operation) = operation.filter(|_| good.len() > 1) else {
        return Line::new();
    };
    let best = good.iter().filter_map(|s| Some((median(s, operation)?, &s.name))).min();
    best.map_or_else(Line::new, |(ns, name)| {
        let p50 = Nanos(ns).to_string().replace(' ', "\u{a0}");
        Line::of(Ink::Faint, format!(" (fastest {operation}: {name}, p50\u{a0}{p50})"))
    })
}

fn claims(run: &Run, count: ClaimCount, details: Details, page: &mut Page) {
    let held = count.verified + count.not_observed;
    let seen = held + count.violated + count.inconclusive;
    let mut line = Line::of(Ink::Plain, format!("{}\u{a0}looked\u{a0}at: ", number::count(seen)));
    let ink = |number: u64, ink: Ink| if number > 0 { ink } else { Ink::Plain };
    line.push(ink(held, Ink::Good), format!("{}\u{a0}held", number::count(held)));
    line.push(
        Ink::Faint,
        format!(
            " ({}\u{a0}verified, {}\u{a0}not\u{a0}observed\u{a0}broken)",
            number::count(count.verified),
            number::count(count.not_observed)
        ),
    );
    line.push(Ink::Plain, ", ");
    line.push(ink(count.violated, Ink::Alarm), format!("{}\u{a0}violated", number::count(count.violated)));
    line.push(Ink::Plain, ", ");
    line.push(
        ink(count.inconclusive, Ink::Doubtful),
        format!("{}\u{a0}inconclusive", number::count(count.inconclusive)),
    );
    if count.excused > 0 {
        line.push(
            Ink::Faint,
            format!(
                " ({}\u{a0}of a canary\u{a0}†, found broken as it should be)",
                number::count(count.excused)
            ),
        );
    }
    field("claims", line, page);
    // These decide the exit code, but for those of canaries, so they are named: the violated ones first,
    // and all of them.
    decisive(run, Verdict::Violated, usize::MAX, page);
    decisive(
        run,
        Verdict::Inconclusive,
        if details == Details::Full { usize::MAX } else { INCONCLUSIVE },
        page,
    );
}

fn decisive(run: &Run, verdict: Verdict, most: usize, page: &mut Page) {
    let (ink, sign) = if verdict == Verdict::Violated { (Ink::Alarm, "✗!") } else { (Ink::Doubtful, "? ") };
    let mut left_out = 0;
    let mut shown = 0;
    for scenario in &run.scenarios {
        for strategy in &scenario.strategies {
            for cell in strategy.verdicts.iter().filter(|cell| cell.claimed && cell.verdict == verdict) {
                if shown == most {
                    left_out += 1;
                    continue;
                }
                shown += 1;
                let mut line = Line::of(Ink::Plain, "  ").with(ink, sign).plain(" ");
                let sign = if strategy.broken { " †" } else { "" };
                line.push(Ink::Strong, format!("{}/{}{sign}", terminal::label(run, scenario), strategy.name));
                line.push(Ink::Plain, format!(" {}@{} ({})", cell.guarantee, cell.hazard, cell.engine));
                if let Some(limit) = cell.scope.limit.as_ref().filter(|_| verdict == Verdict::Inconclusive) {
                    line.push(Ink::Plain, format!(": {limit}"));
                }
                page.wrap(&line, 5);
            }
        }
    }
    if left_out > 0 {
        page.line(Line::of(ink, format!("  {sign} and {} more", number::count(left_out))));
    }
}

/// What was promised or required, and nobody looked at.
fn unseen(run: &Run, details: Details, page: &mut Page) {
    let mut claims: BTreeMap<Claim, Vec<String>> = BTreeMap::new();
    for scenario in &run.scenarios {
        for strategy in &scenario.strategies {
            for claim in strategy.unseen_claims() {
                claims.entry(claim).or_default().push(format!(
                    "{}/{}",
                    terminal::label(run, scenario),
                    strategy.name
                ));
            }
        }
    }
    if claims.is_empty() {
        return;
    }
    let total: usize = claims.values().map(Vec::len).sum();
    let text = format!("{} that no engine looked at: ", number::of(total as u64, "claim", "claims"));
    let names: Vec<String> = claims.iter().map(|(claim, who)| format!("{claim} × {}", who.len())).collect();
    field("not tested", Line::of(Ink::Doubtful, text).plain(names.join(", ")), page);
    if details == Details::Full {
        for (claim, who) in &claims {
            page.wrap(&Line::of(Ink::Plain, format!("  · {claim}: {}", who.join(", "))), 6);
        }
    }
}

/// What the exit code will be, and why.
pub fn outcome_text(outcome: Outcome, count: ClaimCount, interrupted: bool) -> String {
    let code = outcome.exit_code();
    let open = count.inconclusive - count.excused;
    match outcome {
        Outcome::Violated => {
            format!("{code}: {}", number::of(count.violated, "claim was violated", "claims were violated"))
        }
        Outcome::Inconclusive if open == 0 && count.unproven > 0 && !interrupted => {
            format!(
                "{code}: no engine of this run looks at {} of your program",
                number::of(count.unproven, "claim", "claims")
            )
        }
        Outcome::Inconclusive if open == 0 => {
            format!("{code}: the run was interrupted before every claim had been looked at")
        }
        Outcome::Inconclusive => {
            format!("{code}: {}", number::of(open, "claim stayed inconclusive", "claims stayed inconclusive"))
        }
        Outcome::Held if count.verified + count.not_observed == 0 => {
            format!("{code}: no claim was looked at")
        }
        Outcome::Held if count.excused > 0 => {
            format!(
                "{code}: every claim that was looked at held, but for {} of a canary †, found broken as it should be",
                number::count(count.excused)
            )
        }
        Outcome::Held => format!("{code}: every claim that was looked at held"),
    }
}

fn outcome(run: &Run, count: ClaimCount, page: &mut Page) {
    let outcome = run.outcome();
    let ink = match outcome {
        Outcome::Held => Ink::Good,
        Outcome::Violated => Ink::Alarm,
        Outcome::Inconclusive => Ink::Doubtful,
    };
    field("exit", Line::of(ink, outcome_text(outcome, count, run.interrupted)), page);
}
