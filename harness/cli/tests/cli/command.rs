//! The command as a test runs it: a directory of its own, and everything captured.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A place to run the command in, with its state and its results.
pub struct Place {
    dir: TempDir,
}

impl Place {
    /// A fresh one, on tmpfs where there is one.
    pub fn new() -> Self {
        let shm = Path::new("/dev/shm");
        let dir = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
        Self { dir: dir.expect("a directory for a test") }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file there.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).expect("a file for a test");
        path
    }

    /// The command, ready to be run there.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tearproof"));
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        command.env_remove("NO_COLOR");
        command
    }

    /// Runs it to its end.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        Finished(self.command(arguments).output().expect("the command starts"))
    }

    /// The result of the last run.
    pub fn run_json(&self) -> Value {
        let path = self.path().join("target/tearproof/run.json");
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_str(&text).expect("JSON")
    }

    /// State directories that are still there.
    pub fn left_behind(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path()).expect("the directory");
        let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with(".tearproof-")).collect()
    }
}

/// What a run said, and how it ended.
pub struct Finished(pub Output);

impl Finished {
    pub fn code(&self) -> i32 {
        self.0.status.code().unwrap_or_else(|| panic!("ended by a signal: {}", self.stderr()))
    }

    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }
}

/// All cells of a run, each as `scenario strategy guarantee@hazard`, with its verdict.
pub fn verdicts(run: &Value) -> Vec<(String, String)> {
    let mut verdicts = Vec::new();
    for scenario in run["scenarios"].as_array().expect("scenarios") {
        for strategy in scenario["strategies"].as_array().expect("strategies") {
            for cell in strategy["verdicts"].as_array().expect("verdicts") {
                let text = |value: &Value| value.as_str().expect("text").to_owned();
                verdicts.push((
                    format!(
                        "{} {} {}@{}",
                        text(&scenario["name"]),
                        text(&strategy["name"]),
                        text(&cell["guarantee"]),
                        text(&cell["hazard"])
                    ),
                    text(&cell["verdict"]),
                ));
            }
        }
    }
    verdicts
}
