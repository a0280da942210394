//! The command as its users meet it: real processes, real signals, real files.

mod command;
mod explore;
mod fates;
mod regressions;
mod results;
mod signals;
mod trouble;
