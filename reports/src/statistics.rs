//! Confidence intervals for what was counted: Clopper and Pearson's exact interval for a
//! proportion (*Biometrika* 26, 1934), torn reads per million, and the race window that they imply.
//!
//! The interval treats reads as independent. Reads that race one and the same write are not
//! entirely, so it is a little too narrow where readers are many.
//!
//! The regularised incomplete beta function is evaluated here, because the one in statrs stops its
//! continued fraction after 140 terms, and millions of reads need some thousands.

use statrs::function::gamma::ln_gamma;
use tearproof_core::run::TornReads;

/// The confidence that reports state, in both directions together.
pub const CONFIDENCE: f64 = 0.95;

/// An estimate with its two-sided confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// What was measured.
    pub estimate: f64,
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
}

impl Interval {
    /// The same interval in another unit.
    pub fn scaled(self, factor: f64) -> Self {
        Self { estimate: self.estimate * factor, low: self.low * factor, high: self.high * factor }
    }
}

/// The share of `hits` in `trials` with its exact interval; `None` without trials, or when there
/// are more hits than trials.
pub fn clopper_pearson(hits: u64, trials: u64, confidence: f64) -> Option<Interval> {
    if trials == 0 || hits > trials {
        return None;
    }
    let tail = (1.0 - confidence) / 2.0;
    let (k, n) = (hits as f64, trials as f64);
    let low = if hits == 0 { 0.0 } else { beta_quantile(k, n - k + 1.0, tail) };
    let high = if hits == trials { 1.0 } else { beta_quantile(k + 1.0, n - k, 1.0 - tail) };
    Some(Interval { estimate: k / n, low, high })
}

/// Torn reads in a million reads.
pub fn torn_per_million(torn: &TornReads) -> Option<Interval> {
    clopper_pearson(torn.torn, torn.reads, CONFIDENCE).map(|share| share.scaled(1e6))
}

/// For how many nanoseconds of each write a read would be torn: the share of torn reads is the
/// share of the time in which the file could be seen torn, and that time is divided among the
/// writes. `None` without reads or writes.
pub fn race_window_ns(torn: &TornReads) -> Option<Interval> {
    if torn.writes == 0 {
        return None;
    }
    let share = clopper_pearson(torn.torn, torn.reads, CONFIDENCE)?;
    Some(share.scaled(torn.elapsed_ns as f64 / torn.writes as f64))
}

/// The `x` at which the distribution function of Beta(a, b) is `probability`, by bisection.
fn beta_quantile(a: f64, b: f64, probability: f64) -> f64 {
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    // The bounds of small proportions matter relative to themselves: stop there, not at an
    // absolute distance. Two hundred halvings end in any case.
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if high - low <= 1e-12 * middle {
            break;
        }
        if beta_distribution(a, b, middle) < probability {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// The regularised incomplete beta function, by its continued fraction (DLMF 8.17.22) in Lentz's
/// evaluation.
fn beta_distribution(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    // The fraction converges fast on the near side of the mean alone.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - beta_distribution_near(b, a, 1.0 - x, (-x).ln_1p(), x.ln());
    }
    beta_distribution_near(a, b, x, x.ln(), (-x).ln_1p())
}

fn beta_distribution_near(a: f64, b: f64, x: f64, ln_x: f64, ln_rest: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away_from_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * ln_x + b * ln_rest).exp() / a;
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    // It takes in the order of the square root of the larger parameter.
    let terms = 500 + (20.0 * a.max(b).sqrt()) as u64;
    for m in 1..=terms {
        let m = m as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for numerator in [even, odd] {
            d = 1.0 / away_from_zero(1.0 + numerator * d);
            c = away_from_zero(1.0 + numerator / c);
            change = c * d;
            fraction *= change;
        }
        if (change - 1.0).abs() < 1e-15 {
            break;
        }
    }
    (front * fraction).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(actual: f64, expected: f64, relative: f64) {
        assert!((actual - expected).abs() <= relative * expected.abs(), "{actual} is not {expected}");
    }

    #[test]
    fn no_hit_has_the_closed_form() {
        for trials in [1_u64, 10, 1_000, 1_000_000, 100_000_000] {
            let interval = clopper_pearson(0, trials, 0.95).expect("trials");
            assert_eq!((interval.estimate, interval.low), (0.0, 0.0));
            close(interval.high, -(0.025_f64.ln() / trials as f64).exp_m1(), 1e-7);
        }
        close(clopper_pearson(0, 1_000, 0.95).expect("trials").high, 0.003_682_084, 1e-6);
    }

    #[test]
    fn published_values_are_met() {
        let five = clopper_pearson(5, 100, 0.95).expect("trials");
        close(five.low, 0.016_431_88, 1e-6);
        close(five.high, 0.112_834_9, 1e-6);
        let half = clopper_pearson(5, 10, 0.95).expect("trials");
        close(half.low, 0.187_086, 1e-5);
        close(half.high, 0.812_914, 1e-5);
        let one = clopper_pearson(1, 10, 0.95).expect("trials");
        close(one.low, 0.002_528_6, 1e-4);
        close(one.high, 0.445_016_1, 1e-6);
    }

    #[test]
    fn hits_and_misses_mirror_each_other() {
        for (hits, trials) in [(0, 7), (3, 7), (31, 1_000), (400_000, 1_000_000)] {
            let of_hits = clopper_pearson(hits, trials, 0.95).expect("trials");
            let of_misses = clopper_pearson(trials - hits, trials, 0.95).expect("trials");
            close(of_hits.high, 1.0 - of_misses.low, 1e-9);
        }
    }

    #[test]
    fn large_counts_approach_the_normal_interval() {
        for (hits, trials) in [(300_000_u64, 1_000_000_u64), (5_000_000, 10_000_000), (20_000, 50_000_000)] {
            let interval = clopper_pearson(hits, trials, 0.95).expect("trials");
            let share = hits as f64 / trials as f64;
            let half = 1.959_964 * (share * (1.0 - share) / trials as f64).sqrt();
            close(interval.high - share, half, 0.01);
            close(share - interval.low, half, 0.01);
        }
    }

    #[test]
    fn the_race_window_is_torn_time_a_write() {
        // A tenth of one second was torn, in a thousand writes: 100 µs each.
        let torn = TornReads { reads: 1_000_000, torn: 100_000, writes: 1_000, elapsed_ns: 1_000_000_000 };
        let window = race_window_ns(&torn).expect("reads and writes");
        close(window.estimate, 100_000.0, 1e-12);
        assert!(window.low < window.estimate && window.estimate < window.high);
        assert_eq!(race_window_ns(&TornReads { writes: 0, ..torn }), None);
        assert_eq!(torn_per_million(&TornReads { reads: 0, torn: 0, ..torn }), None);
    }
}
