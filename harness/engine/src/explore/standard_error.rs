//! The end of what each client's program wrote to its standard error in an execution, for its witness.

use std::collections::BTreeMap;

use tearproof_core::verdict::StandardError;

use super::stand::Stand;
use crate::worker::EXECUTION;

/// Lines of each client that are told, and characters of a line.
const LINES: usize = 8;
const CHARACTERS: usize = 400;

/// What was overheard in the execution that has just been completed, by client.
pub(super) fn standard_errors(stand: &Stand<'_, '_>, roles: &BTreeMap<u32, String>) -> Vec<StandardError> {
    let mut all: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    for (thread, text) in stand.arena.overheard() {
        all.entry(stand.bench.client_of(*thread)).or_default().extend(text);
    }
    // Where it lies is another place each time.
    let place = format!("{}/", stand.bench.stage.specification.context(EXECUTION, 0).dir.display());
    let told = |(client, text): (u32, Vec<u8>)| {
        let text = String::from_utf8_lossy(&text).replace(&place, "");
        let (left_out, lines) = last_lines(&stand.without_pids(&text));
        let role = roles.get(&client).cloned();
        (!lines.is_empty()).then_some(StandardError { client, role, left_out, lines })
    };
    all.into_iter().filter_map(told).collect()
}

/// The last lines of a text that are not blank, and how many come before them.
fn last_lines(text: &str) -> (u64, Vec<String>) {
    let all: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let left_out = all.len().saturating_sub(LINES);
    // What would move the cursor is no text.
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let line = |line: &&str| line.chars().take(CHARACTERS).map(plain).collect();
    (left_out as u64, all[left_out..].iter().map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_told_and_the_others_counted() {
        let text: String = (1..=10).map(|number| format!("line {number}\n\n")).collect();
        let (left_out, lines) = last_lines(&text);
        assert_eq!((left_out, lines.len()), (2, LINES));
        assert_eq!((lines[0].as_str(), lines[7].as_str()), ("line 3", "line 10"));
        assert_eq!(last_lines("\n \n"), (0, Vec::new()));
        assert_eq!(last_lines("a\u{1b}[2Jb").1, ["a [2Jb"]);
    }
}
