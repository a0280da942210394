//! How far a search got, which is what a verdict is worth.

use tearproof_core::scenario::ExploreLimits;
use tearproof_core::verdict::Sampling;

use super::search::End;
use super::search::pct::Sampled;

/// How far a search got.
#[derive(Clone, Debug, Default)]
pub(super) struct Reach {
    /// Executions that were run and judged.
    pub executions: u64,
    /// Everything within the bounds was run.
    pub exhausted: bool,
    /// The bound on preemptions, if there was one.
    pub preemptions: Option<u32>,
    /// The limit that was hit.
    pub limit: Option<String>,
    /// Why no verdict but a violation can be given.
    pub doubt: Option<String>,
    /// Operations of each client.
    pub operations: u32,
    /// What was sampled of the rest.
    pub sampling: Vec<Sampling>,
    /// The observer had seen enough.
    pub stopped: bool,
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

    /// That of a search for everything with so many preemptions, after those with fewer. What a smaller
    /// bound brought is not lost when a greater one is too much.
    pub fn ended_within(&mut self, bound: u32, end: &End) {
        if *end == End::Exhausted {
            self.preemptions = Some(bound);
        }
        self.ended(end);
    }

    /// Whether a search with a greater bound would bring nothing more.
    pub const fn is_settled(&self) -> bool {
        self.is_over() || (self.exhausted && self.preemptions.is_none())
    }

    /// Whether deeper rounds would bring nothing more.
    pub const fn is_over(&self) -> bool {
        self.stopped || self.doubt.is_some()
    }

    /// Whether everything was run that the definition asks for: a bound that is not its own leaves
    /// something.
    pub fn exhausted_as_asked(&self, limits: &ExploreLimits) -> bool {
        self.exhausted && self.preemptions == limits.preemptions
    }

    /// What is known after a round with more operations: what an earlier one brought is not lost when
    /// this one was too much.
    #[must_use]
    pub fn followed_by(self, deeper: Self) -> Self {
        if deeper.exhausted || deeper.stopped || deeper.doubt.is_some() || !self.exhausted {
            return deeper;
        }
        let limit = deeper.limit.map(|limit| {
            format!(
                "with {} operations of each client {limit}, after {}",
                deeper.operations, deeper.executions
            )
        });
        Self { limit, ..self }
    }

    /// What is known after a search with the same operations within greater bounds.
    #[must_use]
    pub fn widened_by(self, wider: Self) -> Self {
        Self {
            executions: self.executions + wider.executions,
            preemptions: if wider.exhausted { wider.preemptions } else { self.preemptions },
            limit: wider.limit.or(self.limit),
            doubt: wider.doubt,
            stopped: wider.stopped,
            ..self
        }
    }

    /// What is known of two searches together, in which other things may happen to clients: no more
    /// than of either.
    #[must_use]
    pub fn together_with(self, other: Self) -> Self {
        let bound = match (self.preemptions, other.preemptions) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        let worse = if self.exhausted { other.sampling } else { self.sampling };
        Self {
            executions: self.executions + other.executions,
            exhausted: self.exhausted && other.exhausted,
            preemptions: bound,
            limit: self.limit.or(other.limit),
            doubt: self.doubt.or(other.doubt),
            operations: self.operations.min(other.operations),
            sampling: worse,
            stopped: self.stopped || other.stopped,
        }
    }

    /// Takes a bound of 0 for what it is worth where it is not the one that was asked for: without any preemption
    /// clients do no more than take turns.
    pub fn discount(&mut self, limits: &ExploreLimits) {
        if self.preemptions == Some(0) && limits.preemptions != Some(0) {
            self.exhausted = false;
            self.preemptions = None;
        }
    }

    /// Adds what was sampled, with so many operations of each client.
    pub fn sampled(&mut self, sampled: &Sampled, operations: u32) {
        if !self.exhausted {
            self.operations = operations;
            self.executions += sampled.searched.executions;
        }
        let shape = sampled.shape;
        let of_depth = |(&depth, &schedules): (&u32, &u64)| Sampling {
            depth,
            schedules,
            threads: shape.threads,
            steps: shape.steps,
            missed_at_most: shape.missed_at_most(depth, schedules),
        };
        self.sampling = sampled.schedules.iter().map(of_depth).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(operations: u32, end: &End) -> Reach {
        let mut reach = Reach { operations, executions: 10, ..Reach::default() };
        reach.ended(end);
        reach
    }

    #[test]
    fn a_deeper_round_that_was_too_much_costs_nothing_but_a_word() {
        let reach = round(1, &End::Exhausted).followed_by(round(2, &End::Time));
        assert!(reach.exhausted);
        assert_eq!(reach.operations, 1);
        let limit = reach.limit.expect("a limit");
        assert_eq!(limit, "with 2 operations of each client the time was over, after 10");
    }

    #[test]
    fn a_deeper_round_that_was_finished_counts() {
        let reach = round(1, &End::Exhausted).followed_by(round(2, &End::Exhausted));
        assert_eq!((reach.operations, reach.exhausted, reach.limit), (2, true, None));
        assert_eq!(round(1, &End::Time).followed_by(round(2, &End::Time)).operations, 2);
    }

    #[test]
    fn two_searches_together_are_worth_no_more_than_either() {
        let all = round(2, &End::Exhausted);
        assert!(all.clone().together_with(all.clone()).exhausted);
        let mut bounded = round(2, &End::Time);
        bounded.ended_within(1, &End::Exhausted);
        let both = all.clone().together_with(bounded.clone());
        assert_eq!((both.exhausted, both.preemptions), (true, Some(1)));
        assert_eq!(bounded.together_with(all.clone()).preemptions, Some(1));
        assert!(!all.clone().together_with(round(1, &End::Time)).exhausted);
        assert_eq!(round(1, &End::Exhausted).together_with(all.clone()).operations, 1);
        assert!(all.together_with(Reach::doubtful("why".to_owned())).doubt.is_some());
    }

    #[test]
    fn a_bound_that_was_too_much_leaves_the_one_before() {
        let mut reach = round(2, &End::Time);
        assert!(!reach.is_settled());
        reach.ended_within(0, &End::Exhausted);
        reach.ended_within(1, &End::Exhausted);
        assert!(!reach.is_settled(), "a greater bound would bring more");
        reach.ended_within(2, &End::Time);
        assert_eq!((reach.exhausted, reach.preemptions), (true, Some(1)));
        assert_eq!(reach.limit.as_deref(), Some("the time was over"));
    }

    #[test]
    fn greater_bounds_add_to_what_was_reached_and_take_nothing_away() {
        let mut bounded = round(2, &End::Time);
        bounded.ended_within(1, &End::Exhausted);
        let mut wider = round(2, &End::Exhausted);
        wider.ended_within(2, &End::Exhausted);
        let reach = bounded.clone().widened_by(wider);
        assert_eq!((reach.exhausted, reach.preemptions, reach.executions), (true, Some(2), 20));
        let reach = bounded.clone().widened_by(round(2, &End::Time));
        assert_eq!((reach.exhausted, reach.preemptions), (true, Some(1)));
        assert!(bounded.widened_by(Reach::doubtful("why".to_owned())).doubt.is_some());
    }

    #[test]
    fn to_take_turns_is_no_verification_unless_it_was_asked_for() {
        for (asked, exhausted) in [(None, false), (Some(0), true), (Some(1), false)] {
            let mut reach = round(2, &End::Time);
            reach.ended_within(0, &End::Exhausted);
            reach.discount(&ExploreLimits { preemptions: asked, ..ExploreLimits::default() });
            assert_eq!(reach.exhausted, exhausted);
        }
    }

    #[test]
    fn who_is_not_under_control_has_no_verdict() {
        use super::super::search::Divergence;
        use super::super::system::ThreadId;
        let divergence = Divergence { after: 4, thread: ThreadId(0), disabled: false };
        let reach = round(1, &End::Exhausted).followed_by(round(2, &End::Diverged(divergence)));
        assert!(reach.doubt.expect("a doubt").contains("step 5"));
    }
}
