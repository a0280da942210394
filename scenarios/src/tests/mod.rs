//! What every strategy must do when nothing goes wrong, over all of the registry; and in files of
//! their own, what single families do when something does.

mod races;
mod round_trips;
mod single;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tearproof_core::document::{Format, Shape};
use tearproof_core::object::Object;
use tearproof_core::strategy::{ClientContext, Strategy};

/// Surroundings in `dir`, for client 1.
pub(crate) fn context(dir: &Path) -> ClientContext {
    ClientContext {
        dir: dir.to_owned(),
        file: dir.join("state.json"),
        other_dir: None,
        format: Format::Json,
        object: Object::Register,
        shape: Shape { format: Format::Json, size: 600, grow: 120 },
        client: 1,
        lease: Duration::from_secs(5),
        patience: Duration::from_secs(2),
    }
}

/// The strategies that keep this object.
fn keepers(object: Object) -> impl Iterator<Item = &'static dyn Strategy> {
    crate::strategies().iter().copied().filter(move |strategy| strategy.info().objects.contains(&object))
}

/// Prepares the world of a strategy, runs its server if it has one, and plays in it.
fn play(strategy: &dyn Strategy, at: &ClientContext, document: Option<&[u8]>, game: impl FnOnce()) {
    strategy.prepare(at, document).expect("prepared");
    if !strategy.has_server() {
        return game();
    }
    let stop = AtomicBool::new(false);
    let (say_ready, ready) = mpsc::channel();
    std::thread::scope(|scope| {
        let server = ClientContext { client: 0, ..at.clone() };
        let stop = &stop;
        let serving = scope.spawn(move || {
            strategy
                .serve(&server, &mut || say_ready.send(()).expect("heard"), &|| stop.load(Ordering::Relaxed))
        });
        let served = ready.recv_timeout(Duration::from_secs(20));
        // The server must be told to stop whatever the game comes to, or the scope never ends.
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            served.expect("the server is ready");
            game();
        }));
        stop.store(true, Ordering::Relaxed);
        serving.join().expect("the server did not panic").expect("the server served");
        if let Err(panic) = played {
            std::panic::resume_unwind(panic);
        }
    });
}
