//! `tearproof doctor`: what this machine can run, and what is missing.

use std::path::Path;

use tearproof_engine::explore::{Facilities, Gate};
use tearproof_engine::host;
use tearproof_engine::process::Executable;

use crate::Outcome;
use crate::run::terminal_width;
use crate::stdout::print;

/// One thing that was looked at.
struct Check {
    what: &'static str,
    /// What was found.
    found: String,
    /// What to do about it, when something is missing.
    missing: Option<String>,
}

/// Looks, and prints. A machine that lacks something can still run the rest, so the exit code is 0
/// unless nothing could run.
pub fn doctor(color: bool) -> Outcome {
    let here = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let facilities = Executable::current().map(|executable| Facilities::probe(&executable));
    let mut checks = vec![
        kernel(),
        Check { what: "CPUs", found: host::cpus().to_string(), missing: cpus_missing() },
        directory("state directory (here)", &here),
        directory("tmpfs", Path::new("/dev/shm")),
        shared_memory(),
        processes(),
    ];
    let explores = facilities.as_ref().is_ok_and(Facilities::suffice);
    match &facilities {
        Ok(facilities) => checks.extend(explore(facilities)),
        Err(error) => checks.push(Check {
            what: "gate (seccomp)",
            found: error.to_string(),
            missing: Some("mount /proc: this program has to find itself".to_owned()),
        }),
    }
    checks.extend([
        privilege(
            "real-time priorities",
            host::real_time_priorities(),
            "no engine needs them: what is explored runs one at a time, and stress wants the ordinary scheduler",
        ),
        privilege("root", host::is_root(), "not needed for stress and explore"),
        program("python3", "needed only for scenarios with Python programs"),
        program("node", "needed only for scenarios with Node programs"),
    ]);
    let width = checks.iter().map(|check| check.what.len()).max().unwrap_or(0);
    let (good, bad, off) = if color { ("\x1b[32m", "\x1b[33m", "\x1b[0m") } else { ("", "", "") };
    let mut report = String::new();
    for check in &checks {
        let (mark, paint) = if check.missing.is_none() { ("ok", good) } else { ("--", bad) };
        report.push_str(&format!("{paint}{mark}{off}  {:width$}  {}\n", check.what, check.found));
        if let Some(missing) = &check.missing {
            for line in wrap(missing, terminal_width().saturating_sub(width + 6)) {
                report.push_str(&format!("    {:width$}  {line}\n", ""));
            }
        }
    }
    let runnable = host::writable(&here);
    report.push_str(match (runnable, explores) {
        (true, true) => "\nengines: stress and explore can run here\n",
        (true, false) => "\nengines: stress can run here; explore cannot, for the reason above\n",
        (false, _) => "\nengines: stress and explore cannot run here: choose a directory with --dir\n",
    });
    print(&report)?;
    Ok(if runnable { 0 } else { 4 })
}

/// What the explore engine needs: each of it was tried, on a process of its own.
fn explore(facilities: &Facilities) -> Vec<Check> {
    const GATE: &str = "gate (seccomp)";
    let mut checks = Vec::new();
    match &facilities.gate {
        Ok(Gate { synchronous, call_ns, memory }) => {
            let found = format!("calls are stopped and answered in {:.1} µs each", *call_ns as f64 / 1e3);
            checks.push(Check { what: GATE, found, missing: None });
            checks.push(Check {
                what: "synchronous wake-up",
                found: if *synchronous { "yes" } else { "no" }.to_owned(),
                missing: (!synchronous).then(|| {
                    "the explore engine works, several times more slowly: Linux 6.6 and newer have it".to_owned()
                }),
            });
            checks.push(tried(
                "memory of clients",
                memory,
                "can be read and written",
                "explore cannot run: clients have to be of the same user, and /proc/PID/mem must not be denied \
                 (CAP_SYS_PTRACE, kernel.yama.ptrace_scope)",
            ));
        }
        Err(error) => checks.push(Check {
            what: GATE,
            found: error.to_string(),
            missing: Some(
                "explore cannot run: it needs Linux 5.14 or newer with CONFIG_SECCOMP_FILTER, and a container that \
                 allows seccomp and pidfd_getfd (--cap-add SYS_PTRACE, or a seccomp profile of its own)"
                    .to_owned(),
            ),
        }),
    }
    checks.push(tried(
        "tables of a thread's own",
        &facilities.own_tables,
        "several plans can be explored at once",
        "one plan is explored at a time: the container denies unshare(CLONE_FILES)",
    ));
    checks
}

fn tried(what: &'static str, result: &std::io::Result<()>, found: &str, otherwise: &str) -> Check {
    match result {
        Ok(()) => Check { what, found: found.to_owned(), missing: None },
        Err(error) => Check { what, found: error.to_string(), missing: Some(otherwise.to_owned()) },
    }
}

fn kernel() -> Check {
    let release = host::kernel_release();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let old = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < (5, 14);
    let missing = old.then(|| {
        "tearproof is made for Linux 5.14 and newer; expect calls that this kernel lacks".to_owned()
    });
    Check { what: "kernel", found: format!("Linux {release} {}", std::env::consts::ARCH), missing }
}

fn cpus_missing() -> Option<String> {
    (host::cpus() < 2).then(|| "with one CPU clients only take turns: races show far more seldom".to_owned())
}

fn directory(what: &'static str, path: &Path) -> Check {
    let kind = host::file_system(path).unwrap_or_else(|_| "not there".to_owned());
    let missing =
        (!host::writable(path)).then(|| "not writable: choose another directory with --dir".to_owned());
    Check { what, found: format!("{} ({kind})", path.display()), missing }
}

fn shared_memory() -> Check {
    const BYTES: usize = 64 << 20;
    match tearproof_engine::record::SharedMemory::create(BYTES) {
        Ok(_) => Check { what: "shared memory", found: "memfd works".to_owned(), missing: None },
        Err(error) => Check {
            what: "shared memory",
            found: error.to_string(),
            missing: Some(
                "clients record into shared memory: without memfd_create nothing can run".to_owned(),
            ),
        },
    }
}

fn processes() -> Check {
    let limit = host::process_limit();
    let found = limit.map_or_else(|| "no limit".to_owned(), |limit| format!("at most {limit}"));
    let missing = limit.is_some_and(|limit| limit < 64).then(|| "raise it with `ulimit -u`".to_owned());
    Check { what: "processes", found, missing }
}

fn privilege(what: &'static str, has: bool, otherwise: &str) -> Check {
    let found = if has { "yes" } else { "no" }.to_owned();
    Check { what, found, missing: (!has).then(|| otherwise.to_owned()) }
}

fn program(name: &'static str, otherwise: &str) -> Check {
    match host::program(name) {
        Some(path) => Check { what: name, found: path.display().to_string(), missing: None },
        None => Check { what: name, found: "not found".to_owned(), missing: Some(otherwise.to_owned()) },
    }
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always a line");
        if !line.is_empty() && line.len() + 1 + word.len() > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
