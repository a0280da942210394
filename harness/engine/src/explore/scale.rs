//! A plan cut down to what can be explored.

use tearproof_core::object::Operation;
use tearproof_core::plan::Plan;
use tearproof_core::scenario::{ClientRole, Lifetime, Via};

/// Clients that change the state, processes or threads, at most; and clients that read.
const WRITERS_MAX: u32 = 2;
const READERS_MAX: u32 = 1;

/// The plan with as many clients as can be explored: [`WRITERS_MAX`] that change the state, of
/// different roles where there are several, and [`READERS_MAX`] that read. Readers over HTTP stay
/// away: their server's runtime is not under control.
pub(super) fn scaled(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    let roles = &mut plan.scenario.clients;
    roles.retain(|role| role.via == Via::File);
    let changes = |role: &ClientRole| role.does.iter().any(|(operation, _)| *operation != Operation::Read);
    let writing = roles.iter().filter(|role| changes(role)).count() as u32;
    let (mut writers, mut readers) = (WRITERS_MAX, READERS_MAX);
    for role in roles.iter_mut() {
        role.rate = None;
        role.lifetime = Lifetime::Session;
        if changes(role) {
            let share = (WRITERS_MAX / writing.max(1)).max(1).min(writers);
            role.threads = role.threads.min(share);
            role.count = role.count.min(share / role.threads.max(1));
            writers -= role.count * role.threads;
        } else {
            role.threads = 1;
            role.count = role.count.min(readers);
            readers -= role.count;
        }
    }
    roles.retain(|role| role.count > 0 && role.threads > 0);
    plan
}
