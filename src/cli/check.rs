//! `secure-gre check`: what a file means and what would be negotiated, without touching anything.

use std::fmt::Display;
use std::path::PathBuf;

use secure_gre_esp::{Overhead, Suite};
use secure_gre_gre::Encapsulator;
use secure_gre_gre::mtu::Envelope;
use secure_gre_ike::algorithm::Encryption;
use secure_gre_ike::config::RemoteId;

use super::{Exit, print, show, table};
use crate::config::{Loaded, Peer, load};

/// The MTU of Ethernet, which most paths have, in octets.
const ETHERNET_MTU: u16 = 1500;

/// Octets of an IPv4 header without options (RFC 791 §3.1).
const IPV4_HEADER_OCTETS: usize = 20;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let mut exit = Exit::Ok;
    for file in &arguments.files {
        match load(file) {
            Ok(Loaded { peer, warnings }) => {
                show(&warnings);
                let printed = print(&describe(&peer));
                if exit == Exit::Ok {
                    exit = printed;
                }
            }
            Err(report) => {
                show(&report);
                exit = Exit::Usage;
            }
        }
    }
    exit
}

fn describe(peer: &Peer) -> String {
    let tunnel = &peer.tunnel;
    let mut rows = vec![
        row("peer address", &peer.address),
        row(
            "our address",
            or(peer.local.as_ref(), &"the one that the kernel routes from"),
        ),
        row("our identity", or(peer.local_id.as_ref(), &"our address")),
        row("peer identity", remote_id(&peer.remote_id)),
        row(
            "initiates",
            &if peer.initiate {
                "yes"
            } else {
                "no, only answers"
            },
        ),
    ];
    rows.extend(
        peer.ike_proposals
            .iter()
            .map(|proposal| row("IKE", proposal)),
    );
    rows.extend(
        peer.esp_proposals
            .iter()
            .map(|proposal| row("ESP", proposal)),
    );
    rows.push(row("mode", &"transport, for GRE between the two addresses"));
    rows.push(row(
        "device",
        or(tunnel.device.as_ref(), &"the first free sgreN"),
    ));
    rows.extend(
        tunnel
            .addresses
            .iter()
            .map(|address| row("tunnel address", address)),
    );
    rows.extend(
        tunnel
            .peer_address
            .iter()
            .map(|address| row("far end", address)),
    );
    rows.extend(tunnel.routes.iter().map(|route| row("route", route)));
    rows.push(row("GRE", &gre(&tunnel.gre)));
    rows.push(row("MTU", &mtu(peer)));
    format!(
        "{}: {}\n{}",
        peer.file.display(),
        peer.name,
        table::aligned(&rows)
    )
}

fn row(title: &str, value: &dyn Display) -> [String; 2] {
    [format!("  {title}"), value.to_string()]
}

fn or<'a>(value: Option<&'a impl Display>, default: &'a dyn Display) -> &'a dyn Display {
    value.map_or(default, |value| value)
}

fn remote_id(id: &RemoteId) -> &dyn Display {
    match id {
        RemoteId::Address => &"the peer's address",
        RemoteId::Is(identity) => identity,
        RemoteId::Any => &"any that holds the key",
    }
}

fn gre(config: &secure_gre_gre::Config) -> String {
    let key = config
        .key
        .map_or("no key".to_owned(), |key| format!("key {key}"));
    let checksum = if config.checksum { ", checksum" } else { "" };
    let sequence = if config.sequence {
        ", sequence numbers"
    } else {
        ""
    };
    format!("{key}{checksum}{sequence}")
}

/// What is known before there is a path: the arithmetic for Ethernet, with the worst suite on
/// offer.
fn mtu(peer: &Peer) -> String {
    let suites = peer
        .esp_proposals
        .iter()
        .flat_map(|proposal| proposal.encryptions());
    let envelopes = suites.map(|encryption| envelope(peer, *encryption));
    let Some(worst) = envelopes.min_by_key(|envelope| envelope.passenger_mtu(ETHERNET_MTU)) else {
        return or(peer.tunnel.mtu.as_ref(), &"auto").to_string();
    };
    let fits = worst.passenger_mtu(ETHERNET_MTU);
    match peer.tunnel.mtu {
        None => {
            let mtu = worst.device_mtu(ETHERNET_MTU);
            let outer = worst.outer_len(usize::from(mtu));
            format!("{mtu}, in outer packets of {outer} (up to {fits} would fit {ETHERNET_MTU})")
        }
        Some(mtu) if mtu <= fits => {
            let outer = worst.outer_len(usize::from(mtu));
            format!("{mtu}, in outer packets of {outer}")
        }
        Some(mtu) => format!("{mtu}; on a path of {ETHERNET_MTU} only {fits} fit"),
    }
}

fn envelope(peer: &Peer, encryption: Encryption) -> Envelope {
    let esp = overhead(encryption);
    Envelope {
        outer_ip: IPV4_HEADER_OCTETS,
        udp: 0,
        esp_header: esp.header,
        esp_icv: esp.icv,
        esp_alignment: esp.alignment,
        gre_header: Encapsulator::new(peer.tunnel.gre).header_len(),
        link: 0,
    }
}

fn overhead(encryption: Encryption) -> Overhead {
    match encryption {
        Encryption::Aes128Gcm16 => Suite::Aes128Gcm16.overhead(),
        Encryption::Aes256Gcm16 => Suite::Aes256Gcm16.overhead(),
    }
}
