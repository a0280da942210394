use super::super::{brute, dpor, *};
use super::compare::*;
use super::toy::{Op::*, Toy};
#[test]
fn dbg() {
    let programs =
        vec![vec![StoreNew(0)], vec![Load(0), Point(0, 1)], vec![StoreThrough(0), StoreThrough(0)]];
    let reduced = by_dpor(&mut Toy::new(programs.clone()));
    let show = |t: &Trace| {
        t.events()
            .iter()
            .map(|e| {
                format!(
                    "{}{:?} ",
                    e.step.thread.0,
                    e.step
                        .footprint
                        .iter()
                        .map(|a| format!("{:?}{}{:?}", a.object.kind, a.object.key, a.mode))
                        .collect::<Vec<_>>()
                )
            })
            .collect::<String>()
    };
    let Ok(_) = brute::search(&mut Toy::new(programs.clone()), Limits::NONE, |_, t| {
        if !reduced.classes.contains(&t.class()) {
            println!("MISSING {}", show(t));
        }
        Ok(Continue::Yes)
    });
    let Ok(_) = dpor::search(&mut Toy::new(programs), Limits::NONE, |_, t| {
        println!("run {:?} {}", t.schedule().iter().map(|t| t.0).collect::<Vec<_>>(), show(t));
        Ok(Continue::Yes)
    });
}
