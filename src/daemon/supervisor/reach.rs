//! How a peer is found: its addresses, looked up beside the loop, and the way to one of them.

use std::net::IpAddr;
use std::time::Instant;

use secure_gre_ike::config::{PeerId, Remote};
use secure_gre_ike::event::Command;
use tracing::Instrument;

use super::Supervisor;
use super::departure::Departure;
use super::events::ike_path;
use crate::daemon::locate::{self, LocateError};
use crate::daemon::peer::{ReachError, Reached, Reaction};

/// A resolver's answer.
pub(super) struct Located {
    pub(super) peer: PeerId,
    pub(super) addresses: Result<Vec<IpAddr>, LocateError>,
}

impl Supervisor {
    /// Looks the peers up that are to be called, beside the loop: a resolver may take seconds.
    pub(super) fn locate_peers(&mut self) {
        for peer in std::mem::take(&mut self.to_locate) {
            let Some(served) = self.peers.get_mut(&peer) else {
                continue;
            };
            let ((address, local), sender) = (served.address(), self.located_sender.clone());
            tokio::spawn(async move {
                let addresses = locate::resolve(address, local).await;
                // The loop is gone: nobody waits for the answer.
                let _ = sender.send(Located { peer, addresses }).await;
            });
        }
    }

    pub(super) async fn on_located(&mut self, Located { peer, addresses }: Located) {
        let span = self.span(peer);
        self.reach(peer, addresses).instrument(span).await;
    }

    /// The peer's addresses are known: what is left is the way there.
    pub(super) async fn reach(
        &mut self,
        peer: PeerId,
        addresses: Result<Vec<IpAddr>, LocateError>,
    ) {
        let waited_for = self.is_waited_for(peer);
        let Some(served) = self
            .peers
            .get_mut(&peer)
            .filter(|served| !served.is_parting())
        else {
            return;
        };
        let now = Instant::now();
        if served.calls_from_anywhere() {
            served.say_waiting();
            let remote = Remote::Anywhere;
            return self.command(now, Command::Locate { peer, remote }).await;
        }
        let reached = match addresses {
            Ok(addresses) => served
                .reach_one_of(&addresses)
                .await
                .map(|reached| (addresses, reached)),
            Err(problem) => Err(ReachError::Locate(problem)),
        };
        let (addresses, local, remote) = match reached {
            Ok((addresses, Reached::Way { local, remote })) => (addresses, local, remote),
            Ok((_, Reached::Elsewhere)) => return self.react(peer, Reaction::Move).await,
            Err(problem) if waited_for => {
                let problem = format!("{}: {problem}", served.name());
                return self.finish(peer, Departure::Failed(problem)).await;
            }
            Err(problem) => {
                let reaction = served.not_reached(&problem, now);
                return self.react(peer, reaction).await;
            }
        };
        let locate = Command::Locate {
            peer,
            remote: Remote::At(addresses),
        };
        self.command(now, locate).await;
        let Some(served) = self.peers.get(&peer) else {
            return;
        };
        if served.initiates() {
            let path = ike_path(locate::ike_path(local, remote));
            self.command(now, Command::Connect { peer, path }).await;
        } else {
            served.say_waiting();
        }
    }
}
