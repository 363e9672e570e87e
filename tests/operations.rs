//! `docs/OPERATIONS.md` quotes what the program says, and names keys and counters that there are.

use std::fs;
use std::path::Path;

use secure_gre::metrics::Drop;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn text(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap()
}

/// Every source file below a folder, as one text in which each string literal is on one line.
fn source(folder: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.push_str(&source(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let mut lines = text.split("\\\n");
            all.extend(lines.next());
            all.extend(lines.map(str::trim_start));
            all = all.replace("\\\"", "\"");
        }
    }
    all
}

/// What stands between backticks.
fn quoted(page: &str) -> Vec<&str> {
    page.split('`').skip(1).step_by(2).collect()
}

/// Whether what is quoted is a message of ours: several words, and neither a command nor a line of a file.
fn is_said(text: &str) -> bool {
    const NOT_OURS: &[&str] = &[
        "secure-gre",
        "cargo",
        "chmod",
        "getent",
        "ip",
        "iptables",
        "ping",
        "sysctl",
        "vtysh",
        // A block of commands; words of `ip link add`, and of this page.
        "sh",
        "ttl",
        "PAINS",
    ];
    let mut words = text.split_whitespace();
    let first = words.next().unwrap_or_default();
    words.next().is_some() && !text.contains(" = ") && !NOT_OURS.contains(&first)
}

#[test]
fn the_symptoms_are_what_the_program_says() {
    let page = text("docs/OPERATIONS.md");
    let program = ["src", "ike/src", "esp/src", "gre/src"]
        .map(|folder| source(&Path::new(ROOT).join(folder)));
    let headings: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with("### "))
        .collect();
    assert_eq!(headings.len(), 21, "{headings:#?}");
    let mut checked = 0;
    // Below the headings a word alone may be anything; whole sentences are the program's.
    let sentences = quoted(&page).into_iter().filter(|text| is_said(text));
    let symptoms = headings.iter().flat_map(|heading| quoted(heading));
    for symptom in symptoms.chain(sentences) {
        let symptom = symptom.replace('\n', " ");
        // The key that a line begins with is put before it.
        let said = match symptom.split_once(": ") {
            Some((key, said)) if !key.contains(' ') => said,
            _ => &symptom,
        };
        for part in said.split('…').map(str::trim).filter(|part| part.len() > 3) {
            assert!(
                program.iter().any(|text| text.contains(part)),
                "nothing says {part:?} of {symptom:?}"
            );
            checked += 1;
        }
    }
    assert!(checked > 30, "{checked}");
}

#[test]
fn keys_and_counters_exist() {
    let page = text("docs/OPERATIONS.md");
    let configuration = text("docs/CONFIGURATION.md");
    let names: Vec<_> = Drop::all().map(Drop::name).collect();
    let (mut keys, mut counters) = (0, 0);
    for word in quoted(&page) {
        if word.contains(|c: char| c.is_whitespace() || c.is_uppercase()) {
            continue;
        }
        if word == "peer.toml" {
            continue;
        }
        if word.starts_with("peer.") || word.starts_with("tunnel.") {
            assert!(
                configuration.contains(&format!("`{word}`")),
                "no key {word}"
            );
            keys += 1;
        } else if word.contains('_') && word.bytes().all(|c| c.is_ascii_lowercase() || c == b'_') {
            assert!(names.contains(&word), "no counter {word}");
            counters += 1;
        }
    }
    assert!(keys > 8 && counters > 5, "{keys} keys, {counters} counters");
}
