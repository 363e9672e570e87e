//! Tests that change a host, each in a network namespace of its own.

use std::future::Future;
use std::num::NonZeroUsize;

use nix::sched::{CloneFlags, unshare};

use super::netlink::{Link, Netlink};
use super::tun::{Layer, Offloads, Queue, Tun};

/// Runs `test` on a thread of its own in a fresh network namespace with the loopback up, on a
/// current-thread runtime; both end with it. Without the privilege it fails where `CI` is set, and
/// says so and passes elsewhere.
pub(crate) fn run(test: impl Future<Output = ()> + Send + 'static) {
    let thread = std::thread::spawn(|| {
        if let Err(errno) = unshare(CloneFlags::CLONE_NEWNET) {
            assert!(
                std::env::var_os("CI").is_none(),
                "no network namespace: {errno}"
            );
            eprintln!("not tested: a network namespace needs root ({errno})");
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let netlink = Netlink::connect().unwrap();
            let loopback = netlink.link_by_name("lo").await.unwrap();
            netlink
                .bring_up(loopback.index, loopback.mtu)
                .await
                .unwrap();
            test.await;
        });
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// A TUN device that is up, with these addresses and without offloads. It goes with the queue.
pub(crate) async fn device(netlink: &Netlink, name: &str, addresses: &[&str]) -> (Queue, Link) {
    device_with(netlink, name, addresses, Offloads::None).await
}

/// The same with `offloads`.
pub(crate) async fn device_with(
    netlink: &Netlink,
    name: &str,
    addresses: &[&str],
    offloads: Offloads,
) -> (Queue, Link) {
    let tun = Tun::create(name, Layer::Ip, NonZeroUsize::MIN, offloads).unwrap();
    let link = netlink.link_by_name(tun.name()).await.unwrap();
    netlink.bring_up(link.index, 1400).await.unwrap();
    for address in addresses {
        let address = address.parse().unwrap();
        netlink.add_address(link.index, address).await.unwrap();
    }
    let link = netlink.link_by_index(link.index).await.unwrap();
    (tun.into_queues().0, link)
}

/// What the router 192.0.2.254 answers to the IPv4 packet `outer` of 192.0.2.1 that is larger than
/// `mtu` octets (RFC 792, RFC 1191 §4).
pub(crate) fn fragmentation_needed(outer: &[u8], mtu: u16) -> Vec<u8> {
    let mut icmp = vec![3, 4, 0, 0, 0, 0];
    icmp.extend(mtu.to_be_bytes());
    icmp.extend(&outer[..28]);
    let sum = checksum(&icmp);
    icmp[2..4].copy_from_slice(&sum);
    let length = u8::try_from(20 + icmp.len()).unwrap();
    let mut packet = vec![
        0x45, 0, 0, length, 0, 0, 0, 0, 64, 1, 0, 0, 192, 0, 2, 254, 192, 0, 2, 1,
    ];
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum);
    packet.extend(icmp);
    packet
}

/// RFC 1071, of an even number of octets.
pub(crate) fn checksum(octets: &[u8]) -> [u8; 2] {
    let words = octets
        .chunks_exact(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    u16::try_from(folded ^ 0xffff).unwrap().to_be_bytes()
}
