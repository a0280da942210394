//! [`ClientTable`]: one entry for each client. Clients are mostly small numbers, so this is a
//! vector, with a map for the rest.

use std::collections::HashMap;

/// A value for every client, the same for all until it is set.
#[derive(Debug)]
pub struct ClientTable<T> {
    small: Vec<T>,
    large: HashMap<u32, T>,
    initial: T,
}

impl<T: Copy> ClientTable<T> {
    const SMALL: u32 = 1 << 16;

    /// A table in which every client has this value.
    pub fn new(initial: T) -> Self {
        Self { small: Vec::new(), large: HashMap::new(), initial }
    }

    /// The value of a client.
    pub fn get(&self, client: u32) -> T {
        let known =
            if client < Self::SMALL { self.small.get(client as usize) } else { self.large.get(&client) };
        *known.unwrap_or(&self.initial)
    }

    /// Sets the value of a client.
    pub fn set(&mut self, client: u32, value: T) {
        if client >= Self::SMALL {
            self.large.insert(client, value);
            return;
        }
        if self.small.len() <= client as usize {
            self.small.resize(client as usize + 1, self.initial);
        }
        self.small[client as usize] = value;
    }
}
