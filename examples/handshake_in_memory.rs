//! Two IKE endpoints and one ESP packet, without a network: how the sans-IO crates are driven.
//!
//! `cargo run --example handshake_in_memory`

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};
use secure_gre_esp as esp;
use secure_gre_ike::Endpoint;
use secure_gre_ike::config::{
    Config, HalfOpenLimits, OnFailure, PeerConfig, PeerId, Remote, RemoteId, Retransmit,
    UdpEncapsulation,
};
use secure_gre_ike::event::{ChildKeys, Command, Event, Output, Path, Transmit};
use secure_gre_ike::proposal::{EsnPolicy, EspProposal, IkeProposal};
use secure_gre_ike::secret::Secret;

const PEER: PeerId = PeerId(0);
const LEFT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const RIGHT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
const GRE: u8 = 47;

/// An endpoint with what its driver has to remember.
struct Host {
    name: &'static str,
    endpoint: Endpoint,
    inbound: Option<ChildKeys>,
    outbound: Option<ChildKeys>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let now = Instant::now();
    let mut left = Host::new("left", RIGHT, now)?;
    let mut right = Host::new("right", LEFT, now)?;
    let at = |address| SocketAddr::new(address, 500);
    let path = Path {
        local: at(LEFT),
        remote: at(RIGHT),
    };
    left.endpoint
        .handle_command(now, Command::Connect { peer: PEER, path })?;

    // Each end's datagrams go straight to the other until neither has any.
    while deliver(&mut left, &mut right, now) || deliver(&mut right, &mut left, now) {}

    let (Some(sealing), Some(opening)) = (left.outbound, right.inbound) else {
        return Err("no CHILD_SA".into());
    };
    send_one_packet(&sealing, &opening)
}

/// Whether there was anything to deliver.
fn deliver(from: &mut Host, to: &mut Host, now: Instant) -> bool {
    let datagrams = from.drain();
    for Transmit { path, payload } in &datagrams {
        let arrived = Path {
            local: path.remote,
            remote: path.local,
        };
        to.endpoint.handle_datagram(now, arrived, payload);
    }
    !datagrams.is_empty()
}

impl Host {
    fn new(name: &'static str, peer: IpAddr, now: Instant) -> Result<Self, Box<dyn Error>> {
        let config = PeerConfig {
            id: PEER,
            remote: Remote::At(vec![peer]),
            local_id: None,
            remote_id: RemoteId::Address,
            psk: Secret::new(b"only for this example".to_vec()),
            ike_proposals: vec![IkeProposal::parse("aes256gcm16-prfsha384-x25519")?],
            esp_proposals: vec![EspProposal::parse("aes256gcm16", EsnPolicy::Prefer)?],
            retransmit: Retransmit::default(),
            on_failure: OnFailure::Exit,
            encapsulation: UdpEncapsulation::default(),
            fragmentation: true,
            ike_lifetime: Duration::from_secs(8 * 3600),
            child_lifetime: Duration::from_secs(3600),
            ppk: None,
            dpd: None,
        };
        let config = Config {
            peers: vec![config],
            half_open: HalfOpenLimits::default(),
        };
        let rng = Box::new(StdRng::try_from_rng(&mut SysRng)?);
        let endpoint = Endpoint::new(config, rng, now);
        Ok(Self {
            name,
            endpoint,
            inbound: None,
            outbound: None,
        })
    }

    /// Performs the endpoint's outputs in their order; the datagrams are the caller's.
    fn drain(&mut self) -> Vec<Transmit> {
        let mut datagrams = Vec::new();
        loop {
            match self.endpoint.poll_output() {
                Output::Transmit(transmit) => datagrams.push(transmit),
                Output::Event(Event::IkeUp { details, .. }) => {
                    println!("{}: IKE SA up: {}", self.name, details.suite);
                }
                Output::Event(Event::ChildInbound { keys, .. }) => self.inbound = Some(keys),
                Output::Event(Event::ChildOutbound { keys, .. }) => {
                    println!("{}: CHILD_SA up: {}", self.name, keys.suite);
                    self.outbound = Some(keys);
                }
                Output::Event(_) | Output::Trace(_) => {}
                Output::Idle(_) => return datagrams,
            }
        }
    }
}

fn send_one_packet(sealing: &ChildKeys, opening: &ChildKeys) -> Result<(), Box<dyn Error>> {
    let outbound = esp::OutboundSa::new(esp_keys(sealing)?);
    let mut inbound = esp::InboundSa::new(esp_keys(opening)?, esp::DEFAULT_WINDOW_PACKETS);
    let text = b"a passenger";
    let start = esp::OutboundSa::HEADROOM;
    let mut buffer = vec![0; start + text.len() + outbound.trailer_len(text.len())];
    buffer.splice(start..start + text.len(), text.iter().copied());

    let mut reservation = outbound.reserve(1, text.len() as u64)?;
    let sequence = reservation.next().ok_or("an empty reservation")?;
    let packet = outbound.seal(sequence, GRE, &mut buffer, start..start + text.len())?;
    println!("{} octets of ESP on the wire", packet.len());

    let packet = buffer.get_mut(packet).ok_or("outside of the buffer")?;
    let candidate = inbound.candidate(packet)?;
    let opened = inbound.open(candidate, packet)?;
    let payload = inbound.commit(opened)?;
    println!("opened: {}", String::from_utf8_lossy(payload.bytes));
    if payload.bytes != text {
        return Err("not what was sealed".into());
    }
    Ok(())
}

fn esp_keys(keys: &ChildKeys) -> Result<esp::Keys, Box<dyn Error>> {
    let spi = esp::Spi::try_from(keys.spi.0)?;
    let material = keys.key_material.expose();
    Ok(esp::Keys::new(
        esp::Suite::Aes256Gcm16,
        spi,
        keys.suite.esn,
        material,
    )?)
}

#[test]
fn a_packet_passes_under_keys_that_were_agreed_on() -> Result<(), Box<dyn Error>> {
    main()
}
