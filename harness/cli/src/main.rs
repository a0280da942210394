//! The `tearproof` command: arguments in, a command run, an exit code out.

mod args;
mod check;
mod diagnose;
mod doctor;
mod hidden;
mod list;
mod pieces;
mod progress;
mod regressions;
mod replay;
mod rest;
mod result_file;
mod run;
mod schedule;
mod stdout;
mod strategies;
mod trace;

use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};
use diagnose::Failure;

fn main() -> ExitCode {
    // Hidden roles come first: they are started thousands of times, and need no parser.
    if let Some(code) = hidden::play() {
        return code;
    }
    let arguments = Arguments::parse();
    let color = arguments.color.enabled();
    let outcome = match arguments.command {
        Command::Run(options) => run::run(&options, color),
        Command::List { what } => list::list(what, color),
        Command::Replay(options) => replay::replay(&options, color),
        Command::Trace(options) => trace::trace(&options, color),
        Command::Perform { strategy, context } => return trace::perform(&strategy, &context),
        Command::Check(options) => check::check(&options, color),
        Command::Doctor => doctor::doctor(color),
        Command::Validate { file } => check::validate(&file),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.report(color),
    }
}

/// Where a command is a failure of its own kind, it says so by its exit code.
type Outcome = Result<u8, Failure>;
