//! What a search saw of a toy, so that two searches can be compared.

use std::collections::BTreeSet;
use std::convert::Infallible;

use super::super::{Continue, End, Limits, Searched, Trace, brute, dpor};
use super::toy::{Outcome, Program, Toy};

/// What was seen.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    /// What the search says of itself.
    pub searched: Searched,
    /// What the executions came to.
    pub outcomes: BTreeSet<Outcome>,
    /// Their classes.
    pub classes: BTreeSet<u64>,
}

/// Collects from a search what it shows to its observer.
pub fn collect(
    search: impl FnOnce(&mut dyn FnMut(&mut Toy, &Trace) -> Result<Continue, Infallible>) -> Searched,
) -> Seen {
    let (mut outcomes, mut classes) = (BTreeSet::new(), BTreeSet::new());
    let searched = search(&mut |toy, trace| {
        outcomes.insert(toy.outcome());
        classes.insert(trace.class());
        Ok(Continue::Yes)
    });
    Seen { searched, outcomes, classes }
}

pub fn by_dpor(toy: &mut Toy) -> Seen {
    collect(|observe| {
        let Ok(searched) = dpor::search(toy, Limits::NONE, observe);
        searched
    })
}

/// The same, left after every few executions and taken up again with another toy.
pub fn by_dpor_in_parts(programs: &[Program], executions: u64) -> Seen {
    collect(|observe| {
        let mut search = dpor::Search::default();
        let mut most = executions;
        loop {
            let limits = Limits { executions: most, ..Limits::NONE };
            let Ok(searched) = search.go_on(&mut Toy::new(programs.to_vec()), limits, &mut *observe);
            if !matches!(searched.end, End::Executions(_)) {
                return searched;
            }
            most += executions;
        }
    })
}

pub fn by_force(toy: &mut Toy) -> Seen {
    let seen = collect(|observe| {
        let Ok(searched) = brute::search(toy, Limits::NONE, observe);
        searched
    });
    assert_eq!(seen.searched.end, End::Exhausted);
    seen
}

/// Executions by brute force, executions of the reduced search, and classes. Both have to see the
/// same.
pub fn compare(programs: Vec<Program>) -> (u64, u64, usize) {
    let all = by_force(&mut Toy::new(programs.clone()));
    let reduced = by_dpor(&mut Toy::new(programs));
    assert_eq!(reduced.searched.end, End::Exhausted);
    assert_eq!(reduced.outcomes, all.outcomes);
    assert_eq!(reduced.classes, all.classes);
    (all.searched.executions, reduced.searched.executions, all.classes.len())
}
