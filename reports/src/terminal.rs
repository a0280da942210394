//! A run for people: tables to decide from, then the evidence, then a last screen that suffices
//! by itself.
//!
//! No line is wider than the style says, and nothing is said by colour alone.

use std::path::Path;

use tearproof_core::run::{Run, ScenarioRun};

use crate::assessment;
use crate::style::{Ink, Line, Page, Style};
use crate::{findings, guarantees, performance, summary};

/// How much of the evidence is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Details {
    /// Prose for every breach, steps for broken claims and one example of each kind.
    #[default]
    Summary,
    /// All of it.
    Full,
}

/// How a run is shown.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// How wide, and whether in colour.
    pub style: Style,
    /// How much.
    pub details: Details,
    /// Where the run was written to, to be named at the end.
    pub run_json: Option<&'a Path>,
}

/// The run as text for a terminal.
pub fn render(run: &Run, options: Options<'_>) -> String {
    let mut page = Page::new(options.style);
    for scenario in &run.scenarios {
        page.gap();
        heading(scenario, run, &mut page);
        guarantees::write(scenario, &mut page);
        performance::write(scenario, &mut page);
        findings::write(scenario, run.seed, options.details, &mut page);
    }
    summary::write(run, options.run_json, options.details, &mut page);
    page.finish()
}

fn heading(scenario: &ScenarioRun, run: &Run, page: &mut Page) {
    let filesystem = if scenario.filesystem.is_empty() { &run.host.filesystem } else { &scenario.filesystem };
    page.rule(&scenario.name, filesystem);
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
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    #[ignore]
    fn show() {
        let run = sample::run(vec![sample::index()]);
        for width in [100, 80] {
            println!(
                "{}",
                render(
                    &run,
                    Options {
                        style: Style { width, color: std::env::var_os("COLOR").is_some() },
                        details: Details::Summary,
                        run_json: Some(Path::new("target/tearproof/run.json"))
                    }
                )
            );
        }
    }
}
