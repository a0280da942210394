//! The supporting cast: who has the lock when the clients begin, whom they talk to, and who looks at what is
//! there in the end.
//!
//! What they do before the clients begin, or after the end, is no step of an execution. A server is started anew
//! for each one, since it may remember; from then on what it does are steps like those of clients.

use super::thread::State;
use super::{Arena, ArenaError, process_of};
use crate::explore::system::{System, ThreadId};
use crate::worker::PartKind;

impl Arena<'_> {
    /// Runs a client's part alone, from its parking place to its parking place.
    ///
    /// # Errors
    /// When it does not get there.
    pub fn run_alone(&mut self, process: usize) -> Result<(), ArenaError> {
        self.release(process)?;
        let mut enabled = Vec::new();
        loop {
            self.enabled(&mut enabled)?;
            let own = |id: &&ThreadId| process_of(**id) == process;
            // Who holds the lock may have a heartbeat.
            let holds = |id: &&ThreadId| Some(process_of(**id)) == self.holder;
            let serves = |id: &&ThreadId| self.serves(process_of(**id));
            // Before anybody gives up waiting for its answer.
            let next = enabled.iter().find(serves).or_else(|| enabled.iter().find(own));
            match next.or_else(|| enabled.iter().find(holds)) {
                Some(&thread) => drop(self.step(thread)?),
                None => break,
            }
        }
        if self.threads_of(process).all(|index| self.is_idle(index)) {
            return Ok(());
        }
        // It waits for what nobody will bring: that is its outcome.
        self.respawn(process)
    }

    /// Has a new process take the lock, and keep it while the execution goes on.
    pub(super) fn have_it_held(&mut self, holder: usize) -> Result<(), ArenaError> {
        self.respawn(holder)?;
        self.release(holder)?;
        let mut enabled = Vec::new();
        let is_done =
            |arena: &Self| arena.threads_of(holder).next().is_some_and(|main| arena.is_parked(main));
        while !is_done(self) {
            self.enabled(&mut enabled)?;
            let own = enabled.iter().find(|id| process_of(**id) == holder);
            let Some(&thread) = own else {
                return Err(ArenaError::Client(
                    "who is to hold the lock beforehand cannot have it".to_owned(),
                ));
            };
            self.step(thread)?;
        }
        if let Some(deeds) = &mut self.deeds {
            deeds.clear();
        }
        Ok(())
    }

    /// Whether a process is one that clients talk to.
    pub(super) fn serves(&self, process: usize) -> bool {
        self.specification.processes[process].kind == PartKind::Server
    }

    /// Has new servers come up, as far as they come without anybody who asks them something.
    pub(super) fn begin_servers(&mut self) -> Result<(), ArenaError> {
        self.prepares = true;
        let servers = (0..self.specification.processes.len()).filter(|&process| self.serves(process));
        let begun = servers.collect::<Vec<_>>().into_iter().try_for_each(|server| self.begin_server(server));
        self.prepares = false;
        if let Some(deeds) = &mut self.deeds {
            deeds.clear();
        }
        begun
    }

    /// Has servers come up again that were killed, for whoever comes after the clients.
    pub fn revive_servers(&mut self) -> Result<(), ArenaError> {
        let dead = |process: &usize| self.serves(*process) && !self.processes[*process].is_alive();
        let dead = (0..self.specification.processes.len()).filter(dead).collect::<Vec<_>>();
        dead.into_iter().try_for_each(|server| self.begin_server(server))
    }

    fn begin_server(&mut self, server: usize) -> Result<(), ArenaError> {
        self.respawn(server)?;
        self.release(server)?;
        let mut enabled = Vec::new();
        loop {
            self.enabled(&mut enabled)?;
            let Some(&thread) = enabled.iter().find(|id| process_of(**id) == server) else { break };
            self.step(thread)?;
        }
        let parked =
            self.threads_of(server).any(|index| matches!(self.threads[index].state, State::Parked(_)));
        if parked || !self.wires.anybody_listens() {
            let strategy = &self.specification.processes[server].strategy;
            return Err(ArenaError::Client(format!("the server of `{strategy}` does not come up")));
        }
        Ok(())
    }
}
