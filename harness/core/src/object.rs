//! What the state file stands for, and what clients do to it: [`Object`] and [`Operation`].

use crate::names::names;

names! {
    /// The abstract data type that a state file implements.
    Object, "object" {
        /// One value, replaced as a whole.
        Register = "register",
        /// A set of elements that only grows.
        Set = "set",
        /// A sequence of records that only grows.
        Log = "log",
        /// A lock around a critical section.
        Lock = "lock",
    }
}

names! {
    /// What a client does in one operation.
    Operation, "operation" {
        /// Return the value, the elements or the records.
        Read = "read",
        /// Replace the value of a register.
        Write = "write",
        /// Replace the value of a register if it is the expected one.
        Cas = "cas",
        /// Add one element to a set.
        Update = "update",
        /// Add one record to a log.
        Append = "append",
        /// Enter the critical section.
        Acquire = "acquire",
        /// Leave the critical section.
        Release = "release",
    }
}

impl Object {
    /// The operations that make sense on this object.
    pub const fn operations(self) -> &'static [Operation] {
        match self {
            Self::Register => &[Operation::Read, Operation::Write, Operation::Cas],
            Self::Set => &[Operation::Read, Operation::Update],
            Self::Log => &[Operation::Read, Operation::Append],
            Self::Lock => &[Operation::Acquire, Operation::Release],
        }
    }
}
