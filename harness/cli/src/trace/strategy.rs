//! `tearproof trace STRATEGY`: each operation of a built-in strategy under its own heading, done alone
//! in a fresh directory.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use tearproof_core::document::{Format, Shape, Stamp};
use tearproof_core::object::Object;
use tearproof_core::set::SetDocument;
use tearproof_core::strategy::{ClientContext, Strategy};
use tearproof_engine::host;
use tearproof_engine::process::{Executable, Interrupt, StateRoot};
use tearproof_engine::trace::{self, Naming, Pattern, Program, Record, Trace, Watch, algorithm, patterns};
use tearproof_scenarios::definition::nearest;

use super::perform::{BEGIN, FAILED, SERVER};
use super::{explain, json, put, text};
use crate::Outcome;
use crate::args::TraceOptions;
use crate::diagnose::Failure;

/// The file in memory that separates operations: its name, and that name as the kernel shows it.
const MARKS: &str = "tearproof-operations";
const MARKS_PATH: &str = "/memfd:tearproof-operations";

/// Traces the strategies that the options name.
pub fn trace_strategies(options: &TraceOptions, color: bool) -> Outcome {
    let strategies = options.strategies.iter().map(|name| find(name)).collect::<Result<Vec<_>, _>>()?;
    if !options.dirs.is_empty() {
        return Err(Failure::usage(
            "--dir is for commands",
            "a strategy is traced in a fresh directory of its own",
        ));
    }
    let interrupt = Interrupt::listen().context("listening for signals")?;
    let mut told = String::new();
    for strategy in strategies {
        let info = strategy.info();
        if !options.json {
            text::heading(&mut told, &format!("{}: {}", info.name, info.algorithm), color);
        }
        for &object in info.objects {
            let session = Session::run(strategy, object, &interrupt, options.all)?;
            match options.json {
                true => told.push_str(&json::lines(&session.trace)),
                false => session.tell(&mut told, color),
            }
            if session.trace.interrupted {
                put(&told, options)?;
                return Ok(130);
            }
        }
        if !options.json {
            told.push('\n');
        }
    }
    put(&told, options)?;
    Ok(0)
}

fn find(name: &str) -> Result<&'static dyn Strategy, Failure> {
    tearproof_scenarios::strategy(name).ok_or_else(|| {
        let known = tearproof_scenarios::strategies().iter().map(|strategy| strategy.info().name);
        let hint = match nearest(name, known) {
            Some(near) => format!("did you mean `{near}`? A program is traced by `tearproof trace -- {name} …`"),
            None => format!(
                "`tearproof list strategies` shows them all. A program is traced by `tearproof trace -- {name} …`"
            ),
        };
        Failure::usage(format!("there is no strategy `{name}`"), hint)
    })
}

/// The operations of a strategy on one object, traced.
pub(super) struct Session {
    pub(super) trace: Trace,
    naming: Naming,
    marks: String,
}

impl Session {
    /// Runs the strategy in a fresh directory.
    pub(super) fn run(
        strategy: &dyn Strategy,
        object: Object,
        interrupt: &Interrupt,
        everything: bool,
    ) -> Result<Self, Failure> {
        let executable = Executable::current().context("finding this program again")?;
        let root = StateRoot::create(&std::env::temp_dir(), &executable).context("making a directory")?;
        let elsewhere = host::directory_elsewhere(root.path())
            .map(|dir| StateRoot::create(&dir, &executable))
            .transpose()
            .context("using a second file system")?;
        let context = context(root.path(), elsewhere.as_ref().map(StateRoot::path), object)?;
        strategy
            .prepare(&context, initial(&context).as_deref())
            .with_context(|| format!("preparing {}", strategy.info().name))?;
        let marks = rustix::fs::memfd_create(MARKS, rustix::fs::MemfdFlags::CLOEXEC)
            .context("making a file in memory")?;
        let mut marks = File::from(marks);
        let description = serde_json::to_string(&context).context("describing the surroundings")?;
        let arguments = ["tearproof", "perform", strategy.info().name, &description];
        let program = Program {
            path: executable.program().to_owned(),
            arguments: arguments.map(OsString::from).to_vec(),
            stdin: Some(File::open("/dev/null").context("opening /dev/null")?.into()),
            stdout: Some(marks.try_clone().context("duplicating a descriptor")?.into()),
        };
        let mut watched = vec![context.dir.clone(), PathBuf::from(MARKS_PATH)];
        watched.extend(context.other_dir.clone());
        let watch = Watch { directories: watched, everything };
        let trace = trace::trace(&program, &watch, interrupt)
            .map_err(|error| explain(error, &program.arguments[..1]))?;
        let mut said = String::new();
        marks.rewind().and_then(|()| marks.read_to_string(&mut said)).context("reading what was done")?;
        // Names tell directories apart only where a second one is used.
        let elsewhere = context.other_dir.filter(|dir| {
            let within = |path: &Option<PathBuf>| path.as_ref().is_some_and(|path| path.starts_with(dir));
            trace.records.iter().any(|record| within(&record.path) || within(&record.path2))
        });
        let directories = std::iter::once(context.dir).chain(elsewhere).collect();
        Ok(Self { trace, naming: Naming { directories }, marks: said })
    }

    /// The calls between marks: what each mark says, and the records after it.
    fn sections(&self) -> Vec<(&str, Vec<&Record>)> {
        let mut lines = self.marks.lines();
        let mut sections: Vec<(&str, Vec<&Record>)> = vec![("", Vec::new())];
        for record in &self.trace.records {
            if record.path.as_deref() == Some(Path::new(MARKS_PATH)) {
                if record.name == "write"
                    && let Some(line) = lines.next()
                {
                    sections.push((line, Vec::new()));
                }
            } else if let Some((_, records)) = sections.last_mut() {
                records.push(record);
            }
        }
        sections
    }

    /// What was done to the files.
    pub(super) fn patterns(&self) -> Vec<Pattern> {
        let sections = self.sections();
        patterns(sections.iter().flat_map(|(_, records)| records.iter().copied()))
    }

    fn tell(&self, out: &mut String, color: bool) {
        // The client is the first thread of its process.
        let pid = self.trace.processes.first().map(|process| process.pid);
        let served = self.marks.contains(SERVER);
        let named = |tid: u32| (served && Some(tid) != pid).then_some("server");
        for (mark, records) in self.sections() {
            let steps = algorithm(records.iter().copied(), &self.naming);
            if let Some(error) = mark.strip_prefix(FAILED) {
                let _ = writeln!(out, "      fails: {error}");
            }
            let operation = mark.strip_prefix(BEGIN);
            match operation {
                Some("open" | "close" | "") | None if steps.is_empty() => continue,
                Some("") => text::heading(out, "  in the end", color),
                Some(operation) => text::heading(out, &format!("  {operation}"), color),
                None if mark.starts_with(SERVER) => text::heading(out, "  server", color),
                None => {}
            }
            if steps.is_empty() {
                out.push_str("      touches no file\n");
            }
            text::steps(out, &steps, &named);
        }
        let found = self.patterns();
        text::facts(out, &found.iter().collect::<Vec<_>>(), &self.naming, false);
    }
}

fn context(root: &Path, other: Option<&Path>, object: Object) -> Result<ClientContext, Failure> {
    let dir = root.join("state");
    std::fs::create_dir(&dir).context("making a directory")?;
    let format = Format::Json;
    let name = match object {
        Object::Lock => "active.lock",
        Object::Log => "messages.log",
        Object::Register | Object::Set => "state.json",
    };
    Ok(ClientContext {
        file: dir.join(name),
        dir,
        other_dir: other.map(Path::to_owned),
        format,
        object,
        shape: Shape { format, size: 600, grow: 0 },
        client: 1,
        lease: Duration::from_secs(5),
        patience: Duration::from_secs(2),
    })
}

/// The state that the operations start from.
fn initial(context: &ClientContext) -> Option<Vec<u8>> {
    match context.object {
        Object::Register => {
            let mut document = Vec::new();
            context.shape.render(Stamp::INITIAL, &mut document);
            Some(document)
        }
        Object::Set => Some(SetDocument::default().render(context.format)),
        Object::Log => Some(Vec::new()),
        Object::Lock => None,
    }
}
