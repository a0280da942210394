//! The table that decides: a row a strategy, the recommended ones first, and for each guarantee a
//! symbol a hazard.

use tearproof_core::claim::{Claim, Guarantee, Hazard};
use tearproof_core::run::{ScenarioRun, StrategyRun};
use tearproof_core::verdict::Verdict;

use crate::assessment::{self, Assessment, Known};
use crate::grid::{Align, Column, Grid, Group, Row};
use crate::style::{Ink, Line, Page};

/// The two lines that a guarantee has for a head.
const fn head(guarantee: Guarantee) -> [&'static str; 2] {
    match guarantee {
        Guarantee::AtomicReads => ["atomic", "reads"],
        Guarantee::NoLostUpdates => ["no lost", "updates"],
        Guarantee::Linearizable => ["linear-", "izable"],
        Guarantee::MutualExclusion => ["mutual", "exclusion"],
        Guarantee::Progress => ["", "progress"],
        Guarantee::Durability => ["", "durability"],
        Guarantee::ErrorsReported => ["errors", "reported"],
        Guarantee::NoResidue => ["no", "residue"],
        Guarantee::MetadataKept => ["metadata", "kept"],
    }
}

/// The symbol of a verdict, and what it says.
pub const fn symbol(verdict: Verdict) -> (&'static str, Ink, &'static str) {
    match verdict {
        Verdict::Verified => ("✓", Ink::Good, "verified"),
        Verdict::NotObserved => ("~", Ink::Good, "not observed broken"),
        Verdict::Violated => ("✗", Ink::Bad, "violated, not claimed"),
        Verdict::Inconclusive => ("?", Ink::Doubtful, "inconclusive"),
        Verdict::NotApplicable => ("-", Ink::Faint, "not applicable"),
    }
}

const ALARM: (&str, &str) = ("✗!", "violated ALTHOUGH CLAIMED");
/// Beside the symbol of what was not seen broken.
const THIN: &str = "°";
const UNSEEN: (&str, &str) = ("·", "not looked at");

/// Two columns a hazard: the symbol, and a mark where a claim broke.
fn mark(known: Option<&Known>) -> Line {
    match known {
        None => Line::of(Ink::Faint, UNSEEN.0),
        Some(known) if known.is_broken_claim() => Line::of(Ink::Alarm, ALARM.0),
        Some(known) => {
            let (symbol, ink, _) = symbol(known.verdict);
            Line::of(ink, symbol).with(Ink::Doubtful, if known.thin { THIN } else { "" })
        }
    }
    .padded(2)
}

fn heading(assessment: &Assessment) -> Line {
    let (ink, title, reason) = match assessment {
        Assessment::Recommended => (Ink::Good, "recommended", "kept all that is required *"),
        Assessment::Thin(_) => {
            (Ink::Doubtful, "hardly tested", "kept all that is required *, in a thin sample °")
        }
        Assessment::Undecided(_) => (Ink::Doubtful, "undecided", "something required could not be decided"),
        Assessment::Unasked => (Ink::Plain, "not compared", "nothing that is required could be tested"),
        Assessment::Suspect => {
            (Ink::Bad, "not recommended", "wrong on purpose †, though nothing required broke")
        }
        Assessment::Unreliable(_) => (Ink::Bad, "not recommended", "broke a claim of its own"),
        Assessment::Unfit(_) => (Ink::Bad, "not recommended", "broke something required *"),
    };
    Line::of(Ink::Plain, " ").with(ink, title).with(Ink::Faint, format!(": {reason}"))
}

/// The name of a strategy in the tables of a scenario.
pub fn name(strategy: &StrategyRun) -> Line {
    let broken = if strategy.broken { " †" } else { "" };
    Line::of(Ink::Plain, "   ").plain(&strategy.name).with(Ink::Faint, broken)
}

/// Writes the table of a scenario and its legend.
pub fn write(scenario: &ScenarioRun, page: &mut Page) {
    let ranked = assessment::ranked(scenario);
    let known: Vec<_> = ranked.iter().map(|(strategy, _)| assessment::known(strategy)).collect();
    // A guarantee that says nothing about anything here has no column, and neither has a hazard
    // under which nobody looked.
    let columns: Vec<(Guarantee, Vec<Hazard>)> = Guarantee::ALL
        .iter()
        .filter_map(|&guarantee| {
            let speaks = |hazard: Hazard| {
                let seen = |known: &Known| known.verdict != Verdict::NotApplicable;
                known.iter().any(|row| row.get(&Claim::new(guarantee, hazard)).is_some_and(seen))
            };
            let hazards: Vec<Hazard> = Hazard::ALL.iter().copied().filter(|&hazard| speaks(hazard)).collect();
            (!hazards.is_empty()).then_some((guarantee, hazards))
        })
        .collect();
    if columns.is_empty() {
        page.line(Line::of(Ink::Doubtful, "no engine looked at any guarantee here"));
        return;
    }
    let mut rows = Vec::new();
    let mut last = None;
    for (strategy, assessment) in &ranked {
        // A scenario that requires nothing has nothing to set apart.
        let begins = last != Some(assessment.rank()) && !scenario.requires.is_empty();
        last = Some(assessment.rank());
        rows.push(Row { name: name(strategy), heading: begins.then(|| heading(assessment)) });
    }
    let groups = columns.iter().map(|(guarantee, hazards)| {
        let required = scenario.requires.iter().any(|claim| claim.guarantee == *guarantee);
        let [above, below] = head(*guarantee);
        let letters = hazards.iter().map(|&hazard| assessment::letter(hazard)).collect::<Vec<_>>().join(" ");
        let star = if required { "*" } else { "" };
        let cells = known.iter().map(|row| {
            let mut line = Line::new();
            hazards.iter().for_each(|&hazard| line.append(&mark(row.get(&Claim::new(*guarantee, hazard)))));
            line
        });
        let column = Column {
            head: vec![
                Line::of(Ink::Strong, above),
                Line::of(Ink::Strong, format!("{below}{star}")),
                Line::of(Ink::Faint, letters),
            ],
            cells: cells.collect(),
            align: Align::Left,
        };
        Group { title: String::new(), columns: vec![column] }
    });
    let grid = Grid { corner: "   strategy".to_owned(), rows, groups: groups.collect() };
    grid.write(page);
    legend(scenario, &columns, &known, page);
}

fn legend(
    scenario: &ScenarioRun,
    columns: &[(Guarantee, Vec<Hazard>)],
    known: &[std::collections::BTreeMap<Claim, Known>],
    page: &mut Page,
) {
    let shown: Vec<Claim> = columns
        .iter()
        .flat_map(|(guarantee, hazards)| hazards.iter().map(|&hazard| Claim::new(*guarantee, hazard)))
        .collect();
    let cells: Vec<Option<&Known>> =
        known.iter().flat_map(|row| shown.iter().map(|claim| row.get(claim))).collect();
    let mut entries: Vec<Line> = Vec::new();
    let mut entry = |ink: Ink, sign: &str, text: &str| {
        // One entry is one word to the wrapping: it does not break inside.
        let text = text.replace(' ', "\u{a0}");
        entries.push(Line::of(ink, sign).with(Ink::Faint, format!("\u{a0}{text}")));
    };
    if cells.iter().flatten().any(|known| known.is_broken_claim()) {
        entry(Ink::Alarm, ALARM.0, ALARM.1);
    }
    for &verdict in Verdict::ALL {
        let (sign, ink, text) = symbol(verdict);
        if cells.iter().flatten().any(|known| known.verdict == verdict && !known.is_broken_claim()) {
            entry(ink, sign, text);
        }
    }
    if cells.iter().flatten().any(|known| known.thin) {
        let few = format!(
            "in a thin sample: fewer than {} executions or {} operations",
            assessment::FEW_EXECUTIONS,
            assessment::FEW_OPERATIONS
        );
        entry(Ink::Doubtful, THIN, &few);
    }
    if cells.iter().any(Option::is_none) {
        entry(Ink::Faint, UNSEEN.0, UNSEEN.1);
    }
    for &hazard in Hazard::ALL {
        if shown.iter().any(|claim| claim.hazard == hazard) {
            entry(Ink::Strong, assessment::letter(hazard), hazard.name());
        }
    }
    if scenario.strategies.iter().any(|strategy| strategy.broken) {
        entry(Ink::Plain, "†", "wrong on purpose");
    }
    let mut line = Line::new();
    for entry in &entries {
        line.push(Ink::Plain, if line.columns() > 0 { "   " } else { "" });
        line.append(entry);
    }
    page.wrap(&line, 0);
}
