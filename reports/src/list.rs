//! What `list` prints: the scenarios, strategies and guarantees that there are.
//!
//! An entry a paragraph and not a row a line: claims are long, and names are there to be copied and
//! searched for, so none is abbreviated or broken over lines.

use tearproof_core::claim::{AnomalyKind, Guarantee, Hazard};
use tearproof_core::object::Object;
use tearproof_core::scenario::Scenario;
use tearproof_core::strategy::StrategyInfo;
use tearproof_core::units::Bytes;

use crate::assessment::{grouped, in_words, list};
use crate::number;
use crate::style::{Ink, Line, Page, Style};

/// Columns that the names of the fields take, the indent included.
const FIELD: usize = 16;

fn field(name: &str, value: &Line, page: &mut Page) {
    let mut line = Line::of(Ink::Faint, format!("   {name}")).padded(FIELD);
    line.append(value);
    page.wrap(&line, FIELD);
}

fn text(name: &str, value: &str, page: &mut Page) {
    if !value.is_empty() {
        field(name, &Line::of(Ink::Plain, value), page);
    }
}

/// The scenarios: what they are about, who takes part, what they compare and require.
pub fn scenarios(scenarios: &[Scenario], style: Style) -> String {
    let mut page = Page::new(style);
    for scenario in scenarios {
        page.gap();
        let title = Line::of(Ink::Strong, &scenario.name).plain("  ").plain(&scenario.summary);
        page.wrap(&title, 3);
        text("source", &scenario.source, &mut page);
        let state = &scenario.state;
        // Sets and locks have the length that their content needs.
        let size = match state.object {
            Object::Register | Object::Log => format!(", {}", Bytes(u64::from(state.size))),
            Object::Set | Object::Lock => String::new(),
        };
        text("file", &format!("{}: a {} as {}{size}", state.file, state.object, state.format), &mut page);
        let clients = scenario.clients.iter().map(|role| {
            let threads =
                if role.threads > 1 { format!(" of {} threads", role.threads) } else { String::new() };
            let does = list(role.does.iter().map(|(operation, _)| operation.name()));
            format!("{} {}{threads} ({does})", role.count, role.role)
        });
        text("clients", &clients.collect::<Vec<_>>().join(", "), &mut page);
        let require = &scenario.require;
        text("requires", &in_words(&require.claims()), &mut page);
        text("strategies", &list(scenario.strategies.iter().map(String::as_str)), &mut page);
    }
    page.gap();
    let total = number::of(scenarios.len() as u64, "scenario", "scenarios");
    page.line(Line::of(Ink::Faint, format!("{total}; run one with: tearproof run NAME")));
    page.finish()
}

/// The strategies: algorithm, claims and source, and which of them are wrong on purpose.
pub fn strategies<'a>(strategies: impl IntoIterator<Item = &'a StrategyInfo>, style: Style) -> String {
    let mut page = Page::new(style);
    let (mut total, mut broken) = (0, 0);
    for strategy in strategies {
        page.gap();
        total += 1;
        let mut title = Line::of(Ink::Strong, strategy.name);
        if strategy.broken {
            broken += 1;
            title.push(Ink::Bad, "  † wrong on purpose");
        }
        page.line(title);
        text("does", strategy.algorithm, &mut page);
        text("keeps", &list(strategy.objects.iter().map(|object| object.name())), &mut page);
        let groups = grouped(strategy.claims);
        if groups.is_empty() {
            field("claims", &Line::of(Ink::Faint, "nothing"), &mut page);
        }
        for (at, (guarantees, hazards)) in groups.iter().enumerate() {
            let line = Line::of(Ink::Plain, list(guarantees.iter().map(|guarantee| guarantee.name())))
                .with(Ink::Faint, " under ")
                .plain(list(hazards.iter().map(|hazard| hazard.name())));
            field(if at == 0 { "claims" } else { "" }, &line, &mut page);
        }
        text("source", strategy.source, &mut page);
    }
    page.gap();
    let total = number::of(total, "strategy", "strategies");
    page.line(Line::of(Ink::Faint, format!("{total}, {} wrong on purpose", number::count(broken))));
    page.finish()
}

const fn holds_when(guarantee: Guarantee) -> &'static str {
    match guarantee {
        Guarantee::AtomicReads => {
            "a read that returns, returns exactly one value that was written, whole; a state file that \
             existed is never seen empty, missing, partial or mixed"
        }
        Guarantee::NoLostUpdates => {
            "every acknowledged update is in the final state, and in every read that began after it was acknowledged"
        }
        Guarantee::Linearizable => "reads and writes fit one order that respects real time",
        Guarantee::MutualExclusion => "at most one client is inside the critical section",
        Guarantee::Progress => "an operation completes once the others have finished or died",
        Guarantee::Durability => {
            "what was acknowledged is there after the crash: its data, and separately its name in the directory"
        }
        Guarantee::ErrorsReported => "an operation that failed says so, and leaves the old value whole",
        Guarantee::NoResidue => "no temporary file, lock file, descriptor or lock outlives the operation",
        Guarantee::MetadataKept => {
            "mode, owner, links and extended attributes of the file survive, as far as the strategy declares that they do"
        }
    }
}

const fn happens(hazard: Hazard) -> &'static str {
    match hazard {
        Hazard::Concurrency => "clients run at the same time, and nothing else happens",
        Hazard::Pause => "a client stops for longer than any time-out, and goes on",
        Hazard::Kill => "a client dies at any instruction",
        Hazard::PowerLoss => "the machine loses power",
        Hazard::IoError => "a system call fails",
    }
}

/// The guarantees with the anomalies that breach them, and the hazards that they are held against.
pub fn guarantees(style: Style) -> String {
    let mut page = Page::new(style);
    for &guarantee in Guarantee::ALL {
        page.gap();
        page.line(Line::of(Ink::Strong, guarantee.name()));
        text("holds when", holds_when(guarantee), &mut page);
        let breaches = AnomalyKind::ALL.iter().filter(|kind| kind.breaches() == guarantee);
        text("breaches", &list(breaches.map(|kind| kind.name())), &mut page);
    }
    page.gap();
    page.line(Line::of(Ink::Strong, "under each of these hazards"));
    for &hazard in Hazard::ALL {
        let mut line = Line::of(Ink::Plain, happens(hazard));
        if matches!(hazard, Hazard::PowerLoss | Hazard::IoError) {
            line.push(Ink::Doubtful, " (no engine of this version tests it)");
        }
        field(hazard.name(), &line, &mut page);
    }
    page.gap();
    page.wrap(&Line::of(Ink::Faint, "a claim is written guarantee@hazard, for example atomic-reads@kill"), 0);
    page.finish()
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use std::time::Duration;

    use tearproof_core::claim::Claim;
    use tearproof_core::document::Format;
    use tearproof_core::object::Operation;
    use tearproof_core::scenario::{
        Before, ClientRole, ExploreLimits, Lifetime, LockBefore, Require, StateBefore, StateFile,
        StressLimits, Via,
    };

    use super::*;
    use crate::style::columns_of;

    const CLAIMS: &[Claim] = &[
        Claim::new(Guarantee::AtomicReads, Hazard::Concurrency),
        Claim::new(Guarantee::AtomicReads, Hazard::Kill),
        Claim::new(Guarantee::NoLostUpdates, Hazard::Concurrency),
        Claim::new(Guarantee::NoLostUpdates, Hazard::Kill),
        Claim::new(Guarantee::Durability, Hazard::PowerLoss),
    ];
    const SIBLING: StrategyInfo = StrategyInfo {
        name: "flock-sibling",
        algorithm: "LOCK_EX on <file>.lock for the whole read-modify-write, then a unique temp file, fsync, \
                    rename, fsync of the directory",
        claims: CLAIMS,
        source: "atomic-writes note",
        objects: &[Object::Register, Object::Set],
        broken: false,
        timed: false,
    };
    const TRUNCATE: StrategyInfo = StrategyInfo {
        name: "in-place-truncate",
        algorithm: "open with O_TRUNC, write, close",
        claims: &[],
        source: "progress.json report, as found",
        broken: true,
        ..SIBLING
    };

    #[test]
    fn strategies_show_their_algorithm_claims_and_source() {
        assert_snapshot!(strategies([&SIBLING, &TRUNCATE], Style { width: 80, color: false }), @r#"
        flock-sibling
           does         LOCK_EX on <file>.lock for the whole read-modify-write, then a
                        unique temp file, fsync, rename, fsync of the directory
           keeps        register, set
           claims       atomic-reads, no-lost-updates under concurrency, kill
                        durability under power-loss
           source       atomic-writes note

        in-place-truncate  † wrong on purpose
           does         open with O_TRUNC, write, close
           keeps        register, set
           claims       nothing
           source       progress.json report, as found

        2 strategies, 1 wrong on purpose
        "#);
    }

    #[test]
    fn scenarios_show_who_takes_part_and_what_is_required() {
        let role = |role: &str, operation: Operation| ClientRole {
            role: role.to_owned(),
            count: 3,
            threads: if operation == Operation::Update { 2 } else { 1 },
            does: vec![(operation, 1)],
            hold: Duration::ZERO,
            lifetime: Lifetime::Session,
            rate: None,
            via: Via::File,
            strategy: None,
            operations: None,
        };
        let scenario = Scenario {
            name: "index".to_owned(),
            summary: "three agents register in the same instant".to_owned(),
            source: "field report: an index.json".to_owned(),
            strategies: vec!["in-place-truncate".to_owned(), "flock-sibling".to_owned()],
            state: StateFile {
                file: "index.json".to_owned(),
                format: Format::Json,
                object: Object::Set,
                size: 4096,
                grow: 0,
                opaque: false,
            },
            clients: vec![role("agent", Operation::Update), role("dashboard", Operation::Read)],
            programs: Vec::new(),
            before: Before { state: StateBefore::Present, lock: LockBefore::None },
            require: Require {
                guarantees: vec![Guarantee::AtomicReads, Guarantee::NoLostUpdates],
                hazards: vec![Hazard::Concurrency, Hazard::Kill],
            },
            stress: StressLimits::default(),
            explore: ExploreLimits::default(),
        };
        assert_snapshot!(scenarios(&[scenario], Style { width: 80, color: false }), @r#"
        index  three agents register in the same instant
           source       field report: an index.json
           file         index.json: a set as json
           clients      3 agent of 2 threads (update), 3 dashboard (read)
           requires     atomic-reads, no-lost-updates under concurrency, kill
           strategies   in-place-truncate, flock-sibling

        1 scenario; run one with: tearproof run NAME
        "#);
    }

    #[test]
    fn every_guarantee_is_listed_with_its_breaches() {
        for width in [60, 80, 100] {
            let shown = guarantees(Style { width, color: false });
            assert!(shown.lines().all(|line| columns_of(line) <= width), "{shown}");
            for name in
                Guarantee::ALL.iter().map(|g| g.name()).chain(AnomalyKind::ALL.iter().map(|k| k.name()))
            {
                assert!(shown.contains(name), "{name} is missing from\n{shown}");
            }
        }
    }
}
