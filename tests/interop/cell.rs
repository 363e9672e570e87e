//! A cell: one value of each dimension. Its name is what a result, a failure and the table call it.

use std::fmt;

use super::pairwise;
use super::suite::{self, Suite};

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Daemon {
    Strongswan,
    Libreswan,
}

/// Whose request begins the negotiation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    WeCall,
    PeerCalls,
}

/// How ESP travels. Who calls is who wants UDP, or is behind the NAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Native,
    ForcedUdp,
    /// Through an address and port translation.
    Nat,
}

/// Of the outer packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// What else is the case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extra {
    Plain,
    /// The peer divides all its IKE messages (RFC 7383).
    Fragments,
    /// Who is called asks for a cookie (RFC 7296 §2.6).
    Cookies,
    /// Who calls begins with another group (RFC 7296 §1.3).
    InvalidKe,
    /// We refuse extended sequence numbers; everywhere else they are agreed on (RFC 4303 §2.2.1).
    EsnOff,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) daemon: Daemon,
    pub(super) role: Role,
    pub(super) suite: &'static Suite,
    pub(super) way: Way,
    pub(super) family: Family,
    pub(super) extra: Extra,
}

impl Daemon {
    const ALL: [Self; 2] = [Self::Strongswan, Self::Libreswan];

    const fn name(self) -> &'static str {
        match self {
            Self::Strongswan => "strongswan",
            Self::Libreswan => "libreswan",
        }
    }

    const fn suites(self) -> &'static [Suite] {
        match self {
            Self::Strongswan => suite::OF_STRONGSWAN,
            Self::Libreswan => suite::OF_LIBRESWAN,
        }
    }

    /// What is tried with libreswan is what its users have.
    const fn extras(self) -> &'static [Extra] {
        match self {
            Self::Strongswan => &Extra::ALL,
            Self::Libreswan => &[Extra::Plain],
        }
    }
}

impl Role {
    const ALL: [Self; 2] = [Self::WeCall, Self::PeerCalls];

    const fn name(self) -> &'static str {
        match self {
            Self::WeCall => "we-call",
            Self::PeerCalls => "it-calls",
        }
    }
}

impl Way {
    const ALL: [Self; 3] = [Self::Native, Self::ForcedUdp, Self::Nat];

    const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::ForcedUdp => "udp",
            Self::Nat => "nat",
        }
    }

    pub(super) fn is_udp(self) -> bool {
        self != Self::Native
    }
}

impl Family {
    const ALL: [Self; 2] = [Self::V4, Self::V6];

    const fn name(self) -> &'static str {
        match self {
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        }
    }
}

impl Extra {
    const ALL: [Self; 5] = [
        Self::Plain,
        Self::Fragments,
        Self::Cookies,
        Self::InvalidKe,
        Self::EsnOff,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Fragments => "fragments",
            Self::Cookies => "cookies",
            Self::InvalidKe => "invalid-ke",
            Self::EsnOff => "esn-off",
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.daemon.name(), self.values().join("/"))
    }
}

impl Cell {
    /// What it is in each dimension but the daemon.
    fn values(&self) -> [&'static str; 5] {
        [
            self.role.name(),
            self.suite.name,
            self.way.name(),
            self.family.name(),
            self.extra.name(),
        ]
    }

    /// Why this one cannot be had.
    fn obstacle(&self) -> Option<&'static str> {
        OBSTACLES
            .iter()
            .find(|obstacle| (obstacle.holds)(self))
            .map(|obstacle| obstacle.why)
    }
}

/// Cells that cannot be had.
struct Obstacle {
    what: &'static str,
    why: &'static str,
    holds: fn(&Cell) -> bool,
}

const OBSTACLES: &[Obstacle] = &[Obstacle {
    what: "libreswan through a NAT",
    why: "it has no selector substitution (RFC 7296 §2.23.1) and refuses transport mode there; that we \
          say so is tested (`interop::libreswan_and_nat`)",
    holds: |cell| cell.daemon == Daemon::Libreswan && cell.way == Way::Nat,
}];

/// What is left out of the matrix, and why.
pub(super) fn left_out() -> impl Iterator<Item = (&'static str, &'static str)> {
    OBSTACLES
        .iter()
        .map(|obstacle| (obstacle.what, obstacle.why))
}

/// The full product for one daemon, but for what cannot be had.
pub(super) fn product(daemon: Daemon) -> Vec<Cell> {
    let mut cells = whole_product(daemon);
    cells.retain(|cell| cell.obstacle().is_none());
    cells
}

fn whole_product(daemon: Daemon) -> Vec<Cell> {
    let mut cells = Vec::new();
    for suite in daemon.suites() {
        for role in Role::ALL {
            for (way, family) in Way::ALL
                .into_iter()
                .flat_map(|way| Family::ALL.map(|family| (way, family)))
            {
                cells.extend(daemon.extras().iter().map(|&extra| Cell {
                    daemon,
                    role,
                    suite,
                    way,
                    family,
                    extra,
                }));
            }
        }
    }
    cells
}

/// Those of the product in which every pair of values meets.
pub(super) fn pairwise(daemon: Daemon) -> Vec<Cell> {
    pairwise::choose(&product(daemon), Cell::values)
}

/// All cells of a run that is not a full one.
pub(super) fn of_each_run() -> impl Iterator<Item = Cell> {
    Daemon::ALL.into_iter().flat_map(pairwise)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Daemon, pairwise, product, whole_product};

    #[test]
    fn every_pair_of_values_meets_in_a_cell() {
        for daemon in Daemon::ALL {
            let chosen = pairwise(daemon);
            for c in &chosen {
                println!("{c}");
            }
            for wanted in product(daemon) {
                let wanted = wanted.values();
                for (first, second) in
                    (0..5).flat_map(|second| (0..second).map(move |f| (f, second)))
                {
                    let meets = chosen.iter().any(|cell| {
                        let values = cell.values();
                        values[first] == wanted[first] && values[second] == wanted[second]
                    });
                    assert!(meets, "{} with {}", wanted[first], wanted[second]);
                }
            }
            assert!(chosen.len() < 60, "{daemon:?}: {}", chosen.len());
        }
    }

    /// A value that occurs in no cell at all would not be missed by the test above.
    #[test]
    fn a_value_that_never_occurs_is_one_that_cannot_be_had() {
        for daemon in Daemon::ALL {
            let possible: HashSet<_> = product(daemon)
                .iter()
                .flat_map(super::Cell::values)
                .collect();
            for cell in whole_product(daemon) {
                for value in cell.values() {
                    assert!(
                        possible.contains(value) || cell.obstacle().is_some(),
                        "{cell}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_name_is_one_cell() {
        for daemon in Daemon::ALL {
            let cells = whole_product(daemon);
            let names: HashSet<_> = cells.iter().map(ToString::to_string).collect();
            assert_eq!(names.len(), cells.len());
        }
    }
}
