//! `no-residue`: no temporary or lock file outlives the operation. What was left behind is in the
//! history's aftermath; a file with `.lock` in its name counts as a leaked lock.
//!
//! Histories of other recorders say nothing about it, nor do those whose directory was not
//! inspected. Descriptors are not covered.

use tearproof_core::{AnomalyKind, Finding, History, Witness};

use crate::witness::Tally;

/// Checks what was left in the state directory.
pub fn check(history: &History) -> Finding {
    if !history.aftermath.inspected {
        return Finding::NotApplicable;
    }
    let mut tally = Tally::default();
    for name in &history.aftermath.left_behind {
        let is_lock = name.contains(".lock");
        let kind = if is_lock { AnomalyKind::LeakedLock } else { AnomalyKind::LeakedFile };
        tally.add(kind, || {
            let what = if is_lock { "the lock file" } else { "the file" };
            let explanation = format!(
                "{what} `{name}` was not there before the clients started, is not declared as one to be kept, \
                 and was there when all of them had finished or died"
            );
            (None, Witness { explanation, steps: Vec::new(), replay: None, stderr: Vec::new() })
        });
    }
    tally.finding()
}
