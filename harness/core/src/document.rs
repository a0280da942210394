//! Values that verify themselves: whole documents in the scenario's own format whose content says
//! which client wrote them, as which of its writes, how long they are, and what their checksum is.
//!
//! [`Shape::render`] makes such a document from a [`Stamp`]; [`Shape::verify`] gives the stamp
//! back, or says how the bytes are torn. A value is a function of shape and stamp, so a torn read
//! can be compared with what the writers really wrote. Every few bytes of the filler repeat the
//! stamp, so a mixture of two values is seen as one wherever it was cut. A YAML prefix that still
//! *parses* lacks its checksum and is caught.
//!
//! Not covered: damage that keeps the 32-bit checksum intact (one in four thousand million).

use std::fmt;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::names::names;

names! {
    /// How the state file spells its content.
    Format, "format" {
        /// One JSON document.
        Json = "json",
        /// One YAML document.
        Yaml = "yaml",
        /// Plain bytes without a syntax that a parser could refuse.
        Bytes = "bytes",
    }
}

names! {
    /// In which way a read was not whole.
    TornKind, "kind of torn read" {
        /// No bytes at all.
        Empty = "empty",
        /// A part of one value, the rest absent or zero.
        Partial = "partial",
        /// Parts of several values.
        Mixed = "mixed",
        /// No file.
        Missing = "missing",
        /// Bytes that no client wrote.
        Foreign = "foreign",
    }
}

/// Which write a value is: the client's number and the number of its write, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// The client.
    pub client: u32,
    /// The write of that client.
    pub sequence: u32,
}

impl Stamp {
    /// The value that is there before the clients start. No client counts from zero.
    pub const INITIAL: Self = Self { client: 0, sequence: 0 };

    /// The stamp of a client's n-th write.
    pub const fn new(client: u32, sequence: u32) -> Self {
        Self { client, sequence }
    }

    /// Both numbers in one word.
    pub const fn pack(self) -> u64 {
        ((self.client as u64) << 32) | self.sequence as u64
    }

    /// The inverse of [`Stamp::pack`].
    pub const fn unpack(word: u64) -> Self {
        Self { client: (word >> 32) as u32, sequence: word as u32 }
    }
}

impl fmt::Display for Stamp {
    /// `c3#17`, or `initial`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::INITIAL {
            f.write_str("initial")
        } else {
            write!(f, "c{}#{}", self.client, self.sequence)
        }
    }
}

/// How bytes that a read returned differ from a whole value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// The kind of damage.
    pub kind: TornKind,
    /// What is there, in words, for the witness.
    pub detail: String,
}

impl Defect {
    /// A defect of this kind with this explanation.
    pub fn new(kind: TornKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }

    /// The defect of a file that is not there.
    pub fn missing() -> Self {
        Self::new(TornKind::Missing, "the file was not there")
    }
}

impl Format {
    /// Whether an ordinary program would take these bytes for a document: they parse, and hold a
    /// mapping. This is deliberately no stricter than programs are: a YAML prefix often passes.
    pub fn parses(self, bytes: &[u8]) -> bool {
        type Mapping = std::collections::BTreeMap<String, IgnoredAny>;
        match self {
            Self::Json => serde_json::from_slice::<Mapping>(bytes).is_ok(),
            Self::Yaml => {
                !bytes.is_empty()
                    && std::str::from_utf8(bytes)
                        .is_ok_and(|text| serde_saphyr::from_str::<Mapping>(text).is_ok())
            }
            Self::Bytes => !bytes.is_empty(),
        }
    }
}

/// The shape of a register's values: their format and their lengths in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// How the document is spelt.
    pub format: Format,
    /// Length of an ordinary value in bytes.
    pub size: u32,
    /// By how much every fourth value is longer: a run that ended has more to say.
    pub grow: u32,
}

const JSON_HEAD: [&str; 3] = ["{\"client\": ", ", \"sequence\": ", ", \"length\": "];
const YAML_HEAD: [&str; 3] = ["client: ", "\nsequence: ", "\nlength: "];
const BYTES_HEAD: [&str; 3] = ["value ", " ", " "];
const YAML_LINE: usize = 64;

impl Shape {
    /// The shortest length that every document fits in.
    pub const MIN_SIZE: u32 = 256;
    /// The greatest length that is supported.
    pub const MAX_SIZE: u32 = 64 << 20;

    /// The length in bytes of the value with this stamp.
    pub const fn length(&self, stamp: Stamp) -> u32 {
        if self.ended(stamp) { self.size + self.grow } else { self.size }
    }

    const fn ended(&self, stamp: Stamp) -> bool {
        self.grow > 0 && stamp.sequence > 0 && stamp.sequence.is_multiple_of(4)
    }

    const fn head(&self) -> &'static [&'static str; 3] {
        match self.format {
            Format::Json => &JSON_HEAD,
            Format::Yaml => &YAML_HEAD,
            Format::Bytes => &BYTES_HEAD,
        }
    }

    /// Opening and closing of the checksum field.
    const fn seal(&self) -> (&'static str, &'static str) {
        match self.format {
            Format::Json => ("\", \"checksum\": \"", "\"}\n"),
            Format::Yaml => ("checksum: \"", "\"\n"),
            Format::Bytes => ("\nchecksum ", "\n"),
        }
    }

    /// Writes the value with this stamp into `out`, replacing what is there. Its length is
    /// [`Shape::length`].
    ///
    /// # Panics
    /// If `size` is below [`Shape::MIN_SIZE`].
    pub fn render(&self, stamp: Stamp, out: &mut Vec<u8>) {
        use std::io::Write;
        assert!(self.size >= Self::MIN_SIZE, "a document of {} bytes is impossible", self.size);
        out.clear();
        let length = self.length(stamp) as usize;
        out.reserve(length);
        let head = self.head();
        let Stamp { client, sequence } = stamp;
        let status = if self.ended(stamp) { "exited" } else { "running" };
        let infallible = "writing into a vector cannot fail";
        write!(out, "{}{client}{}{sequence}{}{length}", head[0], head[1], head[2]).expect(infallible);
        match self.format {
            Format::Json => {
                write!(out, ", \"status\": \"{status}\"").expect(infallible);
                if self.ended(stamp) {
                    write!(out, ", \"exit_code\": 0, \"end_time\": \"{sequence}\"").expect(infallible);
                }
                out.extend_from_slice(b", \"log\": \"");
            }
            Format::Yaml => {
                write!(out, "\nstatus: {status}\n").expect(infallible);
                if self.ended(stamp) {
                    write!(out, "exit_code: 0\nend_time: \"{sequence}\"\n").expect(infallible);
                }
                out.extend_from_slice(b"log:\n");
            }
            Format::Bytes => out.push(b'\n'),
        }
        let (open, close) = self.seal();
        let filler_end = length - open.len() - 8 - close.len();
        match self.format {
            Format::Yaml => fill_lines(out, filler_end, stamp),
            Format::Json | Format::Bytes => fill(out, filler_end, stamp),
        }
        out.extend_from_slice(open.as_bytes());
        let checksum = crc32fast::hash(out);
        write!(out, "{checksum:08x}{close}").expect(infallible);
        debug_assert_eq!(out.len(), length);
    }

    /// The stamp of a whole value, or how the bytes are damaged.
    pub fn verify(&self, bytes: &[u8]) -> Result<Stamp, Defect> {
        match self.sealed(bytes) {
            Some(stamp) => Ok(stamp),
            None => Err(self.classify(bytes)),
        }
    }

    /// As [`Shape::verify`], but a document that was parsed and written again by another program
    /// counts as whole when its content is the same.
    pub fn verify_content(&self, bytes: &[u8]) -> Result<Stamp, Defect> {
        let defect = match self.verify(bytes) {
            Ok(stamp) => return Ok(stamp),
            Err(defect) => defect,
        };
        let parse = |bytes: &[u8]| -> Option<serde_json::Value> {
            match self.format {
                Format::Json => serde_json::from_slice(bytes).ok(),
                Format::Yaml => serde_saphyr::from_str(std::str::from_utf8(bytes).ok()?).ok(),
                Format::Bytes => None,
            }
        };
        let number = |value: &serde_json::Value, key| u32::try_from(value.get(key)?.as_u64()?).ok();
        let whole = parse(bytes).and_then(|found| {
            let stamp = Stamp::new(number(&found, "client")?, number(&found, "sequence")?);
            let mut expected = Vec::new();
            self.render(stamp, &mut expected);
            (parse(&expected)? == found).then_some(stamp)
        });
        whole.ok_or(defect)
    }

    /// The stamp, if length and checksum are right.
    fn sealed(&self, bytes: &[u8]) -> Option<Stamp> {
        let (stamp, length) = self.read_head(bytes)?;
        let (open, close) = self.seal();
        let body = bytes.len().checked_sub(8 + close.len())?;
        let whole = length == bytes.len()
            && bytes[..body].ends_with(open.as_bytes())
            && bytes.ends_with(close.as_bytes())
            && parse_hex(&bytes[body..body + 8])? == crc32fast::hash(&bytes[..body]);
        whole.then_some(stamp)
    }

    fn read_head(&self, bytes: &[u8]) -> Option<(Stamp, usize)> {
        let head = self.head();
        let (client, rest) = take_number(bytes.strip_prefix(head[0].as_bytes())?)?;
        let (sequence, rest) = take_number(rest.strip_prefix(head[1].as_bytes())?)?;
        let (length, _) = take_number(rest.strip_prefix(head[2].as_bytes())?)?;
        Some((Stamp::new(client, sequence), length as usize))
    }

    fn classify(&self, bytes: &[u8]) -> Defect {
        if bytes.is_empty() {
            return Defect::new(TornKind::Empty, "0 bytes");
        }
        let length = bytes.len();
        let mut stamps: Vec<Stamp> = self.read_head(bytes).map(|(stamp, _)| stamp).into_iter().collect();
        for stamp in mentioned(bytes) {
            if !stamps.contains(&stamp) {
                stamps.push(stamp);
            }
            if stamps.len() > 1 {
                return Defect::new(
                    TornKind::Mixed,
                    format!("{length} bytes with parts of {} and of {}", stamps[0], stamps[1]),
                );
            }
        }
        let Some(&stamp) = stamps.first() else {
            let head = self.head()[0].as_bytes();
            let seen = length.min(head.len());
            return if bytes[..seen] == head[..seen] {
                Defect::new(TornKind::Partial, format!("only the first {length} bytes of a value"))
            } else if bytes.iter().all(|&byte| byte == 0) {
                Defect::new(TornKind::Partial, format!("{length} zero bytes"))
            } else {
                Defect::new(
                    TornKind::Foreign,
                    format!("{length} bytes that no client wrote: {}", excerpt(bytes)),
                )
            };
        };
        let mut expected = Vec::new();
        self.render(stamp, &mut expected);
        if expected.starts_with(bytes) {
            let whole = expected.len();
            return Defect::new(
                TornKind::Partial,
                format!("only the first {length} of the {whole} bytes of {stamp}"),
            );
        }
        if bytes.starts_with(&expected) {
            let more = length - expected.len();
            return Defect::new(
                TornKind::Mixed,
                format!("all of {stamp}, then {more} bytes of another value"),
            );
        }
        if length <= expected.len()
            && bytes.iter().zip(&expected).all(|(found, wrote)| found == wrote || *found == 0)
        {
            return Defect::new(TornKind::Partial, format!("{stamp} with zeros in place of a part of it"));
        }
        Defect::new(TornKind::Mixed, format!("{length} bytes of {stamp} and of another value"))
    }
}

/// The beginning of the bytes as printable text.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(40)];
    format!("`{}`{}", shown.escape_ascii(), if shown.len() < bytes.len() { "…" } else { "" })
}

fn parse_hex(digits: &[u8]) -> Option<u32> {
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The decimal number at the front, and what follows it.
pub(crate) fn take_number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || digits > 10 {
        return None;
    }
    let number = bytes[..digits].iter().fold(0u64, |number, digit| number * 10 + u64::from(digit - b'0'));
    Some((u32::try_from(number).ok()?, &bytes[digits..]))
}

/// Fills up to `end` with tokens that repeat the stamp, `c3s17 c3s17 …`, and with dots where a
/// whole token no longer fits: one cut short would name another write.
fn fill(out: &mut Vec<u8>, end: usize, stamp: Stamp) {
    let token = format!("c{}s{} ", stamp.client, stamp.sequence);
    while out.len() + token.len() <= end {
        out.extend_from_slice(token.as_bytes());
    }
    out.resize(end, b'.');
}

/// As [`fill`], in lines of a YAML list.
fn fill_lines(out: &mut Vec<u8>, end: usize, stamp: Stamp) {
    while out.len() < end {
        let left = end - out.len();
        // The last line takes whatever would leave too little for a line of its own.
        let line = if left < 2 * YAML_LINE { left } else { YAML_LINE };
        let line_end = out.len() + line - 1;
        out.extend_from_slice(b"- ");
        fill(out, line_end, stamp);
        // A parser would drop a trailing blank.
        if out.ends_with(b" ") {
            out.pop();
            out.push(b'.');
        }
        out.push(b'\n');
    }
}

/// The stamps that whole filler tokens in these bytes mention. The last token is left out: the
/// bytes may end within it.
fn mentioned(bytes: &[u8]) -> impl Iterator<Item = Stamp> + '_ {
    let end = bytes.iter().rposition(|&byte| byte == b' ').unwrap_or(0);
    bytes[..end].split(|byte| matches!(byte, b' ' | b'"' | b'\n' | b'\0')).filter_map(|token| {
        let (client, rest) = take_number(token.strip_prefix(b"c")?)?;
        let (sequence, rest) = take_number(rest.strip_prefix(b"s")?)?;
        rest.is_empty().then_some(Stamp::new(client, sequence))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes() -> impl Iterator<Item = Shape> {
        Format::ALL.iter().flat_map(|&format| {
            [256, 257, 400, 4096, 65536].map(|size| Shape {
                format,
                size,
                grow: if size == 400 { 120 } else { 0 },
            })
        })
    }

    fn render(shape: &Shape, client: u32, sequence: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        shape.render(Stamp::new(client, sequence), &mut bytes);
        bytes
    }

    #[test]
    fn a_whole_value_gives_its_stamp_back_and_parses() {
        for shape in shapes() {
            for stamp in [Stamp::INITIAL, Stamp::new(3, 17), Stamp::new(4_000_000_000, 4)] {
                let bytes = render(&shape, stamp.client, stamp.sequence);
                assert_eq!(bytes.len(), shape.length(stamp) as usize);
                assert_eq!(shape.verify(&bytes), Ok(stamp), "{}", String::from_utf8_lossy(&bytes));
                assert!(shape.format.parses(&bytes), "{}", String::from_utf8_lossy(&bytes));
            }
        }
    }

    #[test]
    fn every_proper_prefix_is_partial_or_empty() {
        for format in Format::ALL.iter().copied() {
            let shape = Shape { format, size: 400, grow: 120 };
            let bytes = render(&shape, 12, 34);
            for cut in 0..bytes.len() {
                let defect = shape.verify(&bytes[..cut]).expect_err("a prefix is no value");
                let expected = if cut == 0 { TornKind::Empty } else { TornKind::Partial };
                assert_eq!(defect.kind, expected, "cut at {cut}: {}", defect.detail);
            }
        }
    }

    #[test]
    fn every_splice_of_two_values_is_caught() {
        for format in Format::ALL.iter().copied() {
            let shape = Shape { format, size: 400, grow: 120 };
            let (old, new) = (render(&shape, 1, 3), render(&shape, 2, 4));
            for cut in 1..old.len() {
                let mut spliced = new[..cut].to_vec();
                spliced.extend_from_slice(&old[cut..]);
                if spliced == old || spliced == new {
                    continue;
                }
                let defect = shape.verify(&spliced).expect_err("a splice is no value");
                assert_eq!(defect.kind, TornKind::Mixed, "cut at {cut}: {}", defect.detail);
            }
        }
    }

    #[test]
    fn a_long_value_under_a_shorter_one_is_mixed() {
        let shape = Shape { format: Format::Json, size: 400, grow: 120 };
        let (long, short) = (render(&shape, 1, 4), render(&shape, 1, 5));
        let mut bytes = short.clone();
        bytes.extend_from_slice(&long[short.len()..]);
        assert_eq!(shape.verify(&bytes).unwrap_err().kind, TornKind::Mixed);
    }

    #[test]
    fn zeros_are_partial_and_other_texts_are_foreign() {
        for shape in shapes() {
            assert_eq!(shape.verify(&[0; 300]).unwrap_err().kind, TornKind::Partial);
            assert_eq!(shape.verify(b"hello").unwrap_err().kind, TornKind::Foreign);
        }
    }

    #[test]
    fn a_yaml_prefix_that_parses_is_still_torn() {
        let shape = Shape { format: Format::Yaml, size: 400, grow: 0 };
        let bytes = render(&shape, 1, 1);
        let parsing = (1..bytes.len()).filter(|&cut| Format::Yaml.parses(&bytes[..cut])).count();
        assert!(parsing > 100, "only {parsing} prefixes parse");
        assert!((1..bytes.len()).all(|cut| shape.verify(&bytes[..cut]).is_err()));
    }

    #[test]
    fn a_json_prefix_never_parses_but_for_its_last_newline() {
        let shape = Shape { format: Format::Json, size: 400, grow: 0 };
        let bytes = render(&shape, 1, 1);
        assert!((0..bytes.len() - 1).all(|cut| !Format::Json.parses(&bytes[..cut])));
    }

    #[test]
    fn a_document_written_again_by_another_program_is_whole() {
        let shape = Shape { format: Format::Json, size: 400, grow: 0 };
        let bytes = render(&shape, 3, 9);
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let again = serde_json::to_vec_pretty(&value).unwrap();
        assert_eq!(shape.verify_content(&again), Ok(Stamp::new(3, 9)));
        assert!(shape.verify(&again).is_err());
        assert!(shape.verify_content(&again[..again.len() - 2]).is_err());
    }
}
