//! The referee: what went over the outer link, read from a capture file.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::netns::Netns;
use super::process::Process;
use super::product;
use super::reaper;
use super::topology::Outer;
use super::traffic::MARKER;

/// IP protocol number of GRE.
pub(crate) const GRE: u8 = 47;
/// IP protocol number of ESP.
pub(crate) const ESP: u8 = 50;
const UDP: u8 = 17;

/// How much of a frame is kept, in octets.
const SNAPSHOT: usize = 2048;

/// A running `tcpdump`.
pub(crate) struct Capture {
    tcpdump: Process,
    folder: TempDir,
}

impl Capture {
    /// Captures everything on `link`; returns once `tcpdump` listens.
    #[track_caller]
    pub(crate) fn start(netns: &Netns, link: &str) -> Self {
        let folder = reaper::folder();
        let file = folder.path().join("outer.pcap");
        let mut tcpdump = netns.spawn(&format!(
            // A short snapshot length gives the kernel's buffer many slots; no packet of the outer
            // link is longer. -Z root: otherwise tcpdump gives up root before it opens the file.
            "tcpdump -i {link} -n -s {SNAPSHOT} --immediate-mode -B 65536 -Z root -w {}",
            file.display()
        ));
        tcpdump.wait_for_line("listening on", Duration::from_secs(10));
        Self { tcpdump, folder }
    }

    /// Ends the capture and reads it. Panics when the kernel had to leave packets out.
    #[track_caller]
    pub(crate) fn stop(self) -> Packets {
        // What was sent a moment ago is still on its way through the bridge.
        std::thread::sleep(Duration::from_millis(200));
        self.tcpdump.signal(Signal::SIGINT);
        let said = self.tcpdump.wait(Duration::from_secs(20)).stderr;
        assert!(
            said.contains("\n0 packets dropped by kernel"),
            "incomplete capture: {said}"
        );
        let file = std::fs::read(self.folder.path().join("outer.pcap")).unwrap();
        Packets(frames(&file).filter_map(Packet::parse).collect())
    }
}

/// The IP packets of a capture, in order.
pub(crate) struct Packets(Vec<Packet>);

impl Packets {
    /// How many have this IP protocol number.
    pub(crate) fn count_protocol(&self, protocol: u8) -> usize {
        self.0
            .iter()
            .filter(|packet| packet.protocol == protocol)
            .count()
    }

    /// How many are UDP with this source or destination port.
    pub(crate) fn count_udp(&self, port: u16) -> usize {
        self.0
            .iter()
            .filter(|packet| packet.ports.is_some_and(|(a, b)| a == port || b == port))
            .count()
    }

    /// How many are IPv4 fragments, the first one included.
    pub(crate) fn count_fragments(&self) -> usize {
        self.0.iter().filter(|packet| packet.fragment).count()
    }

    /// How many of those come from this address.
    pub(crate) fn count_fragments_from(&self, source: &str) -> usize {
        let source: IpAddr = source.parse().unwrap();
        let from = self.0.iter().filter(|packet| packet.source == source);
        from.filter(|packet| packet.fragment).count()
    }

    /// TTL or hop limit, TOS octet or traffic class, and whether it may not be fragmented, of the first
    /// ESP packet of `length` octets from this address.
    pub(crate) fn marks(&self, source: &str, length: usize) -> Option<(u8, u8, bool)> {
        let source: IpAddr = source.parse().unwrap();
        let mut packets = self.0.iter();
        let packet = packets.find(|packet| {
            (packet.source, packet.protocol, packet.length) == (source, ESP, length)
        })?;
        let bytes = &packet.bytes;
        Some(match source {
            IpAddr::V4(_) => (bytes[8], bytes[1], bytes[6] & 0x40 != 0),
            IpAddr::V6(_) => (bytes[7], bytes[0] << 4 | bytes[1] >> 4, true),
        })
    }

    /// The longest IP packet with this protocol number, in octets.
    pub(crate) fn longest(&self, protocol: u8) -> usize {
        let lengths = self.0.iter().filter(|packet| packet.protocol == protocol);
        lengths.map(|packet| packet.length).max().unwrap_or(0)
    }

    /// The longest IP packet from this address, in octets.
    pub(crate) fn longest_from(&self, source: &str) -> usize {
        let source: IpAddr = source.parse().unwrap();
        let lengths = self.0.iter().filter(|packet| packet.source == source);
        lengths.map(|packet| packet.length).max().unwrap_or(0)
    }

    /// Panics unless a lot of ESP, full packets among it, came as it should, and none of it in
    /// fragments.
    #[track_caller]
    pub(crate) fn assert_carried_over(&self, outer: Outer) {
        let (native, udp) = (self.count_protocol(ESP), self.count_udp(4500));
        let protocol = if outer.udp { UDP } else { ESP };
        if outer.udp {
            assert!(udp > 1000 && native == 0, "{native} native, {udp} in UDP");
        } else {
            // IKE may use the port too.
            assert!(native > 1000 && udp < 50, "{native} native, {udp} in UDP");
        }
        assert_eq!(self.longest(protocol), outer.longest_packet());
        assert_eq!(self.count_fragments(), 0);
    }

    /// The first packet that should have been inside the tunnel: GRE, a packet from or to one of
    /// the laboratory's inner addresses, or one with the octets of every passenger payload.
    pub(crate) fn in_clear(&self) -> Option<&Packet> {
        self.0.iter().find(|packet| {
            packet.protocol == GRE
                || product::is_inner(packet.source)
                || product::is_inner(packet.destination)
                || packet
                    .bytes
                    .windows(MARKER.len())
                    .any(|window| window == MARKER)
        })
    }
}

/// One IP packet on the outer link.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    /// Source and destination port of UDP that is whole.
    ports: Option<(u16, u16)>,
    fragment: bool,
    /// Of the whole IP packet, in octets.
    length: usize,
    /// The IP packet, as far as it was kept.
    bytes: Vec<u8>,
}

impl Packet {
    /// Reads an Ethernet frame; `None` for what is not IP.
    fn parse(frame: &[u8]) -> Option<Self> {
        let (ethertype, ip) = (u16_at(frame, 12)?, frame.get(14..)?);
        match ethertype {
            0x0800 => Self::parse_v4(ip),
            0x86dd => Self::parse_v6(ip),
            _ => None,
        }
    }

    fn parse_v4(ip: &[u8]) -> Option<Self> {
        let header = usize::from(ip.first()? & 0x0f) * 4;
        let length = usize::from(u16_at(ip, 2)?);
        let bytes = ip[..length.min(ip.len())].to_vec();
        let protocol = *ip.get(9)?;
        let fragment = u16_at(ip, 6)? & 0x3fff != 0;
        Some(Self {
            source: Ipv4Addr::from(array_at::<4>(ip, 12)?).into(),
            destination: Ipv4Addr::from(array_at::<4>(ip, 16)?).into(),
            protocol,
            ports: ports(protocol, &bytes, header).filter(|_| !fragment),
            fragment,
            length,
            bytes,
        })
    }

    fn parse_v6(ip: &[u8]) -> Option<Self> {
        let length = 40 + usize::from(u16_at(ip, 4)?);
        let bytes = ip[..length.min(ip.len())].to_vec();
        let protocol = *ip.get(6)?;
        Some(Self {
            source: Ipv6Addr::from(array_at::<16>(ip, 8)?).into(),
            destination: Ipv6Addr::from(array_at::<16>(ip, 24)?).into(),
            protocol,
            ports: ports(protocol, &bytes, 40),
            fragment: false,
            length,
            bytes,
        })
    }
}

fn ports(protocol: u8, ip: &[u8], header: usize) -> Option<(u16, u16)> {
    (protocol == UDP).then_some((u16_at(ip, header)?, u16_at(ip, header + 2)?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_be_bytes)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// The frames of a pcap file in this machine's byte order with the Ethernet link type, which is
/// what `tcpdump` writes for the links of a laboratory.
fn frames(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    const HEADER: usize = 24;
    const RECORD: usize = 16;
    assert_eq!(
        array_at(file, 0).map(u32::from_ne_bytes),
        Some(0xa1b2_c3d4),
        "not a pcap file"
    );
    assert_eq!(
        array_at(file, 20).map(u32::from_ne_bytes),
        Some(1),
        "not Ethernet"
    );
    let mut rest = &file[HEADER..];
    std::iter::from_fn(move || {
        let captured = u32::from_ne_bytes(array_at(rest, 8)?) as usize;
        let frame = rest.get(RECORD..RECORD + captured)?;
        rest = &rest[RECORD + captured..];
        Some(frame)
    })
}
