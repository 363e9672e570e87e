//! Whatever a file says, it is read or refused.

use proptest::prelude::*;

use super::*;

/// Text that looks enough like a configuration to get past the parser.
fn plausible() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "[peer]",
        "[tunnel]",
        "[[tunnel]]",
        "[peer.ike]",
        "peer",
        "address",
        "psk",
        "psk-file",
        "mtu",
        "key",
        "ttl",
        "routes",
        "retransmit",
        "half-open",
        "proposals",
        "first",
        " = ",
        " = ",
        "\n",
        "\n",
        "{ ",
        " }",
        "[",
        "]",
        ", ",
        "\"",
        "\"198.51.100.2\"",
        "\"10.0.0.1/30\"",
        "\"::1/0\"",
        "\"0.0.0.0/0\"",
        "\"aes256gcm16-esn\"",
        "\"\\u00e9\"",
        "0x7fffffffffffffff",
        "-1",
        "1e400",
        "nan",
        "true",
        "'''",
        "é",
        "\u{1b}[31m",
        "#",
    ]);
    prop::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

fn never_panics(text: &str) {
    if let Err(report) = read(text) {
        assert!(!report.is_empty());
        assert!(!report.to_string().contains('\u{1b}'));
        assert!(!report.render(Style::Plain).contains('\u{1b}'));
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        never_panics(&text);
    }

    #[test]
    fn no_plausible_text_panics(text in plausible()) {
        never_panics(&text);
    }
}
