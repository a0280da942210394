//! Numbers as people read them: `40,321`, `31.2k`, and intervals of them.

use tearproof_core::units::Nanos;

use crate::statistics::Interval;

/// A whole number with a comma every three digits.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number in three significant digits: `0.37`, `12.3`, `950`, `31.2k`, `1.20M`.
pub fn short(number: f64) -> String {
    let (value, unit) = match number {
        n if n >= 999_500.0 => (n / 1e6, "M"),
        n if n >= 999.5 => (n / 1e3, "k"),
        n => (n, ""),
    };
    let decimals = match value {
        v if v == 0.0 || v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}{unit}")
}

/// `count` and the word for it, in the plural where it is one: `1 claim`, `2 claims`. They stay on one
/// line.
pub fn of(number: u64, one: &str, many: &str) -> String {
    format!("{}\u{a0}{}", count(number), if number == 1 { one } else { many })
}

/// An estimate with its interval: `31.2k (29.9k–32.5k)`, or `0 (<3.69)` when nothing was seen.
pub fn interval(interval: Interval, show: impl Fn(f64) -> String) -> String {
    if interval.estimate == 0.0 {
        return format!("0 (<{})", show(interval.high));
    }
    format!("{} ({}–{})", show(interval.estimate), show(interval.low), show(interval.high))
}

/// A length of time in nanoseconds, as a number that need not be whole.
pub fn nanos(ns: f64) -> String {
    if ns < 10.0 { format!("{ns:.2} ns") } else { Nanos(ns.round() as u64).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits_and_group_the_rest() {
        assert_eq!(
            [count(0), count(999), count(40_321), count(1_234_567)],
            ["0", "999", "40,321", "1,234,567"]
        );
        let shown: Vec<String> = [0.0, 0.368, 12.34, 999.4, 999.6, 31_249.0, 999_499.0, 1_200_000.0]
            .into_iter()
            .map(short)
            .collect();
        assert_eq!(shown, ["0", "0.37", "12.3", "999", "1.00k", "31.2k", "999k", "1.20M"]);
    }

    #[test]
    fn an_interval_without_a_hit_is_an_upper_bound() {
        assert_eq!(interval(Interval { estimate: 0.0, low: 0.0, high: 3.689 }, short), "0 (<3.69)");
        assert_eq!(interval(Interval { estimate: 12.0, low: 9.0, high: 15.5 }, short), "12.0 (9.00–15.5)");
    }
}
