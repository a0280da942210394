//! What a worker's answer to a read stands for: the bytes that the harness verifies, or evidence
//! that there was no value.

use tearproof_core::document::{Format, TornKind};
use tearproof_core::set::{SetDocument, parse_element};
use tearproof_core::strategy::{Found, StrategyError};

use super::base64;
use super::message::Answer;
use super::settings::Settings;

/// Why the answer to a read brought no content.
pub(super) enum NoContent {
    /// It is evidence of a torn read.
    Torn(StrategyError),
    /// It is no answer to a read.
    Wrong(String),
}

impl Settings {
    /// Puts what a read answered into `into`.
    pub fn content(&self, answer: Answer, into: &mut Vec<u8>) -> Result<Found, NoContent> {
        into.clear();
        if answer.missing == Some(true) {
            return Ok(Found::Absent);
        }
        if let Some(text) = answer.value {
            into.extend_from_slice(text.as_bytes());
        } else if let Some(text) = answer.value_base64 {
            let bytes = base64::decode(&text).ok_or_else(|| {
                NoContent::Wrong("answered a read with a value_base64 that is no base64".to_owned())
            })?;
            into.extend_from_slice(&bytes);
        } else if let Some(elements) = answer.elements {
            *into = render_elements(self.format, elements).map_err(NoContent::Torn)?;
        } else if let Some(records) = answer.records {
            for record in records {
                into.extend_from_slice(record.as_bytes());
                into.push(b'\n');
            }
        } else {
            return Err(NoContent::Wrong(
                "answered a read with `ok` and with none of \"value\", \"value_base64\", \"elements\", \
                 \"records\" and \"missing\":true"
                    .to_owned(),
            ));
        }
        Ok(Found::Present)
    }
}

/// The document of a set with these elements, its count included, so that the harness verifies it
/// as one that a built-in strategy wrote. A name that no client can have added would be misread or
/// spoil the document, so it is reported here.
pub(super) fn render_elements(format: Format, elements: Vec<String>) -> Result<Vec<u8>, StrategyError> {
    if let Some(name) = elements.iter().find(|name| parse_element(name).is_none()) {
        return Err(StrategyError::Torn {
            kind: TornKind::Foreign,
            message: format!("element {} that no client added", excerpt(name.as_bytes())),
        });
    }
    Ok(SetDocument { elements, count: None }.render(format))
}

/// The beginning of the bytes as printable text.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(80)];
    match std::str::from_utf8(shown) {
        Ok(text) if !text.contains(char::is_control) => {
            format!("`{text}`{}", if shown.len() < bytes.len() { "…" } else { "" })
        }
        _ => format!("`{}`{}", shown.escape_ascii(), if shown.len() < bytes.len() { "…" } else { "" }),
    }
}
