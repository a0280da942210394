//! What those threads of a client are doing that the supervisor waits for, as far as the kernel tells: who works for
//! ever is told from who has not been let.

use std::io::Read;

use super::{Arena, State};

/// In which the kernel counts how much a thread has worked, on every architecture that there is a gate for.
pub(super) const TICKS_A_SECOND: u64 = 100;

/// How much a client has worked.
pub(super) struct Work {
    /// Of a processor's time.
    pub ticks: u64,
    /// It could work now.
    pub runs: bool,
}

impl Arena<'_> {
    /// How much those threads of a client have worked that the supervisor waits for. On a busy machine somebody who
    /// has done nothing for long may not have been let.
    pub(super) fn work_of(&self, client: usize) -> Work {
        let running = |index: &usize| matches!(self.threads[*index].state, State::Running);
        let mut work = Work { ticks: 0, runs: false };
        for index in self.threads_of(client).filter(running) {
            let tid = self.threads[index].tid;
            let stat = std::fs::read_to_string(format!("/proc/{tid}/stat")).unwrap_or_default();
            // After the name, which is in brackets: the state, and ten numbers later what it has worked.
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
            let number = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
            work.ticks += number(11) + number(12);
            work.runs |= fields.first() == Some(&"R");
        }
        work
    }

    /// What those threads of a client are doing that the supervisor waits for.
    pub(super) fn whereabouts(&self, client: usize) -> String {
        let running = |index: &usize| matches!(self.threads[*index].state, State::Running);
        let mut all: Vec<String> = Vec::new();
        for index in self.threads_of(client).filter(running) {
            let thread = &self.threads[index];
            let process = &self.processes[thread.process];
            let doing = where_it_is(thread.tid);
            all.push(match process.is_root() {
                true => doing,
                false => format!("process {} ({}): {doing}", process.pid(), name_of(process.pid())),
            });
        }
        for _ in &self.processes[client].births {
            all.push("a thread or process that it started has not come to the gate".to_owned());
        }
        all.join("; ")
    }
}

/// The name of a process's program.
fn name_of(pid: u32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim().to_owned()
}

/// What a thread is doing, as far as the kernel tells.
fn where_it_is(tid: u32) -> String {
    let mut text = String::new();
    let read = std::fs::File::open(format!("/proc/{tid}/syscall"))
        .and_then(|mut file| file.read_to_string(&mut text));
    match read {
        Ok(_) if text.starts_with("running") => "it runs without making a system call".to_owned(),
        Ok(_) => format!("it waits in system call {}", text.split_whitespace().next().unwrap_or("?")),
        Err(_) => "it is gone".to_owned(),
    }
}
