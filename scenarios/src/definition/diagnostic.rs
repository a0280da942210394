//! What is wrong with a definition: where, what, and what to write instead.
//!
//! A [`Report`] collects every mistake of a file; [`DefinitionErrors`] is the result, in the order
//! of the file, and a [`miette::Diagnostic`], so that the command line shows each with its place
//! and a caret under it. Nothing here knows what a definition means.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};

/// One mistake in a definition.
#[derive(Clone, Debug)]
pub struct DefinitionError {
    /// What is wrong, in a line.
    pub message: String,
    /// What stands at the caret.
    pub label: String,
    /// What to write instead.
    pub help: Option<String>,
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The place in bytes from the beginning of the file.
    pub span: Range<usize>,
    /// Another place that the mistake is about, and what stands there.
    pub other: Option<(Range<usize>, String)>,
    source: Arc<NamedSource<String>>,
}

impl fmt::Display for DefinitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DefinitionError {}

impl Diagnostic for DefinitionError {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let first = LabeledSpan::new_primary_with_span(Some(self.label.clone()), self.span.clone());
        let other = self
            .other
            .iter()
            .map(|(span, text)| LabeledSpan::new_with_span(Some(text.clone()), span.clone()));
        Some(Box::new(std::iter::once(first).chain(other)))
    }
}

/// Everything that is wrong with a definition, at least one mistake, in the order of the file.
#[derive(Clone, Debug)]
pub struct DefinitionErrors {
    file: String,
    errors: Vec<DefinitionError>,
}

impl DefinitionErrors {
    /// The file, as it was named.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The mistakes, in the order of the file.
    pub fn errors(&self) -> &[DefinitionError] {
        &self.errors
    }
}

impl fmt::Display for DefinitionErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errors.len() {
            1 => write!(f, "{}: the definition has a mistake", self.file),
            count => write!(f, "{}: the definition has {count} mistakes", self.file),
        }
    }
}

impl std::error::Error for DefinitionErrors {}

impl Diagnostic for DefinitionErrors {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.errors.iter().map(|error| error as &dyn Diagnostic)))
    }
}

/// A mistake before it knows its file: built by the checks, given to [`Report::add`].
pub(super) struct Mistake {
    span: Range<usize>,
    message: String,
    label: Option<String>,
    help: Option<String>,
    other: Option<(Range<usize>, String)>,
}

impl Mistake {
    /// A mistake at a place.
    pub fn at(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), label: None, help: None, other: None }
    }

    /// What stands at the caret; otherwise `here`.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// What to write instead.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Another place that the mistake is about.
    pub fn other(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.other = Some((span, label.into()));
        self
    }
}

/// Collects the mistakes of one file. Shared by all readers of its parts, hence the cell.
pub(super) struct Report<'t> {
    file: &'t str,
    text: &'t str,
    source: Arc<NamedSource<String>>,
    errors: RefCell<Vec<DefinitionError>>,
}

impl<'t> Report<'t> {
    /// An empty report on this file.
    pub fn new(file: &'t str, text: &'t str) -> Self {
        let source = NamedSource::new(file, text.to_owned()).with_language("toml");
        Self { file, text, source: Arc::new(source), errors: RefCell::default() }
    }

    /// Adds a mistake.
    pub fn add(&self, mistake: Mistake) {
        let Mistake { span, message, label, help, other } = mistake;
        let end = (0..=span.start).rev().find(|&end| self.text.is_char_boundary(end)).unwrap_or(0);
        let before = &self.text[..end];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
        self.errors.borrow_mut().push(DefinitionError {
            message,
            label: label.unwrap_or_else(|| "here".to_owned()),
            help,
            file: self.file.to_owned(),
            line,
            column,
            span,
            other,
            source: Arc::clone(&self.source),
        });
    }

    /// `value` if nothing was wrong.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, DefinitionErrors> {
        let mut errors = self.errors.into_inner();
        match value {
            Some(value) if errors.is_empty() => Ok(value),
            _ => {
                assert!(!errors.is_empty(), "a definition without a mistake gives a scenario");
                errors.sort_by_key(|error| error.span.start);
                Err(DefinitionErrors { file: self.file.to_owned(), errors })
            }
        }
    }
}
