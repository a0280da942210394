//! What `check` prints of one history: a line a guarantee, and the witness of each breach.
//!
//! One history is one execution, so nothing here speaks of samples or bounds: a guarantee holds in
//! this history, or it does not.

use serde::Serialize;
use tearproof_core::run::{Cell, Outcome};
use tearproof_core::verdict::Verdict;

use crate::findings;
use crate::number;
use crate::style::{Ink, Line, Page, Style};
use crate::terminal::Details;

/// How `check` ends. Whoever asks about a history expects it to be right, so each guarantee counts
/// as claimed.
pub fn outcome(cells: &[Cell]) -> Outcome {
    if cells.iter().any(|cell| cell.verdict == Verdict::Violated) {
        Outcome::Violated
    } else if cells.iter().any(|cell| cell.verdict == Verdict::Inconclusive) {
        Outcome::Inconclusive
    } else {
        Outcome::Held
    }
}

/// The cells for people.
pub fn render(cells: &[Cell], style: Style) -> String {
    let mut page = Page::new(style);
    let wide = cells.iter().map(|cell| cell.guarantee.name().len()).max().unwrap_or(0);
    for cell in cells {
        let (sign, ink, said) = match cell.verdict {
            Verdict::Verified | Verdict::NotObserved => ("✓", Ink::Good, "holds in this history".to_owned()),
            Verdict::Violated => {
                let anomalies = cell.anomalies.iter();
                let kinds =
                    anomalies.map(|anomaly| format!("{} × {}", anomaly.kind, number::count(anomaly.count)));
                ("✗", Ink::Bad, format!("violated: {}", kinds.collect::<Vec<_>>().join(", ")))
            }
            Verdict::Inconclusive => {
                let limit = cell.scope.limit.as_deref().unwrap_or("no limit was named");
                ("?", Ink::Doubtful, format!("inconclusive: {limit}"))
            }
            Verdict::NotApplicable => ("-", Ink::Faint, "says nothing about this history".to_owned()),
        };
        let line = Line::of(ink, sign).plain(" ").with(Ink::Strong, cell.guarantee.name()).padded(wide + 4);
        page.wrap(&line.with(ink, said), wide + 4);
        for anomaly in &cell.anomalies {
            findings::witness(&anomaly.witness, Details::Full, true, &mut page);
        }
    }
    let outcome = outcome(cells);
    let (ink, said) = match outcome {
        Outcome::Violated => (Ink::Alarm, "a guarantee is violated"),
        Outcome::Inconclusive => (Ink::Doubtful, "something could not be decided"),
        Outcome::Held => (Ink::Good, "nothing is violated"),
    };
    page.gap();
    page.line(Line::of(Ink::Strong, "exit ").with(ink, format!("{}: {said}", outcome.exit_code())));
    page.finish()
}

/// The cells as `run.json` has them: `{"verdicts": [...]}`, with a line break at the end.
///
/// # Panics
/// Never: a cell holds nothing that JSON cannot say.
pub fn to_json(cells: &[Cell]) -> String {
    #[derive(Serialize)]
    struct Checked<'a> {
        verdicts: &'a [Cell],
    }
    let mut text =
        serde_json::to_string_pretty(&Checked { verdicts: cells }).expect("the keys of a cell are names");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use tearproof_core::claim::{AnomalyKind, Guarantee, Hazard};

    use super::*;
    use crate::sample;

    fn cells() -> Vec<Cell> {
        let looked = sample::claims(
            &[
                Guarantee::AtomicReads,
                Guarantee::NoLostUpdates,
                Guarantee::Linearizable,
                Guarantee::MutualExclusion,
            ],
            &[Hazard::Concurrency],
        );
        let mut strategy = sample::breaks(
            sample::strategy("x", &looked, &[]),
            AnomalyKind::LostUpdate,
            1,
            &[Hazard::Concurrency],
        );
        sample::set(&mut strategy, Guarantee::Linearizable, Hazard::Concurrency, Verdict::Inconclusive);
        sample::set(&mut strategy, Guarantee::MutualExclusion, Hazard::Concurrency, Verdict::NotApplicable);
        strategy.verdicts
    }

    #[test]
    fn a_line_a_guarantee_and_a_witness_a_breach() {
        assert_snapshot!(render(&cells(), Style { width: 80, color: false }), @r#"
        ✓ atomic-reads      holds in this history
        ✗ no-lost-updates   violated: lost-update × 1
             Client 1 was told that its update e-1-4 had succeeded, and client 3 began
             to read after that; yet the set that it read has 41 elements and e-1-4 is
             not among them. Update e-2-9 of client 2, which began before e-1-4 was
             acknowledged and ended after it, wrote back the state from before it.
                    0 ns  client 1  update e-1-0 invoked
                 7.30 µs  client 2  update e-2-1 invoked
                 14.6 µs  client 3  update e-3-2 invoked
                 21.9 µs  client 1  update e-1-3 invoked
                 29.2 µs  client 2  update e-2-4 invoked
                 36.5 µs  client 3  update e-3-5 invoked
             (1) 43.8 µs  client 1  update e-1-6 invoked
                 51.1 µs  client 2  update e-2-7 invoked
                 58.4 µs  client 3  update e-3-8 invoked
             (2) 71.2 µs  client 3  read returned 41 elements without e-1-4
        ? linearizable      inconclusive: the budget of 2 s ended
        - mutual-exclusion  says nothing about this history

        exit 1: a guarantee is violated
        "#);
    }

    #[test]
    fn the_worst_cell_decides_how_it_ends() {
        let mut cells = cells();
        assert_eq!(outcome(&cells), Outcome::Violated);
        cells.retain(|cell| cell.verdict != Verdict::Violated);
        assert_eq!(outcome(&cells), Outcome::Inconclusive);
        cells.retain(|cell| cell.verdict != Verdict::Inconclusive);
        assert_eq!(outcome(&cells), Outcome::Held);
    }

    #[test]
    fn its_json_is_the_cells_of_a_run() {
        let value: serde_json::Value = serde_json::from_str(&to_json(&cells())).expect("JSON");
        let back: Vec<Cell> = serde_json::from_value(value["verdicts"].clone()).expect("cells");
        assert_eq!(back, cells());
    }
}
