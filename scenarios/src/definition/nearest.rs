//! The name that somebody probably meant: the known one at the smallest edit distance.
//!
//! Distance as in Damerau (1964), in its restricted form: an insertion, a deletion, a substitution
//! and a swap of neighbours count one each.

/// The nearest known name, if it is near enough that a slip of the fingers explains the difference.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    within(name, known, (name.chars().count() / 3).max(1))
}

/// The nearest known name at this distance or less.
pub(super) fn within<'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
    most: usize,
) -> Option<&'a str> {
    let lower = name.to_lowercase().replace('_', "-");
    let (distance, best) = known
        .into_iter()
        .map(|candidate| (distance(&lower, &candidate.replace('_', "-")), candidate))
        .min_by_key(|&(distance, _)| distance)?;
    (distance <= most).then_some(best)
}

fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let substituted = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut least = substituted.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_fingers_finds_the_name_and_another_word_does_not() {
        let known = ["temp-rename", "temp-fsync-rename", "flock-sibling"];
        assert_eq!(nearest("temp-renmae", known), Some("temp-rename"));
        assert_eq!(nearest("Temp_Rename", known), Some("temp-rename"));
        assert_eq!(nearest("flok-sibling", known), Some("flock-sibling"));
        assert_eq!(nearest("mutex", known), None);
        assert_eq!(nearest("", known), None);
    }

    #[test]
    fn swapped_neighbours_are_one_slip() {
        assert_eq!(distance("raed", "read"), 1);
        assert_eq!(distance("read", "read"), 0);
        assert_eq!(distance("", "read"), 4);
    }
}
