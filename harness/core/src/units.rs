//! Quantities as people write them: `4 KiB`, `1 ms`, `200/s`.

use std::fmt;
use std::time::Duration;

/// A text that is not the quantity that it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {what}: write {example}")]
pub struct UnitError {
    text: String,
    what: &'static str,
    example: &'static str,
}

fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    Some((number, text[end..].trim()))
}

/// Parses a number of bytes: `400 B`, `4 KiB`, `1 MiB`.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let error = || UnitError { text: text.to_owned(), what: "size", example: "`400 B`, `4 KiB` or `1 MiB`" };
    let (number, unit) = split(text).ok_or_else(error)?;
    let factor = match unit {
        "B" | "" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err(error()),
    };
    let bytes = number * factor;
    if bytes.fract() != 0.0 || bytes > u64::MAX as f64 / 2.0 {
        return Err(error());
    }
    Ok(bytes as u64)
}

/// Parses a length of time: `250 us`, `1 ms`, `2 s`, `5 min`. A bare number counts seconds.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let error =
        || UnitError { text: text.to_owned(), what: "length of time", example: "`250 us`, `1 ms` or `2 s`" };
    let (number, unit) = split(text).ok_or_else(error)?;
    let seconds = match unit {
        "ns" => 1e-9,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" | "" => 1.0,
        "min" | "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(error()),
    };
    Duration::try_from_secs_f64(number * seconds).map_err(|_| error())
}

/// Parses a rate: `200/s`, `5/min`. The unit is operations a second.
pub fn parse_rate(text: &str) -> Result<f64, UnitError> {
    let error = || UnitError { text: text.to_owned(), what: "rate", example: "`200/s`" };
    let (number, unit) = text.split_once('/').ok_or_else(error)?;
    let number: f64 = number.trim().parse().map_err(|_| error())?;
    let seconds = match unit.trim() {
        "s" => 1.0,
        "min" => 60.0,
        _ => return Err(error()),
    };
    let rate = number / seconds;
    if rate.is_finite() && rate > 0.0 { Ok(rate) } else { Err(error()) }
}

/// A number of bytes, shown with the largest binary unit that divides it evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        for (unit, factor) in UNITS {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return write!(f, "{} {unit}", self.0 / factor);
            }
        }
        write!(f, "{} B", self.0)
    }
}

/// A length of time in nanoseconds, shown with three significant digits and a fitting unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nanos(pub u64);

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, unit) = match self.0 {
            0..1_000 => return f.pad(&format!("{} ns", self.0)),
            1_000..1_000_000 => (self.0 as f64 / 1e3, "µs"),
            1_000_000..1_000_000_000 => (self.0 as f64 / 1e6, "ms"),
            _ => (self.0 as f64 / 1e9, "s"),
        };
        let decimals = if value < 9.995 {
            2
        } else if value < 99.95 {
            1
        } else {
            0
        };
        f.pad(&format!("{value:.decimals$} {unit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_and_whole() {
        assert_eq!(parse_size("400 B"), Ok(400));
        assert_eq!(parse_size("4KiB"), Ok(4096));
        assert_eq!(parse_size("1.5 KiB"), Ok(1536));
        assert!(parse_size("4 kilo").is_err());
        assert!(parse_size("0.3 B").is_err());
        assert!(parse_size("-1 B").is_err());
    }

    #[test]
    fn durations_and_rates_carry_their_unit() {
        assert_eq!(parse_duration("1 ms"), Ok(Duration::from_millis(1)));
        assert_eq!(parse_duration("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(parse_rate("200/s"), Ok(200.0));
        assert!(parse_rate("0/s").is_err());
        assert!(parse_duration("soon").is_err());
    }

    #[test]
    fn quantities_are_shown_with_a_fitting_unit() {
        assert_eq!(Bytes(4096).to_string(), "4 KiB");
        assert_eq!(Bytes(400).to_string(), "400 B");
        assert_eq!(Nanos(999).to_string(), "999 ns");
        assert_eq!(Nanos(1_500).to_string(), "1.50 µs");
        assert_eq!(Nanos(99_960).to_string(), "100 µs");
        assert_eq!(Nanos(2_000_000_000).to_string(), "2.00 s");
    }
}
