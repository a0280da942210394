//! A user's own program as a strategy: [`ProgramStrategy`] runs it, as a worker that speaks the
//! protocol or as a command for each operation, and engines cannot tell it from one that is built
//! in. [`serve_stdio`] is the other end of the protocol.
//!
//! The code here runs in a client's process, called the agent below, which measures from outside
//! and survives the program. Hazards meant for the program go to its [`ChildSlot`].
//!
//! Not covered: which of a program's reads count as torn. The bytes that it returned are verified
//! by the engine, with [`tearproof_core::document::Shape::verify_content`] for registers, since a
//! program that parses and writes a document again spells it in a way of its own.

mod base64;
mod command;
mod content;
mod cue;
mod message;
mod process;
mod serve;
mod settings;
mod slot;
mod starter;
mod stderr;
mod template;
#[cfg(test)]
mod tests;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use tearproof_core::object::Object;
use tearproof_core::scenario::{Lifetime, Program, ProgramForm};
use tearproof_core::set::SetDocument;
use tearproof_core::strategy::{Client, ClientContext, Strategy, StrategyError, StrategyInfo};

pub(crate) use cue::PlayedFor;
pub use serve::serve_stdio;
pub(crate) use settings::{OWN_EXECUTABLE, START_TIMEOUT};
pub use slot::ChildSlot;
pub(crate) use starter::start_from_here;

use command::CommandClient;
use settings::Settings;
use worker::WorkerClient;

/// A user's own program.
#[derive(Clone, Debug)]
pub struct ProgramStrategy {
    program: Program,
    lifetime: Lifetime,
    object: Object,
    seed: u64,
    opaque: bool,
    verbose: bool,
    start_timeout: Duration,
    info: &'static StrategyInfo,
}

impl ProgramStrategy {
    /// A program whose workers live for a session or for one operation each (one critical section,
    /// for locks). Commands live for one operation in any case. `seed` is what workers are greeted
    /// with.
    ///
    /// What the strategy says of itself is leaked, once for each call: it must live as long as that
    /// of a built-in strategy, and a process makes one of these for each program of its plan.
    pub fn new(program: &Program, lifetime: Lifetime, object: Object, seed: u64) -> Self {
        let algorithm = match (&program.form, lifetime) {
            (ProgramForm::Worker { command }, Lifetime::Session) => {
                format!("a user's program, one process a client: {}", command.join(" "))
            }
            (ProgramForm::Worker { command }, Lifetime::Operation) => {
                format!("a user's program, one process an operation: {}", command.join(" "))
            }
            (ProgramForm::Commands { .. }, _) => "a user's program, one command an operation".to_owned(),
        };
        let info = Box::leak(Box::new(StrategyInfo {
            name: program.name.clone().leak(),
            algorithm: algorithm.leak(),
            claims: program.claims.clone().leak(),
            source: "the definition",
            objects: Object::ALL,
            broken: false,
            // Nobody knows, and a hazard that was left out would be a pass that nobody earned.
            timed: true,
        }));
        let start_timeout = START_TIMEOUT;
        let program = program.clone();
        Self { program, lifetime, object, seed, opaque: false, verbose: false, start_timeout, info }
    }

    /// Says that the state file has a shape of its own: the harness never reads it itself, and the
    /// output of a `read` command is the elements of a set, one a line.
    #[must_use]
    pub fn opaque(self, opaque: bool) -> Self {
        Self { opaque, ..self }
    }

    /// Says how long a worker may take to greet; [`START_TIMEOUT`] is the least.
    #[must_use]
    pub(crate) fn start_within(self, allowed: Duration) -> Self {
        Self { start_timeout: allowed.max(START_TIMEOUT), ..self }
    }

    /// Shows what the program writes to its standard error on ours, as it comes.
    #[must_use]
    pub fn verbose(self, verbose: bool) -> Self {
        Self { verbose, ..self }
    }

    /// Opens a client, with the slot through which hazards reach its process. A worker that lives
    /// for the session is started here and now.
    ///
    /// # Errors
    /// When the program cannot be started or does not become ready, once or, where trying again may
    /// help, several times. The message names the command, how it ended, and the last line of its
    /// standard error.
    pub fn open(&self, context: &ClientContext) -> Result<(Box<dyn Client>, Arc<ChildSlot>), StrategyError> {
        let slot = Arc::new(ChildSlot::default());
        let settings = |command: &[String]| -> Result<Settings, StrategyError> {
            let settings = Settings::new(&self.program, command, context, self.seed)?;
            Ok(Settings {
                verbose: self.verbose,
                opaque: self.opaque,
                object: self.object,
                start_timeout: self.start_timeout,
                ..settings
            })
        };
        let client: Box<dyn Client> = match &self.program.form {
            ProgramForm::Worker { command } => {
                let settings = settings(command)?;
                Box::new(WorkerClient::open(settings, command, self.lifetime, Arc::clone(&slot))?)
            }
            ProgramForm::Commands { commands, fail_codes } => {
                let settings = settings(&[])?;
                Box::new(CommandClient::new(settings, commands, fail_codes, Arc::clone(&slot)))
            }
        };
        Ok((client, slot))
    }
}

impl Strategy for ProgramStrategy {
    fn info(&self) -> &'static StrategyInfo {
        self.info
    }

    /// Writes the document plainly. Programs do not write the count of a set, so it is not there
    /// initially either; a text that is no set document is written as it is.
    fn prepare(&self, context: &ClientContext, document: Option<&[u8]>) -> Result<(), StrategyError> {
        let Some(document) = document else { return Ok(()) };
        let uncounted = match self.object {
            Object::Set => SetDocument::parse(context.format, document)
                .ok()
                .map(|set| set.render_as(context.format, false)),
            Object::Register | Object::Log | Object::Lock => None,
        };
        std::fs::write(&context.file, uncounted.as_deref().unwrap_or(document))
            .map_err(|error| StrategyError::failed(format!("{}: write: {error}", context.file.display())))
    }

    /// Nobody has declared whether writes of a program follow links, so neither is held against it.
    fn follows_symlinks(&self) -> bool {
        false
    }

    fn client(&self, context: &ClientContext) -> Result<Box<dyn Client>, StrategyError> {
        self.open(context).map(|(client, _)| client)
    }

    fn keeps(&self, _: &ClientContext, name: &str) -> bool {
        self.program.keeps.iter().any(|pattern| matches(pattern, name))
    }
}

/// Whether a name fits a pattern in which `*` stands for anything, nothing included.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, rest)) => name.strip_prefix(head).is_some_and(|name| {
            (0..=name.len()).any(|skip| name.is_char_boundary(skip) && matches(rest, &name[skip..]))
        }),
    }
}
