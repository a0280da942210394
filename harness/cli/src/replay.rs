//! `tearproof replay TOKEN`: runs the one execution that a token stands for again, tells it, and says
//! what was found in it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use tearproof_core::plan::Plan;
use tearproof_core::run::Outcome as RunOutcome;
use tearproof_core::scenario::Scenario;
use tearproof_core::verdict::{Anomaly, Finding, Findings, Witness};
use tearproof_engine::explore::arena::ArenaError;
use tearproof_engine::explore::{self, Replayed, Token};
use tearproof_engine::process::{Executable, Interrupt};
use tearproof_engine::stress::Surroundings;
use tearproof_reports::terminal;

use crate::Outcome;
use crate::args::ReplayOptions;
use crate::diagnose::Failure;
use crate::pieces::Place;
use crate::schedule::load_one;
use crate::stdout::print;
use crate::strategies::Registry;

/// Why a token brings no execution.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The definition is another one.
    #[error("the definition of `{0}` is not the one that this token was made with")]
    Changed(String),
    /// It cannot be run here.
    #[error(transparent)]
    Arena(#[from] ArenaError),
}

/// Runs the execution of a token again.
///
/// # Errors
/// When the definition has changed, or the execution cannot be run.
pub fn run_again(
    token: &Token,
    scenario: Scenario,
    place: &Place,
    executable: &Executable,
    interrupt: &Interrupt,
) -> Result<Replayed, ReplayError> {
    let changed = || ReplayError::Changed(token.scenario.clone());
    if scenario.name != token.scenario {
        return Err(changed());
    }
    let plan = Plan {
        scenario,
        strategy: token.strategy.clone(),
        hazard: token.hazard,
        seed: 0,
        budget: Duration::MAX,
        base: PathBuf::from("."),
        other_dir: place.other_dir(),
    };
    let plan = explore::plan_of(token, &plan).ok_or_else(changed)?;
    let mut surroundings = Surroundings {
        executable,
        strategies: &Registry,
        check: &tearproof_check::check,
        observe: &mut |_: &_, _: &_| {},
        interrupt,
        stop_at_violation: false,
    };
    Ok(explore::replay(&plan, &token.schedule, place.root(), &mut surroundings)?)
}

/// The breaches among findings.
pub fn breaches(findings: &Findings) -> Vec<&Anomaly> {
    let breached = findings.iter().flat_map(|(_, finding)| match finding {
        Finding::Violated(anomalies) => anomalies.as_slice(),
        _ => &[],
    });
    breached.collect()
}

/// Replays, prints, and says by the exit code whether the anomaly is there.
pub fn replay(options: &ReplayOptions, color: bool) -> Outcome {
    let token: Token = options.token.parse().map_err(|error: explore::TokenError| {
        Failure::usage(error.to_string(), "`tearproof run --engine explore` prints one with each witness")
    })?;
    let scenario = load_one(options.file.as_deref().unwrap_or(&token.scenario))?;
    let interrupt = Interrupt::listen().context("listening for signals")?;
    let executable = Executable::current().context("finding this program again")?;
    let directory = options.dir.as_deref().unwrap_or(Path::new("."));
    let place = Place::make(directory, &executable)?;
    let replayed = match run_again(&token, scenario, &place, &executable, &interrupt) {
        Ok(replayed) => replayed,
        Err(error @ ReplayError::Changed(_)) => {
            return Err(Failure::usage(
                error.to_string(),
                "run the scenario again: `tearproof run --engine explore` finds a new witness if there still is one",
            ));
        }
        Err(ReplayError::Arena(error)) => return Err(anyhow::Error::from(error).context("replaying").into()),
    };
    let anomalies = breaches(&replayed.findings);
    let explanation = match (replayed.diverged, anomalies.first()) {
        (Some(step), _) => format!("after {step} steps the execution went another way than the token says"),
        (None, Some(anomaly)) => format!("{}: {}", anomaly.kind, anomaly.witness.explanation),
        (None, None) => "nothing is broken in this execution".to_owned(),
    };
    let Replayed { steps, stderr, .. } = &replayed;
    let (steps, stderr) = (steps.clone(), stderr.clone());
    let witness = Witness { explanation, steps, replay: Some(token.to_string()), stderr };
    let style = terminal::Style { width: crate::run::terminal_width(), color };
    print(&terminal::witness(&witness, style))?;
    Ok(match (replayed.diverged, anomalies.is_empty()) {
        (Some(_), _) => RunOutcome::Inconclusive.exit_code(),
        (None, true) => RunOutcome::Held.exit_code(),
        (None, false) => RunOutcome::Violated.exit_code(),
    })
}
