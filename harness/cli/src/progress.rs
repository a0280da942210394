//! Progress on standard error, when somebody is there to see it.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tearproof_engine::process::Undisturbed;

/// A bar that shows how much of the work is done, and what is under way.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar for so many pieces of work; invisible when standard error is no terminal.
    pub fn new(pieces: u64) -> Self {
        let target = if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr_with_hz(8)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(pieces), target);
        let style = ProgressStyle::with_template("{elapsed:>4} {bar:24} {pos:>3}/{len} {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        if !bar.is_hidden() {
            // That is a thread.
            let _undisturbed = Undisturbed::begin();
            bar.enable_steady_tick(Duration::from_millis(250));
        }
        Self { bar }
    }

    /// Says what is under way.
    pub fn begin(&self, what: String) {
        self.bar.set_message(what);
    }

    /// One piece is done.
    pub fn done(&self) {
        self.bar.inc(1);
    }

    /// A line above the bar.
    pub fn say(&self, line: &str) {
        if self.bar.is_hidden() {
            eprintln!("{line}");
        } else {
            self.bar.println(line);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
