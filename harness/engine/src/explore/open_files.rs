//! How many files this process may have open: the supervisor holds a descriptor of every file that any
//! client has open, so it needs more than a client does.
//!
//! While anybody explores, the soft limit is as high as the hard one. Clients get the usual limit back:
//! a program that runs out of descriptors in real life has to do so here. The limit belongs to the
//! process, so whoever explores last puts it back.
//!
//! Not covered: the limit of the whole system (`fs.file-max`).

use std::io;
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// Who has raised the limit, and what it was before.
static RAISED: Mutex<Option<(usize, Rlimit)>> = Mutex::new(None);

/// The limit, as high as it can be for as long as this exists.
#[derive(Debug)]
pub(super) struct OpenFiles {
    usual: Rlimit,
}

impl OpenFiles {
    /// Raises the limit, if nobody has.
    pub fn raise() -> Self {
        let mut raised = RAISED.lock().unwrap_or_else(PoisonError::into_inner);
        let (users, usual) = raised.unwrap_or_else(|| {
            let usual = getrlimit(Resource::Nofile);
            // Where it cannot be raised, the usual one has to do.
            let _ = setrlimit(Resource::Nofile, Rlimit { current: usual.maximum, ..usual });
            (0, usual)
        });
        *raised = Some((users + 1, usual));
        Self { usual }
    }

    /// Gives a client the limit that it would have without a supervisor.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn spare(&self, client: Pid) -> io::Result<()> {
        prlimit(Some(client), Resource::Nofile, self.usual).map(drop).map_err(io::Error::from)
    }
}

impl Drop for OpenFiles {
    fn drop(&mut self) {
        let mut raised = RAISED.lock().unwrap_or_else(PoisonError::into_inner);
        *raised = match raised.take() {
            Some((users, usual)) if users > 1 => Some((users - 1, usual)),
            _ => {
                // What was allowed before is allowed now.
                let _ = setrlimit(Resource::Nofile, self.usual);
                None
            }
        };
    }
}

/// What to say when there is no room for one more.
pub(super) fn exhausted() -> String {
    let limit = getrlimit(Resource::Nofile).current.map_or("no limit".to_owned(), |most| most.to_string());
    format!(
        "opening a file for a client, which the supervisor has open as long as the client: it may have {limit} \
         open files (hint: raise the hard limit, see `ulimit -Hn`)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_as_long_as_somebody_needs_it_and_clients_keep_theirs() {
        let before = getrlimit(Resource::Nofile);
        let one = OpenFiles::raise();
        let other = OpenFiles::raise();
        let raised = getrlimit(Resource::Nofile);
        assert_eq!(raised.current, before.maximum);
        let mut client = std::process::Command::new("sleep").arg("60").spawn().expect("a process");
        let spared = other.spare(Pid::from_child(&client));
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", client.id())).expect("limits");
        let _ = client.kill();
        let _ = client.wait();
        spared.expect("it lives");
        let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit");
        let soft = line.split_whitespace().nth(3).and_then(|text| text.parse().ok());
        assert_eq!(soft, other.usual.current);
        drop(one);
        assert_eq!(getrlimit(Resource::Nofile), raised);
        drop(other);
    }
}
