//! [`SequentialSpec`]: what an object does when one operation follows the other, and the
//! specifications that the general checker is used with.
//!
//! The shape of the trait follows stateright: `invoke` says what the object answers, and
//! `is_valid_step` whether an answer that was seen can be it.

use std::hash::Hash;

use tearproof_core::ValueId;

/// An object as it behaves without concurrency. The implementing type is its state.
pub trait SequentialSpec: Clone + Eq + Hash {
    /// What clients ask for.
    type Op;
    /// What the object answers.
    type Ret: PartialEq;

    /// Applies the operation and answers.
    fn invoke(&mut self, op: &Self::Op) -> Self::Ret;

    /// Applies the operation, and says whether the object can have given this answer.
    fn is_valid_step(&mut self, op: &Self::Op, ret: &Self::Ret) -> bool {
        self.invoke(op) == *ret
    }
}

/// A register: its value, `None` for the initial absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Register(pub Option<ValueId>);

/// What is done to a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterOp {
    /// Return the value.
    Read,
    /// Replace the value.
    Write(ValueId),
    /// Replace the value if it is the first of the two.
    Cas(Option<ValueId>, ValueId),
}

/// What a register answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterRet {
    /// The value that was read.
    Value(Option<ValueId>),
    /// The write is done.
    Written,
    /// Whether the comparison succeeded.
    Applied(bool),
}

impl SequentialSpec for Register {
    type Op = RegisterOp;
    type Ret = RegisterRet;

    fn invoke(&mut self, op: &RegisterOp) -> RegisterRet {
        match *op {
            RegisterOp::Read => RegisterRet::Value(self.0),
            RegisterOp::Write(value) => {
                self.0 = Some(value);
                RegisterRet::Written
            }
            RegisterOp::Cas(from, to) => {
                let applied = self.0 == from;
                if applied {
                    self.0 = Some(to);
                }
                RegisterRet::Applied(applied)
            }
        }
    }
}

/// A log: its records in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Log(pub Vec<ValueId>);

/// What is done to a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogOp {
    /// Return all records.
    Read,
    /// Add one at the end.
    Append(ValueId),
}

impl SequentialSpec for Log {
    type Op = LogOp;
    /// The records that a read returned; nothing for an append.
    type Ret = Option<Vec<ValueId>>;

    fn invoke(&mut self, op: &LogOp) -> Self::Ret {
        match op {
            LogOp::Read => Some(self.0.clone()),
            LogOp::Append(record) => {
                self.0.push(*record);
                None
            }
        }
    }

    fn is_valid_step(&mut self, op: &LogOp, ret: &Self::Ret) -> bool {
        match (op, ret) {
            // Comparing in place saves a copy of the whole log at every read.
            (LogOp::Read, Some(seen)) => *seen == self.0,
            _ => self.invoke(op) == *ret,
        }
    }
}
