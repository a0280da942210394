//! Kills and pauses: when they strike, and whom.
//!
//! The times between them are exponentially distributed, so that every instant is as likely as any
//! other, and everything random comes from the plan's seed.

use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rustix::process::Signal;
use tearproof_core::claim::Hazard;
use tearproof_core::history::Failure;

use super::session::{Session, Trouble};
use crate::worker::{Moment, Specification, Strike};

/// Where the kills and pauses of one execution come from: everything random from the seed.
pub struct HazardSource {
    kind: Hazard,
    random: SmallRng,
    mean: Duration,
    pause: Duration,
    next: Option<Instant>,
    paused: Option<usize>,
    agents: Vec<bool>,
    /// Kills that were delivered.
    pub kills: u64,
    /// Pauses that were delivered.
    pub pauses: u64,
}

impl HazardSource {
    /// For one execution of this length.
    pub fn new(specification: &Specification, execution: u32, length: Duration) -> Self {
        let plan = &specification.plan;
        let limits = &plan.scenario.stress;
        let seed = plan.seed_for(&[plan.hazard as u64, u64::from(execution)]);
        let mean = match plan.hazard {
            Hazard::Kill => limits.kill_every.min(length / 2),
            Hazard::Pause => limits.pause_every.min(length / 4),
            Hazard::Concurrency | Hazard::PowerLoss | Hazard::IoError => Duration::ZERO,
        };
        let agents =
            (0..specification.processes.len()).map(|process| specification.is_agent(process)).collect();
        let mut source = Self {
            kind: plan.hazard,
            random: SmallRng::seed_from_u64(seed),
            mean,
            pause: limits.pause,
            next: None,
            paused: None,
            agents,
            kills: 0,
            pauses: 0,
        };
        if !mean.is_zero() {
            source.next = Some(Instant::now() + source.interval());
        }
        source
    }

    /// An exponentially distributed time, so that every instant is as likely as any other.
    fn interval(&mut self) -> Duration {
        let uniform: f64 = self.random.random_range(f64::EPSILON..1.0);
        self.mean.mul_f64(-uniform.ln())
    }

    /// When it is time to strike, if it ever is.
    pub const fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Kills or pauses one of those who are still at work, or lets a paused one go on.
    ///
    /// # Errors
    /// When a killed process cannot be replaced.
    pub fn strike(
        &mut self,
        session: &mut Session<'_>,
        clients: &[usize],
        servers: &[usize],
        done: Moment,
    ) -> Result<(), Trouble> {
        if self.paused.is_some() {
            self.relent(session);
            self.next = Some(Instant::now() + self.interval());
            return Ok(());
        }
        let mut candidates: Vec<usize> =
            clients.iter().copied().filter(|&process| !session.has_completed(process, done)).collect();
        if self.kind == Hazard::Kill && !candidates.is_empty() {
            candidates.extend(servers);
        }
        // A holder in its critical section is where a lock is most sensitive.
        let holders: Vec<usize> =
            candidates.iter().copied().filter(|&process| session.is_inside(process)).collect();
        if !holders.is_empty() && self.random.random_bool(0.75) {
            candidates = holders;
        }
        if candidates.is_empty() {
            self.next = None;
            return Ok(());
        }
        let victim = candidates[self.random.random_range(0..candidates.len())];
        match self.kind {
            Hazard::Kill => {
                self.kills += 1;
                if self.agents[victim] {
                    session.control().process(victim).strike(Strike::Kill);
                } else {
                    session.kill_and_replace(victim, Failure::Killed)?;
                }
                self.next = Some(Instant::now() + self.interval());
            }
            Hazard::Pause => {
                self.pauses += 1;
                if self.agents[victim] {
                    session.control().process(victim).strike(Strike::Pause);
                } else {
                    session.signal(victim, Signal::STOP);
                }
                self.paused = Some(victim);
                self.next = Some(Instant::now() + self.pause);
            }
            Hazard::Concurrency | Hazard::PowerLoss | Hazard::IoError => {}
        }
        Ok(())
    }

    /// Lets whoever is paused go on.
    pub fn relent(&mut self, session: &Session<'_>) {
        if let Some(victim) = self.paused.take() {
            if self.agents[victim] {
                session.control().process(victim).strike(Strike::Resume);
            } else {
                session.signal(victim, Signal::CONT);
            }
        }
    }
}
