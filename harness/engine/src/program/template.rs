//! The words of a command with their placeholders: `{path}`, `{dir}`, `{value}`, `{value_file}`,
//! `{element}`, `{record}`, `{timeout_ms}`, `{client}`.
//!
//! A placeholder may be a part of a word. Braces around anything else stay as they are, since
//! programs have uses of their own for them. What is put in is not looked at again.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;

/// What placeholders stand for in one operation. An absent one stays as it was written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Places<'a> {
    pub path: &'a str,
    pub dir: &'a str,
    pub client: u32,
    pub timeout_ms: u64,
    pub value: Option<&'a [u8]>,
    pub value_file: Option<&'a OsStr>,
    pub element: Option<&'a str>,
    pub record: Option<&'a [u8]>,
}

impl Places<'_> {
    /// The words with everything put in.
    pub fn fill(&self, words: &[String]) -> Vec<OsString> {
        words.iter().map(|word| self.fill_word(word)).collect()
    }

    fn fill_word(&self, word: &str) -> OsString {
        let mut out = Vec::with_capacity(word.len());
        let mut rest = word;
        while let Some(open) = rest.find('{') {
            out.extend_from_slice(&rest.as_bytes()[..open]);
            rest = &rest[open..];
            let known = rest.find('}').and_then(|close| Some((close, self.put(&rest[1..close], &mut out)?)));
            let taken = match known {
                Some((close, ())) => close + 1,
                None => {
                    out.push(b'{');
                    1
                }
            };
            rest = &rest[taken..];
        }
        out.extend_from_slice(rest.as_bytes());
        OsString::from_vec(out)
    }

    fn put(&self, name: &str, out: &mut Vec<u8>) -> Option<()> {
        let number;
        let bytes = match name {
            "path" => self.path.as_bytes(),
            "dir" => self.dir.as_bytes(),
            "value" => self.value?,
            "value_file" => self.value_file?.as_encoded_bytes(),
            "element" => self.element?.as_bytes(),
            "record" => self.record?,
            "client" => {
                number = self.client.to_string();
                number.as_bytes()
            }
            "timeout_ms" => {
                number = self.timeout_ms.to_string();
                number.as_bytes()
            }
            _ => return None,
        };
        out.extend_from_slice(bytes);
        Some(())
    }
}

/// Whether one of the words mentions a placeholder.
pub(super) fn mentions(words: &[String], placeholder: &str) -> bool {
    words.iter().any(|word| word.contains(placeholder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_once_and_other_braces_stay() {
        let places = Places {
            path: "/s/{dir}/state",
            dir: "/s",
            client: 3,
            timeout_ms: 250,
            value: Some(b"{\"a\": 1} {path}"),
            ..Places::default()
        };
        let words =
            ["--file={path}:{client}", "{value}", "{ .a, {dir} }", "{element}", "{{timeout_ms}}", "{", "}"]
                .map(str::to_owned);
        assert_eq!(
            places.fill(&words),
            ["--file=/s/{dir}/state:3", "{\"a\": 1} {path}", "{ .a, /s }", "{element}", "{250}", "{", "}"]
        );
    }
}
