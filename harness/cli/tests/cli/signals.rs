//! Whatever signal arrives: what was measured is written where that is possible, and nothing is
//! left behind: no process, no directory.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::command::Place;
use rustix::process::{Pid, Signal, kill_process};

/// Waits until something becomes true, and panics after a minute.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come true within a minute");
        std::thread::yield_now();
    }
}

/// The processes whose working directory is below a path: the clients of a run live there.
fn processes_below(path: &Path) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            std::fs::read_link(format!("/proc/{pid}/cwd"))
                .is_ok_and(|cwd| cwd.starts_with(path) && cwd != path)
        })
        .collect()
}

/// A run that is in the middle of its work.
fn under_way(place: &Place) -> Child {
    let child = place
        .command(&["run", "progress", "--budget", "60s"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the command starts");
    eventually("a running client", || processes_below(place.path()).len() > 2);
    child
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("the run is there");
}

#[test]
fn an_interrupted_run_writes_what_it_has_and_leaves_nothing() {
    for sent in [Signal::INT, Signal::TERM] {
        let place = Place::new();
        let mut child = under_way(&place);
        signal(&child, sent);
        let status = child.wait().expect("a child");
        // What was cut short has not shown that every claim holds.
        assert_eq!(status.code(), Some(3), "{status}");
        let run = place.run_json();
        assert_eq!(run["interrupted"], true);
        assert_ne!(run["scenarios"][0]["strategies"][0]["verdicts"][0]["scope"]["executions"], 0);
        assert_eq!(place.left_behind(), Vec::<String>::new());
        assert_eq!(processes_below(place.path()), Vec::<u32>::new());
    }
}

#[test]
fn a_killed_run_leaves_no_process_and_no_directory() {
    let place = Place::new();
    let mut child = under_way(&place);
    signal(&child, Signal::KILL);
    child.wait().expect("a child");
    eventually("the end of all clients", || processes_below(place.path()).is_empty());
    eventually("the removal of the state directory", || place.left_behind().is_empty());
}
