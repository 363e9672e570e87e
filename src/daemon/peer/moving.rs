//! SAs that go on while an outer address changes: of the peer, whose NAT has forgotten it (RFC 7296
//! §2.23), or of either end, where both are secure-gre (RFC 4555). What moves is decided by IKE; here the
//! packets follow, and IKE hears of those that show where the peer is.

use secure_gre_esp::Spi;
use tracing::info;

use super::{Peer, ReachError};
use crate::dataplane::Stray;
use crate::net::outer::{Encapsulation, Path as OuterPath};

impl Peer {
    /// Hands a packet that came by no wire to whoever opens packets of this SPI. `false`: it is not
    /// one of ours, or too many wait.
    pub(in crate::daemon) fn take_stray(&self, spi: Spi, path: OuterPath, esp: &[u8]) -> bool {
        let outer = self.outer.as_ref();
        let ours = outer.filter(|outer| outer.inbound.iter().any(|(_, known)| *known == spi));
        ours.is_some_and(|outer| {
            let esp = esp.into();
            outer.link.open_stray(Stray { path, esp })
        })
    }

    /// The SAs stay, and their packets go by another path.
    pub(in crate::daemon) async fn go_on(
        &mut self,
        path: OuterPath,
        encapsulation: Encapsulation,
    ) -> Result<(), ReachError> {
        let before = self.outer.as_ref().map(|outer| outer.wire.path());
        self.lay_wire(path, encapsulation).await?;
        if let Some(before) = before.filter(|before| *before != path) {
            let (who, here, there) = if before.local == path.local {
                ("the peer is", path.remote, before.remote)
            } else {
                ("we are", path.local, before.local)
            };
            info!(
                "{}: {who} at {here} instead of {there}; its SAs go on there",
                self.name()
            );
        }
        Ok(())
    }
}
