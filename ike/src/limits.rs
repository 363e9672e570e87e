//! Bounds on what a peer can make us hold or walk through, each with its reason.

use std::time::Duration;

/// The longest message, in octets: what a UDP datagram can carry.
pub const MESSAGE_OCTETS: usize = 65_535;

/// Payloads in one message, skipped ones included. The longest honest message that we know of, an
/// IKE_AUTH request with MOBIKE, has about twenty.
pub const PAYLOADS: usize = 64;

/// Proposals in one SA payload. libreswan's default sends four; appliances that write every
/// combination as a proposal of its own send some twenty.
pub const PROPOSALS: usize = 64;

/// Transforms in one proposal: every algorithm in the registries of all five types fits.
pub const TRANSFORMS: usize = 128;

/// Octets of a public value: ML-KEM-1024 (1568) is the longest that is registered; whether the
/// length is the group's is for whoever knows the group.
pub const KEY_EXCHANGE_OCTETS: usize = 2_048;

/// Octets of an AUTH value: an RSA signature of 8192 bits with its algorithm identifier.
pub const AUTHENTICATION_OCTETS: usize = 2_048;

/// Octets of a nonce, from and to (D11, RFC 7296 §2.10).
pub const NONCE_OCTETS_RANGE: std::ops::RangeInclusive<usize> = 16..=256;

/// Octets of a notification's data. Honest ones are hashes, cookies (64), addresses and tickets.
pub const NOTIFY_OCTETS: usize = 2_048;

/// SPIs in one Delete payload: the pairs of an IKE SA are few, one for each worker of the peer.
pub const DELETE_SPIS: usize = 256;

/// Traffic selectors in one TS payload: GRE between two addresses needs one.
pub const TRAFFIC_SELECTORS: usize = 64;

/// Attributes in one Configuration payload, which we only skip.
pub const CONFIGURATION_ATTRIBUTES: usize = 64;

/// Octets of our own nonces: enough for every PRF of the table (half of SHA-512's key, D11).
pub const OUR_NONCE_OCTETS: usize = 32;

/// Octets of a cookie that we return (RFC 7296 §2.6).
pub const COOKIE_OCTETS: usize = 64;

/// The longest wait between two transmissions of a request, whatever the file's growth factor.
pub const RETRANSMIT_WAIT: Duration = Duration::from_secs(60);

/// The longest pause between two attempts to reach a peer.
pub const RECONNECT_WAIT: Duration = Duration::from_secs(30);

/// How long an unauthenticated refusal waits for a better answer (D14, RFC 7296 §2.21.1): longer
/// than the first two retransmissions, shorter than a person's patience.
pub const REFUSAL_WAIT: Duration = Duration::from_secs(2);

/// At most one refusal of a peer's attempts is told in this time: anybody can cause them.
pub const REFUSAL_NEWS: Duration = Duration::from_secs(5);

/// The longest IKE_SA_INIT request that we answer, in octets. A half-open SA keeps the request, for
/// repetitions and for AUTH; strongSwan's longest default is 1048 octets, and public values of up to
/// [`KEY_EXCHANGE_OCTETS`] leave room for long lists.
pub const INIT_OCTETS: usize = 8_192;

/// Half-open SAs of callers from one address: a peer has one, or two where it was rebooted in the
/// middle; several peers behind one NAT that all call in the same instant fit. Beyond, a caller from
/// there has to return a cookie, and the oldest gives way to it.
pub const HALF_OPEN_PER_ADDRESS: usize = 16;

/// How long an initiator may take from IKE_SA_INIT to IKE_AUTH.
pub const HALF_OPEN: Duration = Duration::from_secs(30);

/// How long the last reply of an ended SA can be repeated (D2): the first four retransmissions of a
/// peer that begins at 4 s (strongSwan's) fall into it.
pub const CLOSED: Duration = Duration::from_secs(60);

/// Established IKE SAs with one peer. Two where both ends called, one more that is being replaced,
/// one to spare.
pub const SAS_PER_PEER: usize = 4;

/// Ended IKE SAs with one peer that still repeat a DELETE or a last reply. Each costs the peer a key
/// exchange, so an honest one has one or two; the oldest gives way.
pub const ENDED_SAS_PER_PEER: usize = 16;

/// The part of its lifetime after which an SA is rekeyed, from and to: two ends with the same
/// lifetime seldom choose the same moment (RFC 7296 §2.8), and at the latest a tenth is left for
/// retransmissions and further attempts.
pub const REKEY_RANGE: (f64, f64) = (0.8, 0.9);

/// Fragments of one message of the peer's (RFC 7383). At 576 octets for each datagram, in which some
/// 500 are the message's, it takes half as many for [`REASSEMBLED_OCTETS`].
pub const FRAGMENTS: usize = 64;

/// Octets of a message that is put together from fragments. The longest honest ones hold a public
/// value of ML-KEM-1024 (1568) or, of a peer that tries certificates, a chain of them (some 8,000).
pub const REASSEMBLED_OCTETS: usize = 16_384;

/// How long fragments wait for the others: the first four retransmissions of a peer that begins at 4 s
/// (strongSwan's) fall into it, and each brings all fragments again.
pub const REASSEMBLY: Duration = Duration::from_secs(60);

/// Octets of the longest IP datagram that we send where the peer takes fragments: every IPv6 path
/// carries it (RFC 8200 §5), and nearly every IPv4 one; strongSwan's default too.
pub const DATAGRAM_OCTETS: usize = 1_280;

/// Octets of the IP datagram that every IPv4 host takes (RFC 791 §3.1), which RFC 7383 §2.5.1 has for
/// a path of which nothing is known.
pub const LEAST_DATAGRAM_OCTETS_V4: usize = 576;

/// Octets of the IP datagrams that a peer can make us divide our messages into, by dividing its own
/// that small: of less, nearly nothing would be left for the message.
pub const LEARNED_DATAGRAM_OCTETS_MIN: usize = 128;

/// Transmissions of a request before it is divided into smaller fragments: after this many losses,
/// its size is a likelier cause than chance. With the default schedule, three seconds.
pub const TRANSMISSIONS_OF_ONE_SIZE: u32 = 3;

/// From and to how long a rekey waits after TEMPORARY_FAILURE (D37): the peer needs a round trip or a
/// few for what it is at.
pub const TEMPORARY_WAIT: (Duration, Duration) =
    (Duration::from_millis(500), Duration::from_secs(10));

/// How long a peer may take from CREATE_CHILD_SA to its IKE_FOLLOWUP_KE request: RFC 9370 §2.2.4 finds 5
/// to 20 s good, and the first four retransmissions of one that begins at 500 ms fall into it.
pub const FOLLOW_UP_WAIT: Duration = Duration::from_secs(20);

/// Octets of the link between the two exchanges: enough that none is used twice.
pub const LINK_OCTETS: usize = 8;

/// From and to how long a rekey waits after the peer has refused it.
pub const REFUSED_WAIT: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));

/// As responder of a rekey we send on the new pair after this time, also without a sign that the
/// peer has it: the first four retransmissions that our lost answer would cause fall into it.
pub const CONFIRM_WAIT: Duration = Duration::from_secs(10);

/// How long the peer may take to delete what its own exchange has made needless; then we do.
pub const DELETE_WAIT: Duration = Duration::from_secs(30);

/// How long packets are taken on a pair that is deleted: longer than any packet is on its way, and
/// than a peer's workers take to change over. Here for a pair that was rekeyed; whoever owns the SAs
/// gives the others the same time.
pub const DRAIN: Duration = Duration::from_secs(5);

/// Pairs under one IKE SA, those on their way in and out included. An honest peer has at most four in
/// a slot: one that carries, one that drains, and two new ones where both ends rekey at once.
pub const PAIRS: usize = 8;

/// From this message ID on, in either direction, an IKE SA is rekeyed: they may not wrap (RFC 7296
/// §2.2).
pub const MESSAGE_ID: u32 = 3 << 30;
