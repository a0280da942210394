//! Stamps as numbers: each gets the next one when it is first seen.
//!
//! Clients and sequences are mostly small numbers without gaps, so this is a table with a map for
//! the rest; a read of a set of a thousand elements looks up a thousand of them.

use std::collections::HashMap;

use tearproof_core::ValueId;
use tearproof_core::document::Stamp;

/// The numbers of stamps, in order of first appearance.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    all: Vec<Stamp>,
    /// By client, and then by sequence.
    table: Vec<Vec<u32>>,
    map: HashMap<Stamp, u32>,
}

/// A place in the table whose stamp has not been seen.
const UNSEEN: u32 = u32::MAX;
/// Clients from this number on are in the map.
const CLIENTS: usize = 1 << 16;
/// A stamp whose sequence is this far beyond the table goes into the map.
const GAP: usize = 1 << 12;

impl Stamps {
    /// The number of a stamp.
    pub(super) fn number(&mut self, stamp: Stamp) -> ValueId {
        let next = self.all.len() as u32;
        let slot = self.slot(stamp);
        if *slot == UNSEEN {
            *slot = next;
            self.all.push(stamp);
            return ValueId(next);
        }
        ValueId(*slot)
    }

    fn slot(&mut self, stamp: Stamp) -> &mut u32 {
        let (client, sequence) = (stamp.client as usize, stamp.sequence as usize);
        // A stamp that went into the map when the table was short stays there.
        let mapped = !self.map.is_empty() && self.map.contains_key(&stamp);
        if client < CLIENTS && !mapped {
            if self.table.len() <= client {
                self.table.resize_with(client + 1, Vec::new);
            }
            let row = &mut self.table[client];
            if sequence < row.len() + GAP {
                if row.len() <= sequence {
                    row.resize(sequence + 1, UNSEEN);
                }
                return &mut row[sequence];
            }
        }
        self.map.entry(stamp).or_insert(UNSEEN)
    }

    /// The stamps by number.
    pub(super) fn into_vec(self) -> Vec<Stamp> {
        self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_keeps_its_number_when_the_table_grows_past_it() {
        let mut stamps = Stamps::default();
        let far = Stamp::new(1, 10_000);
        assert_eq!(stamps.number(far), ValueId(0));
        let seen: Vec<Stamp> = (1..20_000).map(|sequence| Stamp::new(1, sequence)).collect();
        let numbers: Vec<ValueId> = seen.iter().map(|&stamp| stamps.number(stamp)).collect();
        assert_eq!(stamps.number(Stamp::new(u32::MAX, u32::MAX)), ValueId(19_999));
        assert_eq!(numbers[9_999], ValueId(0));
        let all = stamps.into_vec();
        assert_eq!(all.len(), 20_000);
        assert!(seen.iter().zip(&numbers).all(|(stamp, number)| all[number.0 as usize] == *stamp));
    }
}
