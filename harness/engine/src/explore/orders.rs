//! Real-time orders of the operations of one happens-before class.
//!
//! The search runs one execution of each class of interleavings that differ only in the order of
//! independent steps. When an operation is invoked and when it returns are no steps: within a class
//! an invocation can be any time between what its thread did before and the operation's first step,
//! a return any time between the last step and what the thread does next. So one class has many
//! histories, which differ in which operation returned before which was invoked: the real-time
//! order that linearizability respects (Herlihy and Wing, TOPLAS 1990).
//!
//! They need not all be judged. Whatever explains a history explains it with fewer precedences too,
//! so a class is good when its histories with *inclusion-maximal* precedences are. This file gives
//! one history for each maximal real-time order, and no other.
//!
//! The algorithm: all that has been invoked and can return, returns. Then, for each return that is
//! still to come, look at the invocations that it lacks; the inclusion-minimal ones of these sets
//! are the choices, and each choice is invoked as a block. That is complete, as a block that is not
//! minimal could let a smaller one return first and gain precedences. And it never goes astray: the
//! operations that have the same ones before them in real time are a block, so a chain of blocks and
//! a real-time order are the same thing; where the order of one chain contains that of another, the
//! first block of the one is part of the other's first, hence equal to it, and so on to the end. So
//! each leaf of the tree is one maximal order, found once, and nothing has to be compared.
//!
//! Not covered: judges that look at more than who returned before whom was invoked, say at the order
//! of two returns; and the steps themselves, which the caller has projected away.

use std::hash::{DefaultHasher, Hasher};
use std::ops::ControlFlow;

use super::system::ThreadId;

/// Operations that one order can have: each has two moments, and a set of moments is one word.
pub const MOST_OPERATIONS: usize = 32;

/// In a set of moments, the invocations. The return of each is the bit above it.
const INVOCATIONS: u64 = 0x5555_5555_5555_5555;

/// A beginning or an end of an operation, by the operation's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Moment {
    /// It is invoked.
    Invoke(usize),
    /// It returns.
    Return(usize),
}

impl Moment {
    const fn index(self) -> usize {
        match self {
            Self::Invoke(operation) => 2 * operation,
            Self::Return(operation) => 2 * operation + 1,
        }
    }

    const fn at(index: usize) -> Self {
        if index.is_multiple_of(2) { Self::Invoke(index / 2) } else { Self::Return(index / 2) }
    }
}

/// What was said about operations is no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// There are more operations than a word has room for.
    #[error("more than {MOST_OPERATIONS} operations in one execution")]
    TooMany,
    /// Something happens before itself.
    #[error("{0:?} would happen before itself")]
    Contradiction(Moment),
}

/// How an enumeration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending<B> {
    /// There are no other orders.
    Exhausted,
    /// There are more than the limit allows.
    Limit,
    /// The visitor had enough.
    Stopped(B),
}

/// The happens-before order of an execution, projected onto invocations and returns.
#[derive(Debug, Default)]
pub struct ProjectedOrder {
    operations: Vec<Operation>,
    /// By [`Moment::index`], which moments come before each.
    before: Vec<u64>,
    orders: RealTimeOrders,
}

#[derive(Clone, Copy, Debug)]
struct Operation {
    thread: ThreadId,
    returned: bool,
}

impl ProjectedOrder {
    /// Adds an operation and gives its number. Operations of one thread come in the order in which
    /// the thread performed them. One that did not return is invoked as late as the order permits,
    /// and never returns.
    ///
    /// # Errors
    /// When there are too many.
    pub fn operation(&mut self, thread: ThreadId, returned: bool) -> Result<usize, OrderError> {
        let operation = self.operations.len();
        if operation == MOST_OPERATIONS {
            return Err(OrderError::TooMany);
        }
        let previous = self.operations.iter().rposition(|earlier| earlier.thread == thread);
        self.operations.push(Operation { thread, returned });
        // Something that never returns has an end all the same, which is not part of histories: the
        // last step, by which orders are known.
        self.before.extend([0, 1 << Moment::Invoke(operation).index()]);
        if let Some(previous) = previous {
            self.before(Moment::Return(previous), Moment::Invoke(operation));
        }
        Ok(operation)
    }

    /// The first step of `one` happens before the last step of `other`, or is it: `other` can not
    /// return before `one` is invoked.
    ///
    /// Where all steps are steps of operations this is all that there is to say, and everything else
    /// follows from it.
    pub fn follows(&mut self, one: usize, other: usize) {
        self.before(Moment::Invoke(one), Moment::Return(other));
    }

    /// One moment comes before another because of steps that belong to no operation: a thread's
    /// birth, what it does between two operations. The moments have to be those of operations that
    /// were added.
    pub fn before(&mut self, earlier: Moment, later: Moment) {
        self.before[later.index()] |= 1 << earlier.index();
    }

    /// The orders that everything said so far permits.
    ///
    /// # Errors
    /// When something would come before itself.
    pub fn close(&mut self) -> Result<&mut RealTimeOrders, OrderError> {
        for middle in 0..self.before.len() {
            let through = self.before[middle];
            for before in &mut self.before {
                if *before & (1 << middle) != 0 {
                    *before |= through;
                }
            }
        }
        let mut moments = self.before.iter().enumerate();
        if let Some((index, _)) = moments.find(|&(index, before)| before & (1 << index) != 0) {
            return Err(OrderError::Contradiction(Moment::at(index)));
        }
        self.orders.lay_out(&self.operations, &self.before);
        Ok(&mut self.orders)
    }

    /// What comes before a moment, as a set of [`Moment::index`].
    #[cfg(test)]
    fn all_before(&self, moment: Moment) -> u64 {
        self.before[moment.index()]
    }
}

/// The maximal real-time orders of one class.
///
/// In here, moments are numbered in an order in which they could all happen, so that to go through
/// the bits of a set is to go through its moments in such an order.
#[derive(Debug, Default)]
pub struct RealTimeOrders {
    moments: Vec<Moment>,
    invocations: u64,
    /// Returns that histories have.
    returns: u64,
    /// For each return, the invocations that come before it; for an invocation, nothing.
    needed: Vec<u64>,
    /// A digest of what the orders depend on.
    digest: u64,
    frames: Vec<Frame>,
    history: Vec<Moment>,
}

/// Where there was more than one choice.
#[derive(Clone, Copy, Debug)]
struct Frame {
    done: u64,
    length: usize,
    /// The choices that are left, each by a return that it leads to.
    choices: u64,
}

impl RealTimeOrders {
    fn lay_out(&mut self, operations: &[Operation], before: &[u64]) {
        self.moments.clear();
        self.moments.extend((0..before.len()).map(Moment::at));
        // What comes before something has fewer moments before it.
        self.moments.sort_unstable_by_key(|moment| (before[moment.index()].count_ones(), moment.index()));
        let mut position = [0; 2 * MOST_OPERATIONS];
        for (at, moment) in self.moments.iter().enumerate() {
            position[moment.index()] = at;
        }
        self.needed.clear();
        self.needed.resize(before.len(), 0);
        (self.invocations, self.returns) = (0, 0);
        let mut digest = DefaultHasher::new();
        for (operation, Operation { thread, returned }) in operations.iter().enumerate() {
            self.invocations |= 1 << position[Moment::Invoke(operation).index()];
            digest.write_u32(u32::from(thread.0) << 1 | u32::from(*returned));
            if *returned {
                let end = Moment::Return(operation).index();
                let invocations = before[end] & INVOCATIONS;
                self.returns |= 1 << position[end];
                self.needed[position[end]] =
                    bits(invocations).fold(0, |set, index| set | 1 << position[index]);
                digest.write_u64(invocations);
            }
        }
        self.digest = digest.finish();
    }

    /// A digest of the orders and of what the operations did, which the caller digests for each of
    /// them: classes with the same signature have the same histories up to what no judge may look
    /// at. Two runs of one build give the same signature; it is not meant to be kept.
    pub fn signature(&self, results: &[u64]) -> u64 {
        let mut signature = DefaultHasher::new();
        signature.write_u64(self.digest);
        signature.write_usize(results.len());
        for &result in results {
            signature.write_u64(result);
        }
        signature.finish()
    }

    /// Shows `visit` one history for each maximal real-time order, at most `limit`, always in the
    /// same sequence. Returns how many it was shown, and why there were no more.
    pub fn visit<B>(
        &mut self,
        limit: u64,
        visit: impl FnMut(&[Moment]) -> ControlFlow<B>,
    ) -> (u64, Ending<B>) {
        self.visit_choosing(Self::minimal, limit, visit)
    }

    fn visit_choosing<B>(
        &mut self,
        choose: impl Fn(&Self, u64) -> u64,
        limit: u64,
        mut visit: impl FnMut(&[Moment]) -> ControlFlow<B>,
    ) -> (u64, Ending<B>) {
        self.frames.clear();
        self.history.clear();
        let (mut visited, mut done) = (0, 0);
        loop {
            loop {
                let choices = choose(self, done);
                if choices == 0 {
                    break;
                }
                let others = choices & (choices - 1);
                if others != 0 {
                    self.frames.push(Frame { done, length: self.history.len(), choices: others });
                }
                done = self.return_next(choices.trailing_zeros() as usize, done);
            }
            // Nobody waits for these, who never return.
            self.perform(self.invocations & !done);
            if visited == limit {
                return (visited, Ending::Limit);
            }
            visited += 1;
            if let ControlFlow::Break(why) = visit(&self.history) {
                return (visited, Ending::Stopped(why));
            }
            let Some(frame) = self.frames.last_mut() else {
                return (visited, Ending::Exhausted);
            };
            let Frame { length, choices, .. } = *frame;
            done = frame.done;
            frame.choices &= choices - 1;
            if frame.choices == 0 {
                self.frames.pop();
            }
            self.history.truncate(length);
            done = self.return_next(choices.trailing_zeros() as usize, done);
        }
    }

    /// The returns to come whose missing invocations are minimal; of those who miss the same, the
    /// first.
    fn minimal(&self, done: u64) -> u64 {
        let mut minimal = 0;
        for candidate in bits(self.returns & !done) {
            let missing = self.needed[candidate] & !done;
            let mut beaten = 0;
            let mut wins = true;
            for other in bits(minimal) {
                let others = self.needed[other] & !done;
                if others & !missing == 0 {
                    wins = false;
                    break;
                }
                if missing & !others == 0 {
                    beaten |= 1 << other;
                }
            }
            if wins {
                minimal = minimal & !beaten | 1 << candidate;
            }
        }
        minimal
    }

    /// Invokes what a return misses; then everything returns that can. Gives what is done then.
    fn return_next(&mut self, target: usize, done: u64) -> u64 {
        let missing = self.needed[target] & !done;
        let invoked = done | missing;
        let returning = bits(self.returns & !done)
            .filter(|&end| self.needed[end] & !invoked == 0)
            .fold(0, |set, end| set | 1 << end);
        self.perform(missing);
        self.perform(returning);
        invoked | returning
    }

    fn perform(&mut self, moments: u64) {
        self.history.extend(bits(moments).map(|at| self.moments[at]));
    }
}

/// The members of a set, in ascending order.
fn bits(mut set: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        (set != 0).then(|| {
            let lowest = set.trailing_zeros() as usize;
            set &= set - 1;
            lowest
        })
    })
}

#[cfg(test)]
mod tests;
