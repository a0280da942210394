//! The general linearizability checker: Wing & Gong's search (1993) over the orders in which calls
//! can have taken effect, with Lowe's memoisation of configurations (*Testing for linearizability*,
//! 2017), for any [`SequentialSpec`].
//!
//! The search is depth first. A call that returned is tried before one whose outcome is unknown,
//! so that a pending call is only taken to have happened when something asks for it. A
//! configuration is the earliest return that still waits for its call, the calls that have been
//! placed although they return later, and the state of the object; each is visited once.
//!
//! The cost is exponential in the number of calls that are pending at once, so every search has a
//! budget of steps, and says so when it runs out. It says whether there is an order, not how many
//! reads are at fault; callers that count remove the culprit and ask again.

use std::collections::HashSet;

use crate::operations::{NEVER, Position};
use crate::sequential_spec::SequentialSpec;

/// One call of a concurrent history.
#[derive(Clone, Debug)]
pub struct Call<O, R> {
    /// What was asked.
    pub op: O,
    /// What was answered; `None` when it is unknown whether the call took effect.
    pub ret: Option<R>,
    /// When it was invoked.
    pub start: Position,
    /// When it returned; [`NEVER`] when `ret` is `None`.
    pub end: Position,
}

/// What the search found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// There is an order.
    Linearizable,
    /// There is none, not even for the calls up to the return of this one, counted from 0.
    Stuck(usize),
    /// The budget of steps was used up before either was known.
    OutOfSteps,
}

/// Searches for an order of the calls that respects real time and that the object allows. Every
/// step is taken from `steps`.
///
/// # Panics
/// If the calls are not sorted by `start`.
pub fn linearize<S: SequentialSpec>(initial: &S, calls: &[Call<S::Op, S::Ret>], steps: &mut u64) -> Answer {
    assert!(calls.is_sorted_by_key(|call| call.start), "calls are sorted by their invocations");
    let mut search = Search::new(initial.clone(), calls);
    loop {
        if search.waiting == 0 {
            return Answer::Linearizable;
        }
        if *steps == 0 {
            return Answer::OutOfSteps;
        }
        *steps -= 1;
        let moved = match search.cursor {
            Cursor::Node(node) => search.at_node(node, steps),
            Cursor::Pending(next) => search.at_pending(next, steps),
        };
        if !moved {
            return Answer::Stuck(search.furthest.1);
        }
    }
}

/// Where the search looks for the next call to place.
#[derive(Clone, Copy)]
enum Cursor {
    /// Among the calls that returned: a node of the list.
    Node(usize),
    /// Among the pending ones: an index into `pending`.
    Pending(usize),
}

/// A call that was placed, and what to restore when that was wrong.
struct Frame<S> {
    call: usize,
    state: S,
    ahead: Box<[u32]>,
    resume: Cursor,
}

/// The state of a search. The invocations and returns of calls that have been answered form a
/// doubly linked list in real-time order: node `2 i` is the invocation of call `i`, `2 i + 1` its
/// return, and the last node is the anchor.
struct Search<'c, S: SequentialSpec> {
    calls: &'c [Call<S::Op, S::Ret>],
    pending: Vec<usize>,
    used: Vec<bool>,
    next: Vec<usize>,
    previous: Vec<usize>,
    anchor: usize,
    /// Calls that returned and are not placed yet.
    waiting: usize,
    state: S,
    /// The placed calls whose return the search has not passed yet, sorted.
    ahead: Box<[u32]>,
    stack: Vec<Frame<S>>,
    visited: HashSet<(usize, Box<[u32]>, S)>,
    cursor: Cursor,
    furthest: (Position, usize),
}

impl<'c, S: SequentialSpec> Search<'c, S> {
    fn new(state: S, calls: &'c [Call<S::Op, S::Ret>]) -> Self {
        let anchor = calls.len() * 2;
        let mut moments: Vec<(Position, usize)> = Vec::with_capacity(anchor);
        let mut pending = Vec::new();
        for (index, call) in calls.iter().enumerate() {
            if call.ret.is_some() {
                moments.push((call.start, index * 2));
                moments.push((call.end, index * 2 + 1));
            } else {
                pending.push(index);
            }
        }
        moments.sort_unstable();
        let (mut next, mut previous) = (vec![anchor; anchor + 1], vec![anchor; anchor + 1]);
        let mut last = anchor;
        for &(_, node) in &moments {
            next[last] = node;
            previous[node] = last;
            last = node;
        }
        next[last] = anchor;
        previous[anchor] = last;
        Self {
            calls,
            used: vec![false; pending.len()],
            pending,
            cursor: Cursor::Node(next[anchor]),
            next,
            previous,
            anchor,
            waiting: moments.len() / 2,
            state,
            ahead: Box::default(),
            stack: Vec::new(),
            visited: HashSet::new(),
            furthest: (0, 0),
        }
    }

    fn at_node(&mut self, node: usize, steps: &mut u64) -> bool {
        if node % 2 == 1 {
            // This call had returned, so it must be placed before anything that comes later.
            self.cursor = Cursor::Pending(0);
            return true;
        }
        if !self.place(node / 2, Cursor::Node(self.next[node]), steps) {
            self.cursor = Cursor::Node(self.next[node]);
        }
        true
    }

    fn at_pending(&mut self, index: usize, steps: &mut u64) -> bool {
        let (boundary, blocked) = self.boundary();
        match self.pending.get(index) {
            Some(&call) if self.calls[call].start < boundary => {
                let placed = !self.used[index] && self.place(call, Cursor::Pending(index + 1), steps);
                if placed {
                    self.used[index] = true;
                } else {
                    self.cursor = Cursor::Pending(index + 1);
                }
                true
            }
            _ => {
                self.furthest = self.furthest.max((boundary, blocked));
                self.backtrack()
            }
        }
    }

    /// The earliest return that waits for its call, and that call.
    fn boundary(&self) -> (Position, usize) {
        let mut node = self.next[self.anchor];
        while node != self.anchor && node.is_multiple_of(2) {
            node = self.next[node];
        }
        if node == self.anchor { (NEVER, usize::MAX) } else { (self.calls[node / 2].end, node / 2) }
    }

    /// Places the call next, if the object allows it and the configuration is new.
    fn place(&mut self, call: usize, resume: Cursor, steps: &mut u64) -> bool {
        let mut state = self.state.clone();
        let Call { op, ret, .. } = &self.calls[call];
        let valid = match ret {
            Some(ret) => state.is_valid_step(op, ret),
            None => {
                state.invoke(op);
                true
            }
        };
        if !valid {
            return false;
        }
        let answered = ret.is_some();
        if answered {
            self.unlink(call);
        }
        let boundary = self.boundary();
        let mut ahead: Vec<u32> = self
            .ahead
            .iter()
            .copied()
            .filter(|&placed| self.calls[placed as usize].end > boundary.0)
            .collect();
        if self.calls[call].end > boundary.0 || (!answered && boundary.0 == NEVER) {
            let at = ahead.partition_point(|&placed| placed < call as u32);
            ahead.insert(at, call as u32);
        }
        *steps = steps.saturating_sub(ahead.len() as u64 / 16);
        let ahead = ahead.into_boxed_slice();
        if !self.visited.insert((boundary.1, ahead.clone(), state.clone())) {
            if answered {
                self.link(call);
            }
            return false;
        }
        self.stack.push(Frame {
            call,
            state: std::mem::replace(&mut self.state, state),
            ahead: std::mem::replace(&mut self.ahead, ahead),
            resume,
        });
        self.cursor = Cursor::Node(self.next[self.anchor]);
        true
    }

    fn backtrack(&mut self) -> bool {
        let Some(frame) = self.stack.pop() else { return false };
        if self.calls[frame.call].ret.is_some() {
            self.link(frame.call);
        } else if let Cursor::Pending(next) = frame.resume {
            self.used[next - 1] = false;
        }
        self.state = frame.state;
        self.ahead = frame.ahead;
        self.cursor = frame.resume;
        true
    }

    fn unlink(&mut self, call: usize) {
        for node in [call * 2, call * 2 + 1] {
            self.next[self.previous[node]] = self.next[node];
            self.previous[self.next[node]] = self.previous[node];
        }
        self.waiting -= 1;
    }

    fn link(&mut self, call: usize) {
        for node in [call * 2 + 1, call * 2] {
            self.next[self.previous[node]] = node;
            self.previous[self.next[node]] = node;
        }
        self.waiting += 1;
    }
}
