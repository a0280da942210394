//! The command as its users meet it: real processes, real signals, real files.

mod command;
mod signals;
mod trouble;
