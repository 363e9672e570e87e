//! TOML with places: tables that are read key by key, so that one pass finds everything that is
//! wrong with them. A deserializer would stop at the first fault.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};
use zeroize::{Zeroize, Zeroizing};

use super::diagnostic::Diagnostic;
use super::nearest::nearest;

/// A text value and its place.
pub(super) type Text = Spanned<String>;

/// The place of a part of a text; of the whole where escapes make the part's unknowable.
pub(super) fn part(text: &Text, range: Range<usize>) -> Range<usize> {
    let span = text.span();
    if span.len() == text.get_ref().len() + 2 {
        span.start + 1 + range.start..span.start + 1 + range.end
    } else {
        span
    }
}

/// A key without which the file makes no sense.
#[derive(Clone)]
pub(super) enum Required<T> {
    /// It is not there.
    Absent,
    /// It is there, and was reported.
    Wrong,
    /// As it was typed.
    Given(Spanned<T>),
}

/// A key whose feature is not in this version.
pub(super) struct Later {
    /// The key.
    pub(super) key: &'static str,
    /// The values, as TOML, that say what this version does anyway; often none.
    pub(super) does: &'static [&'static str],
}

/// A table that is being read. Every key that is asked for becomes known; [`Section::finish`]
/// reports the others.
pub(super) struct Section<'t, 'i> {
    path: String,
    table: Cow<'t, DeTable<'i>>,
    span: Option<Range<usize>>,
    known: Vec<&'static str>,
}

impl<'t, 'i> Section<'t, 'i> {
    /// The whole file.
    pub(super) fn root(document: &'t Spanned<DeTable<'i>>) -> Self {
        Self {
            path: String::new(),
            table: Cow::Borrowed(document.get_ref()),
            span: None,
            known: Vec::new(),
        }
    }

    /// A table that is not there: every key of it has its default.
    fn absent(path: String) -> Self {
        Self {
            path,
            table: Cow::Owned(DeTable::new()),
            span: None,
            known: Vec::new(),
        }
    }

    /// A table that should be there.
    fn inside(
        path: String,
        value: &'t Spanned<DeValue<'i>>,
        findings: &mut Vec<Diagnostic>,
    ) -> Self {
        let DeValue::Table(table) = value.get_ref() else {
            findings.push(wrong_type(&format!("`{path}`"), "a table", value));
            return Self::absent(path);
        };
        Self {
            path,
            table: Cow::Borrowed(table),
            span: Some(value.span()),
            known: Vec::new(),
        }
    }

    /// The place of the table's heading, if it is there.
    pub(super) fn span(&self) -> Option<Range<usize>> {
        self.span.clone()
    }

    /// Whether a key is a table.
    pub(super) fn is_table(&self, key: &str) -> bool {
        let value = self.table.get(key);
        value.is_some_and(|value| value.get_ref().is_table())
    }

    /// The value of a key; `None` if it is absent, or reported because it has the wrong type.
    pub(super) fn take<T: FromToml>(
        &mut self,
        key: &'static str,
        findings: &mut Vec<Diagnostic>,
    ) -> Option<Spanned<T>> {
        self.known.push(key);
        let value = self.table.get(key)?;
        match T::from_toml(value.get_ref(), findings) {
            Some(typed) => Some(Spanned::new(value.span(), typed)),
            None => {
                findings.push(wrong_type(
                    &format!("`{}`", self.name_of(key)),
                    T::EXPECTED,
                    value,
                ));
                None
            }
        }
    }

    /// As [`Section::take`], and tells a key that is absent from one that was reported.
    pub(super) fn require<T: FromToml>(
        &mut self,
        key: &'static str,
        findings: &mut Vec<Diagnostic>,
    ) -> Required<T> {
        match self.take(key, findings) {
            Some(value) => Required::Given(value),
            None if self.table.contains_key(key) => Required::Wrong,
            None => Required::Absent,
        }
    }

    /// A table inside this one, whether it is there or not.
    pub(super) fn section(
        &mut self,
        key: &'static str,
        findings: &mut Vec<Diagnostic>,
    ) -> Section<'_, 'i> {
        self.known.push(key);
        let path = self.name_of(key);
        let Some(value) = self.table.get(key) else {
            return Section::absent(path);
        };
        Section::inside(path, value, findings)
    }

    /// As [`Section::section`], of a key that may also be a word, which stands for no table.
    pub(super) fn section_unless(
        &mut self,
        word: &str,
        key: &'static str,
        findings: &mut Vec<Diagnostic>,
    ) -> Section<'_, 'i> {
        let value = self.table.get(key);
        if value.is_some_and(|value| value.get_ref().as_str() == Some(word)) {
            self.known.push(key);
            return Section::absent(self.name_of(key));
        }
        self.section(key, findings)
    }

    /// As [`Section::section`], of a key that may also be written `[[key]]`, several times; one table
    /// that is not there where it is not written at all.
    pub(super) fn sections(
        &mut self,
        key: &'static str,
        findings: &mut Vec<Diagnostic>,
    ) -> Vec<Section<'_, 'i>> {
        let value = self.table.get(key);
        let list = value.and_then(|value| value.get_ref().as_array());
        if list.is_none_or(|list| list.is_empty()) {
            return vec![self.section(key, findings)];
        }
        self.known.push(key);
        let path = self.name_of(key);
        let value = self.table.get(key);
        let list = value.and_then(|value| value.get_ref().as_array());
        let tables = list.into_iter().flatten();
        tables
            .map(|table| Section::inside(path.clone(), table, findings))
            .collect()
    }

    /// The tables that are written `[[key]]`, none or several times.
    pub(super) fn list(
        &mut self,
        key: &'static str,
        findings: &mut Vec<Diagnostic>,
    ) -> Vec<Section<'_, 'i>> {
        self.known.push(key);
        let path = self.name_of(key);
        let Some(value) = self.table.get(key) else {
            return Vec::new();
        };
        let Some(list) = value.get_ref().as_array() else {
            let problem = Diagnostic::error(format!("`{path}` is a list of tables"));
            findings.push(problem.at(value.span()).help(format!("write [[{path}]]")));
            return Vec::new();
        };
        let tables = list.iter();
        tables
            .map(|table| Section::inside(path.clone(), table, findings))
            .collect()
    }

    /// Reports keys of later versions, unless they say what this version does anyway.
    pub(super) fn refuse_later(&mut self, keys: &[Later], findings: &mut Vec<Diagnostic>) {
        for Later { key, does } in keys {
            self.known.push(key);
            let Some((written, value)) = self.table.get_key_value(*key) else {
                continue;
            };
            if does.iter().any(|literal| says(value.get_ref(), literal)) {
                continue;
            }
            let help = match does {
                [] => "remove it".to_owned(),
                does => format!("remove it, or write {key} = {}", does.join(" or ")),
            };
            let span = match value.get_ref() {
                DeValue::Table(_) => written.span(),
                _ => value.span(),
            };
            let name = self.name_of(key);
            let message = match does {
                [] => format!("`{name}` is not in this version"),
                _ => format!("this value of `{name}` is not in this version"),
            };
            findings.push(Diagnostic::error(message).at(span).help(help));
        }
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self, findings: &mut Vec<Diagnostic>) {
        for key in self.table.keys() {
            let word: &str = key.get_ref();
            if self.known.contains(&word) {
                continue;
            }
            let place = match self.path.as_str() {
                "" => "at the top of the file".to_owned(),
                path => format!("in [{path}]"),
            };
            let help = match nearest(word, self.known.iter().copied()) {
                Some(key) => format!("did you mean `{key}`?"),
                None => format!("the keys {place} are {}", self.known.join(", ")),
            };
            findings.push(
                Diagnostic::error(format!("unknown key `{word}` {place}"))
                    .at(key.span())
                    .help(help),
            );
        }
    }

    fn name_of(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }
}

fn wrong_type(name: &str, expected: &str, value: &Spanned<DeValue<'_>>) -> Diagnostic {
    let found = match value.get_ref() {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    Diagnostic::error(format!("{name} must be {expected}, but this is {found}")).at(value.span())
}

/// Whether a value equals a literal.
fn says(value: &DeValue<'_>, literal: &str) -> bool {
    DeValue::parse(literal).is_ok_and(|literal| equal(value, literal.get_ref()))
}

fn equal(left: &DeValue<'_>, right: &DeValue<'_>) -> bool {
    match (left, right) {
        (DeValue::String(left), DeValue::String(right)) => left == right,
        (DeValue::Integer(left), DeValue::Integer(right)) => integer(left) == integer(right),
        (DeValue::Boolean(left), DeValue::Boolean(right)) => left == right,
        (DeValue::Array(left), DeValue::Array(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .zip(right.iter())
                    .all(|(l, r)| equal(l.get_ref(), r.get_ref()))
        }
        _ => false,
    }
}

/// A type that a key can have.
pub(super) trait FromToml: Sized {
    /// How people call it.
    const EXPECTED: &'static str;

    /// `None`: the value has another type. Faults further inside are reported here.
    fn from_toml(value: &DeValue<'_>, findings: &mut Vec<Diagnostic>) -> Option<Self>;
}

impl FromToml for String {
    const EXPECTED: &'static str = "a text in quotes";

    fn from_toml(value: &DeValue<'_>, _: &mut Vec<Diagnostic>) -> Option<Self> {
        value.as_str().map(ToOwned::to_owned)
    }
}

impl FromToml for Zeroizing<String> {
    const EXPECTED: &'static str = String::EXPECTED;

    fn from_toml(value: &DeValue<'_>, _: &mut Vec<Diagnostic>) -> Option<Self> {
        value.as_str().map(|text| Self::new(text.to_owned()))
    }
}

impl FromToml for bool {
    const EXPECTED: &'static str = "true or false";

    fn from_toml(value: &DeValue<'_>, _: &mut Vec<Diagnostic>) -> Option<Self> {
        value.as_bool()
    }
}

impl FromToml for i128 {
    const EXPECTED: &'static str = "a whole number";

    fn from_toml(value: &DeValue<'_>, _: &mut Vec<Diagnostic>) -> Option<Self> {
        value.as_integer().and_then(integer)
    }
}

impl FromToml for f64 {
    const EXPECTED: &'static str = "a number";

    fn from_toml(value: &DeValue<'_>, _: &mut Vec<Diagnostic>) -> Option<Self> {
        match value {
            DeValue::Float(float) => float.as_str().parse().ok(),
            DeValue::Integer(number) => integer(number).and_then(|n| n.to_string().parse().ok()),
            _ => None,
        }
    }
}

/// A value that is a word or a number.
#[derive(Clone)]
pub(super) enum WordOrNumber {
    /// In quotes.
    Word(String),
    /// Without.
    Number(i128),
}

impl WordOrNumber {
    /// Whether it is this word.
    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self, Self::Word(text) if text == word)
    }
}

impl FromToml for WordOrNumber {
    const EXPECTED: &'static str = "a number or a text in quotes";

    fn from_toml(value: &DeValue<'_>, findings: &mut Vec<Diagnostic>) -> Option<Self> {
        String::from_toml(value, findings)
            .map(Self::Word)
            .or_else(|| i128::from_toml(value, findings).map(Self::Number))
    }
}

impl FromToml for Vec<Text> {
    const EXPECTED: &'static str = "a list of texts, as in [\"…\", \"…\"]";

    fn from_toml(value: &DeValue<'_>, findings: &mut Vec<Diagnostic>) -> Option<Self> {
        let array: &DeArray<'_> = value.as_array()?;
        let mut texts = Self::with_capacity(array.len());
        for element in array.iter() {
            match element.get_ref().as_str() {
                Some(text) => texts.push(Spanned::new(element.span(), text.to_owned())),
                None => findings.push(wrong_type(
                    "an element of the list",
                    String::EXPECTED,
                    element,
                )),
            }
        }
        Some(texts)
    }
}

fn integer(number: &toml::de::DeInteger<'_>) -> Option<i128> {
    i128::from_str_radix(number.as_str(), number.radix()).ok()
}

/// The places of every value that may be a secret, by the name of its key.
pub(super) fn secret_spans(table: &DeTable<'_>) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    for (key, value) in table.iter() {
        if holds_secret(key.get_ref(), value.get_ref()) {
            spans.push(value.span());
        } else {
            secret_spans_inside(value.get_ref(), &mut spans);
        }
    }
    spans
}

fn secret_spans_inside(value: &DeValue<'_>, spans: &mut Vec<Range<usize>>) {
    match value {
        DeValue::Table(table) => spans.extend(secret_spans(table)),
        DeValue::Array(array) => {
            array
                .iter()
                .for_each(|element| secret_spans_inside(element.get_ref(), spans));
        }
        _ => {}
    }
}

/// Whether a key, misspelt perhaps, holds a secret.
pub(super) fn names_secret(key: &str) -> bool {
    const HARMLESS: [&str; 2] = ["psk-file", "ppk"];
    const TELLING: [&str; 4] = ["psk", "secret", "pass", "shared"];
    let key = key.to_ascii_lowercase();
    !HARMLESS.contains(&key.as_str())
        && (TELLING.iter().any(|word| key.contains(word)) || nearest(&key, ["psk"]).is_some())
}

/// The same of a value; under `ppk` belongs a table, but who wrote a text there has written the key.
fn holds_secret(key: &str, value: &DeValue<'_>) -> bool {
    names_secret(key) || key == "ppk" && value.is_str()
}

/// Wipes the copies of secrets that unescaping made. What was not escaped lies in the source, which
/// its owner wipes.
pub(super) fn wipe_secrets(table: DeTable<'_>) {
    for (key, value) in table {
        let secret = holds_secret(key.get_ref(), value.get_ref());
        wipe_value(value.into_inner(), secret);
    }
}

fn wipe_value(value: DeValue<'_>, secret: bool) {
    match value {
        DeValue::String(Cow::Owned(mut text)) if secret => text.zeroize(),
        DeValue::Table(table) => wipe_secrets(table),
        DeValue::Array(array) => {
            array
                .into_iter()
                .for_each(|element| wipe_value(element.into_inner(), secret));
        }
        _ => {}
    }
}
