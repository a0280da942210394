//! A run for people: tables to decide from, then the evidence, then a last screen that suffices
//! by itself.
//!
//! No line is wider than the style says, and nothing is said by colour alone.

use std::path::Path;

use tearproof_core::run::{Run, ScenarioRun};
use tearproof_core::verdict::Witness;

use crate::assessment;
pub use crate::style::Style;
use crate::style::{Ink, Line, Page};
use crate::{extent, findings, guarantees, performance, summary};

/// How much of the evidence is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Details {
    /// Prose for every breach, steps for broken claims and one example of each kind.
    #[default]
    Summary,
    /// All of it.
    Full,
}

/// The run as text for a terminal. `run_json` is where the run was written to, to be named at the
/// end.
pub fn render(run: &Run, style: Style, details: Details, run_json: Option<&Path>) -> String {
    let mut page = Page::new(style);
    let mut explained = Vec::new();
    for scenario in &run.scenarios {
        page.gap();
        heading(scenario, run, &mut page);
        guarantees::write(scenario, &mut page);
        extent::write(scenario, &mut page);
        performance::write(scenario, &mut page);
        findings::write(run, scenario, details, &mut explained, &mut page);
    }
    summary::write(run, run_json, details, &mut page);
    page.finish()
}

/// One execution that was run again: why it is a breach, and everything that happened.
pub fn witness(witness: &Witness, style: Style) -> String {
    let mut page = Page::new(style);
    findings::witness(witness, Details::Full, true, &mut page);
    page.finish()
}

/// The name of a scenario, with its file system where the run has it on several.
pub(crate) fn label(run: &Run, scenario: &ScenarioRun) -> String {
    let same = run.scenarios.iter().filter(|other| other.name == scenario.name).count();
    if same < 2 {
        return scenario.name.clone();
    }
    let place = if scenario.filesystem.is_empty() { &scenario.directory } else { &scenario.filesystem };
    format!("{} on {place}", scenario.name)
}

/// The command that runs one strategy of a scenario again in the same place.
pub(crate) fn command(run: &Run, scenario: &str, directory: &str, strategy: &str) -> String {
    let place = if run.host.directories.len() > 1 { format!(" --dir {directory}") } else { String::new() };
    format!("tearproof run {scenario} --strategy {strategy}{place} --seed {}", run.seed)
}

fn heading(scenario: &ScenarioRun, run: &Run, page: &mut Page) {
    // The file system decides more than one thinks, the directory says which one it was.
    let filesystem = if scenario.filesystem.is_empty() { &run.host.filesystem } else { &scenario.filesystem };
    let place = match scenario.directory.as_str() {
        "" => filesystem.clone(),
        directory => format!("{filesystem} at {directory}"),
    };
    page.rule(&scenario.name, &place);
    let mut about = Line::of(Ink::Plain, &scenario.summary);
    if !scenario.source.is_empty() {
        about.push(Ink::Faint, format!(" ({})", scenario.source));
    }
    page.wrap(&about, 0);
    let (tested, untested) = assessment::tested_requirements(scenario);
    if !tested.is_empty() {
        page.wrap(&Line::of(Ink::Strong, "required*  ").plain(assessment::in_words(&tested)), 11);
    }
    if !untested.is_empty() {
        let line = Line::of(Ink::Strong, "required*  ").plain(assessment::in_words(&untested));
        page.wrap(&line.with(Ink::Doubtful, " — NOT TESTED by any engine of this run"), 11);
    }
    page.gap();
}
#[cfg(test)]
mod tests;
