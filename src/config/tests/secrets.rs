//! How keys are read, and that nothing prints them.

use super::*;

#[test]
fn nothing_prints_the_key() {
    const KEY: &str = "hunter2-hunter2-hunter2";
    for file in [
        MINIMAL.replace("0123456789abcdef0123456789abcdef", KEY),
        format!("[peer]\npsk = '{KEY}'\npsk-file = 'x'"),
        format!("peer = {{ psk = \"{KEY}\", adress = \"\\u0031\" }}"),
        format!("peer.pks = \"{KEY}\""),
        format!("[peer]\npre-shared-key = \"{KEY}\""),
        format!("[peer]\npsk = [\"{KEY}\"]"),
        format!("[peer.ike]\nppk = \"{KEY}\""),
        format!("[peer]\npsk = \"{KEY}"),
        format!("[peer]\npsk = {KEY}"),
        format!("peer = {{ address = 1, psk = \"{KEY}\", = }}"),
        format!("[peer]\npsk = \"\"\"\n{KEY}\nmore\"\"\" 7"),
        format!("[peer]\npsk = \"0x{KEY}\""),
        format!("[peer]\nike = \"{KEY}\"\npsk = {{ psk = \"{KEY}\" }}").replacen(KEY, "x", 1),
    ] {
        let (debug, texts) = match read(&file) {
            Ok(loaded) => (format!("{loaded:?}"), String::new()),
            Err(report) => (
                format!("{report:?}"),
                format!("{report}{}", report.render(Style::Plain)),
            ),
        };
        assert!(
            !debug.contains("hunter2") && !texts.contains("hunter2"),
            "{file}\n{texts}"
        );
    }
}

#[test]
fn a_key_file_loses_one_line_end_only() {
    let folder = Folder::new();
    for (content, key) in [
        ("a key of some length", "a key of some length"),
        ("a key of some length\n", "a key of some length"),
        ("a key of some length\r\n", "a key of some length"),
        ("a key of some length \n\n", "a key of some length \n"),
        ("0x61626364656667686162636465666768\n", "abcdefghabcdefgh"),
        ("0sYWJjZGVmZ2hhYmNkZWZnaA\n", "abcdefghabcdefgh"),
    ] {
        let loaded = folder.with_psk_file(content, 0o600).unwrap();
        assert_eq!(loaded.peer.psk.expose(), key.as_bytes(), "{content:?}");
        assert_eq!(loaded.peer.name, "berlin");
    }
}

/// RFC 8784 §6: half of what the other key needs is not enough for this one.
#[test]
fn a_post_quantum_key_is_read_like_the_other() {
    let folder = Folder::new();
    let with = |ppk: &str, key: &str, mode| {
        folder.write("k1.ppk", key, mode);
        let text = MINIMAL.replace("[tunnel]", &format!("[peer.ike]\nppk = {ppk}\n[tunnel]"));
        only(load(&folder.write("berlin.toml", text, 0o600)))
    };
    let given = "{ id = 'k1', file = 'k1.ppk' }";
    let key = "a key that is thirty-two octets!";
    let One { peer, warnings } = with(given, &format!("{key}\n"), 0o600).unwrap();
    assert!(warnings.is_empty(), "{warnings}");
    let ppk = peer.ppk.unwrap();
    assert_eq!((ppk.id.as_str(), ppk.required), ("k1", false));
    assert_eq!(ppk.secret.expose(), key.as_bytes());
    let required = "{ id = 'k1', file = 'k1.ppk', required = true }";
    let One { peer, .. } = with(required, key, 0o600).unwrap();
    assert!(peer.ppk.unwrap().required);
    assert!(with("'off'", key, 0o600).unwrap().peer.ppk.is_none());

    let short = with(given, "too short a key", 0o600).unwrap();
    let said = short.warnings.to_string();
    assert!(
        said.contains("post-quantum pre-shared key has 15 octets"),
        "{said}"
    );
    let said = with(given, key, 0o640).unwrap_err().to_string();
    assert!(
        said.contains("other users") && said.contains("chmod 600"),
        "{said}"
    );
}

#[test]
fn a_secret_that_others_can_read_is_refused() {
    let folder = Folder::new();
    for mode in [0o640, 0o604, 0o620, 0o602] {
        let said = folder
            .with_psk_file("a key of some length", mode)
            .unwrap_err()
            .to_string();
        assert!(
            said.contains("other users") && said.contains("chmod 600"),
            "{mode:o}: {said}"
        );
    }
    let said = load(&folder.write("inline.toml", MINIMAL, 0o644))
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("chmod 600") && said.contains("inline.toml:4:7:"),
        "{said}"
    );
    assert!(load(&folder.write("inline.toml", MINIMAL, 0o600)).is_ok());
}
