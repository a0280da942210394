//! The hidden roles in which this binary runs itself: a client process, the janitor, what
//! `doctor` tries gates on, and a built-in strategy that speaks the worker protocol.

use std::process::ExitCode;

use tearproof_core::strategy::ClientContext;
use tearproof_engine::explore::probe_main;
use tearproof_engine::process::{janitor_main, nest_main, nestling_main};
use tearproof_engine::program::serve_stdio;
use tearproof_engine::worker::worker_main;

use crate::strategies::Registry;

/// Plays the role that the arguments name, if they name a hidden one.
pub fn play() -> Option<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next()?.as_str() {
        "worker" => {
            let index = arguments.next()?.parse().ok()?;
            let parent = arguments.next()?.parse().ok()?;
            Some(worker_main(index, parent, &Registry))
        }
        "janitor" => {
            janitor_main();
            Some(ExitCode::SUCCESS)
        }
        "nest" => Some(nest_main(arguments.next()?.parse().ok()?)),
        "nestling" => Some(nestling_main()),
        "probe" => Some(probe_main()),
        "speak" => {
            let strategy = tearproof_scenarios::strategy(&arguments.next()?)?;
            let context: ClientContext = serde_json::from_str(&arguments.next()?).ok()?;
            Some(match serve_stdio(strategy, context, std::io::stdin().lock(), std::io::stdout().lock()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("{error}");
                    ExitCode::FAILURE
                }
            })
        }
        _ => None,
    }
}
