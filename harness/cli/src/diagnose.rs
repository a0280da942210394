//! How a command fails: which exit code, and what is printed to standard error.

use std::process::ExitCode;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};

/// Why a command did not do its work.
#[derive(Debug)]
pub enum Failure {
    /// Bad usage or a bad definition: exit 2.
    Usage(Box<dyn Diagnostic + Send + Sync>),
    /// The environment failed: exit 4.
    Environment(anyhow::Error),
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

    /// Prints it, and says how the process ends.
    pub fn report(self, color: bool) -> ExitCode {
        match self {
            Self::Usage(diagnostic) => {
                let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
                let mut text = String::new();
                let handler = GraphicalReportHandler::new_themed(theme).with_width(100);
                if handler.render_report(&mut text, &*diagnostic).is_err() {
                    text = diagnostic.to_string();
                }
                eprintln!("{text}");
                ExitCode::from(2)
            }
            Self::Environment(error) => {
                eprintln!("tearproof: {error:#}");
                ExitCode::from(4)
            }
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Environment(error)
    }
}
