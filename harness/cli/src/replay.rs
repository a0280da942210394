//! `tearproof replay TOKEN`: runs the one execution that a token stands for again, tells it, and says
//! what was found in it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use tearproof_core::plan::Plan;
use tearproof_core::run::Outcome as RunOutcome;
use tearproof_core::verdict::{Anomaly, Finding, Witness};
use tearproof_engine::explore::{self, Token};
use tearproof_engine::host;
use tearproof_engine::process::{Executable, Interrupt, StateRoot};
use tearproof_engine::stress::Surroundings;
use tearproof_reports::terminal;

use crate::Outcome;
use crate::args::ReplayOptions;
use crate::diagnose::Failure;
use crate::schedule::load_one;
use crate::stdout::print;
use crate::strategies::Registry;

/// Replays, prints, and says by the exit code whether the anomaly is there.
pub fn replay(options: &ReplayOptions, color: bool) -> Outcome {
    let token: Token = options.token.parse().map_err(|error: explore::TokenError| {
        Failure::usage(error.to_string(), "`tearproof run --engine explore` prints one with each witness")
    })?;
    let scenario = load_one(options.file.as_deref().unwrap_or(&token.scenario))?;
    let changed = || {
        Failure::usage(
            format!("the definition of `{}` is not the one that this token was made with", token.scenario),
            "run the scenario again: `tearproof run --engine explore` finds a new witness if there still is one",
        )
    };
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
        other_dir: None,
    };
    let mut plan = explore::plan_of(&token, &plan).ok_or_else(changed)?;
    let interrupt = Interrupt::listen().context("listening for signals")?;
    let executable = Executable::current().context("finding this program again")?;
    let place = options.dir.clone().unwrap_or_else(|| PathBuf::from("."));
    let root = StateRoot::create(Path::new(&place), &executable)
        .with_context(|| format!("using {} for state directories", place.display()))?;
    let elsewhere = host::directory_elsewhere(root.path())
        .map(|dir| StateRoot::create(&dir, &executable))
        .transpose()
        .context("using a second file system")?;
    plan.other_dir = elsewhere.as_ref().map(|root| root.path().to_owned());
    let mut observe = |_: &_, _: &_| {};
    let replayed = explore::replay(
        &plan,
        &token.schedule,
        &root,
        &mut Surroundings {
            executable: &executable,
            strategies: &Registry,
            check: &tearproof_check::check,
            observe: &mut observe,
            interrupt: &interrupt,
            stop_at_violation: false,
        },
    )
    .context("replaying")?;
    let anomalies: Vec<&Anomaly> = replayed
        .findings
        .iter()
        .flat_map(|(_, finding)| match finding {
            Finding::Violated(anomalies) => anomalies.as_slice(),
            _ => &[],
        })
        .collect();
    let explanation = match (replayed.diverged, anomalies.first()) {
        (Some(step), _) => format!("after {step} steps the execution went another way than the token says"),
        (None, Some(anomaly)) => format!("{}: {}", anomaly.kind, anomaly.witness.explanation),
        (None, None) => "nothing is broken in this execution".to_owned(),
    };
    let witness = Witness { explanation, steps: replayed.steps, replay: Some(token.to_string()) };
    let style = terminal::Style { width: crate::run::terminal_width(), color };
    print(&terminal::witness(&witness, style))?;
    Ok(match (replayed.diverged, anomalies.is_empty()) {
        (Some(_), _) => RunOutcome::Inconclusive.exit_code(),
        (None, true) => RunOutcome::Held.exit_code(),
        (None, false) => RunOutcome::Violated.exit_code(),
    })
}
