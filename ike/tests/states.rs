//! What an authenticated IKE SA answers to every kind of request in every state that it can be in, as
//! a table that is read and reviewed: `tests/states.txt`. Where the two differ on purpose, write the
//! table anew with `STATES=write cargo test -p secure-gre-ike --test states`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod support;

use std::fmt::Write as _;

use secure_gre_ike::event::EspSpi;
use secure_gre_ike::wire::{Delete, ExchangeType, Payload};
use support::Setup;
use support::bench::Bench;
use support::puppet::{
    Half, INBOUND, Session, esp_proposals, pair_answer, pair_payloads, rekeys, up_as_responder,
};

const CREATE: ExchangeType = ExchangeType::CREATE_CHILD_SA;
const INFORMATIONAL: ExchangeType = ExchangeType::INFORMATIONAL;
const SECOND: EspSpi = EspSpi(0xc0ff_ee01);
const THIRD: EspSpi = EspSpi(0xc0ff_ee02);

/// An SA in some state, with the message ID of the puppet's next request.
type Stage = (Bench, Session, u32);

fn up() -> Stage {
    let mut bench = Bench::new(&Setup::default());
    let session = up_as_responder(&mut bench, 1);
    (bench, session, 0)
}

fn then(mut stage: Stage, act: impl FnOnce(&mut Bench, &mut Session, &mut u32)) -> Stage {
    let (bench, session, next) = &mut stage;
    act(bench, session, next);
    stage
}

fn ask(bench: &mut Bench, session: &mut Session, next: &mut u32, what: &[Payload]) {
    bench.receive(&session.request(CREATE, *next, what));
    *next += 1;
}

fn states() -> Vec<(&'static str, Stage)> {
    let answer = || pair_answer(esp_proposals("aes256gcm16", SECOND), 1);
    vec![
        ("a pair stands", up()),
        (
            "we rekey the pair",
            then(up(), |bench, _, _| drop(bench.rekey_child())),
        ),
        (
            "we rekey the pair, and so does the peer",
            then(up(), |bench, session, next| {
                bench.rekey_child();
                ask(bench, session, next, &rekeying(INBOUND, SECOND));
            }),
        ),
        (
            "we have rekeyed the pair, and delete the old one",
            then(up(), |bench, session, _| {
                bench.rekey_child();
                bench.receive(&session.response(CREATE, 2, &answer()));
            }),
        ),
        (
            "we have rekeyed the pair, and the old one drains",
            then(up(), |bench, session, _| {
                bench.rekey_child();
                bench.receive(&session.response(CREATE, 2, &answer()));
                bench.receive(&session.response(INFORMATIONAL, 3, &[]));
            }),
        ),
        (
            "the peer has rekeyed the pair",
            then(up(), |bench, session, next| {
                ask(bench, session, next, &rekeying(INBOUND, SECOND));
            }),
        ),
        (
            "we rekey the IKE SA",
            then(up(), |bench, _, _| drop(bench.rekey_ike())),
        ),
        (
            "we rekey the IKE SA, and so does the peer",
            then(up(), |bench, session, next| {
                bench.rekey_ike();
                ask(bench, session, next, &Half::new(9).heir_payloads());
            }),
        ),
        (
            "we have rekeyed the IKE SA",
            then(up(), |bench, session, _| {
                bench.rekey_ike();
                let heir = Half::new(9).heir_payloads();
                bench.receive(&session.response(CREATE, 2, &heir));
            }),
        ),
        (
            "the peer has rekeyed the IKE SA",
            then(up(), |bench, session, next| {
                ask(bench, session, next, &Half::new(9).heir_payloads());
            }),
        ),
        (
            "we delete the IKE SA",
            then(up(), |bench, _, _| drop(bench.disconnect())),
        ),
        (
            "the peer has deleted the IKE SA",
            then(up(), |bench, session, next| {
                let end = [Payload::Delete(Delete::Ike)];
                bench.receive(&session.request(INFORMATIONAL, *next, &end));
                *next += 1;
            }),
        ),
    ]
}

fn rekeying(old: EspSpi, new: EspSpi) -> Vec<Payload> {
    let mut payloads = pair_payloads(esp_proposals("aes256gcm16", new), 2);
    payloads.insert(0, rekeys(old));
    payloads
}

fn requests() -> Vec<(&'static str, ExchangeType, Vec<Payload>)> {
    let delete = |spi| vec![Payload::Delete(Delete::Esp(vec![spi]))];
    let another = pair_payloads(esp_proposals("aes256gcm16", THIRD), 2);
    vec![
        ("liveness check", INFORMATIONAL, vec![]),
        ("delete the first pair", INFORMATIONAL, delete(INBOUND)),
        ("delete the second pair", INFORMATIONAL, delete(SECOND)),
        (
            "delete the IKE SA",
            INFORMATIONAL,
            vec![Payload::Delete(Delete::Ike)],
        ),
        ("rekey the first pair", CREATE, rekeying(INBOUND, THIRD)),
        ("rekey the second pair", CREATE, rekeying(SECOND, THIRD)),
        ("make another pair", CREATE, another),
        ("rekey the IKE SA", CREATE, Half::new(10).heir_payloads()),
    ]
}

/// A payload in a word.
fn word(payload: &Payload) -> String {
    match payload {
        Payload::Notify(notify) => notify.kind.to_string(),
        Payload::Delete(Delete::Ike) => "Delete IKE".to_owned(),
        Payload::Delete(_) => "Delete".to_owned(),
        Payload::SecurityAssociation(_) => "SA".to_owned(),
        Payload::Nonce(_) => "Nonce".to_owned(),
        Payload::KeyExchange(_) => "KE".to_owned(),
        Payload::TsInitiator(_) => "TSi".to_owned(),
        Payload::TsResponder(_) => "TSr".to_owned(),
        other => format!("{other:?}"),
    }
}

/// What the request leads to.
fn outcome(
    (mut bench, mut session, next): Stage,
    exchange: ExchangeType,
    what: &[Payload],
) -> String {
    bench.take_log();
    bench.down.clear();
    let sent = bench.receive(&session.request(exchange, next, what));
    let events = bench
        .take_log()
        .into_iter()
        .filter(|event| *event != "sent");
    let events: Vec<_> = events.collect();
    let mut text = match sent.first() {
        None => "no answer".to_owned(),
        Some(reply) => {
            let words: Vec<_> = session.open(reply).iter().map(word).collect();
            format!("[{}]", words.join(" "))
        }
    };
    for event in events {
        write!(text, ", {event}").unwrap();
    }
    for why in &bench.down {
        write!(text, ", IKE SA down: {why:?}").unwrap();
    }
    text
}

fn table() -> String {
    let mut table = String::new();
    for (at, (state, _)) in states().into_iter().enumerate() {
        writeln!(table, "{state}").unwrap();
        for (name, exchange, what) in requests() {
            let (_, stage) = states().swap_remove(at);
            let outcome = outcome(stage, exchange, &what);
            writeln!(table, "  {name:24}{outcome}").unwrap();
        }
    }
    table
}

#[test]
fn every_request_in_every_state() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/states.txt");
    let table = table();
    if std::env::var_os("STATES").is_some() {
        std::fs::write(file, &table).unwrap();
    }
    assert_eq!(table, std::fs::read_to_string(file).unwrap());
}
