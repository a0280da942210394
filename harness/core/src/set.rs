//! The document of a set: `{"elements": ["e-0-1", …], "count": 2}` in the scenario's format.
//!
//! Programs of users write `elements` alone; the built-in strategies also write `count`, last, so
//! that a YAML prefix which happens to parse is caught. An element names the client that added it
//! and the number of its update, so that a lost one is known by name.

use serde::{Deserialize, Serialize};

use crate::document::{Defect, Format, Stamp, TornKind, excerpt, take_number};

/// The name of the element that a client's n-th update adds: `e-3-17`.
pub fn element_name(stamp: Stamp) -> String {
    format!("e-{}-{}", stamp.client, stamp.sequence)
}

/// The inverse of [`element_name`].
pub fn parse_element(name: &str) -> Option<Stamp> {
    let (client, rest) = take_number(name.strip_prefix("e-")?.as_bytes())?;
    let (sequence, rest) = take_number(rest.strip_prefix(b"-")?)?;
    rest.is_empty().then_some(Stamp::new(client, sequence))
}

/// A set as a program holds it in memory between reading and writing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetDocument {
    /// The elements, in the order in which they were added.
    pub elements: Vec<String>,
    /// How many there are; absent in documents of programs that do not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

/// Bytes that are no document of a set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no set document in {format}: {reason}")]
pub struct SetParseError {
    format: Format,
    reason: String,
}

impl SetDocument {
    /// Parses as an ordinary program does: whatever the parser accepts is taken.
    pub fn parse(format: Format, bytes: &[u8]) -> Result<Self, SetParseError> {
        let error = |reason: String| SetParseError { format, reason };
        match format {
            Format::Json => serde_json::from_slice(bytes).map_err(|e| error(e.to_string())),
            Format::Yaml => {
                let text = std::str::from_utf8(bytes).map_err(|e| error(e.to_string()))?;
                if text.trim().is_empty() {
                    return Err(error("empty".to_owned()));
                }
                serde_saphyr::from_str(text).map_err(|e| error(e.to_string()))
            }
            Format::Bytes => {
                let text = std::str::from_utf8(bytes).map_err(|e| error(e.to_string()))?;
                let mut set = Self::default();
                for line in text.lines() {
                    match line.strip_prefix("count ") {
                        Some(count) => set.count = count.parse().ok(),
                        None => set.elements.push(line.to_owned()),
                    }
                }
                if text.is_empty() { Err(error("empty".to_owned())) } else { Ok(set) }
            }
        }
    }

    /// Adds an element unless it is there.
    pub fn add(&mut self, element: &str) {
        if !self.elements.iter().any(|known| known == element) {
            self.elements.push(element.to_owned());
        }
    }

    /// The document, with its count.
    pub fn render(&self, format: Format) -> Vec<u8> {
        self.render_as(format, true)
    }

    /// The document; without its count for programs that do not know of it.
    pub fn render_as(&self, format: Format, counted: bool) -> Vec<u8> {
        let mut out = String::new();
        let count = self.elements.len();
        match format {
            Format::Json => {
                out.push_str("{\n  \"elements\": [");
                for (index, element) in self.elements.iter().enumerate() {
                    out.push_str(if index == 0 { "\n    \"" } else { ",\n    \"" });
                    out.push_str(element);
                    out.push('"');
                }
                out.push_str(if count == 0 { "]" } else { "\n  ]" });
                if counted {
                    out.push_str(&format!(",\n  \"count\": {count}"));
                }
                out.push_str("\n}\n");
            }
            Format::Yaml => {
                out.push_str(if count == 0 { "elements: []\n" } else { "elements:\n" });
                for element in &self.elements {
                    out.push_str(&format!("- {element}\n"));
                }
                if counted {
                    out.push_str(&format!("count: {count}\n"));
                }
            }
            Format::Bytes => {
                for element in &self.elements {
                    out.push_str(element);
                    out.push('\n');
                }
                out.push_str(&format!("count {count}\n"));
            }
        }
        out.into_bytes()
    }
}

/// The elements that a read saw, or how what it saw is damaged. `counted` says whether every
/// writer is known to write the count.
pub fn verify_set(format: Format, bytes: &[u8], counted: bool) -> Result<Vec<Stamp>, Defect> {
    if bytes.is_empty() {
        return Err(Defect::new(TornKind::Empty, "0 bytes"));
    }
    let set = SetDocument::parse(format, bytes)
        .map_err(|error| Defect::new(TornKind::Partial, format!("{} bytes, {error}", bytes.len())))?;
    let elements = verify_elements(&set.elements)?;
    match set.count {
        None if counted => Err(Defect::new(
            TornKind::Partial,
            format!("{} bytes that parse as {} elements and lack the rest", bytes.len(), elements.len()),
        )),
        Some(count) if count != elements.len() as u64 => Err(Defect::new(
            TornKind::Mixed,
            format!("{} elements where the document counts {count}: {}", elements.len(), excerpt(bytes)),
        )),
        _ => Ok(elements),
    }
}

/// The stamps of a list of element names.
pub fn verify_elements(names: &[String]) -> Result<Vec<Stamp>, Defect> {
    names
        .iter()
        .map(|name| {
            parse_element(name).ok_or_else(|| {
                Defect::new(TornKind::Foreign, format!("element `{name}` that no client added"))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> SetDocument {
        let mut set = SetDocument::default();
        for sequence in 1..=12 {
            set.add(&element_name(Stamp::new(3, sequence)));
        }
        set
    }

    #[test]
    fn a_set_reads_back_in_every_format() {
        for &format in Format::ALL {
            for set in [SetDocument::default(), sample()] {
                let bytes = set.render(format);
                let back = verify_set(format, &bytes, true).expect("whole");
                assert_eq!(back.len(), set.elements.len());
            }
        }
    }

    #[test]
    fn no_prefix_of_a_counted_set_passes_for_another_set() {
        for &format in Format::ALL {
            let bytes = sample().render(format);
            // Without its last newline the document is complete all the same.
            for cut in 0..bytes.len() - 1 {
                if let Ok(elements) = verify_set(format, &bytes[..cut], true) {
                    assert_eq!(elements.len(), 12, "{format} cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn adding_twice_adds_once() {
        let mut set = sample();
        set.add("e-3-1");
        assert_eq!(set.elements.len(), 12);
    }
}
