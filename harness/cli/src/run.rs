//! `tearproof run`: every chosen strategy of every chosen scenario, under every hazard, in every
//! directory; then the table, and `run.json`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tearproof_core::claim::{Claim, Engine, Hazard};
use tearproof_core::history::History;
use tearproof_core::plan::{Plan, mix};
use tearproof_core::run::{Directory, Host, Run, ScenarioRun, StrategyRun, Tool};
use tearproof_core::scenario::Scenario;
use tearproof_core::verdict::{Finding, Findings};
use tearproof_engine::process::{Executable, Interrupt, StateRoot};
use tearproof_engine::stress::{self, Measured, Surroundings};
use tearproof_engine::{explore, host};
use tearproof_reports::terminal;

use crate::args::RunOptions;
use crate::diagnose::Failure;
use crate::progress::Progress;
use crate::schedule::{Clock, DEFAULT_BUDGET, Entry, QUICK_BUDGET, Schedule};
use crate::stdout::print;
use crate::strategies::Registry;
use crate::{Outcome, check};

/// Runs, prints, writes.
pub fn run(options: &RunOptions, color: bool) -> Outcome {
    let schedule = Schedule::new(options)?;
    let interrupt = Interrupt::listen().context("listening for signals")?;
    let executable = Executable::current().context("finding this program again")?;
    let directories = directories(&options.dirs)?;
    let seed = options.seed.unwrap_or_else(fresh_seed);
    fs::create_dir_all(&options.out).with_context(|| format!("making {}", options.out.display()))?;
    // All of them before anything runs: one that cannot be used must not cost what others brought.
    let roots = directories
        .iter()
        .map(|directory| {
            StateRoot::create(Path::new(&directory.path), &executable)
                .with_context(|| format!("using {} for state directories", directory.path))
        })
        .collect::<Result<Vec<StateRoot>, anyhow::Error>>()?;

    let mut run = Run {
        format: Run::FORMAT,
        tool: Tool { name: "tearproof".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() },
        host: describe_host(&directories),
        seed,
        started: jiff::Timestamp::now().to_string(),
        elapsed_ms: 0,
        interrupted: false,
        scenarios: Vec::new(),
    };
    let pieces: usize =
        schedule.entries.iter().map(|entry| entry.hazards.len()).sum::<usize>() * directories.len();
    let budget = if options.quick { QUICK_BUDGET } else { options.budget.unwrap_or(DEFAULT_BUDGET) };
    let explicit = options.quick || options.budget.is_some();
    let engines = if options.engines.is_empty() { vec![Engine::Stress] } else { options.engines.clone() };
    let pieces = pieces * engines.len();
    let mut clock = Clock::start(budget, pieces as u32);
    let progress = Progress::new(pieces as u64);
    'all: for (number, (directory, root)) in (1..).zip(directories.iter().zip(&roots)) {
        let mut histories = options.out.join("histories");
        if directories.len() > 1 {
            // The same scenarios run in each of them.
            histories.push(format!("{number}-{}", directory.filesystem));
        }
        // What a strategy keeps on another file system goes when the run is over, whoever dies.
        let elsewhere = host::directory_elsewhere(root.path())
            .map(|dir| StateRoot::create(&dir, &executable))
            .transpose()
            .context("using a second file system")?;
        for (index, scenario) in schedule.scenarios.iter().enumerate() {
            let entries: Vec<&Entry> =
                schedule.entries.iter().filter(|entry| entry.scenario == index).collect();
            if entries.is_empty() {
                continue;
            }
            let mut described = describe_scenario(scenario, directory);
            described.definition.clone_from(&schedule.definitions[index]);
            run.scenarios.push(described);
            for entry in entries {
                let mut row = describe_strategy(entry);
                for &hazard in &entry.hazards {
                    progress.begin(format!("{} · {} · {hazard}", scenario.name, entry.strategy));
                    let share = clock.next_share();
                    let plan = Plan {
                        scenario: scenario.clone(),
                        strategy: entry.strategy.clone(),
                        hazard,
                        seed: mix(seed
                            ^ text_seed(&scenario.name)
                            ^ text_seed(&entry.strategy).rotate_left(17)),
                        budget: match scenario.stress.seconds {
                            Some(seconds) if !explicit => std::time::Duration::from_secs_f64(seconds),
                            _ => share,
                        },
                        base: PathBuf::from(&directory.path),
                        other_dir: elsewhere.as_ref().map(|root| root.path().to_owned()),
                    };
                    let keep = options.histories.then(|| {
                        histories.join(format!("{}-{}-{hazard}.jsonl", scenario.name, entry.strategy))
                    });
                    for &engine in &engines {
                        if engine == Engine::Explore && !explores(&plan) {
                            continue;
                        }
                        let run = if engine == Engine::Explore { explore::explore } else { stress::run };
                        let measured = run_plan(run, &plan, root, &executable, &interrupt, keep.as_deref());
                        for problem in &measured.problems {
                            let row = format!("{} · {} · {hazard}", scenario.name, entry.strategy);
                            progress.say(&format!("{row}: {problem}"));
                        }
                        take(&mut row, measured, hazard, engine);
                    }
                    progress.done();
                    if interrupt.raised() {
                        break;
                    }
                }
                if let Some(scenario) = run.scenarios.last_mut() {
                    scenario.strategies.push(row);
                }
                if interrupt.raised() {
                    run.interrupted = true;
                    break 'all;
                }
            }
        }
    }
    drop(progress);
    run.elapsed_ms = clock.elapsed().as_millis() as u64;
    finish(&run, options, color)
}

/// Whether the explore engine can run a plan: interleavings of the system calls of built-in
/// strategies.
fn explores(plan: &Plan) -> bool {
    let scenario = &plan.scenario;
    plan.hazard == Hazard::Concurrency
        && scenario.program(&plan.strategy).is_none()
        && tearproof_scenarios::strategy(&plan.strategy).is_some_and(|strategy| !strategy.has_server())
}

/// Runs one plan with one engine.
fn run_plan(
    run: fn(&Plan, &StateRoot, &mut Surroundings<'_>) -> Measured,
    plan: &Plan,
    root: &StateRoot,
    executable: &Executable,
    interrupt: &Interrupt,
    keep: Option<&Path>,
) -> Measured {
    let mut kept: Result<bool, anyhow::Error> = Ok(false);
    let mut observe = |history: &History, findings: &Findings| {
        let violated = findings.iter().any(|(_, finding)| matches!(finding, Finding::Violated(_)));
        if let (Some(path), Ok(false), true) = (keep, &kept, violated) {
            kept = check::write_history(path, history).map(|()| true);
        }
    };
    let mut measured = run(
        plan,
        root,
        &mut Surroundings {
            executable,
            strategies: &Registry,
            check: &tearproof_check::check,
            observe: &mut observe,
            interrupt,
            stop_at_violation: false,
        },
    );
    if let Err(error) = kept {
        // The history is lost; what it showed is not.
        measured.problems.push(format!("{error:#}"));
    }
    measured
}

/// Takes what one engine brought under one hazard into the strategy's row.
fn take(row: &mut StrategyRun, measured: Measured, hazard: Hazard, engine: Engine) {
    row.verdicts.extend(measured.cells.into_iter().map(|mut cell| {
        cell.claimed = row.claims.contains(&Claim::new(cell.guarantee, cell.hazard));
        cell
    }));
    // Cost is that of the undisturbed run.
    if hazard == Hazard::Concurrency && engine == Engine::Stress {
        row.latency = measured.latency;
        row.throughput_per_s = measured.throughput_per_s;
        row.torn_reads = measured.torn_reads;
    }
    row.errors.extend(measured.errors);
    row.problems.extend(measured.problems);
}

/// Prints the table and writes `run.json`.
fn finish(run: &Run, options: &RunOptions, color: bool) -> Outcome {
    let path = options.out.join("run.json");
    let json = tearproof_reports::json::to_json(run);
    fs::write(&path, json).with_context(|| format!("writing {}", path.display()))?;
    let style = terminal::Style { width: terminal_width(), color };
    let details = if options.full { terminal::Details::Full } else { terminal::Details::Summary };
    print(&terminal::render(run, style, details, Some(&path)))?;
    Ok(run.outcome().exit_code())
}

/// Columns of the terminal, within what the tables are made for.
pub fn terminal_width() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).map(|size| usize::from(size.ws_col));
    size.ok().filter(|&columns| columns > 0).unwrap_or(100).clamp(80, 120)
}

fn directories(wanted: &[PathBuf]) -> Result<Vec<Directory>, Failure> {
    let here = [PathBuf::from(".")];
    let wanted = if wanted.is_empty() { &here[..] } else { wanted };
    wanted
        .iter()
        .map(|path| {
            let usage =
                |what: String| Failure::usage(what, "give a directory that you can write to, with --dir DIR");
            let path = fs::canonicalize(path)
                .map_err(|error| usage(format!("the state directory {}: {error}", path.display())))?;
            let filesystem = host::file_system(&path)
                .map_err(|error| usage(format!("the state directory {}: {error}", path.display())))?;
            Ok(Directory { path: path.to_string_lossy().into_owned(), filesystem })
        })
        .collect()
}

fn describe_host(directories: &[Directory]) -> Host {
    Host {
        kernel: host::kernel_release(),
        cpus: host::cpus() as u32,
        filesystem: directories.first().map_or_else(String::new, |directory| directory.filesystem.clone()),
        directories: directories.to_vec(),
        arch: std::env::consts::ARCH.to_owned(),
    }
}

fn describe_scenario(scenario: &Scenario, directory: &Directory) -> ScenarioRun {
    let require = &scenario.require;
    let requires = require
        .guarantees
        .iter()
        .flat_map(|&guarantee| require.hazards.iter().map(move |&hazard| Claim::new(guarantee, hazard)))
        .collect();
    ScenarioRun {
        name: scenario.name.clone(),
        summary: scenario.summary.clone(),
        source: scenario.source.clone(),
        requires,
        filesystem: directory.filesystem.clone(),
        directory: directory.path.clone(),
        definition: None,
        strategies: Vec::new(),
    }
}

fn describe_strategy(entry: &Entry) -> StrategyRun {
    StrategyRun {
        name: entry.strategy.clone(),
        origin: entry.origin,
        broken: entry.broken,
        claims: entry.claims.clone(),
        verdicts: Vec::new(),
        latency: BTreeMap::new(),
        throughput_per_s: BTreeMap::new(),
        torn_reads: None,
        errors: Vec::new(),
        problems: Vec::new(),
    }
}

fn text_seed(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |seed, byte| mix(seed ^ u64::from(byte)))
}

/// A seed that no run before had: short, since people type it.
fn fresh_seed() -> u64 {
    mix(jiff::Timestamp::now().as_nanosecond() as u64) % 1_000_000
}
