//! Where an execution is judged: what the clients recorded becomes histories, each of which is shown
//! to the checker.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use tearproof_core::claim::Guarantee;
use tearproof_core::history::{Failure, Phase};
use tearproof_core::plan::Plan;
use tearproof_core::scenario::StateBefore;
use tearproof_core::verdict::{Anomaly, Finding, Findings};

use super::arena::{Arena, ArenaError, process_of};
use super::ledger::Ledger;
use super::recount::{Players, Recount, RecountError, WITHIN_STEP};
use super::search::Trace;
use super::search::schedule::{Replayed, replay};
use super::system::ThreadId;
use crate::record::{Death, Drain, RawEvent, RawPayload, SharedMemory, Start, ring_at};
use crate::stress::Surroundings;
use crate::stress::execution::{Stage, tear_what_came_back};
use crate::worker::{EXECUTION, Layout};

/// What is needed to judge an execution.
pub(super) struct Bench<'a, 's> {
    pub plan: &'a Plan,
    pub stage: Stage<'a>,
    pub memory: &'s SharedMemory,
    pub layout: Layout,
    /// Which thread plays which client.
    pub threads: BTreeMap<u32, ThreadId>,
}

impl Bench<'_, '_> {
    /// The client that a thread plays, or works for: other threads of a process that plays one client
    /// alone, and of the processes that it has started, do what they do for that one.
    pub fn client_of(&self, thread: ThreadId) -> u32 {
        if thread.is_reluctant() {
            return 0;
        }
        let exactly = self.threads.iter().find(|(_, known)| **known == thread);
        let mut others = self.threads.iter().filter(|(_, known)| process_of(**known) == process_of(thread));
        let only = others.next().filter(|_| others.next().is_none());
        exactly.or(only).map_or(0, |(client, _)| *client)
    }

    /// The thread that plays the client which a thread works for.
    fn player_of(&self, thread: ThreadId) -> ThreadId {
        self.threads.get(&self.client_of(thread)).copied().unwrap_or(thread)
    }

    /// The part that each client plays.
    pub fn roles(&self) -> BTreeMap<u32, String> {
        let role = |thread: ThreadId| self.stage.specification.player(process_of(thread)).to_owned();
        self.threads.iter().map(|(&client, &thread)| (client, role(thread))).collect()
    }

    /// Collects what was recorded in the execution that has just been completed, and has the
    /// auditor look at what is there.
    pub fn recount(&self, arena: &mut Arena<'_>) -> Result<Recount, ArenaError> {
        let specification = self.stage.specification;
        let stuck = arena.stuck();
        let audit_from = arena.end_of_play();
        if stuck.is_empty() {
            arena.revive_servers()?;
            arena.run_alone(specification.auditor())?;
        }
        let mut events: Vec<RawEvent> = Vec::new();
        for thread in 0..self.layout.threads {
            let mut ring = Drain::new(ring_at(self.memory, self.layout.ring_start(thread), self.layout.ring));
            ring.drain(&mut events)
                .map_err(|error| ArenaError::Client(format!("reading what a client recorded: {error}")))?;
        }
        // Where it lies is another place each time, and says nothing.
        let place = format!("{}/", specification.context(EXECUTION, 0).dir.display());
        for event in &mut events {
            if let RawPayload::Failed(_, message) | RawPayload::Torn(_, message) = &mut event.payload
                && message.contains(&place)
            {
                *message = message.replace(&place, "");
            }
        }
        if matches!(self.plan.scenario.before.state, StateBefore::Empty | StateBefore::Text(_)) {
            tear_what_came_back(&mut events);
        }
        let last = events.iter().map(|event| event.time_ns).max().unwrap_or(0);
        let death =
            |&client: &u32| Death { client, struck_ns: 0, time_ns: last + 1, failure: Failure::TimedOut };
        let mut deaths: Vec<Death> = stuck.iter().map(death).collect();
        for (process, step) in arena.fallen() {
            let fallen = self.threads.iter().filter(|(_, thread)| process_of(**thread) == process);
            // It was alive before that step, and dead after it.
            let at = step << WITHIN_STEP;
            let death = |client: u32| Death { client, struck_ns: at, time_ns: at, failure: Failure::Killed };
            deaths.extend(fallen.map(|(&client, _)| death(client)));
        }
        let start = Start { object: self.plan.scenario.state.object, initial: specification.initial() };
        let aftermath = if stuck.is_empty() { self.stage.inspect(EXECUTION) } else { Default::default() };
        Ok(Recount { events, deaths, start, aftermath, audit_from })
    }

    /// Judges every history of an execution; for each guarantee the worst finding counts.
    pub fn findings(
        &self,
        recount: &mut Recount,
        trace: &Trace,
        known: impl FnMut(u64) -> bool,
        findings: &mut Findings,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<(), ArenaError> {
        let players = Players {
            thread_of: &|client| self.threads.get(&client).copied(),
            player_of: &|thread| self.player_of(thread),
        };
        recount.tell::<(), ArenaError>(trace, players, known, |mut history| {
            history.roles = self.roles();
            let found = (surroundings.check)(&history)
                .map_err(|error| ArenaError::Client(format!("checking an execution: {error}")))?;
            (surroundings.observe)(&history, &found);
            for (guarantee, finding) in found {
                worsen(findings, guarantee, finding);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(())
    }

    /// Judges an execution, and writes down what was found.
    ///
    /// Workers that were used before are not taken at their word: now and then, and wherever something is found that
    /// was not known, processes that have just begun do the same. If they do something else, the execution is not
    /// written down, and `false` is returned. Where clients were played, what is found has to be found when they act
    /// themselves.
    pub fn judge(
        &self,
        arena: &mut Arena<'_>,
        trace: &Trace,
        ledger: &mut Ledger,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<bool, ArenaError> {
        let mut recount = self.recount(arena)?;
        let plays = arena.plays_somebody();
        let answers = (plays || arena.is_reusing()).then(|| recount.events.clone());
        let number = ledger.executions() + 1;
        let mut signature = 0;
        let mut counted = false;
        let mut findings = Findings::new();
        let known = |digest: u64| {
            signature = digest;
            counted = ledger.count_again(digest);
            counted
        };
        self.findings(&mut recount, trace, known, &mut findings, surroundings)?;
        if let Some(answers) = answers {
            let is_new = !counted && anomalies(&findings).any(|anomaly| !ledger.knows(anomaly.kind));
            if plays && is_new && !self.is_same_by_themselves(arena, trace, &answers)? {
                return Err(ArenaError::Unlike(
                    "what was found is not found when clients act themselves".to_owned(),
                ));
            }
            let in_doubt = is_new || is_looked_at_again(number);
            if arena.is_reusing() && in_doubt && !self.is_same_afresh(arena, trace, &answers)? {
                return Ok(false);
            }
        }
        for event in recount.events.iter().filter(|event| event.phase != Phase::Invoke) {
            match &event.payload {
                RawPayload::Failed(_, message) => ledger.attempt(event.operation, Some(message)),
                _ => ledger.attempt(event.operation, None),
            }
        }
        for pending in recount.deaths.iter().filter(|death| death.failure != Failure::Killed) {
            let invoked = recount.events.iter().rev().find(|event| event.client == pending.client);
            if let Some(event) = invoked {
                ledger.attempt(event.operation, Some("it waits for ever"));
            }
        }
        if !counted {
            ledger.add(signature, findings, &trace.schedule(), self.plan.scenario.explore.operations);
        }
        Ok(true)
    }

    /// Whether clients that play their parts themselves do the same, step by step, and come to the same answers.
    fn is_same_by_themselves(
        &self,
        arena: &mut Arena<'_>,
        trace: &Trace,
        answers: &[RawEvent],
    ) -> Result<bool, ArenaError> {
        arena.ask_everybody(true);
        let mut again = Trace::default();
        let replayed = replay(arena, &trace.schedule(), &mut again);
        let same = replayed.and_then(|replayed| self.is_same(arena, trace, &again, replayed, answers));
        arena.ask_everybody(false);
        same
    }

    /// Whether processes that have just begun do the same, step by step, and come to the same answers.
    fn is_same_afresh(
        &self,
        arena: &mut Arena<'_>,
        trace: &Trace,
        answers: &[RawEvent],
    ) -> Result<bool, ArenaError> {
        arena.reuse_workers(false);
        let mut again = Trace::default();
        let replayed = replay(arena, &trace.schedule(), &mut again);
        arena.reuse_workers(true);
        self.is_same(arena, trace, &again, replayed?, answers)
    }

    fn is_same(
        &self,
        arena: &mut Arena<'_>,
        trace: &Trace,
        again: &Trace,
        replayed: Replayed,
        answers: &[RawEvent],
    ) -> Result<bool, ArenaError> {
        Ok(replayed == Replayed::Complete && trace.is_like(again) && self.recount(arena)?.events == answers)
    }
}

/// Whether new processes have to do the same in the execution with this number: the first, and then ever more seldom.
const fn is_looked_at_again(number: u64) -> bool {
    number.is_power_of_two() && number.trailing_zeros().is_multiple_of(3)
}

/// Keeps the worse of two findings.
fn worsen(findings: &mut Findings, guarantee: Guarantee, finding: Finding) {
    let rank = |finding: &Finding| match finding {
        Finding::NotApplicable => 0,
        Finding::Holds => 1,
        Finding::Inconclusive(_) => 2,
        Finding::Violated(_) => 3,
    };
    match findings.iter_mut().find(|(known, _)| *known == guarantee) {
        Some((_, Finding::Violated(kept))) => {
            if let Finding::Violated(more) = finding {
                for anomaly in more {
                    if !kept.iter().any(|known| known.kind == anomaly.kind) {
                        kept.push(anomaly);
                    }
                }
            }
        }
        Some((_, known)) if rank(&finding) > rank(known) => *known = finding,
        Some(_) => {}
        None => findings.push((guarantee, finding)),
    }
}

/// The breaches among findings.
pub(super) fn anomalies(findings: &Findings) -> impl Iterator<Item = &Anomaly> {
    findings.iter().flat_map(|(_, finding)| match finding {
        Finding::Violated(anomalies) => anomalies.as_slice(),
        _ => &[],
    })
}

impl From<RecountError> for ArenaError {
    fn from(error: RecountError) -> Self {
        Self::Client(error.to_string())
    }
}
