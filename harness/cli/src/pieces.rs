//! The pieces that a run consists of: one strategy of one scenario under one hazard, looked at by one
//! engine in one directory. What stresses the machine has it for itself; what is explored is shared
//! out to the processors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Context;
use tearproof_core::claim::{Engine, Hazard};
use tearproof_core::history::History;
use tearproof_core::plan::{Plan, mix};
use tearproof_core::run::Directory;
use tearproof_core::verdict::{Finding, Findings};
use tearproof_engine::explore::{Effort, Exploration, Shard, in_shards};
use tearproof_engine::host;
use tearproof_engine::process::{Executable, Interrupt, StateRoot};
use tearproof_engine::stress::{self, Measured, Surroundings};

use crate::args::RunOptions;
use crate::check;
use crate::diagnose::Failure;
use crate::progress::Progress;
use crate::schedule::{Clock, DEFAULT_BUDGET, QUICK_BUDGET, Schedule};
use crate::strategies::Registry;

/// One piece of work, by the places of its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Which directory.
    pub directory: usize,
    /// Which entry of the schedule.
    pub entry: usize,
    /// The hazard.
    pub hazard: Hazard,
    /// Who looks.
    pub engine: Engine,
}

/// Every piece of a run, in the order of the result.
pub fn pieces(schedule: &Schedule, directories: usize, engines: &[Engine], hazards: &[Hazard]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for directory in 0..directories {
        for (entry, wanted) in schedule.entries.iter().enumerate() {
            let asked_for = |hazard: &&Hazard| hazards.is_empty() || hazards.contains(hazard);
            for &hazard in wanted.hazards.iter().filter(asked_for) {
                for &engine in engines {
                    if engine != Engine::Explore || explores(hazard) {
                        pieces.push(Piece { directory, entry, hazard, engine });
                    }
                }
            }
        }
    }
    pieces
}

/// Whether the explore engine knows this hazard.
const fn explores(hazard: Hazard) -> bool {
    matches!(hazard, Hazard::Concurrency | Hazard::Pause | Hazard::Kill)
}

/// Where state directories are made.
pub struct Place {
    root: StateRoot,
    /// What a strategy keeps on another file system goes when the run is over, whoever dies.
    elsewhere: Option<StateRoot>,
}

impl Place {
    /// Makes one in a directory.
    ///
    /// # Errors
    /// When that is not possible.
    pub fn make(directory: &Path, executable: &Executable) -> Result<Self, Failure> {
        // Asked first, since that says what is wrong without naming the file that it was asked with.
        tempfile::Builder::new().prefix(".tearproof-").tempdir_in(directory).map_err(|error| {
            let hint = "give a directory that you can write to, with --dir DIR";
            Failure::refused("making a state directory in", directory, &error, hint)
        })?;
        let root = StateRoot::create(directory, executable).context("making state directories")?;
        let elsewhere = host::directory_elsewhere(root.path())
            .map(|dir| StateRoot::create(&dir, executable))
            .transpose()
            .context("using a second file system")?;
        Ok(Self { root, elsewhere })
    }

    /// The place itself.
    pub const fn root(&self) -> &StateRoot {
        &self.root
    }

    /// A directory on another file system, where the machine has one.
    pub fn other_dir(&self) -> Option<PathBuf> {
        self.elsewhere.as_ref().map(|root| root.path().to_owned())
    }
}

/// A plan that is being explored, pass by pass.
struct Open<'p> {
    /// Which of the pieces.
    place: usize,
    piece: &'p Piece,
    exploration: Mutex<Option<Exploration>>,
}

impl Open<'_> {
    /// Whether nothing of it was searched to its end.
    fn is_bare(&self) -> bool {
        let exploration = self.exploration.lock().expect("one shard has it at a time");
        exploration.as_ref().is_some_and(Exploration::is_bare)
    }

    /// How long an execution of it takes.
    fn pace(&self) -> Duration {
        let exploration = self.exploration.lock().expect("one shard has it at a time");
        exploration.as_ref().map(Exploration::pace).unwrap_or_default()
    }

    /// Whether it has no verdict yet with as many operations as were asked for.
    fn is_shallow(&self) -> bool {
        let exploration = self.exploration.lock().expect("one shard has it at a time");
        exploration.as_ref().is_some_and(Exploration::is_shallow)
    }

    /// Whether more time would bring little before it is searched within bounds.
    fn is_hopeless(&self) -> bool {
        let exploration = self.exploration.lock().expect("one shard has it at a time");
        exploration.as_ref().is_some_and(Exploration::is_hopeless)
    }
}

/// How often explorations that are not done are taken up again. In the last but one they are searched within bounds, and
/// leave what they do not need of their time to others.
const PASSES: u32 = 5;
/// What is to hold has so many times the time of what is wrong on purpose, after the first pass.
const WEIGHT_OF_WHAT_IS_TO_HOLD: u32 = 6;
/// And in the last two passes, what has no verdict yet with as many operations as were asked for.
const WEIGHT_OF_WHAT_IS_SHALLOW: u32 = 4;
/// What nobody is killed in, so many times that of what somebody may be killed in: more operations show more there.
const WEIGHT_WITHOUT_A_KILL: u32 = 2;
/// What the search for short witnesses may take in any case.
const LEAST_FOR_WITNESSES: Duration = Duration::from_millis(200);

/// What pieces are run with.
pub struct Workshop<'a> {
    options: &'a RunOptions,
    schedule: &'a Schedule,
    directories: &'a [Directory],
    /// By directory and shard.
    places: Vec<Vec<Place>>,
    shards: usize,
    seed: u64,
    executable: &'a Executable,
    interrupt: &'a Interrupt,
}

impl<'a> Workshop<'a> {
    /// Makes every directory before anything runs: one that cannot be used must not cost what others
    /// brought.
    ///
    /// # Errors
    /// When one cannot be made.
    pub fn new(
        options: &'a RunOptions,
        schedule: &'a Schedule,
        directories: &'a [Directory],
        pieces: &[Piece],
        seed: u64,
        executable: &'a Executable,
        interrupt: &'a Interrupt,
    ) -> Result<Self, Failure> {
        let explored = pieces.iter().filter(|piece| piece.engine == Engine::Explore).count();
        let shards = options.shards.unwrap_or_else(host::cpus).min(explored).max(1);
        let places = directories.iter().map(|directory| {
            (0..shards)
                .map(|_| Place::make(Path::new(&directory.path), executable))
                .collect::<Result<Vec<Place>, _>>()
        });
        let places = places.collect::<Result<Vec<Vec<Place>>, _>>()?;
        Ok(Self { options, schedule, directories, places, shards, seed, executable, interrupt })
    }

    /// Runs every piece, and returns what each brought; `None` where the run was cut short before it.
    pub fn run(&self, pieces: &[Piece], progress: &Progress) -> Vec<Option<Measured>> {
        let options = self.options;
        let budget = if options.quick { QUICK_BUDGET } else { options.budget.unwrap_or(DEFAULT_BUDGET) };
        let clock = Mutex::new(Clock::start(budget, pieces.len() as u32));
        let stop = || self.interrupt.raised();
        let explored: Vec<Piece> =
            pieces.iter().copied().filter(|piece| piece.engine == Engine::Explore).collect();
        let share = || clock.lock().expect("nobody panics while telling the time").next_share(1, 1);
        let first = Shard { number: 0 };
        let do_one = |piece: &Piece| {
            let measured = self.measure(first, piece, share(), progress);
            progress.done();
            measured
        };
        // Programs that could not be started. To try again under each hazard would bring the same, and cost
        // the time that a program has to greet.
        let mut unusable: BTreeMap<usize, String> = BTreeMap::new();
        let mut stressed = Vec::new();
        for piece in pieces.iter().filter(|piece| piece.engine != Engine::Explore) {
            let measured = (!stop()).then(|| match unusable.get(&piece.entry) {
                None => do_one(piece),
                Some(reason) => {
                    let plan = self.plan(first, piece, share());
                    progress.done();
                    Measured::unusable(&plan, reason)
                }
            });
            if let Some(reason) = measured.as_ref().and_then(|measured| measured.unusable.clone()) {
                unusable.insert(piece.entry, reason);
            }
            stressed.push(measured);
        }
        let remaining = clock.lock().expect("nobody panics while telling the time").remaining();
        let explored = self.explore(&explored, remaining, progress);
        let (mut stressed, mut explored) = (stressed.into_iter(), explored.into_iter());
        let result = |piece: &Piece| match piece.engine {
            Engine::Explore => explored.next().flatten(),
            _ => stressed.next().flatten(),
        };
        pieces.iter().map(result).collect()
    }

    /// Explores plans in passes: all of them for a short time each, and then those that were not done for longer
    /// and longer. So what one plan does not need another one has, and few of those that could be
    /// exhausted are not.
    fn explore(&self, pieces: &[Piece], budget: Duration, progress: &Progress) -> Vec<Option<Measured>> {
        let begun = Instant::now();
        let stop = || self.interrupt.raised();
        let mut measured: Vec<Option<Measured>> = pieces.iter().map(|_| None).collect();
        let mut open: Vec<Open<'_>> = pieces
            .iter()
            .enumerate()
            .map(|(place, piece)| Open { place, piece, exploration: Mutex::new(None) })
            .collect();
        // A quarter of what a plan would have if all had the same, however soon it is done with the search.
        let at_once = self.shards.min(pieces.len()).max(1) as u32;
        let for_witnesses =
            (budget.saturating_mul(at_once) / (pieces.len().max(1) as u32) / 4).max(LEAST_FOR_WITNESSES);
        // Who has a processor for himself waits for nobody.
        let passes = if pieces.len() <= self.shards { 1 } else { PASSES };
        for left in (1..=passes).rev() {
            let effort = match left {
                1 => Effort::Last,
                2 => Effort::Bounded,
                _ => Effort::First,
            };
            let weight = |open: &Open<'_>| self.weight(open, left == passes, effort);
            // What comes last has also what those before it did not need. What takes long needs it most; but what has come
            // nowhere so far makes little of it before it is searched within bounds.
            let is_bare = |open: &Open<'_>| effort == Effort::First && open.is_bare();
            open.sort_by_cached_key(|open| (weight(open), !is_bare(open), open.pace()));
            let weights: u32 = open.iter().map(weight).sum();
            // What is left alone in this pass has its part later.
            let gains = |open: &&Open<'_>| effort != Effort::First || !open.is_hopeless();
            let gaining: u32 = open.iter().filter(gains).map(weight).sum();
            let remaining = budget.saturating_sub(begun.elapsed());
            let time = match left {
                1 => remaining,
                // The last two share what each of the others has.
                2 => remaining / 5 * 4,
                others => remaining / (others - 1),
            };
            // Few of them cannot use all processors.
            let used = self.shards.min(open.iter().filter(gains).count().max(1));
            let part = f64::from(gaining) / f64::from(weights.max(1)) * (self.shards as f64 / used as f64);
            let time = time.mul_f64(part.min(1.0));
            let clock = Mutex::new(Clock::start(time, gaining));
            let at_once = self.shards.min(open.len()).max(1) as u32;
            let done = in_shards(self.shards, &open, stop, |shard, open| {
                if !gains(&open) {
                    return None;
                }
                let mut clock = clock.lock().expect("nobody panics while telling the time");
                let share = clock.next_share(at_once, weight(open));
                drop(clock);
                self.go_on(shard, open, share, effort, for_witnesses, progress)
            });
            let mut still_open = Vec::new();
            for (open, done) in open.into_iter().zip(done) {
                match done.flatten() {
                    Some(done) => measured[open.place] = Some(done),
                    None => still_open.push(open),
                }
            }
            open = still_open;
        }
        // The run was cut short: what is known so far is told.
        for Open { place, piece, exploration } in open {
            let begun = exploration.into_inner().expect("the shards have ended");
            measured[place] = begun.and_then(|exploration| {
                let root = &self.places[piece.directory][0].root;
                self.with_surroundings(None, |surroundings| {
                    Some(exploration.conclude(Duration::ZERO, root, surroundings))
                })
            });
        }
        measured
    }

    /// How much of the time a plan has in a pass, beside others. What is wrong on purpose has mostly been seen to
    /// be in the first one, and what else it may claim is of less interest than what is to hold.
    fn weight(&self, open: &Open<'_>, is_first: bool, effort: Effort) -> u32 {
        let least = is_first || self.schedule.entries[open.piece.entry].broken;
        let weight = if least { 1 } else { WEIGHT_OF_WHAT_IS_TO_HOLD };
        if effort == Effort::First || is_first {
            return weight;
        }
        let kills = if open.piece.hazard == Hazard::Kill { 1 } else { WEIGHT_WITHOUT_A_KILL };
        let shallow = if open.is_shallow() { WEIGHT_OF_WHAT_IS_SHALLOW } else { 1 };
        weight * kills * shallow
    }

    /// Explores a plan for so long. What came of it, if it is done.
    fn go_on(
        &self,
        shard: Shard,
        open: &Open<'_>,
        share: Duration,
        effort: Effort,
        for_witnesses: Duration,
        progress: &Progress,
    ) -> Option<Measured> {
        let plan = self.plan(shard, open.piece, share);
        let row = format!("{} · {} · {}", plan.scenario.name, plan.strategy, plan.hazard);
        progress.begin(row.clone());
        let place = &self.places[open.piece.directory][shard.number];
        let keep = self.kept_history(open.piece, &plan);
        let measured = self.with_surroundings(keep.as_deref(), |surroundings| {
            let mut slot = open.exploration.lock().expect("one shard has it at a time");
            let mut exploration = slot.take().unwrap_or_else(|| Exploration::of(&plan, &Registry));
            exploration.with_other_dir(plan.other_dir.clone());
            exploration.go_on(share, effort, &place.root, surroundings);
            if effort != Effort::Last && !exploration.is_settled() {
                *slot = Some(exploration);
                return None;
            }
            Some(exploration.conclude(for_witnesses, &place.root, surroundings))
        });
        if let Some(measured) = &measured {
            for problem in &measured.problems {
                progress.say(&format!("{row}: {problem}"));
            }
            progress.done();
        }
        measured
    }

    /// Where the first history that shows a violation goes, if it is kept.
    fn kept_history(&self, piece: &Piece, plan: &Plan) -> Option<PathBuf> {
        self.options.histories.then(|| {
            self.histories(piece.directory)
                .join(format!("{}-{}-{}.jsonl", plan.scenario.name, plan.strategy, plan.hazard))
        })
    }

    fn measure(&self, shard: Shard, piece: &Piece, share: Duration, progress: &Progress) -> Measured {
        let plan = self.plan(shard, piece, share);
        let row = format!("{} · {} · {}", plan.scenario.name, plan.strategy, plan.hazard);
        progress.begin(row.clone());
        let place = &self.places[piece.directory][shard.number];
        let keep = self.kept_history(piece, &plan);
        let measured = self.with_surroundings(keep.as_deref(), |surroundings| {
            Some(stress::run(&plan, &place.root, surroundings))
        });
        let measured = measured.unwrap_or_default();
        for problem in &measured.problems {
            progress.say(&format!("{row}: {problem}"));
        }
        measured
    }

    fn plan(&self, shard: Shard, piece: &Piece, share: Duration) -> Plan {
        let entry = &self.schedule.entries[piece.entry];
        let scenario = &self.schedule.scenarios[entry.scenario];
        let hazard = piece.hazard;
        let directory = &self.directories[piece.directory];
        let place = &self.places[piece.directory][shard.number];
        let explicit = self.options.quick || self.options.budget.is_some();
        let mut plan = Plan {
            scenario: scenario.clone(),
            strategy: entry.strategy.clone(),
            hazard,
            seed: mix(self.seed ^ text_seed(&scenario.name) ^ text_seed(&entry.strategy).rotate_left(17)),
            budget: match scenario.stress.seconds {
                Some(seconds) if !explicit && piece.engine == Engine::Stress => {
                    Duration::from_secs_f64(seconds)
                }
                _ => share,
            },
            base: PathBuf::from(&directory.path),
            other_dir: place.other_dir(),
        };
        let limits = &mut plan.scenario.explore;
        limits.executions = self.options.executions.unwrap_or(limits.executions);
        limits.preemptions = self.options.bound.or(limits.preemptions);
        plan
    }

    /// Where histories of violations go.
    fn histories(&self, directory: usize) -> PathBuf {
        let mut histories = self.options.out.join("histories");
        if self.directories.len() > 1 {
            // The same scenarios run in each of them.
            histories.push(format!("{}-{}", directory + 1, self.directories[directory].filesystem));
        }
        histories
    }

    /// Has something run. The first history that shows a violation is kept where that is wanted.
    fn with_surroundings(
        &self,
        keep: Option<&Path>,
        run: impl FnOnce(&mut Surroundings<'_>) -> Option<Measured>,
    ) -> Option<Measured> {
        let mut kept: Result<bool, anyhow::Error> = Ok(false);
        let mut observe = |history: &History, findings: &Findings| {
            let violated = findings.iter().any(|(_, finding)| matches!(finding, Finding::Violated(_)));
            if let (Some(path), Ok(false), true) = (keep, &kept, violated) {
                kept = check::write_history(path, history).map(|()| true);
            }
        };
        let mut measured = run(&mut Surroundings {
            executable: self.executable,
            strategies: &Registry,
            check: &tearproof_check::check,
            observe: &mut observe,
            interrupt: self.interrupt,
            stop_at_violation: self.options.fail_fast,
        });
        if let (Err(error), Some(measured)) = (kept, &mut measured) {
            // The history is lost; what it showed is not.
            measured.problems.push(format!("{error:#}"));
        }
        measured
    }
}

fn text_seed(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |seed, byte| mix(seed ^ u64::from(byte)))
}
