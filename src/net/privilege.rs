//! What this process must be allowed to do, checked before anything is touched.

use std::fmt;

use caps::{CapSet, Capability};

/// Fails with all that is missing at once, so that the user fixes it in one step.
pub fn check() -> Result<(), PrivilegeError> {
    let missing = NEEDED
        .into_iter()
        .filter(|need| !held(need.capability) && !(need.waived)())
        .collect::<Vec<_>>();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(PrivilegeError { missing })
    }
}

/// Capabilities that this process lacks.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "missing privileges: {}. Run it with sudo, or give the program what it needs with \
     \"setcap cap_net_admin,cap_net_raw,cap_net_bind_service+ep secure-gre\", or in a systemd unit with \
     \"AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE\"",
    Listed(.missing)
)]
pub struct PrivilegeError {
    missing: Vec<Need>,
}

impl PrivilegeError {
    /// The names of the missing capabilities.
    pub fn missing(&self) -> impl Iterator<Item = String> + '_ {
        self.missing.iter().map(|need| need.capability.to_string())
    }
}

#[derive(Debug, Clone, Copy)]
struct Need {
    capability: Capability,
    purpose: &'static str,
    /// Whether this host lets everyone do it.
    waived: fn() -> bool,
}

const NEEDED: [Need; 3] = [
    Need {
        capability: Capability::CAP_NET_ADMIN,
        purpose: "to make the tunnel device and its routes",
        waived: || false,
    },
    Need {
        capability: Capability::CAP_NET_RAW,
        purpose: "to send and receive ESP packets",
        waived: || false,
    },
    Need {
        capability: Capability::CAP_NET_BIND_SERVICE,
        purpose: "to use UDP port 500",
        waived: low_ports_are_free,
    },
];

fn held(capability: Capability) -> bool {
    caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false)
}

/// Container engines often let everyone bind low ports instead of granting the capability.
fn low_ports_are_free() -> bool {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        .ok()
        .and_then(|text| text.trim().parse::<u16>().ok())
        .is_some_and(|first_free| first_free <= super::ike::IKE_PORT)
}

struct Listed<'a>(&'a [Need]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, need) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{} ({})", need.capability, need.purpose)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::sandbox;

    #[test]
    fn nothing_is_missing_when_privileged() {
        sandbox::run(async { assert!(check().is_ok()) });
    }

    #[test]
    fn low_ports_that_are_everyones_need_no_capability() {
        sandbox::run(async {
            caps::drop(None, CapSet::Effective, Capability::CAP_NET_BIND_SERVICE).unwrap();
            let error = check().unwrap_err();
            assert_eq!(
                error.missing().collect::<Vec<_>>(),
                ["CAP_NET_BIND_SERVICE"]
            );
            let first_free = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
            std::fs::write(first_free, "501").unwrap();
            assert!(check().is_err());
            std::fs::write(first_free, "500").unwrap();
            check().unwrap();
        });
    }

    #[test]
    fn every_missing_capability_is_named_with_its_purpose() {
        sandbox::run(async {
            // Capabilities are per thread, and the sandbox's thread ends with the test.
            caps::drop(None, CapSet::Effective, Capability::CAP_NET_RAW).unwrap();
            caps::drop(None, CapSet::Effective, Capability::CAP_NET_ADMIN).unwrap();
            let error = check().unwrap_err();
            assert_eq!(
                error.missing().collect::<Vec<_>>(),
                ["CAP_NET_ADMIN", "CAP_NET_RAW"]
            );
            let text = error.to_string();
            assert!(
                text.contains("CAP_NET_RAW (to send and receive ESP packets)"),
                "{text}"
            );
            assert!(text.contains("sudo") && text.contains("setcap"), "{text}");
        });
    }
}
