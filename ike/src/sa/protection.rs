//! Both directions' protection of an IKE SA's messages: SK, and SKF where both ends take fragments
//! (RFC 7383), with how large a datagram may be and what has arrived of a message. Message IDs are
//! not looked at here.

use std::net::IpAddr;
use std::time::Instant;

use super::outgoing::Outgoing;
use super::reassembly::{Reassembly, Whole};
use super::{Context, Core};
use crate::algorithm::Cipher;
use crate::crypto::cipher::{OpeningCipher, SealingCipher};
use crate::error::Drop;
use crate::event::{Deadline, Timer};
use crate::limits;
use crate::secret::Secret;
use crate::wire::{self, Datagram, Header, Inner, OpenError, Payload, PayloadType, WireError};

/// The ciphers of an IKE SA, and the fragments of the peer's messages.
pub(crate) struct Protection {
    sealing: SealingCipher,
    opening: OpeningCipher,
    /// Octets of the longest IP datagram that we send, as far as we may divide messages.
    datagram_octets: usize,
    requests: Reassembly,
    responses: Reassembly,
}

/// An authentic message.
pub(crate) struct Incoming {
    /// The datagram that it came in, or that of its first fragment: whoever repeats it repeats this
    /// (RFC 7383 §2.6.1).
    pub(crate) datagram: Vec<u8>,
    /// Its payloads as they were written.
    pub(crate) inner: Inner,
    /// What it says; malformed is the peer's own fault.
    pub(crate) payloads: Result<Vec<Payload>, WireError>,
}

impl Incoming {
    fn new(datagram: Vec<u8>, inner: Result<Inner, WireError>) -> Self {
        match inner {
            Ok(inner) => Self {
                datagram,
                payloads: inner.parse(),
                inner,
            },
            Err(error) => Self {
                datagram,
                payloads: Err(error),
                inner: Inner {
                    first: PayloadType::NONE,
                    octets: Vec::new(),
                },
            },
        }
    }
}

impl Protection {
    /// Of key material for what we seal, then for what the peer does.
    pub(crate) fn new(cipher: Cipher, ours: &Secret, peers: &Secret) -> Self {
        Self {
            sealing: SealingCipher::new(cipher, ours),
            opening: OpeningCipher::new(cipher, peers),
            datagram_octets: limits::DATAGRAM_OCTETS,
            requests: Reassembly::default(),
            responses: Reassembly::default(),
        }
    }

    /// With other keys, and what was learned of the path.
    pub(crate) fn renewed(&self, cipher: Cipher, ours: &Secret, peers: &Secret) -> Self {
        Self {
            datagram_octets: self.datagram_octets,
            ..Self::new(cipher, ours, peers)
        }
    }

    /// A message whose payloads are all encrypted, divided if it is too large and the peer takes
    /// fragments.
    pub(crate) fn seal(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        header: &Header,
        payloads: Vec<Payload>,
    ) -> Outgoing {
        ctx.tell(core.path, true, header, &payloads);
        if !core.fragmentation {
            return Outgoing::single(wire::seal(header, &payloads, &mut self.sealing));
        }
        let ip = core.path.remote.ip();
        let longest = ike_octets(ip, self.datagram_octets);
        let datagrams = wire::seal_within(header, &payloads, longest, &mut self.sealing);
        let least = ike_octets(ip, least_octets(ip));
        let divisible = datagrams.iter().any(|datagram| datagram.len() > least);
        Outgoing::divided(datagrams, divisible.then_some((*header, payloads)))
    }

    /// The same message in more and smaller fragments, if it can be had; later ones are small at
    /// once. More of them, because the number of all is what tells the peer the two divisions apart
    /// (RFC 7383 §2.5.2).
    pub(crate) fn divide_further(&mut self, core: &Core, message: &Outgoing) -> Option<Outgoing> {
        let (header, payloads) = message.divisible()?;
        let ip = core.path.remote.ip();
        self.datagram_octets = self.datagram_octets.min(least_octets(ip));
        let longest = ike_octets(ip, self.datagram_octets);
        let datagrams = wire::seal_within(header, payloads, longest, &mut self.sealing);
        (datagrams.len() > message.len()).then(|| Outgoing::divided(datagrams, None))
    }

    /// The message that this datagram is or completes. Without one, why it is dropped; `None`: it is an
    /// authentic part of a message whose other parts have yet to come, and is kept.
    pub(crate) fn open(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        datagram: &Datagram<'_>,
    ) -> Result<Incoming, Option<Drop>> {
        self.expire(ctx.now);
        let incoming = match datagram.place() {
            Some(place) if core.fragmentation => {
                if !self.slot(&datagram.header).wants(&datagram.header, place) {
                    return Err(Some(Drop::Fragment));
                }
                self.open_fragment(core, ctx.now, datagram)?
            }
            _ => self.open_whole(datagram)?,
        };
        if let Ok(payloads) = &incoming.payloads {
            ctx.tell(core.path, false, &datagram.header, payloads);
        }
        Ok(incoming)
    }

    fn open_whole(&mut self, datagram: &Datagram<'_>) -> Result<Incoming, Option<Drop>> {
        let inner = authentic(datagram.open_inner(&self.opening))?;
        self.slot(&datagram.header).clear();
        Ok(Incoming::new(datagram.octets().to_vec(), inner))
    }

    fn open_fragment(
        &mut self,
        core: &Core,
        now: Instant,
        datagram: &Datagram<'_>,
    ) -> Result<Incoming, Option<Drop>> {
        let octets = datagram.octets();
        let fragment = match authentic(datagram.open_fragment(&self.opening))? {
            Ok(fragment) => fragment,
            Err(error) => {
                return Ok(Incoming::new(octets.to_vec(), Err(error)));
            }
        };
        let divided = fragment.place.total() > 1;
        let slot = self.slot(&datagram.header);
        let whole = slot
            .add(now, &datagram.header, octets, fragment)
            .map_err(Some)?;
        let Whole {
            first,
            octets,
            first_datagram,
            longest,
        } = whole.ok_or(None)?;
        if divided {
            self.learn(core.path.remote.ip(), longest);
        }
        Ok(Incoming::new(first_datagram, Ok(Inner { first, octets })))
    }

    /// Whether the peer has sealed this fragment, whatever became of its message.
    pub(crate) fn is_authentic_fragment(&self, datagram: &Datagram<'_>) -> bool {
        datagram.open_fragment(&self.opening).is_ok()
    }

    /// What the peer divides its messages to is what we divide ours to, if that is less (RFC 7383
    /// §2.5.1): it may know the path better.
    fn learn(&mut self, ip: IpAddr, longest: usize) {
        let theirs = longest.saturating_add(around_octets(ip));
        let theirs = theirs.max(limits::LEARNED_DATAGRAM_OCTETS_MIN);
        self.datagram_octets = self.datagram_octets.min(theirs);
    }

    const fn slot(&mut self, header: &Header) -> &mut Reassembly {
        if header.response {
            &mut self.responses
        } else {
            &mut self.requests
        }
    }

    /// Lets go of fragments that have waited too long for the others.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.requests.expire(now);
        self.responses.expire(now);
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        let due = self.requests.deadline().into_iter();
        due.chain(self.responses.deadline())
            .min()
            .map(|at| Deadline {
                at,
                why: Timer::Reassembly,
            })
    }
}

/// What is authentic and malformed is a message too; anything else is none.
fn authentic<T>(opened: Result<T, OpenError>) -> Result<Result<T, WireError>, Drop> {
    match opened {
        Ok(content) => Ok(Ok(content)),
        Err(OpenError::Malformed(error)) => Ok(Err(error)),
        Err(OpenError::NotEncrypted | OpenError::Icv) => Err(Drop::Unauthenticated),
    }
}

/// Octets of an IKE message in an IP datagram of so many.
const fn ike_octets(ip: IpAddr, datagram_octets: usize) -> usize {
    datagram_octets.saturating_sub(around_octets(ip))
}

/// Octets around an IKE message: the IP header, that of UDP, and the non-ESP marker, which port 500
/// does without (RFC 3948 §2.2).
const fn around_octets(ip: IpAddr) -> usize {
    let header = if ip.is_ipv4() { 20 } else { 40 };
    header + 8 + 4
}

/// Octets of the IP datagram that every path carries.
const fn least_octets(ip: IpAddr) -> usize {
    if ip.is_ipv4() {
        limits::LEAST_DATAGRAM_OCTETS_V4
    } else {
        limits::DATAGRAM_OCTETS
    }
}
