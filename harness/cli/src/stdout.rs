//! Standard output: where results go, and nothing else does.

use std::io::{ErrorKind, Write};

use anyhow::Context;

use crate::diagnose::Failure;

/// Prints a result. A reader that has seen enough and closed its end, as `head` does, is no error.
///
/// # Errors
/// When the result could not be printed for any other reason.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("writing to standard output").map_err(Failure::from)
        }
        _ => Ok(()),
    }
}
