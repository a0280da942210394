//! Numbers for the values of a history: equal JSON gets equal numbers, quickly for what histories
//! mostly hold, small natural numbers and short texts.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::value::RawValue;

use super::Wrong;
use crate::history::ValueId;

/// Numbers the values in order of first appearance, equal ones alike.
#[derive(Debug, Default)]
pub(super) struct Interner {
    pub(super) texts: Vec<String>,
    /// The number of each small natural number, plus one; 0 when it has none.
    small: Vec<u32>,
    /// From the hash of a text to its number. Where two texts share one, the second takes the next
    /// free hash.
    by_hash: HashMap<u64, u32, HashIsKey>,
}

impl Interner {
    const SMALL: usize = 1 << 26;

    /// The number of a value. `raw` is valid JSON without space around it.
    pub(super) fn intern(&mut self, raw: &str) -> Result<ValueId, Wrong> {
        let bytes = raw.as_bytes();
        let natural = bytes.len() <= 8 && bytes.iter().all(u8::is_ascii_digit);
        if natural {
            let number = bytes.iter().fold(0usize, |number, digit| number * 10 + usize::from(digit - b'0'));
            // The table stays in proportion to the number of values.
            if number < Self::SMALL && number < 1024 + 8 * self.texts.len() {
                return self.intern_small(number, raw);
            }
        }
        let plain = natural || (bytes[0] == b'"' && !bytes.contains(&b'\\'));
        if plain { self.intern_text(raw) } else { self.intern_text(&canonical(raw)?) }
    }

    fn intern_small(&mut self, number: usize, raw: &str) -> Result<ValueId, Wrong> {
        if self.small.len() <= number {
            self.small.resize((number + 1).max(self.small.len() * 2).min(Self::SMALL), 0);
        }
        if self.small[number] == 0 {
            // It may have come before the table reached so far.
            self.small[number] = self.intern_text(raw)?.0 + 1;
        }
        Ok(ValueId(self.small[number] - 1))
    }

    fn intern_text(&mut self, text: &str) -> Result<ValueId, Wrong> {
        let mut hash = hash(text.as_bytes());
        while let Some(&id) = self.by_hash.get(&hash) {
            if self.texts[id as usize] == text {
                return Ok(ValueId(id));
            }
            hash = hash.wrapping_add(1);
        }
        let id = u32::try_from(self.texts.len())
            .ok()
            .filter(|&id| id < u32::MAX - 1)
            .ok_or_else(|| Wrong::new("more than 2^32 different values"))?;
        self.by_hash.insert(hash, id);
        self.texts.push(text.to_owned());
        Ok(ValueId(id))
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut word = bytes.len() as u64;
    for chunk in bytes.chunks(8) {
        let mut padded = [0; 8];
        padded[..chunk.len()].copy_from_slice(chunk);
        word = crate::plan::mix(word ^ u64::from_le_bytes(padded));
    }
    word
}

/// For keys that are hashes already.
#[derive(Clone, Copy, Debug, Default)]
struct HashIsKey(u64);

impl std::hash::BuildHasher for HashIsKey {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

impl std::hash::Hasher for HashIsKey {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = hash(bytes);
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// One spelling for all texts of a JSON value: no spaces, keys in order, strings with as few
/// escapes as there can be, whole numbers without fraction and exponent.
fn canonical(raw: &str) -> Result<Cow<'_, str>, Wrong> {
    let bytes = raw.as_bytes();
    Ok(match bytes[0] {
        b'{' => {
            let members: std::collections::BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(raw)?;
            let mut out = String::from("{");
            for (index, (key, value)) in members.iter().enumerate() {
                let comma = if index == 0 { "" } else { "," };
                let key = serde_json::to_string(key)?;
                let _ = write!(out, "{comma}{key}:{}", canonical(value.get())?);
            }
            out.push('}');
            out.into()
        }
        b'[' => {
            let members: Vec<&RawValue> = serde_json::from_str(raw)?;
            let mut out = String::from("[");
            for (index, value) in members.iter().enumerate() {
                let comma = if index == 0 { "" } else { "," };
                let _ = write!(out, "{comma}{}", canonical(value.get())?);
            }
            out.push(']');
            out.into()
        }
        b'"' if bytes.contains(&b'\\') => {
            serde_json::to_string(&serde_json::from_str::<String>(raw)?)?.into()
        }
        b'-' | b'0'..=b'9' => number(raw),
        _ => raw.into(),
    })
}

fn number(raw: &str) -> Cow<'_, str> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if raw == "-0" {
        return "0".into();
    }
    // Whole numbers of any length are kept as they are; JSON has no leading zeros.
    if !raw.contains(['.', 'e', 'E']) {
        return raw.into();
    }
    match raw.parse::<f64>() {
        Ok(number) if number.fract() == 0.0 && number.abs() < EXACT => format!("{}", number as i64).into(),
        Ok(number) if number.is_finite() => format!("{number:?}").into(),
        _ => raw.into(),
    }
}
