//! What the documents name is there.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn documents() -> Vec<PathBuf> {
    let folders = ["", "docs", "docs/decisions", "docs/rules"];
    let files = folders.iter().flat_map(|folder| {
        let entries = fs::read_dir(root().join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().path())
    });
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect()
}

/// Every second piece between `open` and `close` on a line.
fn between<'t>(line: &'t str, open: &'t str, close: &'t str) -> impl Iterator<Item = &'t str> {
    line.split(open)
        .skip(1)
        .filter_map(move |rest| rest.split_once(close).map(|(inner, _)| inner))
}

#[test]
fn links_lead_somewhere() {
    let mut seen = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for target in text.lines().flat_map(|line| between(line, "](", ")")) {
            let path = target.split('#').next().unwrap();
            if path.is_empty() || target.contains("://") {
                continue;
            }
            let there = document.parent().unwrap().join(path);
            assert!(there.exists(), "{}: {target}", document.display());
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen}");
}

/// Paths are written from the root, so that they can be opened as they stand.
#[test]
fn the_architecture_names_files_that_exist() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (_, chapters) = text.split_once("## Who may know whom").unwrap();
    let is_path = |name: &&str| {
        let of_a_path = |octet: u8| octet.is_ascii_alphanumeric() || b"/._-".contains(&octet);
        name.contains('/') && name.bytes().all(of_a_path)
    };
    let mut seen = 0;
    let names = chapters
        .lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2));
    for name in names.filter(is_path) {
        let stem = root().join(name.trim_end_matches('/'));
        assert!(
            stem.exists() || stem.with_extension("rs").exists(),
            "{name}"
        );
        seen += 1;
    }
    assert!(seen > 50, "{seen}");
}
