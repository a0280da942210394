//! How far a search got, which is what a verdict is worth.

use super::search::End;

/// How far a search got.
#[derive(Clone, Debug, Default)]
pub(super) struct Reach {
    /// Everything within the bounds was run.
    pub exhausted: bool,
    /// The bound on preemptions, if there was one.
    pub preemptions: Option<u32>,
    /// The limit that was hit.
    pub limit: Option<String>,
    /// Why no verdict but a violation can be given.
    pub doubt: Option<String>,
    /// The observer had seen enough.
    stopped: bool,
    /// Operations of each client.
    pub operations: u32,
}

impl Reach {
    /// That of a search of which nothing can be said.
    pub fn doubtful(why: String) -> Self {
        Self { doubt: Some(why), ..Self::default() }
    }

    /// That of a search without bounds.
    pub fn ended(&mut self, end: &End) {
        match end {
            End::Exhausted => self.exhausted = true,
            End::Stopped => self.stopped = true,
            End::Executions(most) => self.limit = Some(format!("{most} executions were run")),
            End::Time => self.limit = Some("the time was over".to_owned()),
            End::Diverged(divergence) => {
                self.doubt = Some(format!(
                    "the clients are not under control: step {} of an execution was another one when it was run \
                     again",
                    divergence.after + 1
                ));
            }
        }
    }

    /// That of a search for everything with so many preemptions, after those with fewer.
    pub fn ended_within(&mut self, bound: u32, end: &End) {
        if *end == End::Exhausted {
            self.preemptions = Some(bound);
        }
        // What a smaller bound brought is not lost when a greater one is too much.
        self.ended(end);
    }

    /// Whether a search with a greater bound would bring nothing more.
    pub const fn is_settled(&self) -> bool {
        self.stopped || self.doubt.is_some() || (self.exhausted && self.preemptions.is_none())
    }
}
