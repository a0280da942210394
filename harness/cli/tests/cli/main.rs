//! The command as its users meet it: real processes, real signals, real files.

mod claims;
mod command;
mod documents;
mod explore;
mod explored_programs;
mod fates;
mod own_programs;
mod owners;
mod regressions;
mod results;
mod signals;
mod trace;
mod trouble;
mod worlds;
