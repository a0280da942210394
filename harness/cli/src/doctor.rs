//! `tearproof doctor`: what this machine can run, and what is missing.

use std::path::Path;

use tearproof_engine::host;

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
    let checks = [
        kernel(),
        Check { what: "CPUs", found: host::cpus().to_string(), missing: cpus_missing() },
        directory("state directory (here)", &here),
        directory("tmpfs", Path::new("/dev/shm")),
        shared_memory(),
        processes(),
        privilege(
            "user notification (seccomp)",
            host::user_notification(),
            "engines that step through system calls cannot run: the kernel must be 5.14 or newer, with CONFIG_SECCOMP_FILTER",
        ),
        privilege(
            "real-time priorities",
            host::real_time_priorities(),
            "not needed for stress; give CAP_SYS_NICE for exact scheduling at full speed",
        ),
        privilege("root", host::is_root(), "not needed for stress"),
        program("python3", "needed only for scenarios with Python programs"),
        program("node", "needed only for scenarios with Node programs"),
    ];
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
    report.push_str(if runnable {
        "\nengines: stress can run here\n"
    } else {
        "\nengines: stress cannot run here: choose a directory with --dir\n"
    });
    print(&report)?;
    Ok(if runnable { 0 } else { 4 })
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
