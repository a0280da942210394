//! What the search itself costs, beside what the system costs. Ignored: a measurement asserts
//! nothing. Run in release with `--ignored --nocapture`.

use std::time::Instant;

use super::super::{Continue, Limits, Trace, dpor};
use super::toy::{Op, Program, Toy};
use crate::explore::system::{System, ThreadId};

/// Three threads of eight steps, most of them on something of their own.
fn clients() -> Vec<Program> {
    let client = |own: u8| {
        vec![
            Op::Load(own),
            Op::Store(own),
            Op::Follow(own),
            Op::Point(7, own),
            Op::Load(own),
            Op::Store(own),
            Op::Load(6),
            Op::Store(6),
        ]
    };
    vec![client(0), client(1), client(2)]
}

/// Two threads that take one lock three times, and one that only looks.
fn holders() -> Vec<Program> {
    let holder = [Op::Lock(0), Op::Load(0), Op::Store(0), Op::Unlock(0)].repeat(2);
    vec![holder.clone(), holder, vec![Op::Load(1), Op::Load(0), Op::Load(1), Op::Load(0), Op::Sum(0)]]
}

#[test]
#[ignore = "a measurement"]
fn executions_in_a_second() {
    for (what, programs) in [("clients", clients()), ("holders", holders())] {
        let limits = Limits { executions: 300_000, ..Limits::NONE };
        let mut toy = Toy::new(programs.clone());
        let begun = Instant::now();
        let mut steps = 0;
        let Ok(searched) = dpor::search(&mut toy, limits, |_, trace: &Trace| {
            steps += trace.len();
            Ok(Continue::Yes)
        });
        let whole = begun.elapsed();
        let executions = searched.executions;
        // The same number of executions without a search.
        let mut toy = Toy::new(programs);
        let begun = Instant::now();
        let mut enabled: Vec<ThreadId> = Vec::new();
        for _ in 0..executions {
            let Ok(()) = toy.begin();
            loop {
                let Ok(()) = toy.enabled(&mut enabled);
                let Some(&thread) = enabled.first() else { break };
                let Ok(_) = toy.step(thread);
            }
        }
        let bare = begun.elapsed();
        println!(
            "{what}: {executions} executions of {} steps ({} broken off, {:?}), {:.0} ns each and {:.0} ns of it in \
             the toy: the search could do {:.0} in a second",
            steps as u64 / executions,
            searched.redundant,
            searched.end,
            whole.as_nanos() as f64 / executions as f64,
            bare.as_nanos() as f64 / executions as f64,
            executions as f64 / (whole - bare).as_secs_f64()
        );
    }
}
