//! Links, addresses and routes of the host, by rtnetlink.
//!
//! The only folder that knows the `rtnetlink` crate: links and addresses here, routes in `route`, those
//! that several tunnels share in `multipath`, the kernel's way to an address in `way`, what would lead
//! it into a tunnel in `covering`, what many want to know at once in `look`, what changes on the host in
//! `watch`, pairs of devices in `veth`.
//! Every change can be repeated: adding what is there and removing what is gone both succeed, so that
//! cleaning up after a crash is the same code as cleaning up.

mod covering;
mod look;
mod multipath;
mod route;
#[cfg(test)]
mod tests;
mod veth;
mod watch;
mod way;

use std::io;
use std::net::IpAddr;

use futures_util::{StreamExt, TryStreamExt};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressFlags};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use nix::errno::Errno;
use rtnetlink::{Handle, LinkUnspec};

pub use self::covering::CoveringRoute;
pub use self::look::Look;
pub use self::multipath::NextHop;
pub use self::route::{Added, MAIN_TABLE, ROUTE_PROTOCOL, Route, RouteInfo, Target};
pub use self::watch::Watch;
use super::netns::HeldNamespace;
use super::prefix::Prefix;

/// A connection to the kernel's routing socket, of the network namespace it was made in.
#[derive(Debug, Clone)]
pub struct Netlink {
    handle: Handle,
}

/// A network device as it is at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number for it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// The longest packet it takes, in octets.
    pub mtu: u32,
    /// Whether it is administratively up.
    pub up: bool,
}

impl Netlink {
    /// Must be called within a tokio runtime with I/O, which drives the connection.
    pub fn connect() -> Result<Self, NetlinkError> {
        // Strict checks make the kernel honour the filters of a dump. Before Linux 4.20 it refuses them
        // and lists everything, slowly: whoever lists leaves out the rest again.
        let opened = rtnetlink::new_connection_with_strict_check();
        let opened = opened.or_else(|_| rtnetlink::new_connection());
        let (connection, handle, _) = opened.map_err(NetlinkError::Connect)?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// The same, of the network namespace `namespace`.
    pub fn connect_in(namespace: &HeldNamespace) -> Result<Self, NetlinkError> {
        let runtime = tokio::runtime::Handle::current();
        // The socket is made on another thread, and driven here.
        let connected = namespace.enter(|| {
            let _entered = runtime.enter();
            Self::connect()
        });
        connected.map_err(NetlinkError::Connect)?
    }

    /// The device of this name.
    pub async fn link_by_name(&self, name: &str) -> Result<Link, NetlinkError> {
        let request = self.handle.link().get().match_name(name.to_owned());
        first_link(request, name).await
    }

    /// The device with this index.
    pub async fn link_by_index(&self, index: u32) -> Result<Link, NetlinkError> {
        let request = self.handle.link().get().match_index(index);
        first_link(request, &format!("with index {index}")).await
    }

    /// Makes a device ready for traffic: up, multicast, this MTU, a queue that holds a burst. A
    /// link-local IPv6 address is the kernel's to give.
    pub async fn bring_up(&self, link: u32, mtu: u32) -> Result<(), NetlinkError> {
        let message = LinkUnspec::new_with_index(link)
            .mtu(mtu)
            .txqueuelen(QUEUE_PACKETS)
            .multicast(true)
            .up();
        let outcome = self.handle.link().set(message.build()).execute().await;
        outcome.map_err(|error| refused(format!("bring up the device with index {link}"), error))
    }

    /// Takes a device down, and with it the usable routes over it, as somebody else does in a test.
    #[cfg(test)]
    pub(crate) async fn set_down(&self, link: u32) -> Result<(), NetlinkError> {
        let message = LinkUnspec::new_with_index(link).down().build();
        let outcome = self.handle.link().set(message).execute().await;
        unless(outcome, &[Errno::ENODEV])
            .map_err(|error| refused(format!("take down the device with index {link}"), error))
    }

    /// `mtu` in octets.
    pub async fn set_mtu(&self, link: u32, mtu: u32) -> Result<(), NetlinkError> {
        let message = LinkUnspec::new_with_index(link).mtu(mtu).build();
        let outcome = self.handle.link().set(message).execute().await;
        unless(outcome, &[Errno::ENODEV]).map_err(|error| {
            refused(
                format!("set MTU {mtu} on the device with index {link}"),
                error,
            )
        })
    }

    /// Tells whether a device has a carrier: whether anything that is sent by it arrives anywhere.
    pub async fn set_carrier(&self, link: u32, carrier: bool) -> Result<(), NetlinkError> {
        let carrier = LinkAttribute::Carrier(carrier.into());
        let message = LinkUnspec::new_with_index(link)
            .append_extra_attribute(carrier)
            .build();
        let outcome = self.handle.link().set(message).execute().await;
        // A kernel that knows no carrier of such a device has it on for ever.
        unless(outcome, &[Errno::ENODEV, Errno::EOPNOTSUPP]).map_err(|error| {
            let action = format!("set the carrier of the device with index {link}");
            refused(action, error)
        })
    }

    /// Gives a device an address, and the connected route that comes with it. IPv6 addresses are
    /// usable at once (no duplicate address detection: there is one neighbour, and it is far away).
    pub async fn add_address(&self, link: u32, address: Prefix) -> Result<(), NetlinkError> {
        let mut request = self
            .handle
            .address()
            .add(link, address.addr(), address.prefix_len());
        if address.addr().is_ipv6() {
            let no_dad = AddressAttribute::Flags(AddressFlags::Nodad);
            request.message_mut().attributes.push(no_dad);
        }
        let outcome = request.execute().await;
        unless(outcome, &[Errno::EEXIST]).map_err(|error| match errno(&error) {
            Some(Errno::EACCES | Errno::EOPNOTSUPP) if address.addr().is_ipv6() => {
                NetlinkError::Ipv6Disabled { address }
            }
            _ => refused(format!("add the address {address}"), error),
        })
    }

    /// The addresses of all devices, each with the index of its device.
    pub async fn list_addresses(&self) -> Result<Vec<(u32, Prefix)>, NetlinkError> {
        let mut addresses = Vec::new();
        let mut answers = self.handle.address().get().execute().boxed();
        while let Some(message) = answers
            .try_next()
            .await
            .map_err(|error| refused("list the addresses".to_owned(), error))?
        {
            // On a point-to-point link, `Address` is the other end's, and the subnet is its.
            let address = message
                .attributes
                .iter()
                .find_map(|attribute| match attribute {
                    AddressAttribute::Address(address) => Some(*address),
                    _ => None,
                });
            let prefix = address.and_then(|own| Prefix::new(own, message.header.prefix_len));
            addresses.extend(prefix.map(|prefix| (message.header.index, prefix)));
        }
        Ok(addresses)
    }

    /// Takes an address from a device, as somebody else does in a test.
    #[cfg(test)]
    pub(crate) async fn remove_address(
        &self,
        link: u32,
        address: Prefix,
    ) -> Result<(), NetlinkError> {
        let mut message = netlink_packet_route::address::AddressMessage::default();
        message.header.family = family(address.addr());
        message.header.index = link;
        message.header.prefix_len = address.prefix_len();
        message
            .attributes
            .push(AddressAttribute::Local(address.addr()));
        let outcome = self.handle.address().del(message).execute().await;
        unless(outcome, &[Errno::EADDRNOTAVAIL, Errno::ENODEV])
            .map_err(|error| refused(format!("remove the address {address}"), error))
    }
}

/// Why the kernel did not do it.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// No routing socket.
    #[error("can't open a netlink socket: {0}")]
    Connect(#[source] io::Error),
    /// CAP_NET_ADMIN is missing.
    #[error("not permitted to {action}: run as root or with CAP_NET_ADMIN")]
    NotPermitted {
        /// What was tried.
        action: String,
    },
    /// No such device.
    #[error("there is no network device {link}")]
    NoSuchLink {
        /// Its name, or its index in words.
        link: String,
    },
    /// No route leads there, or one that refuses.
    #[error(
        "no route to {destination}; \"ip route get {destination}\" shows what the kernel thinks"
    )]
    NoRoute {
        /// The address looked up.
        destination: IpAddr,
    },
    /// Somebody else's route has this destination, table and metric.
    #[error(
        "a route {destination} with metric {metric} exists already and isn't ours (\"ip -{family} route \
         show {destination} table {table}\"); remove it or choose another metric",
        family = if .destination.addr().is_ipv4() { 4 } else { 6 }
    )]
    ForeignRoute {
        /// Its destination.
        destination: Prefix,
        /// Its table.
        table: u32,
        /// Its metric.
        metric: u32,
    },
    /// IPv6 is off, on this device or altogether.
    #[error(
        "can't add the address {address}: IPv6 is disabled here; enable it with \"sysctl \
         net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0\" or drop the address"
    )]
    Ipv6Disabled {
        /// The address to be added.
        address: Prefix,
    },
    /// The kernel was built without the driver, or the module is missing.
    #[error(
        "the kernel has no pairs of virtual Ethernet devices: load the driver with \"modprobe veth\""
    )]
    NoVeth,
    /// Anything else.
    #[error("can't {action}: {source}")]
    Refused {
        /// What was tried.
        action: String,
        /// What the kernel said.
        source: io::Error,
    },
}

async fn first_link(
    request: rtnetlink::LinkGetRequest,
    described: &str,
) -> Result<Link, NetlinkError> {
    match request.execute().boxed().try_next().await {
        Ok(Some(message)) => Ok(Link::from(message)),
        Ok(None) => Err(NetlinkError::NoSuchLink {
            link: described.to_owned(),
        }),
        Err(error) if errno(&error) == Some(Errno::ENODEV) => Err(NetlinkError::NoSuchLink {
            link: described.to_owned(),
        }),
        Err(error) => Err(refused(format!("look up the device {described}"), error)),
    }
}

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Self {
        let (mut name, mut mtu) = (String::new(), 0);
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(value) => name = value,
                LinkAttribute::Mtu(value) => mtu = value,
                _ => {}
            }
        }
        let up = message.header.flags.contains(LinkFlags::Up);
        Self {
            index: message.header.index,
            name,
            mtu,
            up,
        }
    }
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    }
}

/// What the kernel answered, if the request got that far.
fn errno(error: &rtnetlink::Error) -> Option<Errno> {
    match error {
        rtnetlink::Error::NetlinkError(message) => {
            Some(Errno::from_raw(message.raw_code().saturating_neg()))
        }
        _ => None,
    }
}

/// `outcome`, but a success where the kernel says that things are as wanted already.
fn unless(
    outcome: Result<(), rtnetlink::Error>,
    already: &[Errno],
) -> Result<(), rtnetlink::Error> {
    match outcome {
        Err(error) if errno(&error).is_some_and(|errno| already.contains(&errno)) => Ok(()),
        outcome => outcome,
    }
}

/// `action` completes "can't …".
fn refused(action: String, error: rtnetlink::Error) -> NetlinkError {
    match errno(&error) {
        Some(Errno::EPERM) => NetlinkError::NotPermitted { action },
        Some(errno) => NetlinkError::Refused {
            action,
            source: errno.into(),
        },
        None => NetlinkError::Refused {
            action,
            source: io::Error::other(error),
        },
    }
}

/// Twice what the kernel gives a TUN device, so that a burst fits.
const QUEUE_PACKETS: u32 = 1000;
