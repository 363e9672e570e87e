//! No tunnel at all: what the kernel, the generators and this machine can do at most.

use super::{Need, Peer, Programs, Tunnel};
use crate::bench::scene::{Scene, WIRE};

/// See the module.
pub(super) struct BareVeth;

impl Peer for BareVeth {
    fn name(&self) -> &'static str {
        "bare-veth"
    }

    fn about(&self) -> &'static str {
        "no tunnel: the link itself, at MTU 1400; the limit of the generators and the machine"
    }

    fn needs(&self) -> &'static [Need] {
        &[]
    }

    fn start(&self, scene: &Scene, _programs: &Programs) -> anyhow::Result<Tunnel> {
        for host in scene.hosts() {
            host.raise(WIRE)?;
        }
        Ok(Tunnel::default())
    }
}
