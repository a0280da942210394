//! What a run consists of: which strategies of which scenarios under which hazards in which
//! directories, and how the time is divided among them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tearproof_core::claim::{Claim, Guarantee, Hazard};
use tearproof_core::object::Object;
use tearproof_core::run::Origin;
use tearproof_core::scenario::Scenario;

use tearproof_scenarios::definition::{self, DefinitionErrors, Registry};

use crate::args::{RunOptions, Shard};
use crate::diagnose::Failure;

/// How long a run takes when nobody says.
pub const DEFAULT_BUDGET: Duration = Duration::from_secs(60);
/// How long a quick run takes.
pub const QUICK_BUDGET: Duration = Duration::from_secs(20);

/// One strategy of one scenario.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Index of the scenario.
    pub scenario: usize,
    /// The strategy, by name.
    pub strategy: String,
    /// Where it comes from.
    pub origin: Origin,
    /// What it promises.
    pub claims: Vec<Claim>,
    /// Whether it is wrong on purpose.
    pub broken: bool,
    /// The hazards that it is put to.
    pub hazards: Vec<Hazard>,
}

/// Everything that a run consists of.
pub struct Schedule {
    /// The scenarios.
    pub scenarios: Vec<Scenario>,
    /// The file of each scenario's definition; `None` when it is built in.
    pub definitions: Vec<Option<String>>,
    /// Their strategies, in order.
    pub entries: Vec<Entry>,
}

impl Schedule {
    /// Reads the definitions and picks what the options ask for.
    ///
    /// # Errors
    /// Bad usage, or the errors of a definition.
    pub fn new(options: &RunOptions) -> Result<Self, Failure> {
        let names = once(&options.scenarios);
        let scenarios = load(&names)?;
        check_names(&names, &scenarios)?;
        let mut entries = Vec::new();
        for (index, scenario) in scenarios.iter().enumerate() {
            for name in &scenario.strategies {
                if options.strategies.is_empty() || options.strategies.contains(name) {
                    entries.push(entry(index, scenario, name));
                }
            }
        }
        for wanted in &options.strategies {
            if !entries.iter().any(|entry| entry.strategy == *wanted) {
                return Err(not_compared(wanted, &scenarios));
            }
        }
        if let Some(shard) = options.shard {
            entries = part(entries, shard);
        }
        let from_file =
            |name: &String| definition::load_built_in(name, &Registry).is_none().then(|| name.clone());
        let mut definitions: Vec<Option<String>> = names.iter().map(from_file).collect();
        definitions.resize(scenarios.len(), None);
        Ok(Self { scenarios, definitions, entries })
    }
}

fn part(entries: Vec<Entry>, shard: Shard) -> Vec<Entry> {
    entries.into_iter().enumerate().filter(|(index, _)| shard.has(*index)).map(|(_, entry)| entry).collect()
}

/// Scenarios by name and definitions by path, each once however often and however it was named.
fn once(wanted: &[String]) -> Vec<String> {
    let place = |name: &String| match definition::load_built_in(name, &Registry) {
        Some(_) => PathBuf::from(name),
        None => std::fs::canonicalize(name).unwrap_or_else(|_| PathBuf::from(name)),
    };
    let mut seen = Vec::new();
    let mut names = Vec::new();
    for name in wanted {
        let place = place(name);
        if !seen.contains(&place) {
            seen.push(place);
            names.push(name.clone());
        }
    }
    names
}

/// Results are told apart by the names of scenarios.
fn check_names(names: &[String], scenarios: &[Scenario]) -> Result<(), Failure> {
    for (index, (name, scenario)) in names.iter().zip(scenarios).enumerate() {
        if let Some(earlier) = scenarios[..index].iter().position(|other| other.name == scenario.name) {
            return Err(Failure::usage(
                format!("{} and {name} are both called `{}`", names[earlier], scenario.name),
                "give one of them another `name`, or run one after the other",
            ));
        }
    }
    Ok(())
}

/// Why a strategy is not among those that the chosen scenarios compare, and what was probably meant.
fn not_compared(wanted: &str, scenarios: &[Scenario]) -> Failure {
    let compared =
        sorted(scenarios.iter().flat_map(|scenario| &scenario.strategies).map(String::as_str).collect());
    let Some(strategy) = tearproof_scenarios::strategy(wanted) else {
        let message = format!("no chosen scenario compares a strategy `{wanted}`");
        let built_in = tearproof_scenarios::strategies().iter().map(|strategy| strategy.info().name);
        let near = definition::nearest(wanted, compared.iter().copied().chain(built_in));
        let meant = near.map_or_else(String::new, |near| format!("did you mean `{near}`? "));
        return Failure::usage(message, format!("{meant}compared are: {}", compared.join(", ")));
    };
    let names = |scenarios: &[&Scenario]| {
        scenarios.iter().map(|scenario| format!("`{}`", scenario.name)).collect::<Vec<_>>().join(", ")
    };
    let objects = strategy.info().objects;
    let unfit: Vec<&Scenario> =
        scenarios.iter().filter(|scenario| !objects.contains(&scenario.state.object)).collect();
    let message = if unfit.len() == scenarios.len() {
        let kept: Vec<&str> = objects.iter().map(|object| object.name()).collect();
        let asked = sorted(scenarios.iter().map(|scenario| scenario.state.object.name()).collect());
        format!(
            "`{wanted}` keeps a {}, and the object of {} is a {}",
            kept.join(" or a "),
            names(&unfit),
            asked.join(" or a ")
        )
    } else {
        let fit: Vec<&Scenario> =
            scenarios.iter().filter(|scenario| objects.contains(&scenario.state.object)).collect();
        format!("`{wanted}` is built in, but {} does not compare it", names(&fit))
    };
    let all = built_in().unwrap_or_default();
    let elsewhere: Vec<&Scenario> =
        all.iter().filter(|scenario| scenario.strategies.iter().any(|name| name == wanted)).collect();
    let hint = if elsewhere.is_empty() {
        "name it under `strategies` in a definition of your own".to_owned()
    } else {
        format!(
            "it is compared in {}; or name it under `strategies` in a definition of your own",
            names(&elsewhere)
        )
    };
    Failure::usage(message, hint)
}

fn sorted(mut names: Vec<&str>) -> Vec<&str> {
    names.sort_unstable();
    names.dedup();
    names
}

fn load(names: &[String]) -> Result<Vec<Scenario>, Failure> {
    if names.is_empty() {
        return built_in();
    }
    names.iter().map(|name| load_one(name)).collect()
}

/// All scenarios that come with tearproof.
///
/// # Errors
/// The mistakes of a definition, which a test keeps from being there.
pub fn built_in() -> Result<Vec<Scenario>, Failure> {
    definition::built_in().iter().map(|(name, _)| load_one(name)).collect()
}

/// A scenario: built in, by its name, or a definition, by its path.
///
/// # Errors
/// Where there is none, and the mistakes of a definition.
pub fn load_one(name: &str) -> Result<Scenario, Failure> {
    let usage = |errors: DefinitionErrors| Failure::Usage(Box::new(errors));
    if let Some(scenario) = definition::load_built_in(name, &Registry) {
        return scenario.map_err(usage);
    }
    let path = Path::new(name);
    if !name.ends_with(".toml") && !path.exists() {
        let known: Vec<&str> = definition::built_in().iter().map(|(known, _)| *known).collect();
        let near = definition::nearest(name, known.iter().copied());
        let meant = near.map_or_else(String::new, |near| format!("did you mean `{near}`? "));
        return Err(Failure::usage(
            format!("there is no scenario `{name}`"),
            format!("{meant}built in: {}; or give the path of a definition, FILE.toml", known.join(", ")),
        ));
    }
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::at_path("reading", path, &error, "give the path of a definition, FILE.toml")
    })?;
    let directory = std::path::absolute(path).ok().and_then(|path| path.parent().map(PathBuf::from));
    let directory = directory.unwrap_or_else(|| PathBuf::from("."));
    definition::parse(name, &text, &directory, &Registry).map_err(usage)
}

fn entry(index: usize, scenario: &Scenario, name: &str) -> Entry {
    let (origin, claims, broken) = match (scenario.program(name), tearproof_scenarios::strategy(name)) {
        (Some(program), _) => (Origin::Command, program.claims.clone(), false),
        (None, Some(strategy)) => {
            let info = strategy.info();
            (Origin::BuiltIn, info.claims.to_vec(), info.broken)
        }
        (None, None) => (Origin::BuiltIn, Vec::new(), false),
    };
    let claims = meant_for(scenario.state.object, claims);
    // Plain concurrency, what the scenario asks for, and whatever a user's own program promises: all
    // strategies of its definition are then put to that, since half a comparison is none.
    let compared = |name: &String| scenario.program(name).into_iter().flat_map(|program| &program.claims);
    let promised = |hazard| scenario.strategies.iter().flat_map(compared).any(|claim| claim.hazard == hazard);
    let wanted = |hazard: &Hazard| match *hazard {
        Hazard::Concurrency => true,
        Hazard::Pause | Hazard::Kill => scenario.require.hazards.contains(hazard) || promised(*hazard),
        Hazard::PowerLoss | Hazard::IoError => false,
    };
    let hazards = Hazard::ALL.iter().copied().filter(wanted).collect();
    Entry { scenario: index, strategy: name.to_owned(), origin, claims, broken, hazards }
}

/// The claims that a strategy makes for this object: what says nothing of it is none. A set that loses
/// updates is not linearizable, so who does not promise to keep updates promises linearizability for
/// registers alone.
fn meant_for(object: Object, claims: Vec<Claim>) -> Vec<Claim> {
    let keeps_updates = |hazard| claims.contains(&Claim::new(Guarantee::NoLostUpdates, hazard));
    let meant = |claim: &&Claim| {
        claim.guarantee.concerns(object)
            && (object != Object::Set
                || claim.guarantee != Guarantee::Linearizable
                || keeps_updates(claim.hazard))
    };
    claims.iter().filter(meant).copied().collect()
}

/// Divides the time that is left among the pieces of work that are left, so that a piece which
/// took longer costs the others a little each and the last one nothing in particular.
pub struct Clock {
    begun: Instant,
    budget: Duration,
    left: u32,
}

impl Clock {
    /// Begins, with this much time for so many pieces, or for pieces of that weight together.
    pub fn start(budget: Duration, pieces: u32) -> Self {
        Self { begun: Instant::now(), budget, left: pieces }
    }

    /// What is left.
    pub fn remaining(&self) -> Duration {
        self.budget.saturating_sub(self.begun.elapsed())
    }

    /// How long the next piece, of this weight, may take, where so many are worked on at the same time.
    pub fn next_share(&mut self, at_once: u32, weight: u32) -> Duration {
        let remaining = self.remaining();
        let share = (remaining / self.left.max(1)).saturating_mul(at_once.saturating_mul(weight));
        self.left = self.left.saturating_sub(weight);
        share.min(remaining)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_that_may_lose_updates_is_not_promised_to_be_linearizable() {
        let linearizable = Claim::new(Guarantee::Linearizable, Hazard::Concurrency);
        let kept = Claim::new(Guarantee::NoLostUpdates, Hazard::Concurrency);
        assert_eq!(meant_for(Object::Set, vec![linearizable]), []);
        assert_eq!(meant_for(Object::Register, vec![linearizable]), [linearizable]);
        assert_eq!(meant_for(Object::Set, vec![linearizable, kept]), [linearizable, kept]);
        assert_eq!(meant_for(Object::Register, vec![linearizable, kept]), [linearizable]);
    }

    #[test]
    fn who_weighs_more_has_more_time() {
        let mut clock = Clock::start(Duration::from_secs(100), 5);
        let (much, little) = (clock.next_share(1, 4), clock.next_share(1, 1));
        assert!(much > Duration::from_secs(70) && much <= Duration::from_secs(80), "{much:?}");
        // Nobody has taken any yet.
        assert!(little > Duration::from_secs(90), "{little:?}");
    }

    #[test]
    fn a_budget_without_end_is_divided_as_well() {
        let mut clock = Clock::start(Duration::MAX, 7);
        for _ in 0..7 {
            assert!(clock.next_share(4, 1) > Duration::from_secs(1 << 32));
        }
    }

    fn comparison() -> Scenario {
        let text = r#"
name = "mine"
summary = "two programs and a built-in strategy"
source = "a test"
strategies = ["first", "second", "temp-rename"]
[state]
file = "state.json"
object = "register"
[[client]]
role = "writer"
does = { write = 1 }
[strategy.first]
worker = ["first"]
claims = ["atomic-reads@kill"]
[strategy.second]
worker = ["second"]
"#;
        definition::parse("mine.toml", text, Path::new("."), &Registry).expect("a definition")
    }

    #[test]
    fn what_one_program_promises_to_survive_all_strategies_of_its_definition_are_put_to() {
        let mut scenario = comparison();
        let hazards = |scenario: &Scenario| {
            scenario.strategies.iter().map(|name| entry(0, scenario, name).hazards).collect::<Vec<_>>()
        };
        assert_eq!(hazards(&scenario), vec![vec![Hazard::Concurrency, Hazard::Kill]; 3]);
        scenario.programs[0].claims.clear();
        assert_eq!(hazards(&scenario), vec![vec![Hazard::Concurrency]; 3]);
    }

    #[test]
    fn scenarios_that_are_named_twice_run_once_and_two_of_one_name_do_not_run() {
        let wanted = ["index", "progress", "index"].map(str::to_owned);
        assert_eq!(once(&wanted), ["index", "progress"]);
        let two = [comparison(), comparison()];
        let names = ["a.toml", "b.toml"].map(str::to_owned);
        assert!(check_names(&names, &two).is_err());
        assert!(check_names(&names[..1], &two[..1]).is_ok());
    }

    #[test]
    fn time_is_divided_among_what_is_left() {
        let mut clock = Clock::start(Duration::from_secs(3600), 2);
        assert!(clock.next_share(1, 1) <= Duration::from_secs(1800));
        assert!(
            clock.next_share(1, 1) > Duration::from_secs(1800),
            "what the first did not use is the second's"
        );
    }

    #[test]
    fn two_at_once_have_twice_the_time_and_never_more_than_there_is() {
        let mut clock = Clock::start(Duration::from_secs(3600), 4);
        let share = clock.next_share(2, 1);
        assert!(share > Duration::from_secs(1700) && share <= Duration::from_secs(1800), "{share:?}");
        for _ in 0..3 {
            assert!(clock.next_share(2, 1) <= Duration::from_secs(3600));
        }
    }
}
