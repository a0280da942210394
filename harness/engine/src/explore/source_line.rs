//! The lines of a user's program by which the two steps of a witness that conflict were done, where its
//! interpreter tells.
//!
//! The execution is run again as far as such a step, by processes whose environment asks the interpreter for a
//! traceback when it is aborted ([`super::arena`]); then it is. If what was done before is not what the witness
//! says, the environment has changed the execution, and nothing is said of the line.
//!
//! Told by CPython (`faulthandler`, its documentation: "Dump the traceback on fatal signals"). Not covered: other
//! interpreters, and a step that another thread does for the one that asked for it.

use std::path::Path;

use tearproof_core::plan::Plan;
use tearproof_core::verdict::Step as Line;

use super::arena::ArenaError;
use super::fates;
use super::stand::Stand;
use super::system::{System, ThreadId};
use crate::process::StateRoot;
use crate::stress::Surroundings;

/// What asks interpreters for a traceback.
const ENVIRONMENT: &[(&str, &str)] = &[("PYTHONFAULTHANDLER", "1")];

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
    let marked: Vec<usize> = (0..steps.len()).filter(|&at| steps[at].mark.is_some()).collect();
    for at in marked {
        let told = Stand::with_environment(plan, root, ENVIRONMENT, surroundings, |stand, _| {
            stand.traceback_at(at, schedule, steps)
        });
        // A witness without it is one all the same.
        if let Ok(Some(traceback)) = told {
            steps[at].source = source_line(&traceback, &program.directory);
        }
    }
}

impl Stand<'_, '_> {
    /// Goes as far as a step of a witness, and asks who is about to take it where it is.
    fn traceback_at(
        &mut self,
        at: usize,
        schedule: &[ThreadId],
        steps: &[Line],
    ) -> Result<Option<String>, ArenaError> {
        // Steps count from one.
        let before = steps[at].time_ns as usize - 1;
        let Some((&thread, before)) = schedule.get(before).zip(schedule.get(..before)) else {
            return Ok(None);
        };
        self.arena.tell(true);
        self.arena.ordain(&fates::of_schedule(self.bench.plan, schedule));
        self.arena.begin()?;
        let mut enabled = Vec::new();
        for &thread in before {
            self.arena.enabled(&mut enabled)?;
            if !enabled.contains(&thread) {
                return Ok(None);
            }
            self.arena.step(thread)?;
        }
        let is_told = |(step, what): (u64, String)| {
            steps.iter().any(|line| line.time_ns == step && line.what == self.without_pids(&what))
        };
        if !self.arena.deeds().iter().map(|deed| (deed.step, deed.to_string())).all(is_told) {
            return Ok(None);
        }
        let Some(call) = self.arena.about_to(thread) else { return Ok(None) };
        if !steps[at].what.starts_with(&self.without_pids(&call)) {
            return Ok(None);
        }
        self.arena.traceback(thread)
    }
}

/// The innermost line of a traceback that is the program's own: it lies in the program's directory, or at least is
/// none of a library.
fn source_line(traceback: &str, directory: &Path) -> Option<String> {
    let mut lines = traceback.lines().skip_while(|line| !line.starts_with("Current thread"));
    lines.next()?;
    let frames = lines.map_while(Frame::parse).filter(|frame| !frame.is_of_a_library()).collect::<Vec<_>>();
    let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    let below = frames.iter().find_map(|frame| {
        // A relative one counts from there.
        let path = directory.join(frame.file);
        let path = path.canonicalize().unwrap_or(path);
        let own = path.strip_prefix(&directory).ok()?;
        Some((own.display().to_string(), frame))
    });
    let (file, frame) = below.or_else(|| frames.first().map(|frame| (frame.file.to_owned(), frame)))?;
    Some(format!("{file}:{} in {}", frame.line, frame.function))
}

/// One line of a traceback: `  File "store.py", line 12 in update`.
#[derive(Debug, PartialEq, Eq)]
struct Frame<'t> {
    file: &'t str,
    line: u64,
    function: &'t str,
}

impl<'t> Frame<'t> {
    fn parse(line: &'t str) -> Option<Self> {
        let (file, rest) = line.strip_prefix("  File \"")?.rsplit_once("\", line ")?;
        let (line, function) = rest.split_once(" in ")?;
        Some(Self { file, line: line.parse().ok()?, function })
    }

    fn is_of_a_library(&self) -> bool {
        let of = ["/lib/python", "/lib64/python", "/site-packages/", "/dist-packages/"];
        self.file.starts_with('<') || of.iter().any(|part| self.file.contains(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traceback(frames: &[(&str, u64, &str)]) -> String {
        let head = "Fatal Python error: Aborted\n\nThread 0x01 (most recent call first):\n  File \"other.py\", line 1 in \
                    other\n\nCurrent thread 0x02 (most recent call first):\n";
        let line = |(file, line, function): &(&str, u64, &str)| {
            format!("  File \"{file}\", line {line} in {function}\n")
        };
        head.to_owned() + &frames.iter().map(line).collect::<String>() + "\nExtension modules: none\n"
    }

    #[test]
    fn the_innermost_line_of_the_program_itself_is_told() {
        let directory = Path::new("/nowhere/app");
        let told = |frames| source_line(&traceback(frames), directory);
        let library = ("/usr/lib/python3.11/json/__init__.py", 179, "dump");
        let frozen = ("<frozen importlib._bootstrap>", 241, "_call_with_frames_removed");
        let venv = ("/nowhere/app/venv/lib/python3.11/site-packages/lock.py", 3, "take");
        let own = ("/nowhere/app/store/disk.py", 12, "save");
        let outer = ("/nowhere/app/main.py", 40, "<module>");
        let elsewhere = ("/opt/shared/locks.py", 7, "locked");
        assert_eq!(told(&[library, own, outer]).as_deref(), Some("store/disk.py:12 in save"));
        assert_eq!(told(&[frozen, venv, elsewhere, outer]).as_deref(), Some("main.py:40 in <module>"));
        assert_eq!(told(&[library, elsewhere]).as_deref(), Some("/opt/shared/locks.py:7 in locked"));
        assert_eq!(told(&[library, frozen]), None);
        assert_eq!(source_line("Aborted\n", directory), None);
    }
}
