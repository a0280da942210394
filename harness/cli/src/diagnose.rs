//! How a command fails: which exit code, and what is printed to standard error.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::ExitCode;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};
use textwrap::{WordSeparator, WordSplitter};

/// Why a command did not do its work.
#[derive(Debug)]
pub enum Failure {
    /// Bad usage or a bad definition: exit 2.
    Usage(Box<dyn Diagnostic + Send + Sync>),
    /// The environment failed: exit 4.
    Environment(anyhow::Error),
    /// The environment failed, and there is something to do about it: exit 4.
    Refused {
        /// What failed, and why.
        message: String,
        /// What to do.
        hint: String,
    },
}

/// Bad usage that can be said in a sentence, with a hint.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{message}")]
pub struct BadUsage {
    message: String,
    #[help]
    hint: Option<String>,
}

impl Failure {
    /// Bad usage, and what to do instead.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage(Box::new(BadUsage { message: message.into(), hint: Some(hint.into()) }))
    }

    /// A path that was given and cannot be used. Who names what is not there, or a file where a directory
    /// is due or the other way round, has misspelt it; whatever else the system says is its own failure.
    /// `doing` and the path come first in the message.
    pub fn at_path(doing: &str, path: &Path, error: &io::Error, hint: &str) -> Self {
        match error.kind() {
            ErrorKind::NotFound
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::AlreadyExists
            | ErrorKind::InvalidData => {
                Self::usage(format!("{doing} {}: {}", path.display(), bare(error)), hint)
            }
            _ => Self::refused(doing, path, error, hint),
        }
    }

    /// A path that was given and is what it should be, which the system does not let us use.
    pub fn refused(doing: &str, path: &Path, error: &io::Error, hint: &str) -> Self {
        let message = format!("{doing} {}: {}", path.display(), bare(error));
        Self::Refused { message, hint: hint.to_owned() }
    }

    /// Prints it, and says how the process ends.
    pub fn report(self, color: bool) -> ExitCode {
        match self {
            Self::Usage(diagnostic) => {
                eprintln!("{}", rendered(&*diagnostic, color));
                ExitCode::from(2)
            }
            Self::Environment(error) => {
                eprintln!("tearproof: {error:#}");
                ExitCode::from(4)
            }
            Self::Refused { message, hint } => {
                eprintln!("tearproof: {message}\n  help: {hint}");
                ExitCode::from(4)
            }
        }
    }
}

/// A diagnostic as it is printed. Lines break at spaces alone: a name that goes on in the next line is
/// neither found nor copied.
fn rendered(diagnostic: &dyn Diagnostic, color: bool) -> String {
    let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(100)
        .with_word_separator(WordSeparator::AsciiSpace)
        .with_word_splitter(WordSplitter::NoHyphenation);
    let mut text = String::new();
    match handler.render_report(&mut text, diagnostic) {
        Ok(()) => text,
        Err(_) => diagnostic.to_string(),
    }
}

/// What the system said, without the name of the temporary file that it was said of.
pub fn bare(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" at path ").next().unwrap_or_default().to_owned()
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Environment(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_names_breaks_between_names() {
        let names: Vec<String> =
            (0..40).map(|number| format!("lock-stale-unlink/{number}-guarded")).collect();
        let Failure::Usage(diagnostic) =
            Failure::usage("no such name", format!("there are: {}", names.join(", ")))
        else {
            unreachable!("bad usage is bad usage")
        };
        let text = rendered(&*diagnostic, false);
        assert!(text.lines().count() > 5, "{text}");
        for name in &names {
            assert!(text.lines().any(|line| line.contains(name)), "{name} is broken in:\n{text}");
        }
    }
}
