//! What a program in Node says of its calls: which it has begun and not ended, and from where.
//!
//! Asynchronous calls are made by a pool of threads long after the line that asked for them. So a module that is
//! loaded before the program (`--import`, Node 18.19 and later) wraps the functions of `node:fs`.

use serde::Deserialize;

use super::Frame;

/// The module.
const HOOK: &str = include_str!("hook.mjs");

/// What makes Node load it, for its `NODE_OPTIONS`.
pub fn options() -> String {
    let mut url = "--import=data:text/javascript,".to_owned();
    for byte in HOOK.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => url.push(byte.into()),
            other => url += &format!("%{other:02x}"),
        }
    }
    url
}

/// One line of what the module says.
#[derive(Deserialize)]
#[serde(untagged)]
enum Record {
    Begun { begun: u64, paths: Vec<String>, stack: String },
    Ended { ended: u64 },
}

/// The stacks, innermost frame first, of the calls under way that can have led to this one: each path that they were
/// given is one of its names.
pub fn stacks(said: &str, names: &[&str]) -> Vec<Vec<Frame>> {
    let mut under_way: Vec<(u64, String)> = Vec::new();
    for record in said.lines().filter_map(|line| serde_json::from_str(line).ok()) {
        match record {
            Record::Begun { begun, paths, stack } => {
                if !paths.is_empty() && paths.iter().all(|path| names.contains(&path.as_str())) {
                    under_way.push((begun, stack));
                }
            }
            Record::Ended { ended } => under_way.retain(|(call, _)| *call != ended),
        }
    }
    under_way.iter().map(|(_, stack)| stack.lines().filter_map(frame).collect()).collect()
}

/// `    at change (file:///app/index.mjs:28:11)`, or without the function and the brackets.
fn frame(line: &str) -> Option<Frame> {
    let line = line.strip_prefix("    at ")?;
    let line = line.strip_prefix("async ").unwrap_or(line);
    let (function, place) = match line.strip_suffix(')').and_then(|line| line.rsplit_once(" (")) {
        Some((function, place)) => (Some(function.to_owned()), place),
        None => (None, line),
    };
    let (place, _column) = place.rsplit_once(':')?;
    let (file, line) = place.rsplit_once(':')?;
    let is_of_a_library =
        ["node:", "data:"].iter().any(|start| file.starts_with(start)) || file.contains("/node_modules/");
    let file = file.strip_prefix("file://").unwrap_or(file);
    Some(Frame { file: file.to_owned(), line: line.parse().ok()?, function, is_of_a_library })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_call_under_way_that_is_given_these_paths_can_have_led_to_it() {
        let begun = |call: u64, paths: &str, line: u64| {
            let stack =
                format!("Error\\n    at async change (file:///app/index.mjs:{line}:11)\\n    at node:fs:1:2");
            format!("{{\"begun\":{call},\"paths\":{paths},\"stack\":\"{stack}\"}}\n")
        };
        let said = [
            begun(1, "[\"a.tmp\"]", 10),
            "{\"ended\":1}\n".to_owned(),
            begun(2, "[\"a.tmp\",\"a\"]", 20),
            begun(3, "[\"b\"]", 30),
            begun(4, "[]", 40),
        ];
        let stacks = stacks(&said.concat(), &["a.tmp", "a"]);
        let lines: Vec<Vec<u64>> =
            stacks.iter().map(|stack| stack.iter().map(|frame| frame.line).collect()).collect();
        assert_eq!(lines, [[20, 1]]);
        assert_eq!(stacks[0][0].file, "/app/index.mjs");
        assert_eq!(stacks[0][0].function.as_deref(), Some("change"));
        assert!(stacks[0][1].is_of_a_library && !stacks[0][0].is_of_a_library);
    }

    #[test]
    fn the_module_is_one_word() {
        let options = options();
        assert!(options.chars().all(|c| c.is_ascii_graphic() && c != '"' && c != '\\'), "{options}");
        assert!(HOOK.contains(&super::super::NOBODYS.to_string()));
    }
}
