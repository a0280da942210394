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
    let mut explained = findings::Explained::default();
    for scenario in &run.scenarios {
        page.gap();
        heading(scenario, run, &mut page);
        guarantees::write(scenario, &mut page);
        extent::write(scenario, details, &mut page);
        performance::write(scenario, details, &mut page);
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
    // Two directories may well have file systems of the same type.
    let alike = run
        .scenarios
        .iter()
        .filter(|other| other.name == scenario.name && other.filesystem == scenario.filesystem);
    let place = if scenario.filesystem.is_empty() || alike.count() > 1 {
        &scenario.directory
    } else {
        &scenario.filesystem
    };
    format!("{} on {place}", scenario.name)
}

/// The command that runs one strategy of a scenario again in the same place, as long and with the same
/// engines. What is not known stands in capitals.
pub(crate) fn command(run: &Run, scenario: Option<&ScenarioRun>, strategy: Option<&str>) -> String {
    let mut words = vec!["tearproof".to_owned(), "run".to_owned()];
    let name = scenario.map(|scenario| scenario.definition.as_deref().unwrap_or(&scenario.name));
    words.push(name.map_or_else(|| "SCENARIO".to_owned(), quoted));
    words.extend(["--strategy".to_owned(), strategy.unwrap_or("NAME").to_owned()]);
    let several = run.host.directories.len() > 1;
    let place = match scenario {
        None if several => Some("DIR".to_owned()),
        None => run.host.directories.first().and_then(|place| place.named.as_deref()).map(quoted),
        Some(scenario) => {
            let known = run.host.directories.iter().find(|place| place.path == scenario.directory);
            let named = known.and_then(|place| place.named.as_deref());
            named.or(several.then_some(scenario.directory.as_str())).map(quoted)
        }
    };
    if let Some(place) = place {
        words.extend(["--dir".to_owned(), place]);
    }
    words.extend(run.options.iter().map(|word| quoted(word)));
    words.extend(["--seed".to_owned(), run.seed.to_string()]);
    words.join(" ")
}

/// A word as a shell takes it for one.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-./+:=,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
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
        let defaults = if scenario.requires_default && scenario.definition.is_some() {
            " (the defaults; [require] in the definition says otherwise)"
        } else {
            ""
        };
        let line = Line::of(Ink::Strong, "required*  ").plain(assessment::in_words(&tested));
        page.wrap(&line.with(Ink::Faint, defaults), 11);
    }
    if !untested.is_empty() {
        let line = Line::of(Ink::Strong, "required*  ").plain(assessment::in_words(&untested));
        page.wrap(&line.with(Ink::Doubtful, " — NOT TESTED by any engine of this run"), 11);
    }
    page.gap();
}
#[cfg(test)]
mod tests;
