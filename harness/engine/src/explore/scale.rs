//! A plan cut down to what can be explored, and further to what a witness needs.

use std::collections::BTreeMap;

use tearproof_core::object::Operation;
use tearproof_core::plan::Plan;
use tearproof_core::scenario::{ClientRole, Lifetime, Via};

/// Clients that change the state, processes or threads, at most; and clients that read.
const WRITERS_MAX: u32 = 2;
const READERS_MAX: u32 = 1;
/// Where each of them reads once, so many: one who reads twice sees the state go back as two would.
const READERS_OF_ONE_READ_MAX: u32 = 2;

/// The plan with as many clients as can be explored: [`WRITERS_MAX`] that change the state, of
/// different roles where there are several, and [`READERS_MAX`] that read, or
/// [`READERS_OF_ONE_READ_MAX`]. Readers over HTTP stay away: their server's runtime is not under control.
pub(super) fn scaled(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    let most = if plan.scenario.explore.operations == 1 { READERS_OF_ONE_READ_MAX } else { READERS_MAX };
    let driven: Vec<bool> = (plan.scenario.clients.iter())
        .map(|role| plan.scenario.program(role.strategy.as_ref().unwrap_or(&plan.strategy)).is_some())
        .collect();
    let roles = &mut plan.scenario.clients;
    for (role, driven) in roles.iter_mut().zip(driven) {
        // A built-in strategy remembers nothing from one operation to the next. Of a program nobody knows.
        if !driven {
            role.lifetime = Lifetime::Session;
        }
    }
    roles.retain(|role| role.via == Via::File);
    let changes = |role: &ClientRole| role.does.iter().any(|(operation, _)| *operation != Operation::Read);
    let writing = roles.iter().filter(|role| changes(role)).count() as u32;
    let (mut writers, mut readers) = (WRITERS_MAX, most);
    for role in roles.iter_mut() {
        role.rate = None;
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

/// How many clients of each role a plan has.
pub(super) fn clients_of(plan: &Plan) -> BTreeMap<String, u32> {
    let mut clients: BTreeMap<String, u32> = BTreeMap::new();
    for role in &plan.scenario.clients {
        *clients.entry(role.role.clone()).or_default() += role.count * role.threads;
    }
    clients
}

/// Who plays in an execution, and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cast {
    /// Operations of each client.
    pub operations: u32,
    /// Processes of each role.
    pub processes: Vec<u32>,
}

impl Cast {
    /// That of a plan.
    pub(super) fn of(plan: &Plan) -> Self {
        let scenario = &plan.scenario;
        let processes = scenario.clients.iter().map(|role| role.count).collect();
        Self { operations: scenario.explore.operations, processes }
    }

    /// A plan with this cast.
    pub(super) fn applied(&self, plan: &Plan) -> Plan {
        let mut plan = plan.clone();
        plan.scenario.explore.operations = self.operations;
        for (role, count) in plan.scenario.clients.iter_mut().zip(&self.processes) {
            role.count = *count;
        }
        plan.scenario.clients.retain(|role| role.count > 0);
        plan
    }

    /// Every cast that does the same with some of these clients, the smallest first.
    pub(super) fn with_fewer_clients(&self) -> Vec<Self> {
        let mut all = vec![Vec::new()];
        for &most in &self.processes {
            let with = |some: Vec<u32>| {
                (0..=most).map(move |count| some.iter().copied().chain([count]).collect::<Vec<u32>>())
            };
            all = all.into_iter().flat_map(with).collect();
        }
        let total = |processes: &Vec<u32>| processes.iter().sum::<u32>();
        all.retain(|processes| total(processes) > 0 && *processes != self.processes);
        all.sort_by_key(total);
        all.into_iter().map(|processes| Self { operations: self.operations, processes }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smaller_casts_come_in_order_and_none_twice() {
        let cast = Cast { operations: 2, processes: vec![2, 1] };
        let of = |writers, readers| Cast { operations: 2, processes: vec![writers, readers] };
        assert_eq!(cast.with_fewer_clients(), [of(0, 1), of(1, 0), of(1, 1), of(2, 0)]);
    }
}
