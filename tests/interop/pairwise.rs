//! Which rows of a product of values are enough for every pair of values to meet.
//!
//! Most of what goes wrong between two peers needs two circumstances, not five. Greedy: the row that
//! brings the most new pairs comes next; of several such rows, one with values that were rare so far.
//! Nothing is left to chance, so that the choice is the same each time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// A value and its column.
type Value = (usize, &'static str);
/// Values of two columns.
type Pair = (Value, Value);

/// Chooses of all `possible` rows some in which every pair meets that meets in any of them.
/// `values` are those of a row, one per column.
pub(super) fn choose<R: Copy, const N: usize>(
    possible: &[R],
    values: impl Fn(&R) -> [&'static str; N],
) -> Vec<R> {
    let columns = |row: &R| values(row).into_iter().enumerate().collect::<Vec<Value>>();
    let rows: Vec<_> = possible
        .iter()
        .map(|row| (*row, columns(row), pairs(&columns(row))))
        .collect();
    let mut missing: BTreeSet<Pair> = rows.iter().flat_map(|(.., pairs)| pairs.clone()).collect();
    let mut uses = BTreeMap::<Value, usize>::new();
    let mut chosen = Vec::new();
    while !missing.is_empty() {
        let worth = |(_, values, pairs): &&(R, Vec<Value>, Vec<Pair>)| {
            let new = pairs.iter().filter(|pair| missing.contains(pair)).count();
            let used: usize = values.iter().filter_map(|value| uses.get(value)).sum();
            (new, Reverse(used))
        };
        let best = rows.iter().max_by_key(worth);
        let (row, values, pairs) = best.expect("what is missing is in a row");
        chosen.push(*row);
        for value in values {
            *uses.entry(*value).or_default() += 1;
        }
        for pair in pairs {
            missing.remove(pair);
        }
    }
    chosen
}

fn pairs(values: &[Value]) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (at, first) in values.iter().enumerate() {
        pairs.extend(values[at + 1..].iter().map(|second| (*first, *second)));
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::{choose, pairs};

    const COLORS: [&str; 3] = ["red", "green", "blue"];
    const SIZES: [&str; 3] = ["small", "large", "huge"];
    const SHAPES: [&str; 2] = ["round", "square"];

    fn product() -> Vec<[&'static str; 3]> {
        let mut rows = Vec::new();
        for color in COLORS {
            for size in SIZES {
                rows.extend(SHAPES.map(|shape| [color, size, shape]));
            }
        }
        rows
    }

    #[test]
    fn hardly_more_rows_than_the_two_longest_columns_need() {
        let chosen = choose(&product(), |row| *row);
        assert!((9..=10).contains(&chosen.len()), "{chosen:?}");
        for (first, second) in [(0, "blue"), (1, "huge")]
            .into_iter()
            .flat_map(|first| SHAPES.map(|shape| (first, shape)))
        {
            let meets = |row: &[&str; 3]| row[first.0] == first.1 && row[2] == second;
            assert!(chosen.iter().any(meets), "{first:?} {second}");
        }
    }

    #[test]
    fn a_pair_that_is_impossible_is_not_missed() {
        let mut rows = product();
        rows.retain(|row| !(row[0] == "red" && row[2] == "square"));
        let chosen = choose(&rows, |row| *row);
        assert!(chosen.iter().all(|row| rows.contains(row)));
        assert!(chosen.iter().any(|row| row[0] == "red"));
    }

    #[test]
    fn each_two_columns_are_a_pair() {
        let pairs = pairs(&[(0, "red"), (1, "small"), (2, "round")]);
        assert_eq!(
            pairs,
            [
                ((0, "red"), (1, "small")),
                ((0, "red"), (2, "round")),
                ((1, "small"), (2, "round")),
            ]
        );
    }
}
