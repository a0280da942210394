//! A run in, a document out: a terminal, JSON.
//!
//! [`terminal`] shows a run to people, [`json`] keeps it as `run.json`, [`validate`] says whether
//! such a file is one, [`list`] and [`check`] are what the commands of these names print. Nothing
//! here decides a verdict: what engines and checkers found is shown, counted and compared with
//! what a scenario requires.
//!
//! Everything returns text; nobody here writes to a file or a terminal.

pub mod assessment;
pub mod check;
mod extent;
mod findings;
mod grid;
mod guarantees;
pub mod json;
pub mod list;
pub mod number;
mod performance;
pub mod statistics;
pub mod style;
pub mod summary;
pub mod terminal;
pub mod validate;

#[cfg(test)]
mod sample;
