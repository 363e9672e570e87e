//! What an eavesdropper on the link between the hosts has seen.

use crate::demo::DemoError;
use crate::demo::report::Finding;
use crate::demo::scene::Scene;
use crate::net::capture::Frames;

/// Ends the daemons and looks at what the capture has counted. Fails unless there was ESP, and
/// nothing in clear.
pub(in crate::demo) fn run(scene: &mut Scene) -> Result<Frames, DemoError> {
    let frames = scene.end()?;
    if frames.esp > 0 && frames.ike > 0 && frames.in_clear == 0 && frames.missed == 0 {
        return Ok(frames);
    }
    Err(DemoError::NotShown {
        check: "the link carries nothing in clear",
        finding: format!(
            "{} ESP and {} IKE packets, {} in clear, {} unseen",
            frames.esp, frames.ike, frames.in_clear, frames.missed
        ),
    })
}

impl Finding for Frames {
    fn what(&self) -> &'static str {
        "captured"
    }

    fn words(&self) -> String {
        format!(
            "{} ESP packets, {} plaintext\n\
             plaintext: every frame that is neither ESP (IP protocol 50), nor IKE (UDP port 500; {}),\n\
             nor what hosts on a link say of themselves (ARP {}, IPv6 neighbour discovery {})",
            self.esp, self.in_clear, self.ike, self.arp, self.neighbour_discovery
        )
    }
}
