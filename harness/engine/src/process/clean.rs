//! The janitor: a small process of its own that removes what a run made on disk, also when the run
//! itself is killed by a signal that nobody can catch.
//!
//! It reads paths from its standard input, a line each, and waits for the end of that pipe: the
//! kernel closes the other side whatever the supervisor dies of. Then it removes the paths. Client
//! processes need no such care: they ask the kernel to be killed with their parent.
//!
//! Not covered: the janitor being killed as well, and the machine losing power.

use std::fs;
use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::Executable;

/// How long the janitor goes on trying to remove a directory that is still being written to by
/// processes which are about to die.
const PATIENCE: Duration = Duration::from_secs(5);

/// A directory of this run under which every execution gets its own, removed on drop and, should
/// it come to that, by the janitor.
#[derive(Debug)]
pub struct StateRoot {
    path: PathBuf,
    janitor: Option<Child>,
}

impl StateRoot {
    /// Makes a directory under `base` whose name no other run has.
    ///
    /// # Errors
    /// Names the directory and what the kernel said.
    pub fn create(base: &Path, executable: &Executable) -> io::Result<Self> {
        let context = |what: &str, error: io::Error| {
            io::Error::new(error.kind(), format!("{what} under {}: {error}", base.display()))
        };
        let base = fs::canonicalize(base).map_err(|error| context("finding the state directory", error))?;
        let path = tempfile::Builder::new()
            .prefix(".tearproof-")
            .tempdir_in(&base)
            .map_err(|error| context("making a state directory", error))?
            .keep();
        let mut root = Self { path, janitor: None };
        let mut janitor = executable
            .command("janitor")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A signal that the terminal sends to the whole group must not reach it.
            .process_group(0)
            .spawn()
            .map_err(|error| context("starting the janitor for a state directory", error))?;
        let mut line = root.path.as_os_str().as_encoded_bytes().to_vec();
        line.push(b'\n');
        let told = janitor.stdin.as_mut().map(|pipe| pipe.write_all(&line));
        root.janitor = Some(janitor);
        told.unwrap_or(Ok(())).map_err(|error| context("telling the janitor of a state directory", error))?;
        Ok(root)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for StateRoot {
    fn drop(&mut self) {
        // The janitor retries what this leaves, so an error here is not the last word.
        let _ = fs::remove_dir_all(&self.path);
        if let Some(mut janitor) = self.janitor.take() {
            drop(janitor.stdin.take());
            let _ = janitor.wait();
        }
    }
}

/// What the janitor process does. It runs in a process group of its own, out of reach of the
/// signals that a terminal sends.
pub fn janitor_main() {
    let paths: Vec<PathBuf> = io::stdin().lock().lines().map_while(Result::ok).map(PathBuf::from).collect();
    let deadline = Instant::now() + PATIENCE;
    for path in paths {
        while fs::remove_dir_all(&path).is_err() && path.exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
