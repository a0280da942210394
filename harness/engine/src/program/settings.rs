//! What every client of one program needs to know.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tearproof_core::document::Format;
use tearproof_core::object::Object;
use tearproof_core::scenario::Program;
use tearproof_core::strategy::{ClientContext, StrategyError};

use super::process::Interruption;

/// How long a program may take to greet unless more is allowed: interpreters on a loaded machine are
/// slow to start.
pub(crate) const START_TIMEOUT: Duration = Duration::from_secs(10);

/// How the harness names its own executable, where a built-in strategy runs in a process of its own.
pub(crate) const OWN_EXECUTABLE: &str = "/proc/self/exe";

/// A line, or the output of a command, may be this long in any case.
const LINE_LIMIT_MIN: usize = 64 << 20;

/// A program in the surroundings of one client.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// How messages call it: its name, and its command unless that is the harness's own.
    pub title: String,
    /// Where it runs.
    pub directory: PathBuf,
    /// The state file, absolute.
    pub path: String,
    /// The state directory, absolute.
    pub dir: String,
    /// How documents are spelt.
    pub format: Format,
    /// What the file stands for.
    pub object: Object,
    /// The number of the client.
    pub client: u32,
    /// Everything random in the program may come from this.
    pub seed: u64,
    /// How long one operation may take.
    pub timeout: Duration,
    /// How long it may take to become ready.
    pub start_timeout: Duration,
    /// How many bytes one line, or the output of one command, may have.
    pub line_limit: usize,
    /// Whether its standard error is shown as it comes.
    pub verbose: bool,
    /// Whether the file has a shape of its own.
    pub opaque: bool,
}

impl Settings {
    /// # Errors
    /// When the state file has a name that JSON cannot spell.
    pub fn new(
        program: &Program,
        command: &[String],
        context: &ClientContext,
        seed: u64,
    ) -> Result<Self, StrategyError> {
        Ok(Self {
            title: match command {
                [] => format!("`{}`", program.name),
                [first, ..] if first == OWN_EXECUTABLE => {
                    format!("`{}` (in a process of its own)", program.name)
                }
                words => format!("`{}` ({})", program.name, words.join(" ")),
            },
            directory: program.directory.clone(),
            path: spelt(&context.file)?,
            dir: spelt(&context.dir)?,
            format: context.format,
            object: context.object,
            client: context.client,
            seed,
            timeout: program.timeout,
            start_timeout: START_TIMEOUT,
            line_limit: line_limit(context),
            verbose: false,
            opaque: false,
        })
    }

    /// A directory for files of our own: that of the execution, which goes when it is over, whoever
    /// dies. It is not the state directory, where nobody declared them.
    pub fn beside(&self) -> &Path {
        Path::new(&self.dir).parent().unwrap_or(Path::new(&self.dir))
    }

    /// Goes on with the state of another execution.
    pub fn move_to(&mut self, context: &ClientContext) -> Result<(), StrategyError> {
        self.path = spelt(&context.file)?;
        self.dir = spelt(&context.dir)?;
        self.line_limit = line_limit(context);
        Ok(())
    }

    /// What an interruption means, in words.
    pub fn explain(&self, interruption: &Interruption) -> String {
        match interruption {
            Interruption::Ended => "it ended".to_owned(),
            Interruption::Closed => "closed its standard output".to_owned(),
            Interruption::TimedOut => "took too long".to_owned(),
            Interruption::TooLong => format!("printed more than {} bytes", self.line_limit),
            Interruption::Broken(call, error) => format!("cannot be talked to: {call}: {error}"),
        }
    }

    /// Why a program could not be started, with a hint.
    pub fn spawn_error(&self, command: &[OsString], error: &io::Error) -> String {
        let program = command.first().map(|word| word.display().to_string()).unwrap_or_default();
        let directory = self.directory.display();
        let hint = match error.kind() {
            _ if !self.directory.as_os_str().is_empty() && !self.directory.is_dir() => {
                format!("; the directory {directory} that it is to run in does not exist")
            }
            ErrorKind::NotFound if program.contains('/') => {
                format!(
                    "; a relative path counts from {directory}, and the interpreter that a script names must exist"
                )
            }
            ErrorKind::NotFound => format!("; no `{program}` on the PATH"),
            ErrorKind::PermissionDenied => "; is it executable?".to_owned(),
            ErrorKind::ArgumentListTooLong => {
                "; an argument holds at most 128 KiB: pass large values as {value_file}".to_owned()
            }
            _ => String::new(),
        };
        format!("{} could not be started: execve {program}: {error}{hint}", self.title)
    }
}

/// A path as a program is told it: absolute, since the program has a directory of its own.
fn spelt(path: &Path) -> Result<String, StrategyError> {
    let absolute = std::path::absolute(path)
        .map_err(|error| StrategyError::failed(format!("{}: {error}", path.display())))?;
    absolute.into_os_string().into_string().map_err(|path| {
        StrategyError::failed(format!(
            "{}: a program cannot be told a path that is not UTF-8",
            path.display()
        ))
    })
}

fn line_limit(context: &ClientContext) -> usize {
    // A text in JSON is at most six times as long as its bytes.
    let value = context.shape.size as usize + context.shape.grow as usize;
    LINE_LIMIT_MIN.max(value.saturating_mul(6))
}
