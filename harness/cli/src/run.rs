//! `tearproof run`: every chosen strategy of every chosen scenario, under every hazard, in every
//! directory; then the table, and `run.json`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tearproof_core::claim::{Claim, Engine, Guarantee, Hazard};
use tearproof_core::plan::mix;
use tearproof_core::run::{Directory, Host, Origin, Run, ScenarioRun, StrategyRun, Tool};
use tearproof_core::scenario::Scenario;
use tearproof_engine::host;
use tearproof_engine::process::{Executable, Interrupt};
use tearproof_engine::stress::Measured;
use tearproof_reports::terminal;
use tearproof_scenarios::definition::default_require;

use crate::Outcome;
use crate::args::RunOptions;
use crate::diagnose::Failure;
use crate::pieces::{Piece, Place, Workshop, pieces};
use crate::progress::Progress;
use crate::regressions::{self, Regressions};
use crate::result_file;
use crate::schedule::{Entry, Schedule};
use crate::stdout::print;

/// Runs, prints, writes.
pub fn run(options: &RunOptions, color: bool) -> Outcome {
    let begun = std::time::Instant::now();
    let schedule = Schedule::new(options)?;
    let interrupt = Interrupt::listen().context("listening for signals")?;
    let executable = Executable::current().context("finding this program again")?;
    let directories = directories(&options.dirs)?;
    let seed = options.seed.unwrap_or_else(fresh_seed);
    result_file::check_directory(&options.out).map_err(|error| {
        let hint = "give a directory that you can write to, with --out DIR";
        // What is missing on the way would have been made.
        let of = if error.kind() == io::ErrorKind::NotFound { Failure::refused } else { Failure::at_path };
        of("making files for results in", &options.out, &error, hint)
    })?;
    let explores = options.engines.contains(&Engine::Explore);
    let regressions = if explores {
        let place = Place::make(Path::new(&directories[0].path), &executable)?;
        let folders = regressions::folders(options.regressions.as_deref(), &schedule);
        Regressions::replay(&folders, &schedule, &place, &executable, &interrupt)?
    } else {
        Regressions::default()
    };
    print(&regressions.told(color))?;
    let engines = if options.engines.is_empty() { &[Engine::Stress][..] } else { &options.engines };
    let pieces = pieces(&schedule, directories.len(), engines, &options.hazards);
    let workshop = Workshop::new(options, &schedule, &directories, &pieces, seed, &executable, &interrupt)?;
    let started = jiff::Timestamp::now().to_string();

    let progress = Progress::new(pieces.len() as u64);
    let measured = workshop.run(&pieces, &progress);
    drop(progress);

    let run = Run {
        format: Run::FORMAT,
        tool: Tool { name: "tearproof".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() },
        host: describe_host(&directories),
        seed,
        options: options.to_repeat(),
        started,
        elapsed_ms: begun.elapsed().as_millis() as u64,
        interrupted: interrupt.raised(),
        kept: regressions.kept(),
        scenarios: assemble(&schedule, &directories, pieces.into_iter().zip(measured).collect()),
    };
    let outcome = regressions.outcome(run.outcome());
    finish(&run, options, color)?;
    Ok(outcome.exit_code())
}

/// Puts what the pieces brought into the rows of the result: scenario by scenario in each directory, in the order
/// of the schedule. What was not taken up, because the run was cut short, is not there.
fn assemble(
    schedule: &Schedule,
    directories: &[Directory],
    measured: Vec<(Piece, Option<Measured>)>,
) -> Vec<ScenarioRun> {
    let mut rows: BTreeMap<(usize, usize), StrategyRun> = BTreeMap::new();
    let mut cut: Vec<(usize, usize)> = Vec::new();
    for (piece, measured) in measured {
        let place = (piece.directory, piece.entry);
        match measured {
            Some(measured) => {
                let row =
                    rows.entry(place).or_insert_with(|| describe_strategy(&schedule.entries[piece.entry]));
                take(row, measured, piece.hazard, piece.engine);
            }
            None => cut.push(place),
        }
    }
    let mut scenarios = Vec::new();
    for (number, directory) in directories.iter().enumerate() {
        for (index, scenario) in schedule.scenarios.iter().enumerate() {
            let mut described = describe_scenario(scenario, directory);
            described.definition.clone_from(&schedule.definitions[index]);
            for (place, entry) in schedule.entries.iter().enumerate() {
                if entry.scenario != index {
                    continue;
                }
                match rows.remove(&(number, place)) {
                    Some(row) => described.strategies.push(row),
                    // No engine can look at it, which the result is to show.
                    None if !cut.contains(&(number, place)) => {
                        described.strategies.push(describe_strategy(entry));
                    }
                    None => {}
                }
            }
            if !described.strategies.is_empty() {
                scenarios.push(described);
            }
        }
    }
    scenarios
}

/// Only whoever wrote a program knows which of its files are meant to stay.
const KEEPS_HINT: &str =
    "; a file that is meant to stay is declared in the definition, for example `keeps = [\"*.lock\"]`";

/// Takes what one engine brought under one hazard into the strategy's row.
fn take(row: &mut StrategyRun, measured: Measured, hazard: Hazard, engine: Engine) {
    let own = row.origin == Origin::Command;
    row.verdicts.extend(measured.cells.into_iter().map(|mut cell| {
        cell.claimed = row.claims.contains(&Claim::new(cell.guarantee, cell.hazard));
        if own && cell.guarantee == Guarantee::NoResidue {
            for anomaly in &mut cell.anomalies {
                anomaly.witness.explanation += KEEPS_HINT;
            }
        }
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

/// Prints the table, then writes `run.json` and keeps the witnesses: what was found out is told even where
/// there is no room to keep it, and kept even where nobody listens.
fn finish(run: &Run, options: &RunOptions, color: bool) -> Result<(), Failure> {
    let path = options.out.join("run.json");
    let style = terminal::Style { width: terminal_width(), color };
    let details = if options.full { terminal::Details::Full } else { terminal::Details::Summary };
    let printed = print(&terminal::render(run, style, details, Some(&path)));
    let json = tearproof_reports::json::to_json(run);
    result_file::write(&path, |out| out.write_all(json.as_bytes()))?;
    if options.keep {
        for path in regressions::keep(options.regressions.as_deref(), run)? {
            eprintln!("kept {}", path.display());
        }
    }
    printed
}

/// Columns of the terminal, within what the tables are made for. Where nothing is a terminal, what
/// `COLUMNS` says, as far as it can be laid out for.
pub fn terminal_width() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).map(|size| usize::from(size.ws_col));
    if let Some(columns) = size.ok().filter(|&columns| columns > 0) {
        return columns.clamp(80, 120);
    }
    let wanted = std::env::var("COLUMNS").ok().and_then(|columns| columns.trim().parse::<usize>().ok());
    wanted
        .filter(|&columns| columns > 0)
        .map_or(100, |columns| columns.clamp(terminal::Style::NARROWEST, 400))
}

/// The directories that were asked for, each once.
fn directories(wanted: &[PathBuf]) -> Result<Vec<Directory>, Failure> {
    let here = [PathBuf::from(".")];
    let asked = !wanted.is_empty();
    let wanted = if asked { wanted } else { &here[..] };
    let mut directories: Vec<Directory> = Vec::new();
    for named in wanted {
        let unusable = |error: io::Error| {
            let hint = "give a directory that you can write to, with --dir DIR";
            Failure::at_path("using for state directories", named, &error, hint)
        };
        let path = fs::canonicalize(named).map_err(unusable)?;
        if !path.is_dir() {
            return Err(unusable(io::ErrorKind::NotADirectory.into()));
        }
        let filesystem = host::file_system(&path).map_err(unusable)?;
        let path = path.to_string_lossy().into_owned();
        if !directories.iter().any(|known| known.path == path) {
            let named = named.to_string_lossy().into_owned();
            directories.push(Directory { path, filesystem, named: asked.then_some(named) });
        }
    }
    Ok(directories)
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
    ScenarioRun {
        name: scenario.name.clone(),
        summary: scenario.summary.clone(),
        source: scenario.source.clone(),
        requires: require.claims(),
        requires_default: *require == default_require(scenario.state.object),
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

/// A seed that no run before had: short, since people type it.
fn fresh_seed() -> u64 {
    mix(jiff::Timestamp::now().as_nanosecond() as u64) % 1_000_000
}
