//! The client of a program that is a command for each operation: [`CommandClient`].
//!
//! Exit status 0 acknowledges; one of the definition's `fail_codes` says that the operation was
//! certainly not applied; everything else, death by a signal and the time-out included, leaves it
//! unknown. The standard output of `read` is the content, byte for byte; of a file with a shape of
//! its own (`opaque`) that keeps a set, it is the elements, one a line.
//!
//! Without a `read` command the harness reads the file plainly, unless the file is opaque. Other
//! operations without a command are not supported. A background process that a command leaves in
//! its process group is killed when the command ends.

use std::ffi::OsStr;
use std::io::{ErrorKind, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tearproof_core::history::Failure;
use tearproof_core::object::{Object, Operation};
use tearproof_core::strategy::{Client, Found, Held, StrategyError};

use super::content::render_elements;
use super::process::{Interruption, Process, describe};
use super::settings::Settings;
use super::slot::ChildSlot;
use super::template::{Places, mentions};
use super::worker::{START_ATTEMPTS, killed_by_the_harness};

/// The kernel's limit on one argument, its final zero included (MAX_ARG_STRLEN).
const ARGUMENT_LIMIT: usize = 128 * 1024;

/// One client of a program that is a command for each operation.
pub(super) struct CommandClient {
    settings: Settings,
    commands: Vec<(Operation, Vec<String>)>,
    fail_codes: Vec<i32>,
    slot: Arc<ChildSlot>,
    failed_starts: u32,
    /// Where `{value_file}` is, outside the state directory. Made when it is first needed.
    values: Option<tempfile::TempDir>,
    next_value: u64,
}

impl CommandClient {
    /// A client. Nothing is started before the first operation.
    pub fn new(
        settings: Settings,
        commands: &[(Operation, Vec<String>)],
        fail_codes: &[i32],
        slot: Arc<ChildSlot>,
    ) -> Self {
        Self {
            settings,
            commands: commands.to_vec(),
            fail_codes: fail_codes.to_vec(),
            slot,
            failed_starts: 0,
            values: None,
            next_value: 0,
        }
    }

    fn command(&self, operation: Operation) -> Option<Vec<String>> {
        let known = self.settings.object.operations().contains(&operation);
        self.commands.iter().find(|(name, _)| known && *name == operation).map(|(_, words)| words.clone())
    }

    fn places(&self, allowed: Duration) -> Places<'static> {
        Places {
            client: self.settings.client,
            timeout_ms: u64::try_from(allowed.as_millis()).unwrap_or(u64::MAX),
            ..Places::default()
        }
    }

    /// Runs the command of this operation; returns its standard output.
    fn run(
        &mut self,
        operation: Operation,
        places: Places<'_>,
        allowed: Duration,
    ) -> Result<Vec<u8>, StrategyError> {
        let words = self.command(operation).ok_or(StrategyError::Unsupported(operation))?;
        if let Some(message) = self.slot.defunct() {
            return Err(StrategyError::failed(message));
        }
        let settings = &self.settings;
        let arguments = Places { path: &settings.path, dir: &settings.dir, ..places }.fill(&words);
        if let Some(long) = arguments.iter().map(|word| word.len()).find(|&length| length >= ARGUMENT_LIMIT) {
            return Err(StrategyError::failed(format!(
                "{}: {operation}: an argument of {long} bytes is more than the kernel takes ({ARGUMENT_LIMIT}); \
                 use {{value_file}}",
                settings.title
            )));
        }
        let started = Process::start(&arguments, &settings.directory, false, settings.verbose, &self.slot);
        let mut process = match started {
            Ok(process) => process,
            Err(error) => {
                let message = settings.spawn_error(&arguments, &error);
                self.failed_starts += 1;
                if self.failed_starts >= START_ATTEMPTS {
                    self.slot.give_up(&format!("{message} (given up after {START_ATTEMPTS} attempts)"));
                }
                return Err(StrategyError::failed(message));
            }
        };
        self.failed_starts = 0;
        let outcome = process.finish(settings.line_limit, allowed);
        let exit = process.reap();
        let title = &settings.title;
        let stderr = process.stderr_suffix();
        let unknown = |failure, what: String| {
            Err(StrategyError::Unknown { failure, message: format!("{title}: {operation} {what}{stderr}") })
        };
        let Some(exit) = exit else { return unknown(Failure::Error, "is gone".to_owned()) };
        if exit.killed_by_hazard && exit.status.code().is_none() {
            return Err(killed_by_the_harness(operation));
        }
        match outcome {
            Ok(()) => {}
            Err(Interruption::TimedOut) => {
                return unknown(Failure::TimedOut, format!("did not end within {allowed:?}"));
            }
            Err(other) => return unknown(Failure::Error, settings.explain(&other)),
        }
        match exit.status.code() {
            Some(0) => Ok(std::mem::take(&mut process.output)),
            Some(code) if self.fail_codes.contains(&code) => {
                let message = format!("{title}: {operation} {}{stderr}", describe(exit.status));
                // To a lock this is what a refusal looks like.
                let failure = if operation == Operation::Acquire { Failure::Busy } else { Failure::Error };
                Err(StrategyError::Failed { failure, message })
            }
            Some(_) => unknown(Failure::Error, describe(exit.status)),
            None => unknown(Failure::Killed, describe(exit.status)),
        }
    }

    /// A new file outside the state directory that holds this value.
    fn value_file(&mut self, value: &[u8]) -> Result<PathBuf, StrategyError> {
        let error = |error: std::io::Error| StrategyError::failed(format!("{{value_file}}: {error}"));
        let dir = match self.values.take() {
            Some(dir) => dir,
            None => tempfile::Builder::new()
                .prefix("values-")
                .tempdir_in(self.settings.beside())
                .map_err(error)?,
        };
        self.next_value += 1;
        let path = dir.path().join(format!("value-{}", self.next_value));
        self.values = Some(dir);
        std::fs::write(&path, value).map_err(error)?;
        Ok(path)
    }

    /// The state file as it is.
    fn read_plainly(&self, into: &mut Vec<u8>) -> Result<Found, StrategyError> {
        into.clear();
        let path = &self.settings.path;
        let error =
            |call: &str, error: &std::io::Error| StrategyError::failed(format!("{path}: {call}: {error}"));
        match std::fs::File::open(path) {
            Ok(mut file) => {
                file.read_to_end(into).map_err(|e| error("read", &e))?;
                Ok(Found::Present)
            }
            Err(missing) if missing.kind() == ErrorKind::NotFound => Ok(Found::Absent),
            Err(other) => Err(error("open", &other)),
        }
    }
}

impl Client for CommandClient {
    fn read(&mut self, into: &mut Vec<u8>) -> Result<Found, StrategyError> {
        let opaque_set = self.settings.opaque && self.settings.object == Object::Set;
        if !self.settings.object.operations().contains(&Operation::Read) {
            return Err(StrategyError::Unsupported(Operation::Read));
        }
        if !self.commands.iter().any(|(name, _)| *name == Operation::Read) {
            if self.settings.opaque {
                return Err(StrategyError::Unsupported(Operation::Read));
            }
            return self.read_plainly(into);
        }
        let allowed = self.settings.timeout;
        let output = self.run(Operation::Read, self.places(allowed), allowed)?;
        *into = if opaque_set { elements_by_line(&self.settings, &output)? } else { output };
        Ok(Found::Present)
    }

    fn write(&mut self, document: &[u8]) -> Result<(), StrategyError> {
        let words = self.command(Operation::Write).ok_or(StrategyError::Unsupported(Operation::Write))?;
        let file = if mentions(&words, "{value_file}") { Some(self.value_file(document)?) } else { None };
        let allowed = self.settings.timeout;
        let places = Places {
            value: Some(document),
            value_file: file.as_deref().map(AsRef::<OsStr>::as_ref),
            ..self.places(allowed)
        };
        let result = self.run(Operation::Write, places, allowed).map(drop);
        if let Some(path) = file {
            // The command may have moved it into place.
            let _ = std::fs::remove_file(path);
        }
        result
    }

    fn update(&mut self, element: &str) -> Result<(), StrategyError> {
        let allowed = self.settings.timeout;
        let places = Places { element: Some(element), ..self.places(allowed) };
        self.run(Operation::Update, places, allowed).map(drop)
    }

    fn append(&mut self, record: &[u8]) -> Result<(), StrategyError> {
        let allowed = self.settings.timeout;
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        let places = Places { record: Some(record), ..self.places(allowed) };
        self.run(Operation::Append, places, allowed).map(drop)
    }

    fn acquire(&mut self, patience: Duration) -> Result<Held, StrategyError> {
        let allowed = patience.saturating_add(self.settings.timeout);
        self.run(Operation::Acquire, self.places(patience), allowed)?;
        Ok(Held { still: true, token: None })
    }

    fn release(&mut self) -> Result<(), StrategyError> {
        let allowed = self.settings.timeout;
        self.run(Operation::Release, self.places(allowed), allowed).map(drop)
    }
}

fn elements_by_line(settings: &Settings, output: &[u8]) -> Result<Vec<u8>, StrategyError> {
    let text = String::from_utf8_lossy(output);
    let names = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    render_elements(settings.format, names)
}
