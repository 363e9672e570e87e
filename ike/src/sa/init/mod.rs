//! IKE_SA_INIT (RFC 7296 §1.2, §2.6, §2.7): proposals, public values, nonces, NAT detection, COOKIE and
//! INVALID_KE_PAYLOAD; what both roles have in common. [`initiator`] asks, [`responder`] answers.
//! Nothing here is authenticated.

mod initiator;
mod responder;

use super::Core;
use super::auth::Progress;
use super::intermediate::IntAuth;
use super::payloads::Payloads;
use super::protection::Protection;
use crate::algorithm::Kem;
use crate::config::UdpEncapsulation;
use crate::error::{Failure, PeerFault};
use crate::event::Path;
use crate::keys::IkeKeys;
use crate::limits;
use crate::nat::{self, Nat};
use crate::proposal::IkeSuite;
use crate::secret::Secret;
use crate::wire::{self, ExchangeType, FASTER_IN_UDP, Header, IkeSpi, Notify, NotifyType, Payload};

pub(crate) use self::initiator::InitSent;
pub(crate) use self::responder::{InitReceived, Refusal};

const EXCHANGE: ExchangeType = ExchangeType::IKE_SA_INIT;

/// What both ends know after IKE_SA_INIT.
pub(crate) struct Agreed {
    pub(crate) suite: IkeSuite,
    pub(crate) keys: IkeKeys,
    pub(crate) initiator_nonce: Vec<u8>,
    pub(crate) responder_nonce: Vec<u8>,
    /// Our message of the exchange as it was sent last: the octets that our AUTH signs.
    pub(crate) our_message: Vec<u8>,
    /// The peer's, which its AUTH signs: one, or two that differ in a cookie.
    pub(crate) peer_messages: Vec<Vec<u8>>,
    /// What the IKE_INTERMEDIATE exchange adds to that, once it is over.
    pub(crate) int_auth: Option<IntAuth>,
    /// Whether a PPK is used.
    pub(crate) ppk: Progress,
}

impl Agreed {
    /// The protection of the messages that follow.
    pub(crate) fn protection(&self, initiated: bool) -> Protection {
        let (ours, peers) = self.keys.directions(initiated);
        Protection::new(self.suite.cipher, &ours, &peers)
    }

    /// What is left to do before IKE_AUTH.
    pub(crate) fn additional(&self) -> Option<Kem> {
        self.suite.additional.filter(|_| self.int_auth.is_none())
    }

    /// The lower of the two nonces: decides which of two crossing SAs stays (RFC 7296 §2.8.1).
    pub(crate) fn lowest_nonce(&self) -> Vec<u8> {
        self.initiator_nonce
            .clone()
            .min(self.responder_nonce.clone())
    }
}

/// What a message on `path` says of it (RFC 7296 §2.23).
pub(super) fn nat_payloads(core: &Core, path: Path) -> [Payload; 2] {
    let (spi_i, spi_r, Path { local, remote }) = (core.initiator_spi, core.responder_spi, path);
    let source = nat::source_hash(spi_i, spi_r, local, core.wanted);
    let destination = nat::detection_hash(spi_i, spi_r, remote);
    [
        (NotifyType::NAT_DETECTION_SOURCE_IP, source),
        (NotifyType::NAT_DETECTION_DESTINATION_IP, destination),
    ]
    .map(|(kind, hash)| Payload::Notify(Notify::with_data(kind, hash.to_vec())))
}

fn fragmentation_supported() -> Payload {
    Payload::Notify(Notify::status(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED))
}

fn intermediate_supported() -> Payload {
    Payload::Notify(Notify::status(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED))
}

/// Whether the other end takes IKE_INTERMEDIATE (RFC 9242 §3.1).
fn takes_intermediate(payloads: &Payloads) -> bool {
    let kind = NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED;
    payloads.notify(kind).is_some()
}

/// Whether both ends do (D24, RFC 7383 §2.3).
fn takes_fragments(core: &Core, payloads: &Payloads) -> bool {
    let offered = payloads.notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED);
    core.peer.fragmentation && offered.is_some()
}

/// What the peer's NAT_DETECTION notifies say of the path: hashes over the SPIs in the header of
/// its own message (D12, RFC 7296 §2.23). And whether both ends like UDP better.
fn nat_of(header: &Header, core: &Core, payloads: &Payloads) -> Nat {
    let path = core.path;
    let nat = nat::detect(
        header.initiator,
        header.responder,
        path.local,
        path.remote,
        payloads.notifies(),
    );
    let said = payloads.vendor_ids().any(|id| id == FASTER_IN_UDP);
    Nat {
        both_faster: said && likes_udp(core),
        ..nat
    }
}

/// Whether the peer hears that we would rather have ESP in UDP.
fn likes_udp(core: &Core) -> bool {
    let likes = [UdpEncapsulation::Faster, UdpEncapsulation::Always];
    likes.contains(&core.wanted)
}

fn faster_in_udp() -> Payload {
    Payload::VendorId(FASTER_IN_UDP.to_vec())
}

/// No SA across a NAT where UDP is forbidden: its packets would not arrive.
pub(crate) fn refuse_nat(core: &Core, Nat { ours, theirs, .. }: Nat) -> Result<(), Failure> {
    if core.wanted == UdpEncapsulation::Never && (ours || theirs) {
        let path = core.path;
        return Err(Failure::Nat { ours, theirs, path });
    }
    Ok(())
}

/// D11, RFC 7296 §2.10: 16 to 256 octets, and at least half the key size of the PRF.
pub(crate) fn check_nonce(nonce: &[u8], suite: IkeSuite) -> Result<(), PeerFault> {
    let least = suite.prf.nonce_octets_min();
    if (least..=*limits::NONCE_OCTETS_RANGE.end()).contains(&nonce.len()) {
        Ok(())
    } else {
        Err(PeerFault::Nonce(nonce.len()))
    }
}

fn derive(core: &Core, suite: IkeSuite, shared: &Secret, ni: &[u8], nr: &[u8]) -> IkeKeys {
    IkeKeys::derive(
        suite,
        shared,
        ni,
        nr,
        core.initiator_spi,
        core.responder_spi,
    )
}

/// A responder's reply outside of any SA: the responder SPI stays 0 (D7).
pub(crate) fn stateless_reply(request: &Header, notify: Notify) -> Vec<u8> {
    let header = Header {
        response: true,
        from_initiator: false,
        responder: IkeSpi::NONE,
        ..*request
    };
    wire::encode(&header, &[Payload::Notify(notify)])
}
