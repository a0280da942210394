//! Where in a client's memory a call works: the addresses are another matter than what it asks.

use smallvec::SmallVec;

use super::call::{Call, Span};

/// The operation by which threads of one process wake each other.
pub const WAKE_PRIVATELY: i32 = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;

impl Call {
    /// The places that its answer is written to, in the order in which they are filled.
    pub fn outputs(&self) -> SmallVec<[u64; 2]> {
        match self {
            Self::Read { into, .. } => into.iter().map(|span| span.address).collect(),
            Self::Stat { buffer, .. }
            | Self::Clock { buffer, .. }
            | Self::TimeOfDay { buffer }
            | Self::Time { buffer }
            | Self::Random { buffer, .. }
            | Self::ReadLink { buffer: Span { address: buffer, .. }, .. }
            | Self::List { into: Some(Span { address: buffer, .. }), .. } => [*buffer].into_iter().collect(),
            _ => SmallVec::new(),
        }
    }

    /// Whether it asks for the same as another one, whose memory may be laid out in another way.
    pub fn is_same_elsewhere(&self, other: &Self) -> bool {
        self == other || self.clone().without_places() == other.clone().without_places()
    }

    /// The same with all of its outputs, and what it wants written, at no place.
    fn without_places(mut self) -> Self {
        let nowhere = |address: &mut u64| *address = u64::from(*address != 0);
        match &mut self {
            Self::Read { into: spans, .. } | Self::Write { from: spans, .. } => {
                spans.iter_mut().for_each(|span| nowhere(&mut span.address));
            }
            Self::Stat { buffer, .. }
            | Self::Clock { buffer, .. }
            | Self::TimeOfDay { buffer }
            | Self::Time { buffer }
            | Self::Random { buffer, .. }
            | Self::ReadLink { buffer: Span { address: buffer, .. }, .. }
            | Self::List { into: Some(Span { address: buffer, .. }), .. } => nowhere(buffer),
            // To wake whoever waits there takes no more arguments. Other processes do not wait at a private one.
            Self::Futex { address, operation, timeout, third, .. } if *operation == WAKE_PRIVATELY => {
                (*address, *timeout, *third) = (0, 0, 0);
            }
            _ => {}
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_the_same_wherever_its_memory_lies_and_not_when_it_asks_for_more() {
        let read = |fd, address, length| {
            let into = [Span { address, length }].into_iter().collect();
            Call::Read { fd, into, offset: None }
        };
        assert!(read(3, 64, 8).is_same_elsewhere(&read(3, 128, 8)));
        assert!(!read(3, 64, 8).is_same_elsewhere(&read(3, 64, 9)));
        assert!(!read(3, 64, 8).is_same_elsewhere(&read(4, 64, 8)));
        assert!(!Call::Time { buffer: 0 }.is_same_elsewhere(&Call::Time { buffer: 8 }));
        assert_eq!(read(3, 64, 8).outputs()[..], [64]);
    }
}
