//! `metadata-kept`: mode, type and links of the target survive as the strategy declares. The
//! recorder compared them before and after; this reports what it found in the history's aftermath.

use tearproof_core::{Finding, History, Witness};

use crate::witness::Tally;

/// Checks what became of the target.
pub fn check(history: &History) -> Finding {
    if !history.aftermath.probed && history.aftermath.drift.is_empty() {
        return Finding::NotApplicable;
    }
    let mut tally = Tally::default();
    for drift in &history.aftermath.drift {
        tally.add(drift.kind, || {
            let explanation =
                format!("when all clients had finished, the target had changed: {}", drift.detail);
            (None, Witness { explanation, steps: Vec::new(), replay: None, stderr: Vec::new() })
        });
    }
    tally.finding()
}
