//! Copies of a file's text that may be shown: secrets become asterisks, control characters become
//! question marks. Every octet keeps its place, so that spans stay true.

use std::ops::Range;

use super::document::names_secret;

/// The text without what lies in the spans.
pub(super) fn spans(text: &str, secrets: &[Range<usize>]) -> String {
    let mut is_secret = vec![false; text.len()];
    for span in secrets {
        if let Some(octets) = is_secret.get_mut(span.clone()) {
            octets.fill(true);
        }
    }
    let mut shown = String::with_capacity(text.len());
    for (place, character) in text.char_indices() {
        let stand_in = match character {
            '\n' => None,
            _ if is_secret.get(place) == Some(&true) => Some('*'),
            '\t' => None,
            '\r' => Some(' '),
            _ if character.is_control() => Some('?'),
            _ => None,
        };
        match stand_in {
            Some(stand_in) => shown.extend(std::iter::repeat_n(stand_in, character.len_utf8())),
            None => shown.push(character),
        }
    }
    shown
}

/// The text without what follows a word that announces a secret, up to the end of its line. For
/// text that is not TOML, where nothing better is known about the places of values.
pub(super) fn telling_lines(text: &str) -> String {
    let mut secrets = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let end = start + line.len();
        if let Some(value) = secret_in_line(line) {
            let multiline = ["\"\"\"", "'''"].iter().any(|quotes| line.contains(quotes));
            secrets.push(start + value..if multiline { text.len() } else { end });
        }
        start = end;
    }
    spans(text, &secrets)
}

/// Where in the line the secret may begin.
fn secret_in_line(line: &str) -> Option<usize> {
    line.match_indices('=')
        .map(|(place, _)| place + 1)
        .find(|after| {
            let before = line.get(..after - 1).unwrap_or_default();
            let word = before.trim_end().trim_end_matches(['"', '\'']);
            let key = word
                .rsplit(|c: char| !c.is_alphanumeric() && c != '-' && c != '_')
                .next();
            key.is_some_and(names_secret)
        })
}
