//! `secure-gre check`: what a file means and what would be negotiated, without touching anything.

use std::fmt::Display;
use std::net::IpAddr;
use std::path::PathBuf;

use secure_gre_ike::config::{RemoteId, UdpEncapsulation};

use super::{Exit, print, show, table};
use crate::config::{Loaded, Peer, PeerAddress, Tunnel, load};
use crate::daemon::mtu::{LINK_MTU, device_mtu, envelope};
use crate::net::esp::Overhead;

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
            Ok(Loaded { peers, warnings }) => {
                show(&warnings);
                let text: Vec<_> = peers.iter().map(describe).collect();
                let printed = print(&text.join("\n"));
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
    let mut rows = vec![
        row("peer address", address(&peer.address)),
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
    for tunnel in &peer.tunnels {
        describe_tunnel(peer, tunnel, &mut rows);
    }
    format!(
        "{}: {}\n{}",
        peer.file.display(),
        peer.name,
        table::aligned(&rows)
    )
}

fn describe_tunnel(peer: &Peer, tunnel: &Tunnel, rows: &mut Vec<[String; 2]>) {
    rows.push(row(
        "device",
        or(tunnel.device.as_ref(), &"the first free sgreN"),
    ));
    let netns = tunnel.netns.iter();
    rows.extend(netns.map(|netns| row("network namespace", netns)));
    let addresses = tunnel.addresses.iter();
    rows.extend(addresses.map(|address| row("tunnel address", address)));
    let far_end = tunnel.peer_address.iter();
    rows.extend(far_end.map(|address| row("far end", address)));
    rows.extend(tunnel.routes.iter().map(|route| row("route", route)));
    rows.push(row("GRE", &gre(&tunnel.gre)));
    rows.push(row("MTU", &mtu(peer, tunnel)));
}

fn row(title: &str, value: &dyn Display) -> [String; 2] {
    [format!("  {title}"), value.to_string()]
}

fn or<'a>(value: Option<&'a impl Display>, default: &'a dyn Display) -> &'a dyn Display {
    value.map_or(default, |value| value)
}

fn address(address: &PeerAddress) -> &dyn Display {
    match address {
        PeerAddress::Any => &"any: it calls, and is found by its identity",
        known => known,
    }
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

/// What is known before there is a path: the arithmetic for Ethernet, with the worst suite on offer.
fn mtu(peer: &Peer, tunnel: &Tunnel) -> String {
    let envelope = envelope(peer, tunnel, None, overhead(peer));
    let fits = envelope.passenger_mtu(LINK_MTU);
    let mtu = device_mtu(tunnel, fits);
    let outer = envelope.outer_len(usize::from(mtu));
    match tunnel.mtu {
        None => format!("{mtu}, in outer packets of {outer} (up to {fits} would fit {LINK_MTU})"),
        Some(asked) if asked <= fits => format!("{asked}, in outer packets of {outer}"),
        Some(asked) => format!("{asked}; on a path of {LINK_MTU} only {fits} fit"),
    }
}

/// Outer headers, as far as the file tells: a host name may lead to IPv6, and a NAT to UDP.
fn overhead(peer: &Peer) -> Overhead {
    let ipv6 = matches!(peer.address, PeerAddress::Ip(IpAddr::V6(_)));
    let udp = peer.encapsulation == UdpEncapsulation::Always;
    Overhead::of(ipv6, udp)
}
