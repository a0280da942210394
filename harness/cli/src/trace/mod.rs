//! `tearproof trace`: the calls of any program on the files of a directory, or those of a built-in
//! strategy, told as an algorithm.

mod catalogue;
mod json;
mod perform;
mod strategy;
mod text;

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use tearproof_core::run::Outcome as RunOutcome;
use tearproof_engine::process::Interrupt;
use tearproof_engine::trace::{self, Naming, ProcessEnd, Program, Trace, TraceError, Watch};

pub use perform::perform;

use crate::Outcome;
use crate::args::TraceOptions;
use crate::diagnose::Failure;
use crate::stdout::print;

/// What a process's death by a signal is as an exit code, as shells have it.
const KILLED: i32 = 128;

/// Traces a command or strategies, and prints what they did.
pub fn trace(options: &TraceOptions, color: bool) -> Outcome {
    match (options.strategies.is_empty(), options.command.is_empty()) {
        (true, true) => Err(Failure::usage(
            "there is nothing to trace",
            "write `tearproof trace -- COMMAND`, or the name of a strategy that `tearproof list strategies` shows",
        )),
        (false, false) => Err(Failure::usage(
            "a command and a strategy are two things to trace",
            "trace one after the other",
        )),
        (false, true) => strategy::trace_strategies(options, color),
        (true, false) => trace_command(options, color),
    }
}

fn trace_command(options: &TraceOptions, color: bool) -> Outcome {
    let directories = watched(&options.dirs)?;
    let mut program = Program::find(&options.command).map_err(|error| explain(error, &options.command))?;
    if options.output.is_none() {
        // Standard output is for the result; what the program prints is none of it.
        let stderr = rustix::io::dup(rustix::stdio::stderr()).context("duplicating standard error")?;
        program.stdout = Some(stderr);
    }
    let interrupt = Interrupt::listen().context("listening for signals")?;
    let watch = Watch { directories: directories.clone(), everything: options.all };
    let traced =
        trace::trace(&program, &watch, &interrupt).map_err(|error| explain(error, &options.command))?;
    let naming = Naming { directories };
    let told = match options.json {
        true => json::lines(&traced),
        false => text::told(&traced, &naming, color && options.output.is_none()),
    };
    put(&told, options)?;
    Ok(exit_code(&traced))
}

/// Prints the result, or writes it where it was asked for.
fn put(told: &str, options: &TraceOptions) -> Result<(), Failure> {
    let Some(path) = &options.output else { return print(told) };
    let written = File::create(path).and_then(|mut file| file.write_all(told.as_bytes()));
    Ok(written.with_context(|| format!("writing {}", path.display()))?)
}

/// The watched directories as the kernel names them.
fn watched(given: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let here = [PathBuf::from(".")];
    let given = if given.is_empty() { &here[..] } else { given };
    given
        .iter()
        .map(|dir| match std::fs::canonicalize(dir) {
            Ok(path) if path.is_dir() => Ok(path),
            Ok(_) => Err(Failure::usage(
                format!("{} is no directory", dir.display()),
                "--dir takes the directory that the state files are in",
            )),
            Err(error) => Err(Failure::usage(
                format!("{}: {error}", dir.display()),
                "--dir takes the directory that the state files are in; make it first",
            )),
        })
        .collect()
}

/// Why nothing was traced, and what to do about it.
fn explain(error: TraceError, command: &[OsString]) -> Failure {
    let message = error.to_string();
    match error {
        TraceError::NotFound { program } => {
            let hint = match program.to_str().is_some_and(|name| name.contains('/')) {
                true => "the path is relative to the current directory".to_owned(),
                false => format!(
                    "it is in no directory of PATH; a program of this directory is `./{}`, a shell command is `sh -c '…'`",
                    program.display()
                ),
            };
            Failure::usage(message, hint)
        }
        TraceError::NotExecutable { program } => Failure::usage(
            message,
            format!("`chmod +x {0}`, or name its interpreter: `python3 {0}`", program.display()),
        ),
        TraceError::Exec { .. } => Failure::usage(
            message,
            "is the interpreter in its first line there, and is it for this architecture?",
        ),
        TraceError::NotPermitted { .. } => {
            let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").ok();
            let hint = match scope.as_deref().map(str::trim) {
                Some(scope @ ("2" | "3")) => format!(
                    "/proc/sys/kernel/yama/ptrace_scope is {scope}, which forbids it{}",
                    if scope == "2" { " without privilege" } else { " until the next boot" }
                ),
                _ => "in a container, allow it with `--cap-add SYS_PTRACE` or a seccomp profile that has ptrace; /proc/sys/kernel/yama/ptrace_scope must be 0 or 1".to_owned(),
            };
            Failure::Environment(anyhow::Error::new(error).context(format!("tracing {command:?}: {hint}")))
        }
        TraceError::Failed { .. } => Failure::Environment(anyhow::Error::new(error)),
    }
}

/// The exit code of the program is that of the command.
fn exit_code(traced: &Trace) -> u8 {
    if traced.interrupted {
        return (KILLED + rustix::process::Signal::INT.as_raw()) as u8;
    }
    match traced.end() {
        Some(ProcessEnd::Exited(code)) => code as u8,
        Some(ProcessEnd::Killed(signal)) => (KILLED + signal) as u8,
        None => RunOutcome::Inconclusive.exit_code(),
    }
}
