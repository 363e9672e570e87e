//! The packet path of one peer: GRE in ESP between the devices of its tunnels and the wire.
//!
//! | module | owns |
//! |---|---|
//! | [`outbound`] | passengers → MSS, MTU, TOS → GRE → ESP, without descriptors |
//! | [`inbound`] | ESP → GRE → ECN, MSS → passengers, without descriptors |
//! | [`segment`], [`coalesce`] | super-packets of the device → passengers, and back |
//! | [`batch`] | the buffer of outbound packets |
//! | [`note`] | what the workers tell the daemon |
//! | [`counters`] | what they count, by tunnel |
//! | `limit` | how much may leave by a device, shared fairly between flows |
//! | `held` | packets that come before their SA |
//! | [`stray`] | packets that come by no wire |
//! | `bucket` | how often something may be done that others ask for |
//! | `headers` | the fields of passengers' headers that are changed on the way |
//! | `recursion` | outer packets that were led back into the device |
//! | `too_big` | answers to passengers that do not fit, and how often they are given |
//! | `spread` | to which of a device's queues a flow is written |
//! | `worker` | the threads: reading, writing, waiting, commands |
//!
//! A [`Link`] is the daemon's handle. All tunnels of the peer share it and its SAs; the key in the GRE
//! header tells them apart. One worker receives and owns the inbound SAs. One or several others send,
//! each of them what the kernel puts into its queues of the devices, so that a flow has one. One thread
//! serves all of them while it is enough, others help under load ([`Threads`]). Those who send share the
//! outbound SAs, of which each takes sequence numbers for a batch in one atomic step, and the wire, whose
//! lock each shares while it sends a batch. Nothing else on the path of a packet is shared, and nothing
//! allocated. SAs reach their workers over channels, which a worker empties once per batch. The inbound
//! one does so between receiving a batch and opening it: whatever the daemon installed before it let the
//! peer send is there when the packet is looked up.
//!
//! Packets leave protected or not at all: without an SA the device is read on, and what comes out
//! is dropped and counted.
//!
//! Where ESP comes in UDP, IKE messages come on the same wire; they are handed on unread.
//!
//! Not here: IKE, devices and sockets (`net`), and when an SA is to be replaced or removed.

pub mod batch;
mod bucket;
pub mod coalesce;
pub mod counters;
mod headers;
mod held;
pub mod inbound;
mod limit;
pub mod note;
pub mod outbound;
mod recursion;
pub mod segment;
mod spread;
pub mod stray;
mod too_big;
mod worker;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::{Arc, Weak};

use secure_gre_esp::{InboundSa, OutboundSa, Spi};
use secure_gre_gre as gre;
use secure_gre_gre::probe::echo::Echo;
use tokio::sync::mpsc;

use self::counters::SharedCounters;
use self::outbound::SharedSa;
use crate::net::esp::Wire;
use crate::net::outer::Path;
use crate::net::tun::Queues;

pub use self::counters::{LinkCounters, TunnelCounters};
pub use self::note::{Direction, Note, WorkerError};
pub use self::stray::Stray;

/// Which pair of SAs, as the daemon numbers them; both SAs of a pair have the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SaId(pub u64);

/// Which of a link's tunnels: its place among those that the link was started with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TunnelId(pub usize);

/// What both directions of a link do to the packets of one tunnel.
#[derive(Debug, Clone)]
pub struct TunnelConfig {
    /// Key, checksum and sequence numbers of the GRE headers.
    pub gre: gre::Config,
    /// Where the outer DSCP comes from.
    pub tos: gre::tos::Policy,
    /// Where the outer TTL comes from.
    pub ttl: gre::ttl::Policy,
    /// Where the outer DF bit comes from.
    pub df: gre::df::Policy,
    /// The largest passenger, in octets; see [`Link::set_mtu`].
    pub mtu: u16,
    /// Whether the MSS of TCP connections is lowered to what `mtu` leaves.
    pub mss_clamp: bool,
    /// Source of the answers to IPv4 passengers that are too big: the far end's tunnel address.
    /// `None`: no answers.
    pub reply_v4: Option<Ipv4Addr>,
    /// The same for IPv6.
    pub reply_v6: Option<Ipv6Addr>,
    /// Who asks and who is asked in GRE keepalives.
    pub ends: gre::keepalive::Ends,
    /// Whether we ask, and so want to hear of answers.
    pub asks: bool,
    /// Octets of passengers that may leave per second; `None`: as many as can.
    pub limit: Option<u64>,
    /// What the answers to our echo requests are known by; `None`: we send none.
    pub echo: Option<Echo>,
}

/// An IKE message that came on a wire in UDP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The wire's addresses.
    pub path: Path,
    /// From the IKE header on.
    pub bytes: Box<[u8]>,
}

/// The running packet path of one peer. Dropping it stops it.
#[derive(Debug)]
pub struct Link {
    /// The first of those who send sends what comes from no device.
    crew: worker::Crew,
    counters: Arc<SharedCounters>,
}

/// What threads a link has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// One, for both directions: best where more threads had nowhere to run.
    One,
    /// One while that is enough; under load it receives, and as many others send as the ports have
    /// workers.
    AsNeeded,
}

/// One tunnel of a link that is to be started.
#[derive(Debug, Clone)]
pub struct Port {
    /// What is done to its packets.
    pub config: TunnelConfig,
    /// Among how many workers the queues of its device are shared out.
    pub workers: NonZeroUsize,
    /// Its device; `None`: until [`Link::attach`] brings one, what comes for it is refused.
    pub queues: Option<Arc<Queues>>,
}

impl Link {
    /// Starts both directions for the tunnels behind `ports`, without SAs. `notify` is called on the
    /// workers' threads and must not block; sending on an unbounded channel does, as notes are rare.
    /// `messages` takes the IKE messages of a wire in UDP; those that it has no room for are dropped
    /// and counted.
    ///
    /// # Errors
    /// [`StartError`] where the process has no descriptor or thread left.
    pub fn start<N>(
        ports: &[Port],
        threads: Threads,
        wire: &Arc<Wire>,
        notify: N,
        messages: mpsc::Sender<Message>,
    ) -> Result<Self, StartError>
    where
        N: Fn(Note) + Clone + Send + 'static,
    {
        let counters = Arc::new(SharedCounters::new(ports.len()));
        let crew = worker::Crew::start(ports, threads, wire, &counters, &notify, messages)?;
        Ok(Self { crew, counters })
    }

    /// The tunnel has a device, in place of the one that it had.
    pub fn attach(&self, tunnel: TunnelId, queues: &Arc<Queues>) {
        for worker in &self.crew.sending {
            worker.attach(tunnel, Arc::clone(queues));
        }
        self.crew.receiving.attach(tunnel, Arc::clone(queues));
    }

    /// Packets with this SPI are held for a moment, should they come before their SA is installed; to
    /// be called before the SPI is offered to the peer.
    pub fn expect_inbound(&self, spi: Spi) {
        self.crew.receiving.send(inbound::Command::Expect(spi));
    }

    /// No SA of this SPI will be installed.
    pub fn expect_inbound_no_more(&self, spi: Spi) {
        self.crew
            .receiving
            .send(inbound::Command::ExpectNoMore(spi));
    }

    /// Packets of this SA are opened from here on; to be called before the peer may send them.
    /// `fresh` says that the pair replaces none: the peer may have started anew, and its GRE
    /// sequence numbers with it (RFC 2890 §2.2).
    pub fn install_inbound(&self, id: SaId, sa: InboundSa, fresh: bool) {
        let sa = Box::new(sa);
        self.crew
            .receiving
            .send(inbound::Command::Install { id, sa, fresh });
    }

    /// Opens a packet that came by no wire; [`Note::Elsewhere`] says if that has shown where the peer is.
    /// `false`: too many wait already, and it is lost.
    #[must_use]
    pub fn open_stray(&self, stray: Stray) -> bool {
        self.crew
            .receiving
            .send_if_idle(inbound::Command::Open(stray))
    }

    /// This SA carries all packets from here on. What is returned lasts as long as it does.
    pub fn install_outbound(&self, id: SaId, sa: OutboundSa) -> Weak<SharedSa> {
        let sa = Arc::new(SharedSa::new(id, sa));
        self.tell_outbound(|| outbound::Command::Install(Arc::clone(&sa)));
        Arc::downgrade(&sa)
    }

    /// Packets of this inbound SA are refused from here on. The grace for those on their way is the
    /// caller's.
    pub fn remove_inbound(&self, id: SaId) {
        self.crew.receiving.send(inbound::Command::Remove(id));
    }

    /// This outbound SA carries nothing from here on. The newest of those left takes over; without
    /// one, packets are dropped.
    pub fn remove_outbound(&self, id: SaId) {
        self.tell_outbound(|| outbound::Command::Remove(id));
    }

    /// The largest passenger of a tunnel, in octets, and the largest that the path takes in one piece.
    /// Those larger than `mtu` are dropped, their senders told; those between the two travel in outer
    /// packets that may be fragmented (RFC 7676 §3). An increase must reach the device later than this,
    /// a decrease may come before or after.
    pub fn set_mtu(&self, tunnel: TunnelId, mtu: u16, whole: u16) {
        self.tell_outbound(|| outbound::Command::SetMtu { tunnel, mtu, whole });
        let mtu = mtu.min(whole);
        self.crew
            .receiving
            .send(inbound::Command::SetMtu { tunnel, mtu });
    }

    /// Sends a packet of our own through a tunnel, if there is an SA for it.
    pub fn send(&self, tunnel: TunnelId, own: outbound::Own) {
        if let Some(first) = self.crew.sending.first() {
            first.send(outbound::Command::Send { tunnel, own });
        }
    }

    /// Packets travel on this wire from here on, both ways. The SAs stay.
    pub fn rewire(&self, wire: Arc<Wire>) {
        for worker in &self.crew.sending {
            worker.rewire(Arc::clone(&wire));
        }
        self.crew.receiving.rewire(wire);
    }

    /// What has been counted so far.
    pub fn counters(&self) -> LinkCounters {
        self.counters.read()
    }

    fn tell_outbound(&self, command: impl Fn() -> outbound::Command) {
        for worker in &self.crew.sending {
            worker.send(command());
        }
    }

    /// Ends all threads, which drop their SAs, and returns the final counts.
    pub fn stop(mut self) -> LinkCounters {
        self.crew.stop();
        self.counters.read()
    }
}

/// Why a link could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No descriptor for waiting, or for being woken.
    #[error("can't make a packet worker wait for its devices: {0}; raise the limit of open files")]
    Poll(#[source] io::Error),
    /// No thread.
    #[error("can't start the thread of a packet worker: {0}; raise the limit of threads")]
    Thread(#[source] io::Error),
}

#[cfg(test)]
mod flow;
#[cfg(test)]
mod tests;
