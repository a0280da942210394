//! The reader of definitions: TOML in, a [`Scenario`] out, or every mistake of the file at once.
//!
//! A definition is refused before anything starts, each mistake with its place, a caret and what
//! to write instead. Only a file that is no TOML at all is refused at its first mistake, because
//! what follows one is guesswork. The reader does no input or output: it is given the text, and
//! asks [`Known`] which strategies are built in.
//!
//! Source: the format is described in the README under "A definition". Not covered: whether the
//! commands of a user's strategy exist, which only starting them can tell.

mod built_in;
mod client;
mod comparison;
mod diagnostic;
mod known;
mod limits;
mod nearest;
mod program;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod world;

use std::path::Path;

use tearproof_core::Scenario;
use tearproof_core::document::Format;
use tearproof_core::object::Object;
use tearproof_core::scenario::{ExploreLimits, StateFile, StressLimits};
use toml::de::DeTable;

pub use built_in::{built_in, load_built_in};
pub use diagnostic::{DefinitionError, DefinitionErrors};
pub use known::{Known, Registry};
pub use nearest::nearest;
pub use world::default_require;

use comparison::Comparison;
use diagnostic::{Mistake, Report};
use table::Section;

/// How the top of a file is called where a key is told its home.
const TOP: &str = "";

/// The keys at the top of a file.
const TOP_KEYS: &[&str] = &[
    "name",
    "summary",
    "source",
    "strategies",
    "state",
    "client",
    "strategy",
    "before",
    "require",
    "stress",
    "explore",
];

/// Every table and its keys.
const HOMES: &[(&str, &[&str])] = &[
    (TOP, TOP_KEYS),
    ("[state]", state::KEYS),
    ("[[client]]", client::KEYS),
    ("[strategy.NAME]", program::KEYS),
    ("[before]", world::BEFORE_KEYS),
    ("[require]", world::REQUIRE_KEYS),
    ("[stress]", limits::STRESS_KEYS),
    ("[explore]", limits::EXPLORE_KEYS),
];

/// Every table of a definition, by its header, with the keys that the reader knows in it; the top of the
/// file comes first and has no header. Who describes the format can be held to it.
pub fn keys() -> &'static [(&'static str, &'static [&'static str])] {
    HOMES
}

/// Reads a definition. `file_name` is how the file is called in messages; `directory` is where the
/// commands of the user's own strategies run.
pub fn parse(
    file_name: &str,
    text: &str,
    directory: &Path,
    known: &dyn Known,
) -> Result<Scenario, DefinitionErrors> {
    let report = Report::new(file_name, text);
    let (table, mistakes) = DeTable::parse_recoverable(text);
    // The parser goes on after a mistake, but what it then finds is guesswork.
    let place = |error: &toml::de::Error| error.span().unwrap_or(0..0);
    if let Some(first) = mistakes.iter().min_by_key(|error| place(error).start) {
        let mistake = Mistake::at(place(first), format!("this is no TOML: {}", first.message()));
        report.add(
            mistake.help("a text stands in quotes, a list in brackets, and every key once in its table"),
        );
        return report.finish(None);
    }
    let scenario = read(table.get_ref(), directory, known, &report);
    report.finish(Some(scenario))
}

/// Reads the whole table. Mistakes are in the report; with any of them the result is of no use.
fn read(table: &DeTable<'_>, directory: &Path, known: &dyn Known, report: &Report<'_>) -> Scenario {
    let top = Section::open("the definition", 0..0, table, TOP_KEYS, report);
    top.require("name", "name = \"progress\"");
    top.require("state", "[state]");
    top.require("client", "[[client]]");
    let line = |key: &str| {
        let example = format!("{key} = \"a line of text\"");
        top.text(key, &example).map_or_else(String::new, |text| text.value.to_owned())
    };
    let name = top.kebab("name", "name = \"progress\"").map_or_else(String::new, |name| name.value);

    let state = top.table("state", "[state]", state::KEYS).map(|section| state::read(&section, report));
    let object = state.as_ref().and_then(|state| state.object.as_ref()).map(|object| object.value);
    let sections = top.tables("client", client::KEYS);
    let roles = client::read(&sections, object, report);
    comparison::check_something_changes(&roles, object, report);
    let own = program::read(&top, directory, report);
    let strategies = Comparison { known, own: &own, roles: &roles, state: state.as_ref(), report }.read(&top);

    let state = state.unwrap_or_else(|| state::State {
        file: StateFile {
            file: String::new(),
            format: Format::Bytes,
            object: Object::Register,
            size: 0,
            grow: 0,
            opaque: false,
        },
        object: None,
        opaque: None,
    });
    let before = top.table("before", "[before]", world::BEFORE_KEYS);
    let require = top.table("require", "[require]", world::REQUIRE_KEYS);
    let stress = top.table("stress", "[stress]", limits::STRESS_KEYS);
    let explore = top.table("explore", "[explore]", limits::EXPLORE_KEYS);
    Scenario {
        name,
        summary: line("summary"),
        source: line("source"),
        strategies,
        before: world::before(before.as_ref(), &state, report),
        require: world::require(require.as_ref(), object, report),
        stress: stress.map_or_else(StressLimits::default, |section| limits::stress(&section, report)),
        explore: explore.map_or_else(ExploreLimits::default, |section| limits::explore(&section)),
        state: state.file,
        clients: roles.into_iter().map(|role| role.role).collect(),
        programs: own.into_iter().map(|own| own.program).collect(),
    }
}
