//! Which strategies a scenario compares, and whether each of them can do what the clients ask.

use std::collections::BTreeSet;
use std::ops::Range;

use tearproof_core::claim::{Claim, Hazard};
use tearproof_core::object::{Object, Operation};
use tearproof_core::scenario::ProgramForm;
use tearproof_core::strategy::StrategyInfo;

use super::Known;
use super::client::Role;
use super::diagnostic::{Mistake, Report};
use super::nearest::nearest;
use super::program::OwnStrategy;
use super::state::State;
use super::table::Section;

/// Everything that a strategy's name is looked up in and held against.
pub(super) struct Comparison<'a> {
    pub known: &'a dyn Known,
    pub own: &'a [OwnStrategy],
    pub roles: &'a [Role],
    pub state: Option<&'a State>,
    pub report: &'a Report<'a>,
}

impl Comparison<'_> {
    /// The strategies under comparison.
    pub fn read(&self, top: &Section<'_>) -> Vec<String> {
        let example = "strategies = [\"temp-rename\", \"write-file-atomic\"]";
        top.require("strategies", example);
        let list = top.texts("strategies", example);
        if let Some(list) = list.as_ref().filter(|list| list.value.is_empty()) {
            let message = "there is no strategy to compare";
            self.report.add(
                Mistake::at(list.span.clone(), message).label("empty").help(format!("write `{example}`")),
            );
        }
        let listed = list.map_or(Vec::new(), |list| list.value);
        let mut sound = Vec::new();
        for (index, name) in listed.iter().enumerate() {
            if let Some(first) = listed[..index].iter().find(|earlier| earlier.value == name.value) {
                self.report.add(
                    Mistake::at(name.span.clone(), format!("`{}` is listed twice", name.value))
                        .label("again")
                        .other(first.span.clone(), "first")
                        .help("each strategy is compared once"),
                );
                continue;
            }
            sound.push(name.value.to_owned());
            self.check(name.value, &name.span, |role| role.strategy.is_none());
        }
        for role in self.roles {
            if let Some(strategy) = &role.strategy {
                self.check(&strategy.value, &strategy.span, |other| std::ptr::eq(other, role));
            }
        }
        self.check_own(&sound, listed.len());
        sound
    }

    /// Checks one use of a strategy. `uses` says which roles go by it.
    fn check(&self, name: &str, span: &Range<usize>, uses: impl Fn(&Role) -> bool) {
        if let Some(own) = self.own.iter().find(|own| own.program.name == name) {
            self.check_commands(own, uses);
        } else if let Some(info) = self.known.find(name) {
            self.check_object(info, span);
        } else {
            self.report.add(self.unknown(name, span.clone()));
        }
    }

    fn unknown(&self, name: &str, span: Range<usize>) -> Mistake {
        let own = self.own.iter().map(|own| own.program.name.as_str());
        let help = match nearest(name, own.chain(self.known.names())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                format!("`tearproof list strategies` shows those there are; [strategy.{name}] would make one")
            }
        };
        Mistake::at(span, format!("unknown strategy `{name}`")).label("no such strategy").help(help)
    }

    /// A built-in strategy must keep the scenario's object.
    fn check_object(&self, info: &StrategyInfo, span: &Range<usize>) {
        let Some((state, object)) = self.state.and_then(|state| Some((state, state.object.as_ref()?))) else {
            return;
        };
        if !info.objects.contains(&object.value) {
            let keeps: Vec<String> = info.objects.iter().map(|object| format!("a {object}")).collect();
            let fitting: Vec<String> = self
                .known
                .names()
                .into_iter()
                .filter(|name| self.known.find(name).is_some_and(|info| info.objects.contains(&object.value)))
                .map(|name| format!("`{name}`"))
                .take(5)
                .collect();
            let help = match fitting.as_slice() {
                [] => "`tearproof list strategies` shows what each keeps".to_owned(),
                some => format!("for a {} there are for example {}", object.value, some.join(", ")),
            };
            let message = format!(
                "`{}` keeps {}, and the state file is a {}",
                info.name,
                keeps.join(" or "),
                object.value
            );
            self.report.add(
                Mistake::at(span.clone(), message)
                    .label(format!("cannot keep a {}", object.value))
                    .other(object.span.clone(), "what the state file is")
                    .help(help),
            );
        }
        if let Some(opaque) = &state.opaque {
            let message = format!("`{}` is built in, and the file has a shape of its own", info.name);
            self.report.add(
                Mistake::at(span.clone(), message)
                    .label("knows the set document of the harness only")
                    .other(opaque.clone(), "opaque")
                    .help("compare programs of your own on it, or leave `opaque` out"),
            );
        }
    }

    /// A program with commands must have one for every operation that its clients do.
    fn check_commands(&self, own: &OwnStrategy, uses: impl Fn(&Role) -> bool) {
        let ProgramForm::Commands { commands, .. } = &own.program.form else { return };
        if !own.sound {
            return;
        }
        let mut needed: Vec<(Operation, Range<usize>)> = Vec::new();
        for role in self.roles.iter().filter(|role| uses(role)) {
            for &(operation, _) in &role.role.does {
                needed.push((operation, role.does.clone()));
                if operation == Operation::Acquire {
                    needed.push((Operation::Release, role.does.clone()));
                }
            }
        }
        let opaque = self.state.and_then(|state| state.opaque.clone());
        if let Some(opaque) = &opaque {
            needed.push((Operation::Read, opaque.clone()));
        }
        let mut seen = BTreeSet::new();
        for (operation, place) in needed {
            // The harness reads a file by itself where it knows the file's shape.
            let plain = operation == Operation::Read && opaque.is_none();
            let given = commands.iter().any(|(known, _)| *known == operation);
            if given || plain || !seen.insert(operation) {
                continue;
            }
            let name = &own.program.name;
            let why = match operation {
                Operation::Read => "only the program itself can read an opaque file",
                Operation::Release => "what is acquired here is released as well",
                _ => "clients do it here",
            };
            self.report.add(
                Mistake::at(own.span.clone(), format!("`{name}` has no command for `{operation}`"))
                    .label(format!("add `{operation} = […]`"))
                    .other(place, why)
                    .help(format!("write for example `{}`", example_command(operation))),
            );
        }
    }

    /// The user's own strategies must be in use and must not hide built-in ones.
    fn check_own(&self, listed: &[String], count: usize) {
        for own in self.own {
            let name = &own.program.name;
            if self.known.find(name).is_some() {
                self.report.add(
                    Mistake::at(own.name.clone(), format!("`{name}` is a built-in strategy already"))
                        .label("hides the built-in one")
                        .help(format!("give it a name of its own, for example `my-{name}`")),
                );
            }
            let endangered = |claim: &&Claim| claim.guarantee.is_endangered_by(claim.hazard);
            if let Some(claim) = own.program.claims.iter().find(|claim| !endangered(claim)) {
                let endangering =
                    Hazard::ALL.iter().filter(|&&hazard| claim.guarantee.is_endangered_by(hazard));
                let could: Vec<String> =
                    endangering.map(|hazard| format!("`{}@{hazard}`", claim.guarantee)).collect();
                self.report.add(
                    Mistake::at(
                        own.name.clone(),
                        format!("`{name}` claims `{claim}`, which nothing can break there"),
                    )
                    .label("nobody could look at it")
                    .help(format!("what it can claim is {}", could.join(", "))),
                );
            }
            if let Some(object) = self.state.and_then(|state| state.object.as_ref()) {
                let idle = own.program.claims.iter().find(|claim| !claim.guarantee.concerns(object.value));
                if let Some(claim) = idle {
                    let message =
                        format!("`{name}` claims `{claim}`, which says nothing of a {}", object.value);
                    self.report.add(
                        Mistake::at(own.name.clone(), message)
                            .label("nobody could look at it")
                            .other(object.span.clone(), "what the state file is")
                            .help(format!(
                                "of a {} one can claim: {}",
                                object.value,
                                super::world::requirable(object.value).join(", ")
                            )),
                    );
                }
            }
            let used = listed.contains(name)
                || self.roles.iter().any(|role| role.role.strategy.as_ref() == Some(name));
            // A file without any list has been told so.
            if !used && count > 0 {
                self.report.add(
                    Mistake::at(own.name.clone(), format!("the strategy `{name}` is never used"))
                        .label("defined, and not compared")
                        .help(format!("add \"{name}\" to `strategies`, or take the table out: what is not compared would look as if it had passed")),
                );
            }
        }
    }
}

/// A command for an operation, as it could stand in a definition.
fn example_command(operation: Operation) -> String {
    let argument = match operation {
        Operation::Write => ", \"{value}\"",
        Operation::Update => ", \"{element}\"",
        Operation::Append => ", \"{record}\"",
        _ => "",
    };
    format!("{operation} = [\"mytool\", \"{operation}\", \"{{path}}\"{argument}]")
}

/// Reports a scenario in which nothing ever changes: whatever it compares would seem to hold.
pub(super) fn check_something_changes(roles: &[Role], object: Option<Object>, report: &Report<'_>) {
    let reads = |role: &Role| {
        !role.role.does.is_empty()
            && role.role.does.iter().all(|&(operation, _)| operation == Operation::Read)
    };
    if let (Some(object), Some(first)) = (object, roles.first())
        && object != Object::Lock
        && roles.iter().all(reads)
    {
        let change = super::client::asked_of(object)[1];
        report.add(
            Mistake::at(first.does.clone(), "every client only reads, so there is nothing to race")
                .label("nobody changes the state file")
                .help(format!("add a role with `does = {{ {change} = 1 }}`")),
        );
    }
}
