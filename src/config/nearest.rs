//! Which known word a misspelt one was probably meant to be.

/// The candidate that takes the fewest edits, unless it takes more than a third of the letters.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if word.len() > MAX_WORD_OCTETS {
        return None;
    }
    let word = word.to_ascii_lowercase().replace('_', "-");
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, candidate), candidate))
        .filter(|(edits, candidate)| *edits <= candidate.len().div_ceil(3))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, substitutions and swaps of neighbours that turn one word into the other
/// (optimal string alignment), in octets.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    let mut row_above = row.clone();
    let mut above = None;
    for l in left.bytes() {
        let two_above = std::mem::replace(&mut row_above, row.clone());
        let mut before = None;
        let mut edits = row_above.first().map_or(0, |edits| edits + 1);
        row.clear();
        row.push(edits);
        for (place, r) in right.bytes().enumerate() {
            let cell = |row: &[usize], place: usize| row.get(place).copied().unwrap_or(usize::MAX);
            let substituted = cell(&row_above, place) + usize::from(l != r);
            edits = substituted
                .min(edits + 1)
                .min(cell(&row_above, place + 1) + 1);
            if above == Some(r) && before == Some(l) {
                edits = edits.min(cell(&two_above, place - 1) + 1);
            }
            row.push(edits);
            before = Some(r);
        }
        above = Some(l);
    }
    row.last().copied().unwrap_or(0)
}

/// Longer words are no slip of the hand.
const MAX_WORD_OCTETS: usize = 64;

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn distance_counts_edits() {
        for (left, right, edits) in [
            ("", "", 0),
            ("kitten", "sitting", 3),
            ("adress", "address", 1),
            ("pks", "psk", 1),
            ("ab", "ba", 1),
            ("", "abc", 3),
        ] {
            assert_eq!(distance(left, right), edits, "{left} {right}");
        }
    }

    #[test]
    fn suggests_only_what_is_close() {
        let keys = ["address", "psk-file", "psk", "peer-address"];
        assert_eq!(nearest("adress", keys), Some("address"));
        assert_eq!(nearest("psk_file", keys), Some("psk-file"));
        assert_eq!(nearest("bandwidth", keys), None);
    }
}
