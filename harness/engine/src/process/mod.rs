//! Processes that the supervisor starts: this binary, executed again in a hidden role, and what
//! makes sure that nothing of them is left behind.

mod clean;
mod interrupt;
mod nest;
pub(crate) mod quiet;
mod subreaper;
mod undisturbed;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Command;

pub use clean::{StateRoot, janitor_main};
pub use interrupt::{Interrupt, die_with_parent};
pub use nest::{Nest, approach_nest, enter_nest, nest_main, nestling_main};
pub use subreaper::Subreaper;
pub use undisturbed::Undisturbed;

/// The program that plays every hidden role, and the arguments that come before the role's name.
#[derive(Clone, Debug)]
pub struct Executable {
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl Executable {
    /// This very binary. `/proc/self/exe` stays right when the file is replaced meanwhile, as a
    /// build does.
    ///
    /// # Errors
    /// When `/proc` is not mounted.
    pub fn current() -> io::Result<Self> {
        std::fs::symlink_metadata("/proc/self/exe")?;
        Ok(Self { program: PathBuf::from("/proc/self/exe"), arguments: Vec::new() })
    }

    /// A program of a test's own.
    pub fn new(
        program: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Self {
        Self { program: program.into(), arguments: arguments.into_iter().map(Into::into).collect() }
    }

    /// Where the program is.
    pub fn program(&self) -> &std::path::Path {
        &self.program
    }

    /// A command that runs the role.
    pub fn command(&self, role: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg(role);
        command
    }
}
