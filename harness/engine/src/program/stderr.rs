//! The end of what a program wrote to its standard error, kept for messages.

use std::io::Write;

/// The last few kilobytes of a program's standard error.
#[derive(Debug)]
pub(super) struct StderrTail {
    bytes: Vec<u8>,
    /// Whether everything is passed on to our own standard error as well.
    verbose: bool,
}

impl StderrTail {
    const KEPT: usize = 4096;

    /// Nothing yet.
    pub fn new(verbose: bool) -> Self {
        Self { bytes: Vec::new(), verbose }
    }

    /// Takes what was read.
    pub fn push(&mut self, chunk: &[u8]) {
        if self.verbose {
            // Diagnostics of somebody else: there is nobody to tell that they could not be shown.
            let _ = std::io::stderr().write_all(chunk);
        }
        self.bytes.extend_from_slice(chunk);
        if self.bytes.len() > 4 * Self::KEPT {
            self.bytes.drain(..self.bytes.len() - Self::KEPT);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// The last line that is not blank, as `; stderr: …`, or nothing.
    pub fn suffix(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        match text.lines().rev().map(str::trim).find(|line| !line.is_empty()) {
            Some(line) => {
                let shown: String = line.chars().take(400).collect();
                format!("; stderr: {shown}")
            }
            None => "; nothing on stderr".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_that_says_something_is_shown() {
        let mut tail = StderrTail::new(false);
        assert_eq!(tail.suffix(), "; nothing on stderr");
        tail.push(b"Traceback\n  File\nValueError: no\n\n  \n");
        assert_eq!(tail.suffix(), "; stderr: ValueError: no");
        for _ in 0..10_000 {
            tail.push(b"spam\n");
        }
        tail.push(b"the end");
        assert_eq!(tail.suffix(), "; stderr: the end");
        assert!(tail.bytes.len() <= 4 * StderrTail::KEPT);
    }
}
