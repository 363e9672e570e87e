//! What the cells of one test run in: namespaces, and one guest with a daemon that is told anew for
//! each cell what it is to do.

use crate::lab::require::Lab;
use crate::lab::topology::{INSIDE_LEFT, INSIDE_LEFT_V6, INSIDE_RIGHT, INSIDE_RIGHT_V6, RIGHT};
use crate::lab::{
    self, Guest, Libreswan, Netns, Outer, Peer, Strongswan, Topology, half_open, libreswan,
    strongswan,
};

use super::cell::{Cell, Daemon, Extra, Family, Role, Way};
use super::suite::Suite;

/// Somebody who calls charon and falls silent, so that it asks others for cookies.
const STRANGER: &str = "192.0.2.9";
const STRANGERS_SUITE: &str = "aes256gcm16-prfsha256-ecp256";

/// Dropped in this order.
pub(super) struct Scene {
    pub(super) guest: Guest,
    inside: Option<Netns>,
    pub(super) topology: Topology,
    daemon: Daemon,
}

/// Outer addresses of a cell.
pub(super) struct Ends {
    /// Of the product, and where the peer sees it.
    pub(super) ours: [&'static str; 2],
    /// Of the guest, and where we see it.
    pub(super) its: [&'static str; 2],
}

impl Ends {
    pub(super) fn of(cell: Cell) -> Self {
        let (outer, inside) = match cell.family {
            Family::V4 => (Outer::NATIVE_V4, [INSIDE_LEFT, INSIDE_RIGHT]),
            Family::V6 => (Outer::NATIVE_V6, [INSIDE_LEFT_V6, INSIDE_RIGHT_V6]),
        };
        let (mut ours, mut its) = ([outer.left; 2], [outer.right; 2]);
        match (cell.way, cell.role) {
            (Way::Nat, Role::WeCall) => ours[0] = inside[0],
            (Way::Nat, Role::PeerCalls) => its[0] = inside[1],
            _ => {}
        }
        Self { ours, its }
    }
}

impl Scene {
    /// Boots a guest where cells of this kind find it.
    #[track_caller]
    pub(super) fn new(lab: Lab, daemon: Daemon, role: Role, way: Way) -> Self {
        let topology = Topology::new(lab);
        let (mut inside, mut guest) = (None, None);
        match (way, role) {
            (Way::Nat, Role::WeCall) => inside = Some(topology.add_inside()),
            (Way::Nat, Role::PeerCalls) => guest = Some(topology.boot_guest_behind_nat()),
            _ => {}
        }
        let guest = guest.unwrap_or_else(|| topology.boot_guest());
        match daemon {
            Daemon::Strongswan => Strongswan {
                charon: SETTINGS,
                ..Strongswan::default()
            }
            .start(&guest),
            Daemon::Libreswan => Libreswan::start(&guest),
        }
        if role == Role::WeCall {
            let mid = &topology.mid;
            mid.ip(&format!("address add {STRANGER}/24 dev br0"));
        }
        Self {
            guest,
            inside,
            topology,
            daemon,
        }
    }

    /// Where the product runs.
    pub(super) fn home(&self) -> &Netns {
        self.inside.as_ref().unwrap_or(&self.topology.left)
    }

    /// Lets the daemon expect what a cell has.
    #[track_caller]
    pub(super) fn prepare(&self, cell: Cell) {
        let Ends { ours, its } = Ends::of(cell);
        let udp = cell.way == Way::ForcedUdp && cell.role == Role::PeerCalls;
        match self.daemon {
            Daemon::Strongswan => {
                let [ike_proposals, esp_proposals] = strongswan_proposals(cell);
                Strongswan {
                    local: its[0],
                    local_id: its[0],
                    remote: ours[1],
                    remote_id: ours[0],
                    encap: udp,
                    ike_proposals,
                    esp_proposals,
                    fragmentation: match cell.extra {
                        Extra::Fragments => "force",
                        _ => "accept",
                    },
                    another: CONNECTION_OF_THE_STRANGER,
                    ..Strongswan::default()
                }
                .replace(&self.guest);
            }
            Daemon::Libreswan => Libreswan {
                local: its[0],
                remote: ours[1],
                remote_id: ours[0],
                encapsulation: udp,
                suite: cell.suite.libreswan,
            }
            .replace(&self.guest),
        }
    }

    /// Lets charon ask for cookies, until [`Self::forget_stranger`].
    #[track_caller]
    pub(super) fn let_stranger_call(&self) {
        // What a goodbye has cut short is half-open there too for half a minute, and asks for cookies.
        lab::eventually("a half-open IKE SA", super::PATIENCE * 3, || {
            let before = self.log().len();
            half_open::leave(&self.topology.mid, STRANGER, RIGHT, STRANGERS_SUITE);
            let is_half_open = lab::eventually("an answer", super::PATIENCE, || {
                let said = self.log().split_off(before);
                let answered =
                    |with: &str| said.contains(&format!("IKE_SA_INIT response 0 [ {with}"));
                let is_half_open = answered("SA KE");
                (is_half_open || answered("N(COOKIE)")).then_some(is_half_open)
            });
            is_half_open.then_some(())
        });
    }

    #[track_caller]
    pub(super) fn forget_stranger(&self) {
        // Half-open, it has no name yet.
        self.guest.expect(
            "id=$(swanctl --list-sas | sed -n 's/^(unnamed): #\\([0-9]*\\),.*/\\1/p')\n\
             swanctl --terminate --ike-id $id --force",
        );
    }

    /// The daemon calls us.
    #[track_caller]
    pub(super) fn initiate(&self) {
        match self.daemon {
            Daemon::Strongswan => strongswan::initiate(&self.guest).expect("swanctl --initiate"),
            Daemon::Libreswan => libreswan::initiate(&self.guest).expect("whack --initiate"),
        };
    }

    /// The daemon replaces the keys of the pair.
    #[track_caller]
    pub(super) fn rekey(&self) {
        match self.daemon {
            Daemon::Strongswan => strongswan::rekey(&self.guest, strongswan::Rekey::Child),
            Daemon::Libreswan => libreswan::rekey(&self.guest),
        }
    }

    /// The daemon deletes the SAs.
    #[track_caller]
    pub(super) fn terminate(&self) {
        match self.daemon {
            Daemon::Strongswan => strongswan::terminate(&self.guest),
            Daemon::Libreswan => libreswan::terminate(&self.guest),
        }
    }

    /// What the daemon has said so far.
    pub(super) fn log(&self) -> String {
        match self.daemon {
            Daemon::Strongswan => strongswan::log(&self.guest),
            Daemon::Libreswan => libreswan::log(&self.guest),
        }
    }

    /// The daemon's name and version, and those of the guest's kernel.
    #[track_caller]
    pub(super) fn versions(&self) -> [String; 2] {
        let daemon = match self.daemon {
            Daemon::Strongswan => strongswan::version(&self.guest),
            Daemon::Libreswan => libreswan::version(&self.guest),
        };
        let kernel = self.guest.expect("uname -r");
        [daemon, format!("Linux {}", kernel.trim())]
    }
}

/// Of all connections. Cookies are asked for while somebody is half-open; of datagrams of 200 octets,
/// nearly everything that charon sends takes several, where it divides anything.
const SETTINGS: &str = "dos_protection = yes
  cookie_threshold = 1
  block_threshold = 5
  fragment_size = 200";
const CONNECTION_OF_THE_STRANGER: &str = "another {
    version = 2
    remote_addrs = 192.0.2.9
    proposals = aes256gcm16-prfsha256-ecp256
    local {
      auth = psk
    }
    remote {
      auth = psk
    }
  }";

fn strongswan_proposals(cell: Cell) -> [&'static str; 2] {
    let Suite { ike, esp, .. } = cell.suite;
    let another_group_first = cell.extra == Extra::InvalidKe && cell.role == Role::PeerCalls;
    // What charon has is what it insists on; with both it takes what we do.
    let esn = match cell.extra {
        Extra::EsnOff => "esn-noesn",
        _ => "esn",
    };
    [
        if another_group_first {
            behind_another_group(ike).leak()
        } else {
            ike
        },
        format!("{esp}-{esn}").leak(),
    ]
}

/// The suite with another group before its own.
fn behind_another_group(ike: &str) -> String {
    let (algorithms, group) = ike.rsplit_once('-').unwrap();
    let another = if group == "x25519" {
        "ecp256"
    } else {
        "x25519"
    };
    format!("{algorithms}-{another}-{group}")
}

/// The product's file for a cell.
pub(super) fn peer(cell: Cell) -> Peer {
    let Suite { ike, esp, .. } = cell.suite;
    let Ends { its, .. } = Ends::of(cell);
    let mut lines = format!("remote-id = \"{}\"\n", its[0]);
    if cell.way == Way::ForcedUdp && cell.role == Role::WeCall {
        lines += "encapsulation = \"always\"\n";
    }
    lines += "[peer.ike]\n";
    if cell.extra == Extra::InvalidKe && cell.role == Role::WeCall {
        lines += &format!("proposals = [\"{}\"]\n", behind_another_group(ike));
    } else if !ike.is_empty() {
        lines += &format!("proposals = [\"{ike}\"]\n");
    }
    if cell.extra == Extra::Cookies && cell.role == Role::PeerCalls {
        lines += "half-open = { cookies-from = 0, limit = 1000 }\n";
    }
    lines += "[peer.esp]\n";
    if !esp.is_empty() {
        lines += &format!("proposals = [\"{esp}\"]\n");
    }
    if cell.extra == Extra::EsnOff {
        lines += "esn = \"never\"\n";
    }
    Peer {
        address: its[1],
        initiate: cell.role == Role::WeCall,
        more: lines.leak(),
        ..Peer::default()
    }
}
