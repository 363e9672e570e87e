//! The two hosts, berlin and paris, and the wire between them:
//!
//! ```text
//! namespace berlin                          namespace paris
//!   daemon ── to-paris 192.0.2.1 ────── to-berlin 192.0.2.2 ── daemon
//! ```

use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::mpsc::{self, Receiver};

use super::DemoError;
use super::host::{Host, Line};
use super::stage;
use crate::config;
use crate::net::capture::{Capture, Frames};
use crate::net::netlink::{Netlink, NetlinkError};
use crate::net::prefix::Prefix;
use crate::net::tun::{self, Layer, Offloads, Tun};

/// Where one of the hosts is.
#[derive(Debug)]
pub(super) struct Place {
    /// What we call it.
    pub(super) name: &'static str,
    /// On the wire.
    pub(super) outer: Ipv4Addr,
    /// Inside the tunnel.
    pub(super) inner_v4: Ipv4Addr,
    /// Inside the tunnel.
    pub(super) inner_v6: Ipv6Addr,
    /// Whether it begins the negotiation, or only answers.
    pub(super) calls: bool,
    /// Its end of the wire.
    wire: &'static str,
}

/// The host that calls.
pub(super) const BERLIN: Place = Place {
    name: "berlin",
    outer: Ipv4Addr::new(192, 0, 2, 1),
    inner_v4: Ipv4Addr::new(10, 255, 0, 1),
    inner_v6: Ipv6Addr::new(0xfd00, 0x255, 0, 0, 0, 0, 0, 1),
    calls: true,
    wire: "to-paris",
};

/// The host that answers.
pub(super) const PARIS: Place = Place {
    name: "paris",
    outer: Ipv4Addr::new(192, 0, 2, 2),
    inner_v4: Ipv4Addr::new(10, 255, 0, 2),
    inner_v6: Ipv6Addr::new(0xfd00, 0x255, 0, 0, 0, 0, 0, 2),
    calls: false,
    wire: "to-berlin",
};

/// For those who watch.
pub(super) const PICTURE: &str = "\
Two hosts and a link, in network namespaces that nobody else sees

  berlin                                      paris
  192.0.2.1    --------- the link ---------   192.0.2.2
  10.255.0.1   ======= the tunnel over it =   10.255.0.2
  fd00:255::1                                 fd00:255::2";

/// Ethernet's.
const WIRE_MTU: u32 = 1500;

/// The two hosts while the demo plays.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) berlin: Host,
    pub(super) paris: Host,
    /// What the daemons say, as they say it.
    pub(super) lines: Receiver<Line>,
    /// Of berlin's end of the wire; taken when it is over.
    pub(super) capture: Option<Capture>,
}

impl Scene {
    /// Shuts this process off and builds the hosts, without their daemons.
    pub(super) fn build() -> Result<Self, DemoError> {
        let folder = stage::enter()?;
        // Best told before a daemon stumbles over it.
        drop(Tun::create(
            tun::ANY_NAME,
            Layer::Ip,
            NonZeroUsize::MIN,
            Offloads::None,
        )?);
        let psk = config::generate_psk().map_err(DemoError::os("get random numbers"))?;
        let (sender, lines) = mpsc::channel();
        let berlin = Host::new(&BERLIN, &PARIS, &folder, &psk, sender.clone())?;
        let paris = Host::new(&PARIS, &BERLIN, &folder, &psk, sender)?;
        lay_wire(&berlin, &paris)?;
        let berlins_end = raise_wire(&berlin)?;
        raise_wire(&paris)?;
        let capture = berlin.enter(|| Capture::start(berlins_end))?;
        let capture = capture.map_err(DemoError::os("capture on the link"))?;
        Ok(Self {
            berlin,
            paris,
            lines,
            capture: Some(capture),
        })
    }

    /// Fails if a daemon has ended.
    pub(super) fn check_daemons(&mut self) -> Result<(), DemoError> {
        self.berlin.check_daemon()?;
        self.paris.check_daemon()
    }

    /// What the daemons have said and nobody has read.
    pub(super) fn unread_lines(&self) -> impl Iterator<Item = String> + '_ {
        self.lines.try_iter().map(|line| line.to_string())
    }

    /// Stops both daemons, and then the capture, so that it has seen all of the link.
    pub(super) fn end(&mut self) -> Result<Frames, DemoError> {
        self.berlin.stop_daemon()?;
        self.paris.stop_daemon()?;
        match self.capture.take() {
            Some(capture) => capture.stop().map_err(DemoError::os("read the capture")),
            None => Ok(Frames::default()),
        }
    }
}

/// Makes the wire in this process's own namespace and gives each host one end of it.
fn lay_wire(berlin: &Host, paris: &Host) -> Result<(), DemoError> {
    block_on(async {
        let netlink = Netlink::connect()?;
        netlink.add_veth([BERLIN.wire, PARIS.wire]).await?;
        for host in [berlin, paris] {
            let end = netlink.link_by_name(host.place().wire).await?;
            netlink.move_link(end.index, host.namespace()).await?;
        }
        Ok(())
    })
}

/// Readies a host's loopback and its end of the wire, whose index is the answer.
fn raise_wire(host: &Host) -> Result<u32, DemoError> {
    let place = host.place();
    host.enter(|| {
        block_on(async {
            let netlink = Netlink::connect()?;
            let loopback = netlink.link_by_name("lo").await?;
            netlink.bring_up(loopback.index, loopback.mtu).await?;
            let wire = netlink.link_by_name(place.wire).await?;
            netlink.bring_up(wire.index, WIRE_MTU).await?;
            if let Some(address) = Prefix::new(place.outer.into(), 24) {
                netlink.add_address(wire.index, address).await?;
            }
            Ok(wire.index)
        })
    })?
}

/// Runs a few netlink requests of the calling thread's namespace.
fn block_on<T>(requests: impl Future<Output = Result<T, NetlinkError>>) -> Result<T, DemoError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(DemoError::os("start the event loop"))?;
    Ok(runtime.block_on(requests)?)
}
