//! Names for temporary files that no two operations share.

use std::path::PathBuf;

use tearproof_core::strategy::ClientContext;

/// Gives out `.<file>.tmp-<client>-<n>`. The client's number stands where a program would put its
/// process id and a random part: unique among all clients, and the same when an execution is
/// repeated.
#[derive(Debug, Default)]
pub(crate) struct TempNames {
    given: u32,
}

impl TempNames {
    /// The next name, as a path next to the state file.
    pub(crate) fn next(&mut self, at: &ClientContext) -> PathBuf {
        at.dir.join(self.next_name(at))
    }

    /// The next name.
    pub(crate) fn next_name(&mut self, at: &ClientContext) -> String {
        self.given += 1;
        format!(".{}.tmp-{}-{}", crate::calls::name(&at.file), at.client, self.given)
    }
}
