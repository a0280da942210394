//! Which fates a plan is explored under: without any, or with one kill or one pause of each client in
//! turn; a kill also of whom they talk to. Beside who is suspended, others that drive programs may come late.

use tearproof_core::claim::Hazard;
use tearproof_core::plan::Plan;

use super::arena::{FateKind, may_come_late, process_of};
use super::system::ThreadId;

/// What may happen to clients in an execution, by process.
pub(super) type Fates = Vec<(FateKind, usize)>;

/// The fates under which a plan is explored, one after the other. `servers`: how many processes clients talk to.
pub(super) fn of_plan(plan: &Plan, servers: usize) -> Vec<Fates> {
    let clients = clients(plan);
    match kind(plan.hazard) {
        Some(FateKind::Kill) => {
            (0..clients.end + servers).map(|victim| vec![(FateKind::Kill, victim)]).collect()
        }
        Some(kind) => {
            let late = latecomers(plan);
            let others = |victim: usize| late.clone().filter(move |&client| client != victim);
            let beside = |victim: usize| others(victim).map(|client| (FateKind::Late, client));
            clients.map(|victim| std::iter::once((kind, victim)).chain(beside(victim)).collect()).collect()
        }
        None => vec![Vec::new()],
    }
}

/// The fates under which a schedule of a plan can be run again. A kill is a step of its own; whoever
/// may be paused, or come late, does so only where the schedule says so.
pub(super) fn of_schedule(plan: &Plan, schedule: &[ThreadId]) -> Fates {
    match kind(plan.hazard) {
        Some(FateKind::Kill) => {
            let kills = schedule.iter().filter(|thread| thread.is_reluctant());
            kills.map(|&thread| (FateKind::Kill, process_of(thread))).collect()
        }
        Some(_) => {
            let pauses = clients(plan).map(|victim| (FateKind::Pause, victim));
            pauses.chain(latecomers(plan).map(|client| (FateKind::Late, client))).collect()
        }
        None => Fates::new(),
    }
}

/// The same fates as of a plan where perhaps fewer clients play.
pub(super) fn within(fates: &Fates, of: &Plan, plan: &Plan) -> Fates {
    let (all, these) = (clients(of).end, clients(plan).end);
    let same = |victim: usize| match victim.checked_sub(all) {
        Some(server) => these + server,
        None => victim.min(these.saturating_sub(1)),
    };
    let mut within: Fates = fates.iter().map(|&(kind, victim)| (kind, same(victim))).collect();
    within.dedup();
    within
}

const fn kind(hazard: Hazard) -> Option<FateKind> {
    match hazard {
        Hazard::Kill => Some(FateKind::Kill),
        Hazard::Pause => Some(FateKind::Pause),
        _ => None,
    }
}

/// The processes that are clients: they come first, and whom they talk to after them.
fn clients(plan: &Plan) -> std::ops::Range<usize> {
    0..plan.scenario.clients.iter().map(|role| role.count as usize).sum()
}

fn latecomers(plan: &Plan) -> std::ops::Range<usize> {
    if may_come_late(plan) { clients(plan) } else { 0..0 }
}
