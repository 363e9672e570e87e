//! A reply that is too long for its path. None that the suites call for is that long on a path of which
//! nothing is known, so the two ends are put together here.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::algorithm::{Aead, Cipher};
use crate::config::{
    OnFailure, PeerConfig, PeerId, Remote, RemoteId, Retransmit, UdpEncapsulation,
};
use crate::event::{Encapsulation, Output};
use crate::nat::Nat;
use crate::roster::Roster;
use crate::sa::{Numbers, payloads::Payloads};
use crate::secret::Secret;
use crate::wire::{Header, IkeSpi, Payload};

fn core(initiated: bool) -> Core {
    let at = |last: u8| SocketAddr::from(([192, 0, 2, last], 500));
    let peer = PeerConfig {
        id: PeerId(1),
        remote: Remote::Anywhere,
        local_id: None,
        remote_id: RemoteId::Any,
        psk: Secret::new(Vec::new()),
        ppk: None,
        ike_proposals: Vec::new(),
        esp_proposals: Vec::new(),
        retransmit: Retransmit::default(),
        on_failure: OnFailure::Exit,
        fragmentation: true,
        encapsulation: UdpEncapsulation::Auto,
        ike_lifetime: Duration::from_secs(1),
        child_lifetime: Duration::from_secs(1),
        dpd: None,
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do as the start"
    )]
    let begun = Instant::now();
    Core {
        owner: Some(peer.id),
        peer: Arc::new(peer),
        initiator_spi: IkeSpi(1),
        responder_spi: IkeSpi(2),
        initiated,
        path: Path {
            local: at(1),
            remote: at(2),
        },
        wanted: UdpEncapsulation::Auto,
        nat: Nat::default(),
        encapsulation: Encapsulation::None,
        udp_cause: None,
        mobike: None,
        fragmentation: true,
        begun,
    }
}

fn protection(initiated: bool) -> Protection {
    let cipher = Cipher::Aead(Aead::Aes256Gcm16);
    let key = |octet| Secret::new(vec![octet; cipher.key_material_octets()]);
    let (i, r) = (key(1), key(2));
    if initiated {
        Protection::new(cipher, &i, &r)
    } else {
        Protection::new(cipher, &r, &i)
    }
}

fn sent(ctx: &mut Context<'_>) -> Vec<Vec<u8>> {
    let datagrams = ctx.output.drain(..).filter_map(|output| match output {
        Output::Transmit(transmit) => Some(transmit.payload),
        _ => None,
    });
    datagrams.collect()
}

/// RFC 7383 §2.5.2, §2.6.1, D25: the request has got through and the reply has not, whose sender hears
/// of it by the request's smaller fragments, and only by authentic ones.
#[test]
fn a_reply_follows_its_request_into_smaller_fragments() {
    let (initiator, responder) = (core(true), core(false));
    let (mut asking, mut answering) = (protection(true), protection(false));
    let (mut rng, mut numbers, mut output) = (
        StdRng::seed_from_u64(1),
        Numbers::default(),
        VecDeque::new(),
    );
    let ctx = &mut Context {
        now: initiator.begun,
        alone: false,
        roster: &Roster::default(),
        rng: &mut rng,
        numbers: &mut numbers,
        output: &mut output,
        trace: false,
    };
    let long = || vec![Payload::VendorId(vec![7; 2_000])];
    let header = |core: &Core, response| -> Header {
        core.header(ExchangeType::CREATE_CHILD_SA, 2, response)
    };

    let request = asking.seal(&initiator, ctx, &header(&initiator, false), long());
    request.transmit(ctx, initiator.path);
    let large = sent(ctx);
    let reply = answering.seal(&responder, ctx, &header(&responder, true), long());
    let mut last = Exchange::new(large[0].clone(), reply);
    let mut repeat = |ctx: &mut Context<'_>, octets: &[u8]| {
        let datagram = Datagram::parse(octets).unwrap();
        let path = responder.path;
        let again = last.repeat_sealed(&responder, ctx, &mut answering, path, &datagram);
        again.then(|| sent(ctx))
    };
    let before = repeat(ctx, &large[0]).unwrap();
    assert_eq!(repeat(ctx, &large[0]), Some(before.clone()));
    assert_eq!(repeat(ctx, &large[1]), None);

    let smaller = asking.divide_further(&initiator, &request).unwrap();
    smaller.transmit(ctx, initiator.path);
    let small = sent(ctx);
    assert!(small.len() > large.len());
    let mut forged = small[0].clone();
    forged[40] ^= 1;
    assert_eq!(repeat(ctx, &forged), None);
    assert_eq!(repeat(ctx, &small[1]), None);
    let after = repeat(ctx, &small[0]).unwrap();
    assert!(after.len() > before.len());
    assert_eq!(repeat(ctx, &small[0]), Some(after.clone()));

    let mut whole = None;
    for octets in &after {
        let datagram = Datagram::parse(octets).unwrap();
        whole = asking.open(&initiator, ctx, &datagram).ok();
    }
    let payloads = whole.unwrap().payloads.map(Payloads::new).unwrap();
    assert_eq!(payloads.iter().cloned().collect::<Vec<_>>(), long());
}
