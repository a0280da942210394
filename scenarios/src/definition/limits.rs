//! `[stress]` and `[explore]`: the limits of the engines.

use std::ops::Range;
use std::time::Duration;

use tearproof_core::scenario::{ExploreLimits, StressLimits};
use tearproof_core::units::Nanos;

use super::diagnostic::{Mistake, Report};
use super::table::Section;

/// The keys of `[stress]`.
pub(super) const STRESS_KEYS: &[&str] = &[
    "seconds",
    "operations",
    "execution",
    "warm_up",
    "kill_every",
    "pause_every",
    "pause",
    "lease",
    "patience",
    "hang",
    "ring",
];

/// The keys of `[explore]`.
pub(super) const EXPLORE_KEYS: &[&str] = &["operations", "preemptions", "kills", "pauses", "executions"];

/// The smallest and the largest ring of events, in bytes.
const RING: (u64, u64) = (4 << 10, 1 << 30);

/// Reads `[stress]`.
pub(super) fn stress(section: &Section<'_>, report: &Report<'_>) -> StressLimits {
    let default = StressLimits::default();
    let length = |key, default| section.duration(key, false).map_or(default, |at| at.value);
    let limits = StressLimits {
        seconds: section.seconds("seconds").map(|at| at.value),
        operations: section.count("operations", 1).map_or(default.operations, |at| at.value),
        execution: length("execution", default.execution),
        warm_up: section.duration("warm_up", true).map_or(default.warm_up, |at| at.value),
        kill_every: length("kill_every", default.kill_every),
        pause_every: length("pause_every", default.pause_every),
        pause: length("pause", default.pause),
        lease: length("lease", default.lease),
        patience: length("patience", default.patience),
        hang: length("hang", default.hang),
        ring_bytes: ring(section, default.ring_bytes, report),
    };
    let longer = Longer { section, report };
    longer.check(
        ("pause", limits.pause),
        ("lease", limits.lease),
        "a pause ends before any lease has run out",
    );
    longer.check(
        ("hang", limits.hang),
        ("patience", limits.patience),
        "an operation that still waits counts as hanging",
    );
    limits
}

fn ring(section: &Section<'_>, default: u64, report: &Report<'_>) -> u64 {
    let Some(size) = section.size("ring") else { return default };
    if !(RING.0..=RING.1).contains(&size.value) {
        report.add(
            Mistake::at(size.span, "a ring of events of this size is impossible")
                .label("out of bounds")
                .help("write a size from `4 KiB` to `1 GiB`; every client has one"),
        );
    }
    size.value
}

/// Compares two lengths of time of one table.
struct Longer<'a, 'r> {
    section: &'a Section<'a>,
    report: &'a Report<'r>,
}

impl Longer<'_, '_> {
    /// Reports `first` unless it is longer than `second`. Either may be a default.
    fn check(&self, first: (&str, Duration), second: (&str, Duration), why: &str) {
        if first.1 > second.1 {
            return;
        }
        let shown =
            |length: Duration| Nanos(u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)).to_string();
        let of = |(key, length): (&str, Duration)| {
            let by_default = if self.section.has(key) { "" } else { " by default" };
            format!("`{key}` is {}{by_default}", shown(length))
        };
        let place =
            |key: &str| -> Option<Range<usize>> { self.section.has(key).then(|| self.section.place(key)) };
        let message = format!("`{}` must be longer than `{}`", first.0, second.0);
        let (span, label) = match (place(first.0), place(second.0)) {
            (Some(span), _) => (span, of(first)),
            (None, Some(span)) => (span, of(second)),
            (None, None) => return,
        };
        let mistake = Mistake::at(span, message).label(label).help(format!(
            "{}, {}: otherwise {why}",
            of(first),
            of(second)
        ));
        self.report.add(mistake);
    }
}

/// Reads `[explore]`.
pub(super) fn explore(section: &Section<'_>) -> ExploreLimits {
    let default = ExploreLimits::default();
    ExploreLimits {
        operations: section.count("operations", 1).map_or(default.operations, |at| at.value),
        preemptions: section.count("preemptions", 0).map(|at| at.value),
        kills: section.count("kills", 0).map_or(default.kills, |at| at.value),
        pauses: section.count("pauses", 0).map_or(default.pauses, |at| at.value),
        executions: section.whole("executions", 1, i64::MAX as u64).map_or(default.executions, |at| at.value),
    }
}
