//! What the guest's kernel has of IPsec.

use std::fmt::Write as _;

use super::guest::Guest;

/// One SA of the guest's kernel: two of them are a pair.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// As `ip xfrm state` has them, with the length in bits in place of each key.
    pub(crate) algorithms: Vec<String>,
    /// Whether its packets travel in UDP.
    pub(crate) in_udp: bool,
    /// Whether it has extended sequence numbers.
    pub(crate) esn: bool,
}

/// All SAs of the guest's kernel.
#[track_caller]
pub(crate) fn states(guest: &Guest) -> Vec<State> {
    parse(&guest.expect("ip xfrm state"))
}

fn parse(listed: &str) -> Vec<State> {
    let mut states = Vec::new();
    for line in listed.lines() {
        if line.starts_with("src ") {
            states.push(State::default());
        } else if let Some(state) = states.last_mut() {
            state.read(line.trim());
        }
    }
    states
}

impl State {
    fn read(&mut self, line: &str) {
        let first = line.split_whitespace().next();
        match first {
            Some("aead" | "enc" | "auth-trunc" | "auth") => self.algorithms.push(without_key(line)),
            Some("encap") => self.in_udp = line.contains("espinudp"),
            Some("replay-window") => self.esn = line.contains(" esn"),
            _ => {}
        }
    }
}

fn without_key(line: &str) -> String {
    let mut words = String::new();
    for word in line.split_whitespace() {
        let separator = if words.is_empty() { "" } else { " " };
        let written = match word.strip_prefix("0x") {
            Some(key) => write!(words, "{separator}{}", key.len() * 4),
            None => write!(words, "{separator}{word}"),
        };
        written.unwrap();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::{State, parse};

    #[test]
    fn reads_what_iproute_writes() {
        let listed = "src 192.0.2.2 dst 192.0.2.1\n\
            \tproto esp spi 0xc6dc5f90 reqid 1 mode transport\n\
            \treplay-window 0 flag esn\n\
            \tauth-trunc hmac(sha256) 0x00112233 128\n\
            \tenc cbc(aes) 0x0011\n\
            \tencap type espinudp sport 4500 dport 4500 addr 0.0.0.0\n\
            \tanti-replay esn context:\n\
            src 192.0.2.1 dst 192.0.2.2\n\
            \tproto esp spi 0xc6dc5f91 reqid 1 mode transport\n\
            \treplay-window 32 \n\
            \taead rfc4106(gcm(aes)) 0x001122 128\n";
        let first = State {
            algorithms: vec![
                "auth-trunc hmac(sha256) 32 128".to_owned(),
                "enc cbc(aes) 16".to_owned(),
            ],
            in_udp: true,
            esn: true,
        };
        let second = State {
            algorithms: vec!["aead rfc4106(gcm(aes)) 24 128".to_owned()],
            ..State::default()
        };
        assert_eq!(parse(listed), [first, second]);
    }
}
