//! What the command line can say.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tearproof_core::claim::{Engine, Hazard};

/// Which way of updating a shared file keeps which promise, under which hazard, at what cost?
///
/// tearproof runs real reader and writer processes against pluggable update strategies, makes them
/// race, kills and pauses them, and checks every history that it records.
#[derive(Debug, Parser)]
#[command(name = "tearproof", version, about, after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Arguments {
    /// When to use colours.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub color: Color,

    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  tearproof run                                   every built-in scenario, in about a minute
  tearproof run progress --strategy temp-rename   one strategy of one scenario
  tearproof run my-store.toml --budget 30s        your own program
  tearproof run index --dir . --dir /dev/shm      on two file systems
  tearproof list strategies                       what there is to compare
  tearproof trace -- mytool set key value         what a program does to its files
  tearproof check history.jsonl                   judge a recorded history
  tearproof doctor                                what this machine can run

Exit codes: 0 every claim that was looked at held; 1 a claim was violated; 2 bad usage or
definition, or a path that is not there; 3 something claimed stayed inconclusive; 4 the
environment failed: what is there cannot be used, or nothing can be written.";

/// What a history looks like. A test feeds this example to the command.
const HISTORIES: &str = "\
A history is one JSON object a line. The first names the object (register, set, log or lock) and
its initial value; each other line is one event, in real-time order (time_ns never decreases). An
operation is an `invoke` and later, by the same client, one `ok`, `fail` (certainly not applied)
or `info` (unknown: its process died), or nothing if it never returned.

  {\"format\":1,\"object\":\"register\",\"initial\":null}
  {\"time_ns\":10,\"client\":0,\"type\":\"invoke\",\"op\":\"write\",\"value\":4}
  {\"time_ns\":20,\"client\":0,\"type\":\"ok\",\"op\":\"write\",\"value\":4}
  {\"time_ns\":30,\"client\":1,\"type\":\"invoke\",\"op\":\"read\"}
  {\"time_ns\":40,\"client\":1,\"type\":\"ok\",\"op\":\"read\",\"value\":4}

Operations: register read, write, cas (value [from,to], and \"applied\" with its ok); set read,
update; log read, append; lock acquire, release. A value is any JSON; a read of a set or log has
an array. A read that found no whole value has \"torn\" instead: empty, partial, mixed, missing or
foreign. `fail` and `info` may say why in \"reason\" and \"error\"; other keys are ignored.

Histories come from any tool that writes these lines, or from `tearproof run --histories`, which
writes the first violation of each strategy to target/tearproof/histories/.

Exit: 0 every guarantee held · 1 one was violated · 2 no history · 3 one stayed inconclusive";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run scenarios, print the table, write run.json.
    Run(RunOptions),
    /// Show what there is.
    List {
        /// What to show.
        #[arg(value_enum)]
        what: Listed,
    },
    /// Run the execution of a witness again, and tell it step by step.
    Replay(ReplayOptions),
    /// Show what a program, or a strategy, does to the files of a directory, call by call.
    Trace(TraceOptions),
    /// Check a recorded history (history.jsonl), by tearproof or by any other tool.
    Check(CheckOptions),
    /// Say what this machine can run, and what is missing.
    Doctor,
    /// Do the operations of a strategy, so that they can be traced.
    #[command(hide = true)]
    Perform {
        /// Its name.
        strategy: String,
        /// Its surroundings, as JSON.
        context: String,
    },
    /// Check that a run.json has the documented shape.
    #[command(hide = true)]
    Validate {
        /// The file.
        file: PathBuf,
    },
}

/// What `replay` is told.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tearproof replay index/flock-sibling-unlink/concurrency/2:2.1/9c0f3a52b7d11e04/A6B9A3C4
  tearproof replay my-store/mine/concurrency/1:1.1/5b0a1f00c2d4e6a8/A4B2A1 my-store.toml

Exit: 1 the anomaly is there · 0 it is not · 2 the definition has changed · 3 the execution went
another way")]
pub struct ReplayOptions {
    /// The token, as a witness names it.
    pub token: String,

    /// The definition, where the scenario is not built in.
    #[arg(value_name = "FILE.toml")]
    pub file: Option<String>,

    /// Make the state directory here. Default: the current directory.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tearproof run
  tearproof run progress index --seed 7
  tearproof run run-lock --strategy lock-stale-unlink --budget 20s
  tearproof run index --engine explore --dir /dev/shm
  tearproof run my-store.toml --engine explore --keep --regressions tests/regressions
  tearproof run my-store.toml --dir /dev/shm --out results")]
pub struct RunOptions {
    /// Built-in scenarios by name, or definition files by path. Default: all built-in scenarios.
    #[arg(value_name = "SCENARIO|FILE.toml")]
    pub scenarios: Vec<String>,

    /// Only these strategies.
    #[arg(long = "strategy", value_name = "NAME")]
    pub strategies: Vec<String>,

    /// Only these engines: stress, explore. Default: stress.
    #[arg(long = "engine", value_name = "NAME", value_parser = parse_engine)]
    pub engines: Vec<Engine>,

    /// Only these hazards: concurrency, pause, kill. Default: what the scenario asks for.
    #[arg(long = "hazard", value_name = "NAME", value_parser = parse_hazard)]
    pub hazards: Vec<Hazard>,

    /// Everything random comes from this number. Default: a fresh one, which the result names.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// A short look at everything: the same as a budget of 20 seconds.
    #[arg(long, conflicts_with = "budget")]
    pub quick: bool,

    /// How long the whole run may take, for example 60s or 5min. Default: a minute, divided among all that
    /// is run, or what the definitions say.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub budget: Option<Duration>,

    /// Only the K-th of N parts of the work, so that several machines can share it.
    #[arg(long, value_name = "K/N", value_parser = parse_shard)]
    pub shard: Option<Shard>,

    /// Plans that are explored at the same time, one on each CPU. Default: as many as this process may use.
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub shards: Option<usize>,

    /// Explore at most so many executions of each strategy in each round.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub executions: Option<u64>,

    /// Explore only executions with at most so many preemptions.
    #[arg(long, value_name = "N")]
    pub bound: Option<u32>,

    /// Begin with the witnesses that are kept in this folder. Default: `regressions`, beside a definition
    /// or in the current directory, if it is there.
    #[arg(long, value_name = "DIR")]
    pub regressions: Option<PathBuf>,

    /// Keep the witnesses that are found, a small file each, for the next run.
    #[arg(long)]
    pub keep: bool,

    /// Where run.json goes.
    #[arg(long, value_name = "DIR", default_value = "target/tearproof")]
    pub out: PathBuf,

    /// Make the state directories here; may be given several times, to compare file systems. Default: the
    /// current directory.
    #[arg(long = "dir", value_name = "DIR")]
    pub dirs: Vec<PathBuf>,

    /// Leave each strategy under each hazard at its first violation: what else it breaks or keeps stays open.
    #[arg(long)]
    pub fail_fast: bool,

    /// Write the history of each first violation under the output directory, in `histories/`, where
    /// `tearproof check` can judge it again.
    #[arg(long)]
    pub histories: bool,

    /// Show every witness at full length.
    #[arg(long)]
    pub full: bool,
}

impl RunOptions {
    /// The arguments without which a part of the run would not run again as it did; what is run, where, and
    /// the seed are named elsewhere.
    pub fn to_repeat(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut add = |name: &str, value: Option<String>| {
            words.extend(value.map(|value| [name.to_owned(), value]).into_iter().flatten());
        };
        for engine in &self.engines {
            add("--engine", Some(engine.to_string()));
        }
        add("--budget", self.budget.map(|budget| format!("{budget:?}")));
        add("--executions", self.executions.map(|executions| executions.to_string()));
        add("--bound", self.bound.map(|bound| bound.to_string()));
        words.extend(self.quick.then(|| "--quick".to_owned()));
        words.extend(self.fail_fast.then(|| "--fail-fast".to_owned()));
        words
    }
}

/// What `trace` is told.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tearproof trace -- python3 store.py put key value
  tearproof trace --dir ~/.config/mytool -- mytool set colour blue
  tearproof trace --json --output calls.jsonl -- git commit -m message
  tearproof trace temp-rename flock-sibling

What the program prints goes to standard error, unless --output takes the result elsewhere.
Exit: that of the program, 128 and the signal if it was killed; 2 and 4 as everywhere")]
pub struct TraceOptions {
    /// Built-in strategies, whose operations are done one after the other.
    #[arg(value_name = "STRATEGY")]
    pub strategies: Vec<String>,

    /// The program to trace, and its arguments.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,

    /// Show the calls that concern this directory; may be given several times. Default: the current
    /// directory.
    #[arg(long = "dir", value_name = "DIR")]
    pub dirs: Vec<PathBuf>,

    /// Show the calls that concern other files too.
    #[arg(long)]
    pub all: bool,

    /// One JSON object a call: time_ns, took_ns, pid, tid, call, path, path2, bytes, result, errno.
    #[arg(long)]
    pub json: bool,

    /// Write the result here.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = HISTORIES)]
pub struct CheckOptions {
    /// The history, one event a line; - for standard input.
    pub file: PathBuf,

    /// How to print the verdicts.
    #[arg(long, value_enum, default_value_t = CheckFormat::Text)]
    pub format: CheckFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum CheckFormat {
    /// For people.
    Text,
    /// The same cells as in run.json.
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Listed {
    /// The built-in scenarios.
    Scenarios,
    /// The built-in strategies.
    Strategies,
    /// The guarantees, and how their breaches are called.
    Guarantees,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Color {
    /// When standard output is a terminal and `NO_COLOR` is not set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// Whether standard output gets colours.
    pub fn enabled(self) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                    && std::io::stdout().is_terminal()
            }
        }
    }
}

/// One of several parts of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which, from 1.
    pub number: u32,
    /// Of how many.
    pub of: u32,
}

impl Shard {
    /// Whether the item with this index, from 0, belongs to this part.
    pub const fn has(self, index: usize) -> bool {
        index as u32 % self.of == self.number - 1
    }
}

fn parse_shard(text: &str) -> Result<Shard, String> {
    let error = || format!("`{text}` is no shard: write K/N with 1 <= K <= N, for example 1/4");
    let (number, of) = text.split_once('/').ok_or_else(error)?;
    let shard = Shard { number: number.parse().map_err(|_| error())?, of: of.parse().map_err(|_| error())? };
    if (1..=shard.of).contains(&shard.number) { Ok(shard) } else { Err(error()) }
}

fn parse_count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=1024).contains(count));
    count.ok_or_else(|| format!("`{text}` is no number from 1 to 1024"))
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = tearproof_core::units::parse_duration(text).map_err(|error| error.to_string())?;
    if duration.is_zero() { Err("a budget of nothing brings nothing".to_owned()) } else { Ok(duration) }
}

fn parse_hazard(text: &str) -> Result<Hazard, String> {
    let hazard: Hazard =
        text.parse().map_err(|error: tearproof_core::names::UnknownName| error.to_string())?;
    if matches!(hazard, Hazard::Concurrency | Hazard::Pause | Hazard::Kill) {
        Ok(hazard)
    } else {
        Err(format!("{hazard} is not tested by this version; it tests: concurrency, pause, kill"))
    }
}

fn parse_engine(text: &str) -> Result<Engine, String> {
    let engine: Engine =
        text.parse().map_err(|error: tearproof_core::names::UnknownName| error.to_string())?;
    if matches!(engine, Engine::Stress | Engine::Explore) {
        Ok(engine)
    } else {
        Err(format!("the {engine} engine is not part of this version; it has: stress, explore"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_is_to_be_repeated_is_read_as_it_was_meant() {
        for given in [
            &["--quick"][..],
            &["--budget", "1500ms", "--engine", "explore", "--engine", "stress"],
            &["--budget", "5min", "--executions", "7", "--bound", "2"],
            &["--fail-fast"],
            &[],
        ] {
            let parse = |words: &[String]| {
                let head = ["tearproof", "run"].map(str::to_owned);
                let arguments = Arguments::parse_from(head.iter().chain(words));
                let Command::Run(options) = arguments.command else { panic!("it runs") };
                options
            };
            let given: Vec<String> = given.iter().map(|&word| word.to_owned()).collect();
            let options = parse(&given);
            let again = parse(&options.to_repeat());
            assert_eq!((again.quick, again.budget), (options.quick, options.budget));
            assert_eq!(again.fail_fast, options.fail_fast);
            assert_eq!(again.engines, options.engines);
            assert_eq!((again.executions, again.bound), (options.executions, options.bound));
            assert_eq!(again.to_repeat().is_empty(), given.is_empty());
        }
    }

    #[test]
    fn shards_cover_everything_once() {
        let shards: Vec<Shard> = (1..=3).map(|k| parse_shard(&format!("{k}/3")).expect("a shard")).collect();
        for index in 0..20 {
            assert_eq!(shards.iter().filter(|shard| shard.has(index)).count(), 1);
        }
        assert!(parse_shard("0/3").is_err() && parse_shard("4/3").is_err() && parse_shard("3").is_err());
    }
}
