//! A peer behind a NAT is wherever its last authentic packet came from (RFC 7296 §2.23): a NAT may
//! forget it, and let it out by another port or address. Who is behind a NAT itself follows nobody,
//! nor is anybody followed who is behind none: whoever can relay packets would choose the path.

use super::live::Live;
use super::{Context, Core};
use crate::event::{Encapsulation, Event, Path};

impl Core {
    /// Whether a fresh authentic packet on `path` says that the peer's NAT has changed its mind.
    fn is_rebound(&self, path: Path) -> bool {
        let in_udp = matches!(self.encapsulation, Encapsulation::Udp { .. });
        let may_move = in_udp && self.nat.theirs && !self.nat.ours;
        may_move && path.local == self.path.local && path.remote != self.path.remote
    }
}

impl Live {
    /// A fresh authentic packet of the peer's came on `path`.
    pub(super) fn follow(&mut self, core: &mut Core, ctx: &mut Context<'_>, path: Path) {
        if core.is_rebound(path) {
            core.path = path;
            self.tell_path(core, ctx);
        }
    }

    /// ESP goes by the path of the IKE SA from here on.
    pub(super) fn tell_path(&mut self, core: &Core, ctx: &mut Context<'_>) {
        let told = (self.details.path, self.details.encapsulation);
        self.details.path = core.path;
        self.details.encapsulation = core.encapsulation;
        if self.serves() && told != (core.path, core.encapsulation) {
            ctx.event(Event::Moved {
                peer: core.peer.id,
                path: core.path,
                encapsulation: core.encapsulation,
            });
        }
    }
}
