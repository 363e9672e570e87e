//! A stranger who begins to call and then falls silent, which leaves a half-open IKE SA with whom it
//! has called.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use secure_gre_ike::Endpoint;
use secure_gre_ike::config::{
    Config, HalfOpenLimits, OnFailure, PeerConfig, PeerId, Remote, RemoteId, Retransmit,
    UdpEncapsulation,
};
use secure_gre_ike::event::{Command, Output, Path};
use secure_gre_ike::proposal::{EsnPolicy, EspProposal, IkeProposal};
use secure_gre_ike::secret::Secret;

use super::netns::Netns;

/// Sends one IKE_SA_INIT request from an address of a namespace.
pub(crate) fn leave(netns: &Netns, from: &str, to: &str, proposal: &str) {
    let socket = netns.enter(|| UdpSocket::bind((from, 0)).unwrap());
    let remote = SocketAddr::new(to.parse().unwrap(), 500);
    let path = Path {
        local: socket.local_addr().unwrap(),
        remote,
    };
    socket.send_to(&request(path, proposal), remote).unwrap();
}

fn request(path: Path, proposal: &str) -> Vec<u8> {
    let (peer, now) = (PeerId(1), Instant::now());
    let config = PeerConfig {
        id: peer,
        remote: Remote::At(vec![path.remote.ip()]),
        local_id: None,
        remote_id: RemoteId::Address,
        psk: Secret::new(vec![7; 32]),
        ike_proposals: vec![IkeProposal::parse(proposal).unwrap()],
        esp_proposals: vec![EspProposal::parse("aes256gcm16", EsnPolicy::Prefer).unwrap()],
        retransmit: Retransmit::default(),
        on_failure: OnFailure::Exit,
        encapsulation: UdpEncapsulation::default(),
        ike_lifetime: Duration::from_secs(3600),
        child_lifetime: Duration::from_secs(3600),
        ppk: None,
        dpd: None,
        fragmentation: true,
    };
    let config = Config {
        peers: vec![config],
        half_open: HalfOpenLimits::default(),
    };
    let mut endpoint = Endpoint::new(config, Box::new(StdRng::seed_from_u64(1)), now);
    endpoint
        .handle_command(now, Command::Connect { peer, path })
        .unwrap();
    loop {
        match endpoint.poll_output() {
            Output::Transmit(transmit) => return transmit.payload,
            Output::Idle(_) => panic!("nothing to send"),
            Output::Event(_) | Output::Trace(_) => {}
        }
    }
}
