//! A peer that says what a test wants it to say: it holds the key, so its lies are authenticated.
//! Built from the crate's codec and ciphers; the key schedule is written out a second time
//! (RFC 7296 §2.14, §2.15, RFC 9370 §2.2.2, RFC 9242 §3.3.2).

use std::net::IpAddr;

use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;
use secure_gre_ike::algorithm::{Aead, Cipher, Group, Prf};
use secure_gre_ike::crypto::cipher::{OpeningCipher, SealingCipher};
use secure_gre_ike::crypto::kex::KeyExchange;
use secure_gre_ike::event::EspSpi;
use secure_gre_ike::identity::Identity;
use secure_gre_ike::proposal::{EsnPolicy, EspProposal, IkeProposal, esp_offer, ike_offer};
use secure_gre_ike::secret::Secret;
use secure_gre_ike::wire::{
    self, AuthMethod, Authentication, Datagram, ExchangeType, Header, Identification, IkeSpi,
    Notify, NotifyType, Payload, PayloadType, Place, Proposal, ProtocolId, TrafficSelector,
};

use super::{A, B, Setup};

const PRF: Prf = Prf::HmacSha256;
const CIPHER: Cipher = Cipher::Aead(Aead::Aes256Gcm16);
/// What the puppet receives on.
pub(crate) const INBOUND: EspSpi = EspSpi(0xc0ff_ee00);

pub(crate) fn header_of(bytes: &[u8]) -> Header {
    Datagram::parse(bytes).unwrap().header
}

pub(crate) fn clear(bytes: &[u8]) -> Vec<Payload> {
    Datagram::parse(bytes).unwrap().clear_payloads().unwrap()
}

pub(crate) fn ike_proposals(text: &str) -> Vec<Proposal> {
    ike_offer(&[IkeProposal::parse(text).unwrap()])
}

pub(crate) fn esp_proposals(text: &str, spi: EspSpi) -> Vec<Proposal> {
    esp_offer(
        &[EspProposal::parse(text, EsnPolicy::Require).unwrap()],
        spi,
    )
}

pub(crate) fn notify(kind: NotifyType) -> Payload {
    Payload::Notify(Notify::status(kind))
}

pub(crate) fn selector(protocol: u8, start: IpAddr, end: IpAddr) -> TrafficSelector {
    TrafficSelector {
        ip_protocol: protocol,
        start_port: 0,
        end_port: u16::MAX,
        start,
        end,
    }
}

pub(crate) fn nonce_of(payloads: &[Payload]) -> Vec<u8> {
    payloads
        .iter()
        .find_map(|payload| match payload {
            Payload::Nonce(nonce) => Some(nonce.clone()),
            _ => None,
        })
        .unwrap()
}

pub(crate) fn public_of(payloads: &[Payload]) -> Vec<u8> {
    payloads
        .iter()
        .find_map(|payload| match payload {
            Payload::KeyExchange(ke) => Some(ke.data.clone()),
            _ => None,
        })
        .unwrap()
}

/// Half of an exchange: key, nonce and SPI of the puppet.
pub(crate) struct Half {
    proposal: &'static str,
    kex: Box<dyn KeyExchange>,
    nonce: Vec<u8>,
    spi: IkeSpi,
}

impl Half {
    pub(crate) fn new(seed: u64) -> Self {
        Self::of(seed, "aes256gcm16-prfsha256-x25519")
    }

    /// With an additional key exchange.
    pub(crate) fn hybrid(seed: u64) -> Self {
        Self::of(seed, "aes256gcm16-prfsha256-x25519-ke1_mlkem768")
    }

    fn of(seed: u64, proposal: &'static str) -> Self {
        Self {
            proposal,
            kex: Group::Curve25519.generate(&mut ChaCha20Rng::seed_from_u64(seed)),
            nonce: seed.to_be_bytes().repeat(4),
            spi: IkeSpi(0xbeef_0000 + seed),
        }
    }

    /// `SA KE Nonce`.
    pub(crate) fn payloads(&self) -> Vec<Payload> {
        vec![
            Payload::SecurityAssociation(ike_proposals(self.proposal)),
            Payload::KeyExchange(wire::KeyExchange {
                group: self.kex.group().transform_id(),
                data: self.kex.public().to_vec(),
            }),
            Payload::Nonce(self.nonce.clone()),
        ]
    }

    /// `SA Nonce KE`, to rekey an IKE SA or to answer that.
    pub(crate) fn heir_payloads(&self) -> Vec<Payload> {
        let mut payloads = self.payloads();
        if let Payload::SecurityAssociation(proposals) = &mut payloads[0] {
            proposals[0].spi = self.spi.0.to_be_bytes().to_vec();
        }
        payloads
    }

    /// An IKE_SA_INIT request.
    pub(crate) fn request(&self, payloads: &[Payload]) -> Vec<u8> {
        let header = Header {
            initiator: self.spi,
            responder: IkeSpi::NONE,
            exchange: ExchangeType::IKE_SA_INIT,
            from_initiator: true,
            response: false,
            message_id: 0,
        };
        wire::encode(&header, payloads)
    }

    /// The answer to an IKE_SA_INIT request.
    pub(crate) fn response(&self, request: &[u8], payloads: &[Payload]) -> Vec<u8> {
        let header = Header {
            responder: self.spi,
            from_initiator: false,
            response: true,
            ..header_of(request)
        };
        wire::encode(&header, payloads)
    }

    /// The puppet has called, and this is the answer.
    pub(crate) fn called(self, request: Vec<u8>, response: Vec<u8>) -> Session {
        Session::new(self, true, request, response)
    }

    /// The puppet has answered.
    pub(crate) fn answered(self, request: Vec<u8>, response: Vec<u8>) -> Session {
        Session::new(self, false, request, response)
    }
}

/// An IKE SA of the puppet's.
pub(crate) struct Session {
    initiated: bool,
    spis: (IkeSpi, IkeSpi),
    sealing: SealingCipher,
    opening: OpeningCipher,
    sk_d: Secret,
    sk_p: Secret,
    peer_sk_p: Secret,
    first_message: Vec<u8>,
    peer_message: Vec<u8>,
    nonce: Vec<u8>,
    peer_nonce: Vec<u8>,
    /// What IKE_INTERMEDIATE adds to AUTH.
    pub(crate) int_auth: Vec<u8>,
    pub(crate) psk: String,
    pub(crate) id: Identity,
}

impl Session {
    fn new(half: Half, initiated: bool, request: Vec<u8>, response: Vec<u8>) -> Self {
        let (ni, nr) = (nonce_of(&clear(&request)), nonce_of(&clear(&response)));
        let theirs = if initiated { &response } else { &request };
        let shared = half.kex.agree(&public_of(&clear(theirs))).unwrap();
        let header = header_of(&response);
        let spis = (header.initiator, header.responder);
        let skeyseed = PRF.compute(&[&ni[..], &nr].concat(), &[shared.expose()]);
        let (spi_i, spi_r) = (spis.0.0.to_be_bytes(), spis.1.0.to_be_bytes());
        let [sk_d, ei, er, pi, pr] = PRF.expand(
            skeyseed.expose(),
            &[&ni, &nr, &spi_i, &spi_r],
            [32, 36, 36, 32, 32],
        );
        let (ours, theirs, sk_p, peer_sk_p) = if initiated {
            (ei, er, pi, pr)
        } else {
            (er, ei, pr, pi)
        };
        let (first_message, peer_message) = if initiated {
            (request, response)
        } else {
            (response, request)
        };
        let (nonce, peer_nonce) = if initiated { (ni, nr) } else { (nr, ni) };
        Self {
            initiated,
            spis,
            sealing: SealingCipher::new(CIPHER, &ours),
            opening: OpeningCipher::new(CIPHER, &theirs),
            sk_d,
            sk_p,
            peer_sk_p,
            first_message,
            peer_message,
            nonce,
            peer_nonce,
            int_auth: Vec::new(),
            psk: Setup::default().psk.to_owned(),
            id: Identity::Address(B),
        }
    }

    /// The IKE SA that this one was rekeyed to, by an exchange that the puppet began (`initiated`) or
    /// answered with this half; `payloads` is what the other end has sent (RFC 7296 §2.18).
    pub(crate) fn heir(self, half: Half, initiated: bool, payloads: &[Payload]) -> Self {
        let (nonce, peer_nonce) = (half.nonce.clone(), nonce_of(payloads));
        let shared = half.kex.agree(&public_of(payloads)).unwrap();
        let theirs = payloads.iter().find_map(|payload| match payload {
            Payload::SecurityAssociation(proposals) => Some(&proposals[0].spi),
            _ => None,
        });
        let theirs = IkeSpi(u64::from_be_bytes(theirs.unwrap()[..].try_into().unwrap()));
        let (spis, ni, nr) = if initiated {
            ((half.spi, theirs), &nonce, &peer_nonce)
        } else {
            ((theirs, half.spi), &peer_nonce, &nonce)
        };
        let skeyseed = PRF.compute(self.sk_d.expose(), &[shared.expose(), ni, nr]);
        let (spi_i, spi_r) = (spis.0.0.to_be_bytes(), spis.1.0.to_be_bytes());
        let seed = [&ni[..], nr, &spi_i, &spi_r];
        let [sk_d, ei, er, ..] = PRF.expand(skeyseed.expose(), &seed, [32, 36, 36, 32, 32]);
        let (ours, theirs) = if initiated { (ei, er) } else { (er, ei) };
        Self {
            initiated,
            spis,
            sealing: SealingCipher::new(CIPHER, &ours),
            opening: OpeningCipher::new(CIPHER, &theirs),
            sk_d,
            ..self
        }
    }

    /// After IKE_INTERMEDIATE with these two payloads, message ID 1.
    pub(crate) fn update(
        &mut self,
        request: &wire::KeyExchange,
        response: &wire::KeyExchange,
        shared: &Secret,
    ) {
        let (sk_pi, sk_pr, ni, nr) = if self.initiated {
            (&self.sk_p, &self.peer_sk_p, &self.nonce, &self.peer_nonce)
        } else {
            (&self.peer_sk_p, &self.sk_p, &self.peer_nonce, &self.nonce)
        };
        let header = |response: bool| Header {
            from_initiator: !response,
            ..self.header(ExchangeType::IKE_INTERMEDIATE, 1, response)
        };
        let of_initiator = PRF.compute(sk_pi.expose(), &[&covered(&header(false), request)]);
        let of_responder = PRF.compute(sk_pr.expose(), &[&covered(&header(true), response)]);
        let auth_message_id = [0, 0, 0, 2];
        self.int_auth = [
            of_initiator.expose(),
            of_responder.expose(),
            &auth_message_id,
        ]
        .concat();

        let skeyseed = PRF.compute(self.sk_d.expose(), &[shared.expose(), ni, nr]);
        let (spi_i, spi_r) = (self.spis.0.0.to_be_bytes(), self.spis.1.0.to_be_bytes());
        let seed = [&ni[..], nr, &spi_i, &spi_r];
        let [sk_d, ei, er, pi, pr] = PRF.expand(skeyseed.expose(), &seed, [32, 36, 36, 32, 32]);
        let (ours, theirs, sk_p, peer_sk_p) = if self.initiated {
            (ei, er, pi, pr)
        } else {
            (er, ei, pr, pi)
        };
        self.sealing = SealingCipher::new(CIPHER, &ours);
        self.opening = OpeningCipher::new(CIPHER, &theirs);
        (self.sk_d, self.sk_p, self.peer_sk_p) = (sk_d, sk_p, peer_sk_p);
    }

    pub(crate) fn header(&self, exchange: ExchangeType, id: u32, response: bool) -> Header {
        Header {
            initiator: self.spis.0,
            responder: self.spis.1,
            exchange,
            from_initiator: self.initiated,
            response,
            message_id: id,
        }
    }

    pub(crate) fn seal(&mut self, header: &Header, payloads: &[Payload]) -> Vec<u8> {
        wire::seal(header, payloads, &mut self.sealing)
    }

    /// A request that is sealed.
    pub(crate) fn request(&mut self, exchange: ExchangeType, id: u32, p: &[Payload]) -> Vec<u8> {
        let header = self.header(exchange, id, false);
        self.seal(&header, p)
    }

    /// The same in fragments of at most so many octets each.
    pub(crate) fn fragments(
        &mut self,
        header: &Header,
        p: &[Payload],
        most: usize,
    ) -> Vec<Vec<u8>> {
        wire::seal_within(header, p, most, &mut self.sealing)
    }

    /// What fragments, or a single message, say together.
    pub(crate) fn open_all(&self, datagrams: &[Vec<u8>]) -> Vec<Payload> {
        let [fragments @ .., last] = datagrams else {
            panic!("nothing was sent");
        };
        if fragments.is_empty() && Datagram::parse(last).unwrap().place().is_none() {
            return self.open(last);
        }
        let mut first = PayloadType::NONE;
        let mut octets = Vec::new();
        for (datagram, number) in datagrams.iter().zip(1..) {
            let datagram = Datagram::parse(datagram).unwrap();
            let fragment = datagram.open_fragment(&self.opening).unwrap();
            let total = u16::try_from(datagrams.len()).unwrap();
            assert_eq!(Some(fragment.place), Place::new(number, total));
            if number == 1 {
                first = fragment.first;
            } else {
                // D24.
                assert_eq!(fragment.first, PayloadType::NONE);
            }
            octets.extend(fragment.octets);
        }
        wire::parse_inner(first, &octets).unwrap()
    }

    /// A response that is sealed.
    pub(crate) fn response(&mut self, exchange: ExchangeType, id: u32, p: &[Payload]) -> Vec<u8> {
        let header = self.header(exchange, id, true);
        self.seal(&header, p)
    }

    /// Seals octets that are no payloads of the codec's. The SK payload says that `first` is the
    /// first of them.
    pub(crate) fn seal_octets(&mut self, header: &Header, first: u8, inner: &[u8]) -> Vec<u8> {
        let plaintext = [inner, &[0]].concat();
        let body = 4 + self.sealing.sealed_octets(plaintext.len());
        let mut message = wire::encode(header, &[]);
        message[16] = 46;
        message[24..28].copy_from_slice(&u32::try_from(28 + body).unwrap().to_be_bytes());
        message.extend([first, 0]);
        message.extend(u16::try_from(body).unwrap().to_be_bytes());
        self.sealing.seal(&mut message, plaintext);
        message
    }

    /// A fragment with any numbers and any part of a message.
    pub(crate) fn sealed_fragment(
        &mut self,
        header: &Header,
        first: PayloadType,
        (number, total): (u16, u16),
        part: &[u8],
    ) -> Vec<u8> {
        let plaintext = [part, &[0]].concat();
        let body = 8 + self.sealing.sealed_octets(plaintext.len());
        let mut message = wire::encode(header, &[]);
        message[16] = PayloadType::ENCRYPTED_FRAGMENT.0;
        message[24..28].copy_from_slice(&u32::try_from(28 + body).unwrap().to_be_bytes());
        message.extend([first.0, 0]);
        message.extend(u16::try_from(body).unwrap().to_be_bytes());
        message.extend(number.to_be_bytes());
        message.extend(total.to_be_bytes());
        self.sealing.seal(&mut message, plaintext);
        message
    }

    pub(crate) fn open(&self, bytes: &[u8]) -> Vec<Payload> {
        Datagram::parse(bytes).unwrap().open(&self.opening).unwrap()
    }

    /// Whether the AUTH of this IKE_AUTH request signs the IKE_SA_INIT request that the puppet has
    /// answered.
    pub(crate) fn vouches_for(&self, auth: &[u8]) -> bool {
        let payloads = self.open(auth);
        let id = payloads.iter().find_map(|payload| match payload {
            Payload::IdInitiator(id) => Some(id),
            _ => None,
        });
        let key = PRF.compute(self.psk.as_bytes(), &[b"Key Pad for IKEv2"]);
        let maced = PRF.compute(self.peer_sk_p.expose(), &[&id.unwrap().body]);
        let parts = [
            &self.peer_message[..],
            &self.nonce,
            maced.expose(),
            &self.int_auth,
        ];
        let expected = PRF.compute(key.expose(), &parts);
        payloads.iter().any(|payload| {
            matches!(payload, Payload::Authentication(auth) if auth.data == expected.expose())
        })
    }

    fn auth_value(&self, id: &Identification) -> Vec<u8> {
        let key = PRF.compute(self.psk.as_bytes(), &[b"Key Pad for IKEv2"]);
        let maced = PRF.compute(self.sk_p.expose(), &[&id.body]);
        let parts = [
            &self.first_message[..],
            &self.peer_nonce,
            maced.expose(),
            &self.int_auth,
        ];
        PRF.compute(key.expose(), &parts).expose().to_vec()
    }

    /// `ID AUTH N(USE_TRANSPORT_MODE) SA TSi TSr`, for either role.
    pub(crate) fn auth_payloads(&self) -> Vec<Payload> {
        let id = Identification::new(self.id.clone());
        let data = self.auth_value(&id);
        let method = AuthMethod::SHARED_KEY;
        let (initiator, responder) = if self.initiated { (B, A) } else { (A, B) };
        vec![
            if self.initiated {
                Payload::IdInitiator(id)
            } else {
                Payload::IdResponder(id)
            },
            Payload::Authentication(Authentication { method, data }),
            notify(NotifyType::USE_TRANSPORT_MODE),
            Payload::SecurityAssociation(esp_proposals("aes256gcm16", INBOUND)),
            Payload::TsInitiator(vec![selector(47, initiator, initiator)]),
            Payload::TsResponder(vec![selector(47, responder, responder)]),
        ]
    }
}

/// A message that has a KE payload inside SK, as AUTH covers it: octet by octet, nothing of the cipher's.
fn covered(header: &Header, ke: &wire::KeyExchange) -> Vec<u8> {
    let length = |octets: usize| u16::try_from(octets).unwrap().to_be_bytes();
    let mut payload = vec![0, 0];
    payload.extend(length(8 + ke.data.len()));
    payload.extend(ke.group.to_be_bytes());
    payload.extend([0, 0]);
    payload.extend(&ke.data);
    let mut message = wire::encode(header, &[]);
    let whole = u32::try_from(28 + 4 + payload.len()).unwrap();
    message[16] = PayloadType::ENCRYPTED.0;
    message[24..28].copy_from_slice(&whole.to_be_bytes());
    message.extend([PayloadType::KEY_EXCHANGE.0, 0]);
    message.extend(length(4 + payload.len()));
    message.extend(payload);
    message
}

/// What either end says to make a pair in CREATE_CHILD_SA, without a key exchange.
pub(crate) fn pair_payloads(esp: Vec<Proposal>, nonce: u8) -> Vec<Payload> {
    vec![
        notify(NotifyType::USE_TRANSPORT_MODE),
        Payload::SecurityAssociation(esp),
        Payload::Nonce(vec![nonce; 32]),
        Payload::TsInitiator(vec![selector(47, B, B)]),
        Payload::TsResponder(vec![selector(47, A, A)]),
    ]
}

/// The same for a pair that the endpoint asks for.
pub(crate) fn pair_answer(esp: Vec<Proposal>, nonce: u8) -> Vec<Payload> {
    let mut payloads = pair_payloads(esp, nonce);
    put(
        &mut payloads,
        Payload::TsInitiator(vec![selector(47, A, A)]),
    );
    put(
        &mut payloads,
        Payload::TsResponder(vec![selector(47, B, B)]),
    );
    payloads
}

/// What names the pair that is rekeyed.
pub(crate) fn rekeys(spi: EspSpi) -> Payload {
    Payload::Notify(Notify {
        protocol: ProtocolId::ESP,
        spi: spi.0.to_be_bytes().to_vec(),
        kind: NotifyType::REKEY_SA,
        data: Vec::new(),
    })
}

/// Replaces the payload of the same kind.
pub(crate) fn put(payloads: &mut [Payload], new: Payload) {
    let kind = std::mem::discriminant(&new);
    let old = payloads
        .iter_mut()
        .find(|old| std::mem::discriminant(&**old) == kind);
    *old.unwrap() = new;
}

/// Removes the payloads of the same kind as this one.
pub(crate) fn without(mut payloads: Vec<Payload>, kind: &Payload) -> Vec<Payload> {
    let kind = std::mem::discriminant(kind);
    payloads.retain(|payload| std::mem::discriminant(payload) != kind);
    payloads
}

use super::bench::Bench;

/// The endpoint has called and the puppet has answered IKE_SA_INIT; with the IKE_AUTH request.
pub(crate) fn half_way_as_responder(bench: &mut Bench, seed: u64) -> (Session, Vec<u8>) {
    let [request] = bench.connect().try_into().unwrap();
    let half = Half::new(seed);
    let response = half.response(&request, &half.payloads());
    let auth = bench.reply(&response);
    (half.answered(request, response), auth)
}

/// The puppet has called and the endpoint has answered IKE_SA_INIT.
pub(crate) fn half_way_as_initiator(bench: &mut Bench, seed: u64) -> Session {
    let half = Half::new(seed);
    let request = half.request(&half.payloads());
    let response = bench.reply(&request);
    half.called(request, response)
}

/// An SA that the endpoint has set up, with one pair.
pub(crate) fn up_as_responder(bench: &mut Bench, seed: u64) -> Session {
    let (mut session, _) = half_way_as_responder(bench, seed);
    let payloads = session.auth_payloads();
    let response = session.response(ExchangeType::IKE_AUTH, 1, &payloads);
    assert_eq!(bench.receive(&response).len(), 0);
    assert_eq!(bench.pairs(), 1);
    session
}

/// An SA that the puppet has set up, with one pair.
pub(crate) fn up_as_initiator(bench: &mut Bench, seed: u64) -> Session {
    let mut session = half_way_as_initiator(bench, seed);
    let payloads = session.auth_payloads();
    let request = session.request(ExchangeType::IKE_AUTH, 1, &payloads);
    bench.reply(&request);
    assert_eq!(bench.pairs(), 1);
    session
}
