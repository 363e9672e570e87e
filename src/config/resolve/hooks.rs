//! What `[hooks]` means.

use std::path::Path;

use toml::Spanned;

use super::super::Hooks;
use super::super::diagnostic::Diagnostic;
use super::super::document::Text;
use super::super::schema::HooksKeys;

pub(super) fn resolve(file: &Path, keys: &HooksKeys, findings: &mut Vec<Diagnostic>) -> Hooks {
    Hooks {
        up: command(file, "up", keys.up.as_ref(), findings),
        down: command(file, "down", keys.down.as_ref(), findings),
    }
}

/// A program with its arguments. The program is a path, relative to the file: what a search would
/// find depends on who starts the daemon.
fn command(
    file: &Path,
    key: &str,
    typed: Option<&Spanned<Vec<Text>>>,
    findings: &mut Vec<Diagnostic>,
) -> Vec<String> {
    let words = typed.map_or(&[][..], |typed| typed.get_ref().as_slice());
    let [program, arguments @ ..] = words else {
        return Vec::new();
    };
    if let Some(word) = words.iter().find(|word| word.get_ref().contains('\0')) {
        let problem = Diagnostic::error(format!("a word of `hooks.{key}` has a NUL in it"));
        findings.push(problem.at(word.span()).help("remove it"));
    }
    if !program.get_ref().contains('/') {
        findings.push(
            Diagnostic::error(format!("the program of `hooks.{key}` must be a path"))
                .at(program.span())
                .help("write its place and its arguments, as in [\"/usr/local/bin/notify\", \"up\"]; no shell reads it"),
        );
    }
    let folder = file.parent().unwrap_or(Path::new(""));
    let path = folder.join(program.get_ref());
    let path = path.to_string_lossy().into_owned();
    let arguments = arguments.iter().map(|word| word.get_ref().clone());
    std::iter::once(path).chain(arguments).collect()
}
