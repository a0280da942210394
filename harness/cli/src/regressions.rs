//! Kept witnesses: a folder with one small file for each execution in which something was broken. The
//! next run begins with them, so that what was mended stays so.
//!
//! A file has the replay token in its first line that is neither empty nor a comment; the comments
//! say what was found. It is made to be committed beside the definition.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tearproof_core::claim::{Claim, Engine};
use tearproof_core::run::{KeptWitness, Outcome, Run, ScenarioRun, StrategyRun};
use tearproof_core::verdict::Anomaly;
use tearproof_engine::explore::Token;
use tearproof_engine::process::{Executable, Interrupt};

use crate::pieces::Place;
use crate::replay::{ReplayError, breaches, run_again};
use crate::schedule::Schedule;

/// The folder that is looked for when nobody names one.
const FOLDER: &str = "regressions";
/// How files of witnesses end.
const EXTENSION: &str = "witness";

/// What became of a kept witness.
#[derive(Debug)]
enum Fate {
    /// What was broken is broken still.
    Broken {
        /// As the checker tells it.
        explanation: String,
        /// The promises of the strategy that this breaks.
        claims: Vec<Claim>,
    },
    /// Nothing is broken any more.
    Mended,
    /// It cannot be run again, and why.
    Lost(String),
}

/// A kept witness, and what became of it.
#[derive(Debug)]
struct Regression {
    file: PathBuf,
    token: String,
    fate: Fate,
}

/// The kept witnesses of a run, replayed.
#[derive(Debug, Default)]
pub struct Regressions {
    all: Vec<Regression>,
}

impl Regressions {
    /// Replays every witness in the folders that belongs to this run. One of another scenario or
    /// strategy waits for a run that has it.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn replay(
        folders: &BTreeSet<PathBuf>,
        schedule: &Schedule,
        place: &Place,
        executable: &Executable,
        interrupt: &Interrupt,
    ) -> Result<Self, anyhow::Error> {
        let mut all = Vec::new();
        for file in files(folders)? {
            let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
            let token = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
            let token = token.unwrap_or_default().to_owned();
            let fate = match token.parse::<Token>() {
                Ok(token) => fate(&token, schedule, place, executable, interrupt),
                Err(error) => Some(Fate::Lost(error.to_string())),
            };
            if let Some(fate) = fate {
                all.push(Regression { file, token, fate });
            }
            if interrupt.raised() {
                break;
            }
        }
        Ok(Self { all })
    }

    /// What is to be said of them, a line or two each; nothing where there are none.
    pub fn told(&self, color: bool) -> String {
        let paint = |code: &str, text: &str| {
            if color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
        };
        let mut told = String::new();
        for Regression { file, token, fate } in &self.all {
            let file = file.display();
            let line = match fate {
                Fate::Broken { explanation, claims } if claims.is_empty() => {
                    format!("{} {file}: still broken, not claimed: {explanation}", paint("31", "✗ "))
                }
                Fate::Broken { explanation, claims } => {
                    let claims: Vec<String> = claims.iter().map(Claim::to_string).collect();
                    let claims = claims.join(", ");
                    format!("{} {file}: still breaks {claims}: {explanation}", paint("1;31", "✗!"))
                }
                Fate::Mended => {
                    format!("{} {file}: no longer violates; delete it or keep it", paint("32", "✓ "))
                }
                Fate::Lost(why) => format!("{} {file}: {why}", paint("33", "? ")),
            };
            // Writing to a text cannot fail.
            let _ = writeln!(told, "{line}");
            if matches!(fate, Fate::Broken { .. }) {
                let _ = writeln!(told, "   replay     tearproof replay {token}");
            }
        }
        if told.is_empty() { told } else { format!("kept witnesses\n{told}\n") }
    }

    /// The same for `run.json`.
    pub fn kept(&self) -> Vec<KeptWitness> {
        let kept = |Regression { file, token, fate }: &Regression| {
            let (reproduced, explanation, breaks) = match fate {
                Fate::Broken { explanation, claims } => (Some(true), Some(explanation), claims.clone()),
                Fate::Mended => (Some(false), None, Vec::new()),
                Fate::Lost(why) => (None, Some(why), Vec::new()),
            };
            KeptWitness {
                file: file.display().to_string(),
                token: token.clone(),
                reproduced,
                explanation: explanation.cloned(),
                breaks,
            }
        };
        self.all.iter().map(kept).collect()
    }

    /// The outcome of a run that has these.
    pub fn outcome(&self, run: Outcome) -> Outcome {
        let broken = |regression: &Regression| matches!(&regression.fate, Fate::Broken { claims, .. } if !claims.is_empty());
        if self.all.iter().any(broken) { Outcome::Violated } else { run }
    }
}

/// Runs a kept witness again, if this run has its scenario and its strategy.
fn fate(
    token: &Token,
    schedule: &Schedule,
    place: &Place,
    executable: &Executable,
    interrupt: &Interrupt,
) -> Option<Fate> {
    let entry = schedule.entries.iter().find(|entry| {
        schedule.scenarios[entry.scenario].name == token.scenario && entry.strategy == token.strategy
    })?;
    let scenario = schedule.scenarios[entry.scenario].clone();
    Some(match run_again(token, scenario, place, executable, interrupt) {
        Ok(replayed) => match (replayed.diverged, breaches(&replayed.findings).as_slice()) {
            (Some(step), _) => Fate::Lost(format!(
                "after {step} steps the execution goes another way now: what it showed may be mended or not; run with \
                 --keep to look anew"
            )),
            (None, []) => Fate::Mended,
            (None, anomalies @ [first, ..]) => {
                let broken = |claim: &&Claim| {
                    claim.hazard == token.hazard
                        && anomalies.iter().any(|anomaly| anomaly.kind.breaches() == claim.guarantee)
                };
                Fate::Broken {
                    explanation: format!("{}: {}", first.kind, first.witness.explanation),
                    claims: entry.claims.iter().filter(broken).copied().collect(),
                }
            }
        },
        Err(error @ ReplayError::Changed(_)) => {
            Fate::Lost(format!("{error}; delete it, and run with --keep to look anew"))
        }
        Err(ReplayError::Arena(error)) => Fate::Lost(error.to_string()),
    })
}

/// The folders of a run: the one that was named, or those that are there, beside the definitions and
/// in the current directory.
pub fn folders(named: Option<&Path>, schedule: &Schedule) -> BTreeSet<PathBuf> {
    if let Some(named) = named {
        return BTreeSet::from([named.to_owned()]);
    }
    let beside = schedule.definitions.iter().map(|definition| folder_of(definition.as_deref()));
    beside.chain([PathBuf::from(FOLDER)]).filter(|folder| folder.is_dir()).collect()
}

/// Where the witnesses of a scenario are kept: beside its definition.
fn folder_of(definition: Option<&str>) -> PathBuf {
    let beside = definition.and_then(|definition| Path::new(definition).parent());
    beside.map_or_else(|| PathBuf::from(FOLDER), |directory| directory.join(FOLDER))
}

fn files(folders: &BTreeSet<PathBuf>) -> Result<Vec<PathBuf>, anyhow::Error> {
    let mut files = Vec::new();
    for folder in folders.iter().filter(|folder| folder.exists()) {
        let context = || format!("reading the folder of kept witnesses {}", folder.display());
        for entry in fs::read_dir(folder).with_context(context)? {
            let path = entry.with_context(context)?.path();
            if path.extension().is_some_and(|extension| extension == EXTENSION) {
                files.push(path);
            }
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Keeps every witness of a run that can be replayed, and returns the files that are new. One execution may
/// show several anomalies.
///
/// # Errors
/// When one cannot be written.
pub fn keep(named: Option<&Path>, run: &Run) -> Result<Vec<PathBuf>, anyhow::Error> {
    let mut new = Vec::new();
    for scenario in &run.scenarios {
        let folder = named.map_or_else(|| folder_of(scenario.definition.as_deref()), Path::to_owned);
        for strategy in &scenario.strategies {
            let mut by_token: BTreeMap<&str, Vec<(Claim, &Anomaly)>> = BTreeMap::new();
            for cell in strategy.verdicts.iter().filter(|cell| cell.engine == Engine::Explore) {
                for anomaly in &cell.anomalies {
                    if let Some(token) = &anomaly.witness.replay {
                        let claim = Claim::new(cell.guarantee, cell.hazard);
                        by_token.entry(token).or_default().push((claim, anomaly));
                    }
                }
            }
            for (token, anomalies) in by_token {
                let path = folder.join(name(scenario, strategy, token));
                if !path.exists() {
                    fs::create_dir_all(&folder)
                        .and_then(|()| fs::write(&path, text(scenario, strategy, token, &anomalies)))
                        .with_context(|| format!("keeping {}", path.display()))?;
                    new.push(path);
                }
            }
        }
    }
    Ok(new)
}

/// The same witness has the same name, and another one another.
fn name(scenario: &ScenarioRun, strategy: &StrategyRun, token: &str) -> String {
    // FNV-1a, folded.
    let digest = token
        .bytes()
        .fold(0x811c_9dc5_u32, |digest, byte| (digest ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let digest = digest >> 16 ^ digest & 0xffff;
    format!("{}-{}-{digest:04x}.{EXTENSION}", scenario.name, strategy.name)
}

fn text(
    scenario: &ScenarioRun,
    strategy: &StrategyRun,
    token: &str,
    anomalies: &[(Claim, &Anomaly)],
) -> String {
    let definition = scenario.definition.as_deref().map_or_else(String::new, |file| format!(" {file}"));
    let mut text = format!(
        "{token}\n# {} in {}; to see it again: tearproof replay {token}{definition}\n",
        strategy.name, scenario.name
    );
    for (claim, anomaly) in anomalies {
        let claimed = if strategy.claims.contains(claim) { "claimed" } else { "not claimed" };
        // Writing to a text cannot fail.
        let _ =
            writeln!(text, "# {} breaks {claim} ({claimed}): {}", anomaly.kind, anomaly.witness.explanation);
    }
    text
}

#[cfg(test)]
mod tests {
    use tearproof_core::claim::{Guarantee, Hazard};

    use super::*;

    fn with(fate: Fate) -> Regressions {
        let token = "index/temp-rename/concurrency/1:1.1.0/1/A6B7A1".to_owned();
        Regressions { all: vec![Regression { file: PathBuf::from("regressions/a.witness"), token, fate }] }
    }

    fn broken(claims: Vec<Claim>) -> Fate {
        Fate::Broken { explanation: "lost-update: it is gone".to_owned(), claims }
    }

    #[test]
    fn only_a_broken_claim_makes_a_run_fail() {
        let claim = Claim::new(Guarantee::NoLostUpdates, Hazard::Concurrency);
        for outcome in [Outcome::Held, Outcome::Violated, Outcome::Inconclusive] {
            assert_eq!(with(broken(vec![claim])).outcome(outcome), Outcome::Violated);
            for fate in [broken(Vec::new()), Fate::Mended, Fate::Lost("gone".to_owned())] {
                assert_eq!(with(fate).outcome(outcome), outcome);
            }
        }
    }

    #[test]
    fn what_became_of_a_witness_is_told_in_words() {
        let claim = Claim::new(Guarantee::NoLostUpdates, Hazard::Concurrency);
        let told = with(broken(vec![claim])).told(false);
        assert!(
            told.contains("✗! regressions/a.witness: still breaks no-lost-updates@concurrency"),
            "{told}"
        );
        assert!(told.contains("tearproof replay index/temp-rename/"), "{told}");
        assert!(with(broken(Vec::new())).told(false).contains("still broken, not claimed"));
        assert!(with(Fate::Mended).told(false).contains("no longer violates; delete it or keep it"));
        assert!(with(Fate::Mended).told(true).contains("\x1b[32m"));
        assert_eq!(Regressions::default().told(true), "");
    }

    #[test]
    fn what_became_of_a_witness_is_in_the_result() {
        let claim = Claim::new(Guarantee::NoLostUpdates, Hazard::Concurrency);
        let kept = |fate| with(fate).kept().remove(0);
        let still = kept(broken(vec![claim]));
        assert_eq!((still.reproduced, still.breaks), (Some(true), vec![claim]));
        assert_eq!(still.file, "regressions/a.witness");
        assert_eq!(kept(Fate::Mended).reproduced, Some(false));
        let lost = kept(Fate::Lost("gone".to_owned()));
        assert_eq!((lost.reproduced, lost.explanation.as_deref()), (None, Some("gone")));
    }

    #[test]
    fn witnesses_are_kept_beside_the_definition() {
        assert_eq!(folder_of(Some("tests/store.toml")), Path::new("tests/regressions"));
        assert_eq!(folder_of(Some("store.toml")), Path::new("regressions"));
        assert_eq!(folder_of(None), Path::new("regressions"));
    }
}
