//! One plan explored: round after round of searches (`round`), then short witnesses.
//!
//! The search deepens: first one operation of each client, then two, up to the plan's number, so
//! that what breaks with few operations is found with few. In each round every class of executions
//! is run (`dpor`) until nothing is left or the limit is reached; in the second case those that take
//! no more preemptions than a bound are run, bound after bound, and the verdict names the
//! last bound that was exhausted; so are those with more operations then. Of what is beyond that, schedules are
//! drawn at random (`pct`), with all operations, and the verdict says what they may have missed.
//!
//! An exploration can be left when its time is over, and taken up again where it was, so that plans share
//! out the time that they have together.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tearproof_core::plan::Plan;
use tearproof_core::verdict::{Findings, StandardError, Step as Line};

use super::arena::{Arena, ArenaError, FateKind, longest_pause};
use super::fates::{self, Fates};
use super::ledger::Ledger;
use super::reach::Reach;
use super::round::{BOUND_BEFORE_MORE_OPERATIONS, BOUND_MAX, Deadlines, Round};
use super::scale::{Cast, clients_of, scaled};
use super::shortening::witnesses;
use super::source_line::add_source_lines;
use super::stand::{Stand, specification_of};
use super::system::ThreadId;
use super::token::{Token, digest_of};
use crate::process::StateRoot;
use crate::stress::{Measured, Surroundings};
use crate::worker::{PartKind, Strategies};

/// The part of a plan's time that is spent on short witnesses at most, once something was found.
const SHARE_OF_WITNESSES: u32 = 4;
/// Why it is not known what a pause does, though every execution was run.
const NO_TIME_PASSES: &str = "nobody waited, or came late, while another one could have been suspended, so no time has \
    passed in a pause, and what the program makes of the time that it looks at is not known (hint: a client that waits \
    for the lock lets time pass)";

/// Explores a plan until everything was seen or its time is over. What goes wrong on the way is part of the
/// result.
pub fn explore(plan: &Plan, root: &StateRoot, surroundings: &mut Surroundings<'_>) -> Measured {
    let mut exploration = Exploration::of(plan, surroundings.strategies);
    exploration.go_on(plan.budget, Effort::Last, root, surroundings);
    exploration.conclude(plan.budget / SHARE_OF_WITNESSES, root, surroundings)
}

/// What is done with the time that a plan has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// There may be more later: the search for everything goes as far as it comes.
    First,
    /// The same, and what is not going to be exhausted is searched within the bounds that a verdict takes, with all
    /// operations.
    Bounded,
    /// There is no more: what is not going to be exhausted is searched within greater bounds as well, and sampled.
    Last,
}

/// A plan under exploration, which can be left when time is over and taken up again, in another place and by
/// another thread.
pub struct Exploration {
    plan: Plan,
    courses: Vec<Course>,
    ledger: Ledger,
    /// Nothing is left that anybody wants to know.
    enough: bool,
    /// How long it was explored so far.
    spent: Duration,
}

/// The search under some fates, with more and more operations.
struct Course {
    fates: Fates,
    /// Operations of each client in the round under way; one more than the most, if there is none.
    operations: u32,
    /// Something was left that was not looked at by the rounds before.
    rest: bool,
    round: Round,
    /// What the rounds before brought.
    reach: Reach,
    /// How far the round under way came.
    partial: Option<Reach>,
    /// More time would bring nothing.
    settled: bool,
    /// Whether workers say that they can play in many executions, once that is known, and are believed.
    reuses: Option<bool>,
    /// A program of a client has looked at a clock, in any execution.
    looks_at_clocks: bool,
    /// Time has passed while a client was suspended, in any execution.
    pauses: bool,
    /// What went wrong.
    problems: Vec<String>,
    /// Executions in all.
    executions: u64,
}

impl Exploration {
    /// That of a plan, at its beginning.
    pub fn of(plan: &Plan, strategies: &dyn Strategies) -> Self {
        let plan = scaled(plan);
        let specification = specification_of(&plan, PathBuf::new(), strategies);
        let servers = specification.processes.iter().filter(|part| part.kind == PartKind::Server).count();
        let course = |fates: Fates| Course {
            fates,
            operations: 1,
            rest: false,
            round: Round::default(),
            reach: Reach::default(),
            partial: None,
            settled: false,
            reuses: None,
            looks_at_clocks: false,
            pauses: false,
            problems: Vec::new(),
            executions: 0,
        };
        let courses = fates::of_plan(&plan, servers).into_iter().map(course).collect();
        Self { plan, courses, ledger: Ledger::default(), enough: false, spent: Duration::ZERO }
    }

    /// Whether more time would bring nothing more.
    pub fn is_settled(&self) -> bool {
        self.enough || self.courses.iter().all(|course| course.settled)
    }

    /// Whether more time would bring little before [`Effort::Bounded`].
    pub fn is_hopeless(&self) -> bool {
        self.courses.iter().all(|course| course.settled || course.round.is_hopeless())
    }

    /// Whether not even one operation of each client was searched to its end under every fate: there is no verdict yet
    /// but of what was seen broken.
    pub fn is_bare(&self) -> bool {
        !self.enough && self.courses.iter().any(|course| !course.settled && course.operations == 1)
    }

    /// Whether there is no verdict yet with as many operations of each client as were asked for.
    pub fn is_shallow(&self) -> bool {
        let most = self.plan.scenario.explore.operations;
        !self.enough && self.courses.iter().any(|course| !course.settled && course.operations <= most)
    }

    /// How long an execution took, on average; as long as there was none, how long there was none.
    pub fn pace(&self) -> Duration {
        let executions: u64 = self.courses.iter().map(|course| course.executions).sum();
        let executions = u32::try_from(executions).unwrap_or(u32::MAX);
        self.spent / executions.max(1)
    }

    /// Explores for so long.
    pub fn go_on(
        &mut self,
        time: Duration,
        effort: Effort,
        root: &StateRoot,
        surroundings: &mut Surroundings<'_>,
    ) {
        let begun = Instant::now();
        let open = self.courses.iter().filter(|course| !course.settled).count() as u32;
        let Self { plan, courses, ledger, enough, spent } = self;
        for (course, number) in courses.iter_mut().filter(|course| !course.settled).zip(1..) {
            if *enough {
                break;
            }
            let until = after(begun, time.saturating_mul(number) / open);
            course.go_on(plan, until, effort, root, surroundings, ledger);
            *enough = course.reach.is_over() || is_enough(ledger, surroundings);
        }
        *spent += begun.elapsed();
    }

    /// What was found out, with short witnesses where they are found in this time.
    pub fn conclude(
        mut self,
        time: Duration,
        root: &StateRoot,
        surroundings: &mut Surroundings<'_>,
    ) -> Measured {
        let deadline = after(Instant::now(), time);
        let mut problems: Vec<String> =
            self.courses.iter_mut().flat_map(|course| std::mem::take(&mut course.problems)).collect();
        let reuse = self.courses.iter().all(|course| course.reuses == Some(true));
        if let Err(error) = witnesses(&self.plan, reuse, deadline, root, surroundings, &mut self.ledger) {
            problems.push(format!("looking for short witnesses: {error}"));
        }
        let begun = |course: &Course| course.settled || course.partial.is_some() || course.operations > 1;
        let (begun, others): (Vec<Course>, Vec<Course>) = self.courses.into_iter().partition(begun);
        let mut reach =
            begun.into_iter().map(Course::reached).reduce(Reach::together_with).unwrap_or_default();
        if !others.is_empty() && (!self.enough || surroundings.interrupt.raised()) {
            let untouched = Reach { limit: Some("the time was over".to_owned()), ..Reach::default() };
            reach = reach.together_with(untouched);
        }
        if self.enough && surroundings.stop_at_violation && self.ledger.found_any() {
            reach.limit.get_or_insert_with(|| "it was left at its first violation".to_owned());
        }
        let mut cells = self.ledger.cells(self.plan.hazard, &clients_of(&self.plan), &reach);
        let pause = longest_pause(&self.plan);
        for scope in cells.iter_mut().map(|cell| &mut cell.scope) {
            scope.pause_ms = scope.pauses.map(|_| pause.as_millis() as u64);
        }
        Measured { cells, problems, ..Measured::default() }
    }

    /// Has what is done from now on done on another file system as well, if there is one.
    pub fn with_other_dir(&mut self, other_dir: Option<PathBuf>) {
        self.plan.other_dir = other_dir;
    }
}

impl Course {
    /// Explores until then.
    fn go_on(
        &mut self,
        plan: &Plan,
        end: Instant,
        effort: Effort,
        root: &StateRoot,
        surroundings: &mut Surroundings<'_>,
        ledger: &mut Ledger,
    ) {
        let most = plan.scenario.explore.operations;
        let asked = plan.scenario.explore.preemptions.is_some();
        if effort == Effort::First && self.round.is_hopeless() || effort == Effort::Bounded && asked {
            return;
        }
        let is_bounded = self.operations > most;
        while !self.settled && self.operations <= most {
            // What is too much with few operations is too much with more.
            let hopeless = self.rest || self.round.is_hopeless();
            let deadlines = Deadlines::until(end, effort, hopeless);
            let last = effort == Effort::Last && self.operations == most;
            let bounds = 0..=if last { BOUND_MAX } else { BOUND_BEFORE_MORE_OPERATIONS };
            let reached = self.search(plan, bounds, deadlines, root, surroundings, ledger);
            if self.round.remembers {
                // Once more, with processes of its own for every execution.
                self.reuses = Some(false);
                self.round = Round { renews: true, ..self.round.afresh() };
                continue;
            }
            let enough = reached.is_over() || is_enough(ledger, surroundings);
            // A bound that nobody asked for leaves something.
            let as_asked = reached.exhausted_as_asked(&plan.scenario.explore);
            let rest = !enough && (self.rest || !as_asked);
            if rest && (effort == Effort::First || effort == Effort::Bounded && !reached.exhausted) {
                self.partial = Some(reached);
                return;
            }
            let shallow = !reached.exhausted || (asked && !as_asked);
            self.settled = enough || shallow || (self.operations >= most && !rest);
            (self.partial, self.rest) = (None, rest);
            self.reach = std::mem::take(&mut self.reach).followed_by(reached);
            self.operations += 1;
            self.round = self.round.afresh();
        }
        if effort != Effort::Last || !self.rest || asked {
            return;
        }
        if is_bounded {
            self.operations = most;
            let deadlines = Deadlines::until(end, effort, true);
            let bounds = BOUND_BEFORE_MORE_OPERATIONS + 1..=BOUND_MAX;
            let reached = self.search(plan, bounds, deadlines, root, surroundings, ledger);
            if self.round.remembers {
                // All of it once more.
                let round = Round { renews: true, ..self.round.afresh() };
                (self.reuses, self.operations, self.rest) = (Some(false), 1, false);
                (self.round, self.reach) = (round, Reach::default());
                return self.go_on(plan, end, effort, root, surroundings, ledger);
            }
            // What is known already does not go with what was cut short.
            if !surroundings.interrupt.raised() {
                self.reach = std::mem::take(&mut self.reach).widened_by(reached);
            }
        }
        self.settled = true;
        // What was seen is of no use any more.
        self.round = self.round.afresh();
        if self.reach.is_over() || is_enough(ledger, surroundings) {
            return;
        }
        ledger.turn_page();
        let outcome = Stand::with(plan, root, surroundings, |stand, surroundings| {
            stand.arena.ordain(&self.fates);
            stand.arena.reuse_workers(self.reuses == Some(true));
            if self.round.asks_everybody {
                stand.arena.play_known_parts(false);
            }
            let sampled = stand.sample(ledger, end, surroundings);
            self.note_time(&stand.arena);
            sampled
        });
        match outcome {
            Ok(sampled) => self.reach.sampled(&sampled, most),
            Err(error) => self.problems.push(format!("sampling: {error}")),
        }
    }

    /// Searches with as many operations as it is the turn of. How far that was.
    fn search(
        &mut self,
        plan: &Plan,
        bounds: RangeInclusive<u32>,
        deadlines: Deadlines,
        root: &StateRoot,
        surroundings: &mut Surroundings<'_>,
        ledger: &mut Ledger,
    ) -> Reach {
        ledger.turn_page();
        let mut round = plan.clone();
        round.scenario.explore.operations = self.operations;
        let outcome = Stand::with(&round, root, surroundings, |stand, surroundings| {
            let reuses = match self.reuses {
                Some(known) => known,
                None => *self.reuses.insert(stand.offers_reuse()?),
            };
            stand.arena.ordain(&self.fates);
            stand.arena.reuse_workers(reuses);
            let searched = stand.search(&mut self.round, bounds, ledger, deadlines, surroundings);
            self.note_time(&stand.arena);
            searched
        });
        let reached = outcome.unwrap_or_else(|error| {
            self.problems.push(error.to_string());
            Reach::doubtful(error.to_string())
        });
        self.round.executions += ledger.executions();
        self.executions += ledger.executions();
        Reach { operations: self.operations, executions: self.round.executions, ..reached }
    }

    /// Notes whether clocks were looked at, and whether time has passed in a pause.
    fn note_time(&mut self, arena: &Arena<'_>) {
        let (looks, pauses) = arena.looks_and_pauses();
        self.looks_at_clocks |= looks;
        self.pauses |= pauses;
    }

    /// How far it came.
    fn reached(self) -> Reach {
        let pauses = self.fates.iter().any(|&(kind, _)| kind == FateKind::Pause);
        let misses = pauses && self.looks_at_clocks && !self.pauses;
        let mut reach = match self.partial {
            Some(partial) => self.reach.followed_by(partial),
            None => self.reach,
        };
        reach.doubt = reach.doubt.or_else(|| misses.then(|| NO_TIME_PASSES.to_owned()));
        reach
    }
}

/// That much later; a century, where the clock cannot say it.
fn after(begun: Instant, time: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
    begun + time.min(CENTURY)
}

/// Whether nothing is left that anybody wants to know.
fn is_enough(ledger: &Ledger, surroundings: &Surroundings<'_>) -> bool {
    ledger.all_broken()
        || (surroundings.stop_at_violation && ledger.found_any())
        || surroundings.interrupt.raised()
}

/// The plan that a token was made with, if the one that is given has the same definition.
pub fn plan_of(token: &Token, plan: &Plan) -> Option<Plan> {
    // How many operations were asked for is no part of a definition, and decides how many readers there are.
    [1, 2].into_iter().find_map(|operations| {
        let mut plan = plan.clone();
        plan.scenario.explore.operations = operations;
        let plan = scaled(&plan);
        let whole = Cast::of(&plan);
        let fits = whole.processes.len() == token.cast.processes.len()
            && whole.processes.iter().zip(&token.cast.processes).all(|(most, count)| count <= most);
        (fits && digest_of(&plan.scenario) == token.definition).then(|| token.cast.applied(&plan))
    })
}

/// An execution that was run again.
pub struct Replayed {
    /// What was found in it.
    pub findings: Findings,
    /// The execution, told.
    pub steps: Vec<Line>,
    /// The end of what programs wrote to their standard error in it.
    pub stderr: Vec<StandardError>,
    /// After how many steps it went another way, if it did.
    pub diverged: Option<usize>,
}

/// Runs the execution of a token again. The plan comes from [`plan_of`].
///
/// # Errors
/// When it cannot be run.
pub fn replay(
    plan: &Plan,
    schedule: &[ThreadId],
    root: &StateRoot,
    surroundings: &mut Surroundings<'_>,
) -> Result<Replayed, ArenaError> {
    let mut replayed =
        Stand::with(plan, root, surroundings, |stand, surroundings| stand.replay(schedule, surroundings))?;
    if replayed.diverged.is_none() {
        add_source_lines(plan, schedule, &mut replayed.steps, root, surroundings);
    }
    Ok(replayed)
}
