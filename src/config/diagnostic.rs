//! What is wrong with a file, and where: collected while it is read, rendered for people.
//!
//! Two forms: the excerpt with a marker that rustc made familiar, and one line per finding
//! (`peer.toml:3:11: …`) for editors and logs. Secrets in the source are masked before a report
//! can hold it.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    /// The file can be used.
    Warning,
    /// The file can't be used.
    Error,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Diagnostic {
    severity: Severity,
    message: String,
    /// Octets of the source; `None`: the file as a whole.
    span: Option<Range<usize>>,
    help: Option<String>,
}

impl Diagnostic {
    /// Something that makes the file unusable.
    pub(super) fn error(message: impl AsRef<str>) -> Self {
        Self {
            severity: Severity::Error,
            message: printable(message.as_ref()),
            span: None,
            help: None,
        }
    }

    /// Something that deserves a second look.
    pub(super) fn warning(message: impl AsRef<str>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(message)
        }
    }

    /// Where it is.
    pub(super) fn at(self, span: Range<usize>) -> Self {
        Self {
            span: Some(span),
            ..self
        }
    }

    /// Where it is, if it is anywhere.
    pub(super) fn at_some(self, span: Option<Range<usize>>) -> Self {
        Self { span, ..self }
    }

    /// Whether the file can't be used.
    pub(super) fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// What to do about it.
    pub(super) fn help(self, help: impl AsRef<str>) -> Self {
        Self {
            help: Some(printable(help.as_ref())),
            ..self
        }
    }
}

/// Messages quote the file, and no terminal is to obey what a file contains.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// Nobody reads more than this of one file.
pub(super) const MAX_FINDINGS: usize = 50;

/// Everything that was found in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    file: PathBuf,
    /// The text of the file with its secrets masked; as many octets as the file has.
    source: String,
    findings: Vec<Diagnostic>,
}

/// Whether a report is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Text only.
    Plain,
    /// With the colours of a terminal.
    Coloured,
}

impl Report {
    /// `source` must hold no secret any more.
    pub(super) fn new(file: &Path, source: String, mut findings: Vec<Diagnostic>) -> Self {
        findings.sort_by_key(|finding| finding.span.as_ref().map(|span| (span.start, span.end)));
        let others = findings.len().saturating_sub(MAX_FINDINGS);
        if others > 0 {
            findings.truncate(MAX_FINDINGS);
            findings.push(Diagnostic::error(format!(
                "there are {others} more like these"
            )));
        }
        Self {
            file: file.to_owned(),
            source,
            findings,
        }
    }

    /// One finding about a file whose text is not known.
    pub(super) fn about_file(file: &Path, finding: Diagnostic) -> Self {
        Self::new(file, String::new(), vec![finding])
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    /// The file that it is about.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Every finding with an excerpt of the file, separated by empty lines; ends with a line end.
    pub fn render(&self, style: Style) -> String {
        let renderer = match style {
            Style::Plain => Renderer::plain(),
            Style::Coloured => Renderer::styled(),
        };
        let path = self.file.display().to_string();
        let mut text = String::new();
        for finding in &self.findings {
            text.push_str(&renderer.render(&[self.group(finding, &path)]));
            text.push_str("\n\n");
        }
        text.pop();
        text
    }

    fn group<'a>(&'a self, finding: &'a Diagnostic, path: &'a str) -> Group<'a> {
        let level = match finding.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let group = match &finding.span {
            Some(span) => level.primary_title(finding.message.as_str()).element(
                Snippet::source(self.source.as_str())
                    .path(path)
                    .annotation(AnnotationKind::Primary.span(span.clone())),
            ),
            None => level
                .primary_title(format!("{path}: {}", finding.message))
                .elements(Vec::<annotate_snippets::Message<'_>>::new()),
        };
        match &finding.help {
            Some(help) => group.element(Level::HELP.message(help.as_str())),
            None => group,
        }
    }

    /// Every finding as one line without a line end: `peer.toml:3:11: error: … (help: …)`.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.findings.iter().map(|finding| self.line(finding))
    }

    fn line(&self, finding: &Diagnostic) -> String {
        let place = match &finding.span {
            Some(span) => {
                let (line, column) = self.position(span.start);
                format!("{}:{line}:{column}", self.file.display())
            }
            None => self.file.display().to_string(),
        };
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let message = &finding.message;
        match &finding.help {
            Some(help) => format!("{place}: {severity}: {message} (help: {help})"),
            None => format!("{place}: {severity}: {message}"),
        }
    }

    /// Line and column from 1; columns count characters.
    fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.source.get(..offset).unwrap_or(&self.source);
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        let line = before.matches('\n').count() + 1;
        let column = before
            .get(line_start..)
            .map_or(0, |text| text.chars().count())
            + 1;
        (line, column)
    }
}

/// The one-line form of every finding.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, line) in self.lines().enumerate() {
            if place > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&line)?;
        }
        Ok(())
    }
}

impl std::error::Error for Report {}
