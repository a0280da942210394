//! The lines of a user's program by which the two steps of a witness that conflict were done, where its
//! interpreter tells.
//!
//! The execution is run again as far as such a step, by processes whose environment has interpreters tell where
//! they are: Python when it is aborted ([`python`]), Node as it goes ([`node`]). If what was done before is not what the
//! witness says, the environment has changed the execution, and nothing is said of the line; nor where there are
//! several that could be meant.
//!
//! Not covered: other interpreters.

mod node;
mod python;

use std::path::Path;

use tearproof_core::plan::Plan;
use tearproof_core::verdict::Step as Line;

use super::arena::ArenaError;
use super::fates;
use super::stand::Stand;
use super::system::{System, ThreadId};
use crate::process::StateRoot;
use crate::stress::Surroundings;
use crate::worker::EXECUTION;

/// The number of a descriptor that nobody has: what is written there is meant for us.
pub(super) const NOBODYS: i32 = 1_000_003;

/// A line of a program's source, as an interpreter tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Frame {
    file: String,
    line: u64,
    function: Option<String>,
    is_of_a_library: bool,
}

/// Adds the lines to the steps of a witness that conflict, as far as they are found out. The plan is that of the
/// execution.
pub(super) fn add_source_lines(
    plan: &Plan,
    schedule: &[ThreadId],
    steps: &mut [Line],
    root: &StateRoot,
    surroundings: &mut Surroundings<'_>,
) {
    // All programs of a definition run in its directory.
    let Some(program) = plan.scenario.programs.first() else { return };
    let of_user = std::env::var("NODE_OPTIONS").unwrap_or_default();
    let (python, wanted) = python::VARIABLE;
    let environment =
        [(python, wanted.to_owned()), ("NODE_OPTIONS", format!("{of_user} {}", node::options()))];
    let marked: Vec<usize> = (0..steps.len()).filter(|&at| steps[at].mark.is_some()).collect();
    for at in marked {
        let stacks = Stand::with_environment(plan, root, &environment, surroundings, |stand, _| {
            stand.stacks_at(at, schedule, steps)
        });
        // A witness without it is one all the same.
        let stacks = stacks.unwrap_or_default();
        let mut lines: Vec<String> =
            stacks.iter().filter_map(|stack| source_line(stack, &program.directory)).collect();
        lines.dedup();
        steps[at].source = lines.pop().filter(|_| lines.is_empty());
    }
}

impl Stand<'_, '_> {
    /// Goes as far as a step of a witness, and asks who is about to take it where it is: the stacks that can be meant.
    fn stacks_at(
        &mut self,
        at: usize,
        schedule: &[ThreadId],
        steps: &[Line],
    ) -> Result<Vec<Vec<Frame>>, ArenaError> {
        // Steps count from one.
        let number = steps[at].time_ns as usize - 1;
        let Some((&thread, before)) = schedule.get(number).zip(schedule.get(..number)) else {
            return Ok(Vec::new());
        };
        self.arena.tell(true);
        self.arena.ordain(&fates::of_schedule(self.bench.plan, schedule));
        self.arena.begin()?;
        let mut enabled = Vec::new();
        for &thread in before {
            self.arena.enabled(&mut enabled)?;
            if !enabled.contains(&thread) {
                return Ok(Vec::new());
            }
            self.arena.step(thread)?;
        }
        let is_told = |(step, what): (u64, String)| {
            steps.iter().any(|line| line.time_ns == step && line.what == self.without_pids(&what))
        };
        if !self.arena.deeds().iter().map(|deed| (deed.step, deed.to_string())).all(is_told) {
            return Ok(Vec::new());
        }
        let Some(call) = self.arena.about_to(thread).map(|call| self.without_pids(&call)) else {
            return Ok(Vec::new());
        };
        if !steps[at].what.starts_with(&call) {
            return Ok(Vec::new());
        }
        let said = self.arena.said_to_nobody(thread);
        if said.is_empty() {
            let traceback = self.arena.traceback(thread)?;
            return Ok(traceback.iter().map(|traceback| python::stack(traceback)).collect());
        }
        // As names are told.
        let place = format!("{}/", self.bench.stage.specification.context(EXECUTION, 0).dir.display());
        let said = self.without_pids(&String::from_utf8_lossy(&said).replace(&place, ""));
        let arguments = call.split_once('(').map_or("", |(_, arguments)| arguments.trim_end_matches(')'));
        Ok(node::stacks(&said, &arguments.split(", ").collect::<Vec<_>>()))
    }
}

/// The innermost line of a stack that is the program's own: it lies in the program's directory, or at least is none
/// of a library.
fn source_line(stack: &[Frame], directory: &Path) -> Option<String> {
    let own: Vec<&Frame> = stack.iter().filter(|frame| !frame.is_of_a_library).collect();
    let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    let below = own.iter().find_map(|frame| {
        // A relative one counts from there.
        let path = directory.join(&frame.file);
        let path = path.canonicalize().unwrap_or(path);
        Some((path.strip_prefix(&directory).ok()?.display().to_string(), *frame))
    });
    let (file, frame) = below.or_else(|| own.first().map(|frame| (frame.file.clone(), *frame)))?;
    let function = frame.function.as_ref().map(|function| format!(" in {function}"));
    Some(format!("{file}:{}{}", frame.line, function.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_line_of_the_program_itself_is_told() {
        let frame = |file: &str, line, function: &str, is_of_a_library| Frame {
            file: file.to_owned(),
            line,
            function: Some(function.to_owned()),
            is_of_a_library,
        };
        let told = |stack: &[&Frame]| {
            let stack: Vec<Frame> = stack.iter().copied().cloned().collect();
            source_line(&stack, Path::new("/nowhere/app"))
        };
        let library = frame("/usr/lib/python3.11/json/__init__.py", 179, "dump", true);
        let installed = frame("/nowhere/app/node_modules/lock/index.js", 3, "take", true);
        let own = frame("/nowhere/app/store/disk.py", 12, "save", false);
        let outer = frame("main.py", 40, "<module>", false);
        let elsewhere = frame("/opt/shared/locks.py", 7, "locked", false);
        let nameless = Frame { function: None, ..own.clone() };
        assert_eq!(told(&[&library, &own, &outer]).as_deref(), Some("store/disk.py:12 in save"));
        assert_eq!(told(&[&installed, &elsewhere, &outer]).as_deref(), Some("main.py:40 in <module>"));
        assert_eq!(told(&[&library, &elsewhere]).as_deref(), Some("/opt/shared/locks.py:7 in locked"));
        assert_eq!(told(&[&nameless]).as_deref(), Some("store/disk.py:12"));
        assert_eq!(told(&[&library]), None);
    }
}
