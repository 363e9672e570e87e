//! A wire: two Ethernet devices of which each gets what the other sends.

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use rtnetlink::LinkVeth;

use super::{Netlink, NetlinkError, errno, refused};

impl Netlink {
    /// Makes the two ends of a wire, both in this connection's namespace and down. They end
    /// together, or with the namespace of either.
    pub async fn add_veth(&self, names: [&str; 2]) -> Result<(), NetlinkError> {
        let [name, other] = names;
        let request = self.handle.link().add(LinkVeth::new(name, other).build());
        request
            .execute()
            .await
            .map_err(|error| match errno(&error) {
                Some(Errno::EOPNOTSUPP) => NetlinkError::NoVeth,
                _ => refused(
                    format!("make the pair of devices {name} and {other}"),
                    error,
                ),
            })
    }

    /// Moves a device into another network namespace, where it is down and has no address.
    pub async fn move_link(&self, link: u32, namespace: &impl AsFd) -> Result<(), NetlinkError> {
        let message = rtnetlink::LinkUnspec::new_with_index(link)
            .setns_by_fd(namespace.as_fd().as_raw_fd())
            .build();
        let outcome = self.handle.link().set(message).execute().await;
        outcome.map_err(|error| refused(format!("move the device with index {link}"), error))
    }
}
