//! One table of a definition, read key by key: each value with its place, each mistake reported
//! and the rest read on.
//!
//! A reader names all keys of its table when it opens it, so whatever else stands there is
//! reported as unknown. A value that is absent or wrong comes back as `None`; wrong ones have been
//! reported by then, and as a reported mistake refuses the whole file, the caller may go on with
//! any value in its place.

use std::ops::Range;
use std::time::Duration;

use tearproof_core::units::{self, Bytes};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Mistake, Report};
use super::nearest::{nearest, within};
use super::{HOMES, TOP};

/// A value and its place in the file.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub value: T,
    pub span: Range<usize>,
}

impl<T> At<T> {
    pub fn new(value: T, span: Range<usize>) -> Self {
        Self { value, span }
    }
}

/// A table that is being read.
#[derive(Clone)]
pub(super) struct Section<'a> {
    /// How the table is written: `[state]`.
    pub title: String,
    /// Where its header is.
    pub span: Range<usize>,
    table: &'a DeTable<'a>,
    report: &'a Report<'a>,
}

impl<'a> Section<'a> {
    /// Opens a table and reports the keys that do not belong there.
    pub fn open(
        title: impl Into<String>,
        span: Range<usize>,
        table: &'a DeTable<'a>,
        keys: &[&str],
        report: &'a Report<'a>,
    ) -> Self {
        let title = title.into();
        for key in table.keys().filter(|key| !keys.contains(&key.get_ref().as_ref())) {
            let name: &str = key.get_ref();
            let mistake = Mistake::at(key.span(), format!("unknown key `{name}` in {title}"));
            report.add(mistake.label("unknown key").help(home_of(name, keys)));
        }
        Self { title, span, table, report }
    }

    fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table.get(key)
    }

    /// The place of a key, or of the table if the key is absent.
    pub fn place(&self, key: &str) -> Range<usize> {
        self.get(key).map_or(self.span.clone(), Spanned::span)
    }

    /// Whether the key is there, right or wrong.
    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Reports the key as missing unless it is there. `example` is a line to write.
    pub fn require(&self, key: &str, example: &str) {
        if !self.has(key) {
            let mistake = Mistake::at(self.span.clone(), format!("{} lacks `{key}`", self.title));
            self.report.add(mistake.label(format!("no `{key}` here")).help(format!("add `{example}`")));
        }
    }

    /// The value of a key as one type of TOML. `wanted` names it, `example` shows it.
    fn typed<T>(
        &self,
        key: &str,
        wanted: &str,
        example: &str,
        take: impl FnOnce(&'a DeValue<'a>) -> Option<T>,
    ) -> Option<At<T>> {
        let value = self.get(key)?;
        let taken = take(value.get_ref());
        if taken.is_none() {
            let kind = kind_of(value.get_ref());
            let mistake = Mistake::at(value.span(), format!("`{key}` must be {wanted}, and this is {kind}"));
            self.report.add(mistake.label(kind).help(format!("write `{example}`")));
        }
        Some(At::new(taken?, value.span()))
    }

    /// A text.
    pub fn text(&self, key: &str, example: &str) -> Option<At<&'a str>> {
        self.typed(key, "a text", example, DeValue::as_str)
    }

    /// `true` or `false`.
    pub fn boolean(&self, key: &str) -> Option<At<bool>> {
        self.typed(key, "true or false", &format!("{key} = true"), DeValue::as_bool)
    }

    /// A name of a closed set.
    pub fn name<T: Copy>(&self, key: &str, what: &str, known: &[(&str, T)]) -> Option<At<T>> {
        let text = self.text(key, &format!("{key} = \"{}\"", known[0].0))?;
        let value = pick(self.report, &text, what, known)?;
        Some(At::new(value, text.span))
    }

    /// A name in kebab case.
    pub fn kebab(&self, key: &str, example: &str) -> Option<At<String>> {
        let text = self.text(key, example)?;
        check_kebab(self.report, &text, &format!("`{key}`"));
        Some(At::new(text.value.to_owned(), text.span))
    }

    /// A whole number within bounds.
    pub fn whole(&self, key: &str, least: u64, most: u64) -> Option<At<u64>> {
        let example = format!("{key} = {}", least.max(1));
        let number = self.typed(key, "a whole number", &example, |value| {
            let integer = value.as_integer()?;
            // Beyond 128 bits it is as much out of bounds as the greatest number within them.
            Some(i128::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(i128::MAX))
        })?;
        let refuse = |limit: String| {
            let shown =
                if number.value == i128::MAX { "far more".to_owned() } else { number.value.to_string() };
            let mistake =
                Mistake::at(number.span.clone(), format!("`{key}` must be {limit}, and this is {shown}"));
            self.report.add(mistake.label("out of bounds").help(format!("write for example `{example}`")));
            None
        };
        match number.value {
            value if value < i128::from(least) => refuse(format!("at least {least}")),
            value if value > i128::from(most) => refuse(format!("at most {most}")),
            value => Some(At::new(value as u64, number.span)),
        }
    }

    /// As [`Section::whole`], for numbers of 32 bits.
    pub fn count(&self, key: &str, least: u32) -> Option<At<u32>> {
        let number = self.whole(key, u64::from(least), u64::from(u32::MAX))?;
        Some(At::new(u32::try_from(number.value).ok()?, number.span))
    }

    /// A positive number of seconds, whole or not.
    pub fn seconds(&self, key: &str) -> Option<At<f64>> {
        let number = self.typed(key, "a number of seconds", "seconds = 2", |value| match value {
            DeValue::Integer(integer) => {
                i64::from_str_radix(integer.as_str(), integer.radix()).ok().map(|number| number as f64)
            }
            DeValue::Float(float) => float.as_str().parse().ok(),
            _ => None,
        })?;
        if number.value.is_finite() && number.value > 0.0 {
            return Some(number);
        }
        let mistake = Mistake::at(number.span, format!("`{key}` must be more than no time at all"));
        self.report
            .add(mistake.help("write for example `seconds = 2`; without it the budget of the run decides"));
        None
    }

    /// A number of bytes with its unit.
    pub fn size(&self, key: &str) -> Option<At<u64>> {
        if let Some(bytes) = self.bare_number(key) {
            return self.wants_unit(key, &Bytes(bytes.unsigned_abs()).to_string());
        }
        let text = self.text(key, &format!("{key} = \"4 KiB\""))?;
        self.quantity(key, &text, "4 KiB", units::parse_size)
    }

    /// A length of time with its unit; never zero unless `zero` says that it may be.
    pub fn duration(&self, key: &str, zero: bool) -> Option<At<Duration>> {
        if let Some(number) = self.bare_number(key) {
            return self.wants_unit(key, &seconds(number.unsigned_abs()));
        }
        let text = self.text(key, &format!("{key} = \"1 ms\""))?;
        let duration = self.quantity(key, &text, "1 ms", units::parse_duration)?;
        if duration.value.is_zero() && !zero {
            let mistake = Mistake::at(duration.span, format!("`{key}` must be longer than no time at all"));
            self.report.add(mistake.label("zero").help(format!("write for example `{key} = \"1 ms\"`")));
            return None;
        }
        Some(duration)
    }

    /// Operations a second.
    pub fn rate(&self, key: &str) -> Option<At<f64>> {
        if let Some(number) = self.bare_number(key) {
            return self.wants_unit(key, &format!("{}/s", number.unsigned_abs().max(1)));
        }
        let text = self.text(key, &format!("{key} = \"200/s\""))?;
        let front = text.value.split('/').next().unwrap_or_default().trim();
        if front.parse::<f64>().is_ok_and(|number| number <= 0.0) {
            let mistake = Mistake::at(text.span, format!("`{key}` must be more than nothing a second"));
            let help =
                "write for example `rate = \"200/s\"`, or leave it out: then one operation follows the other";
            self.report.add(mistake.label("nothing would ever happen").help(help));
            return None;
        }
        self.quantity(key, &text, "200/s", units::parse_rate)
    }

    fn bare_number(&self, key: &str) -> Option<i64> {
        let integer = self.get(key)?.get_ref().as_integer()?;
        i64::from_str_radix(integer.as_str(), integer.radix()).ok()
    }

    fn wants_unit<T>(&self, key: &str, example: &str) -> Option<At<T>> {
        let mistake = Mistake::at(self.place(key), format!("`{key}` needs its unit"));
        self.report.add(mistake.label("a bare number").help(format!("write `{key} = \"{example}\"`")));
        None
    }

    fn quantity<T>(
        &self,
        key: &str,
        text: &At<&str>,
        example: &str,
        parse: impl FnOnce(&str) -> Result<T, units::UnitError>,
    ) -> Option<At<T>> {
        let trimmed = text.value.trim();
        if trimmed.parse::<f64>().is_ok() {
            let number = trimmed.trim_start_matches('-');
            let unit = example.trim_start_matches(|c: char| c.is_ascii_digit());
            let written = match (number.parse::<u64>(), unit) {
                (Ok(bytes), " KiB") => Bytes(bytes).to_string(),
                (_, " KiB") => format!("{number} B"),
                (Ok(number), " ms") => seconds(number),
                (_, unit) => format!("{number}{unit}"),
            };
            return self.wants_unit(key, &written);
        }
        if trimmed.starts_with('-') {
            let mistake = Mistake::at(text.span.clone(), format!("`{key}` cannot be negative"));
            self.report
                .add(mistake.label("negative").help(format!("write for example `{key} = \"{example}\"`")));
            return None;
        }
        match parse(text.value) {
            Ok(value) => Some(At::new(value, text.span.clone())),
            Err(error) => {
                let message = error.to_string();
                let (what, help) =
                    message.split_once(": ").unwrap_or((&message, "write a number and its unit"));
                self.report.add(Mistake::at(text.span.clone(), format!("`{key}`: {what}")).help(help));
                None
            }
        }
    }

    /// A list of texts; wrong elements are reported and left out.
    pub fn texts(&self, key: &str, example: &str) -> Option<At<Vec<At<&'a str>>>> {
        let list = self.typed(key, "a list of texts", example, DeValue::as_array)?;
        let mut texts = Vec::new();
        for element in list.value.iter() {
            match element.get_ref().as_str() {
                Some(text) => texts.push(At::new(text, element.span())),
                None => {
                    let kind = kind_of(element.get_ref());
                    let mistake = Mistake::at(
                        element.span(),
                        format!("`{key}` must hold texts only, and this is {kind}"),
                    );
                    self.report.add(mistake.label(kind).help(format!("write `{example}`")));
                }
            }
        }
        Some(At::new(texts, list.span))
    }

    /// A list of exit codes.
    pub fn exit_codes(&self, key: &str) -> Option<At<Vec<i32>>> {
        let example = format!("{key} = [75]");
        let list = self.typed(key, "a list of exit codes", &example, DeValue::as_array)?;
        let mut codes = Vec::new();
        for element in list.value.iter() {
            match element.get_ref().as_integer().and_then(|number| number.as_str().parse::<i32>().ok()) {
                Some(code @ 1..=255) => codes.push(code),
                Some(0) => self.report.add(
                    Mistake::at(element.span(), "exit code 0 means that the operation was done")
                        .help("list the codes that mean: certainly not applied"),
                ),
                _ => self.report.add(
                    Mistake::at(element.span(), "an exit code is a whole number from 1 to 255")
                        .help(format!("write `{example}`")),
                ),
            }
        }
        Some(At::new(codes, list.span))
    }

    /// A table within this one.
    pub fn table(&self, key: &str, title: &str, keys: &[&str]) -> Option<Section<'a>> {
        let table = self.typed(key, "a table", title, DeValue::as_table)?;
        Some(Section::open(title, table.span, table.value, keys, self.report))
    }

    /// A table within this one whose keys are not fixed: each key with its value's place.
    pub fn entries(&self, key: &str, example: &str) -> Option<(Section<'a>, Vec<At<&'a str>>)> {
        let table = self.typed(key, "a table", example, DeValue::as_table)?;
        let keys: Vec<At<&'a str>> =
            table.value.keys().map(|key| At::new(key.get_ref().as_ref(), key.span())).collect();
        let names: Vec<&str> = keys.iter().map(|key| key.value).collect();
        Some((Section::open(format!("`{key}`"), table.span, table.value, &names, self.report), keys))
    }

    /// The tables of a list of tables.
    pub fn tables(&self, key: &str, keys: &[&str]) -> Vec<Section<'a>> {
        let title = format!("[[{key}]]");
        let wanted = format!("a list of tables, written `{title}`");
        let Some(list) = self.typed(key, &wanted, &title, DeValue::as_array) else { return Vec::new() };
        let mut sections = Vec::new();
        for element in list.value.iter() {
            match element.get_ref().as_table() {
                Some(table) => {
                    sections.push(Section::open(title.clone(), element.span(), table, keys, self.report));
                }
                None => {
                    let kind = kind_of(element.get_ref());
                    let mistake = Mistake::at(
                        element.span(),
                        format!("`{key}` must hold tables only, and this is {kind}"),
                    );
                    self.report.add(mistake.label(kind).help(format!("write `{title}`")));
                }
            }
        }
        sections
    }
}

/// A length of time for a bare number, of which nobody knows the unit.
fn seconds(number: u64) -> String {
    format!("{number} ms\"` or `\"{number} s")
}

/// Looks a text up in a closed set and reports it if it is not there.
pub(super) fn pick<T: Copy>(
    report: &Report<'_>,
    text: &At<&str>,
    what: &str,
    known: &[(&str, T)],
) -> Option<T> {
    let found = known.iter().find(|(name, _)| *name == text.value);
    if found.is_none() {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let help = match nearest(text.value, names.iter().copied()) {
            Some(name) => format!("did you mean `{name}`? There are: {}", names.join(", ")),
            None => format!("there are: {}", names.join(", ")),
        };
        let mistake = Mistake::at(text.span.clone(), format!("unknown {what} `{}`", text.value));
        report.add(mistake.label(format!("no such {what}")).help(help));
    }
    found.map(|(_, value)| *value)
}

/// Reports a name that is not in kebab case.
pub(super) fn check_kebab(report: &Report<'_>, name: &At<&str>, what: &str) {
    let part =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let kebab = name.value.split('-').all(part) && name.value.starts_with(|c: char| c.is_ascii_lowercase());
    if kebab && name.value.len() <= 64 {
        return;
    }
    let words = name.value.to_lowercase();
    let words: Vec<&str> =
        words.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let suggestion = words.join("-");
    let mistake = if kebab {
        Mistake::at(name.span.clone(), format!("{what} is longer than 64 characters"))
    } else {
        Mistake::at(name.span.clone(), format!("{what} must be in kebab case, and this is `{}`", name.value))
    };
    let help = if !kebab && suggestion.starts_with(|c: char| c.is_ascii_lowercase()) {
        format!("write `{suggestion}`: it names files, columns and command-line arguments")
    } else {
        "write lower-case words with hyphens between them, for example `my-store`".to_owned()
    };
    report.add(mistake.label("not a name that tables can show").help(help));
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// What to do about an unknown key: the key that differs by one slip, the table that it belongs
/// to, a less near key, or all keys that there are.
fn home_of(name: &str, keys: &[&str]) -> String {
    let homes: Vec<String> =
        HOMES
            .iter()
            .filter(|(_, keys)| keys.contains(&name))
            .map(|&(home, _)| {
                if home == TOP {
                    "at the top, before the first table".to_owned()
                } else {
                    format!("in {home}")
                }
            })
            .collect();
    let slip = within(name, keys.iter().copied(), 1);
    if slip.is_none() && !homes.is_empty() {
        return format!("`{name}` belongs {}", homes.join(" or "));
    }
    match slip.or_else(|| nearest(name, keys.iter().copied())) {
        Some(key) => format!("did you mean `{key}`?"),
        None => format!("known keys: {}", keys.join(", ")),
    }
}
