//! What a program in Python says when it is aborted: the stack of each of its threads, as `faulthandler` has it.

use super::Frame;

/// What asks Python for it, in its environment.
pub const VARIABLE: (&str, &str) = ("PYTHONFAULTHANDLER", "1");

/// The stack of the thread that was asked, innermost frame first.
pub fn stack(traceback: &str) -> Vec<Frame> {
    let lines = traceback.lines().skip_while(|line| !line.starts_with("Current thread"));
    lines.skip(1).map_while(frame).collect()
}

/// `  File "/app/store.py", line 12 in update`.
fn frame(line: &str) -> Option<Frame> {
    let (file, rest) = line.strip_prefix("  File \"")?.rsplit_once("\", line ")?;
    let (line, function) = rest.split_once(" in ")?;
    let of_libraries = ["/lib/python", "/lib64/python", "/site-packages/", "/dist-packages/"];
    Some(Frame {
        file: file.to_owned(),
        line: line.parse().ok()?,
        function: Some(function.to_owned()),
        is_of_a_library: file.starts_with('<') || of_libraries.iter().any(|part| file.contains(part)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stack_of_the_thread_that_was_asked_is_taken() {
        let traceback = "Fatal Python error: Aborted\n\nThread 0x01 (most recent call first):\n  File \"other.py\", line 1 in \
                         other\n\nCurrent thread 0x02 (most recent call first):\n  File \
                         \"/usr/lib/python3.11/json/__init__.py\", line 179 in dump\n  File \"/app/a, line 2 in.py\", line 12 in \
                         save\n\nExtension modules: none\n";
        let stack = stack(traceback);
        assert_eq!(stack.len(), 2);
        assert!(stack[0].is_of_a_library && !stack[1].is_of_a_library);
        assert_eq!((stack[1].file.as_str(), stack[1].line), ("/app/a, line 2 in.py", 12));
        assert_eq!(stack[1].function.as_deref(), Some("save"));
    }
}
