//! The scenarios that come with tearproof, as they stand in `scenarios/definitions/`.

use std::path::Path;

use tearproof_core::Scenario;

use super::{DefinitionErrors, Known, parse};

macro_rules! definitions {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../definitions/", $name, ".toml")))),+]
    };
}

/// Name and text of each built-in definition, in the order in which results show them.
pub fn built_in() -> &'static [(&'static str, &'static str)] {
    definitions![
        "run-info",
        "progress",
        "index",
        "index-threads",
        "state",
        "state-rogue",
        "run-lock",
        "run-lock-stale",
        "run-lock-reuse",
        "run-lock-corpse",
        "run-lock-versions",
        "message-log",
    ]
}

/// The built-in scenario of this name; `None` if there is none.
pub fn load_built_in(name: &str, known: &dyn Known) -> Option<Result<Scenario, DefinitionErrors>> {
    let (name, text) = built_in().iter().find(|(known, _)| *known == name)?;
    Some(parse(&format!("{name}.toml"), text, Path::new("."), known))
}
