//! What commands ask for over the control socket.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use secure_gre_ike::config::PeerId;
use tracing::Level;

use super::{Life, Supervisor};
use crate::config::{self, Loaded, Style, common_name};
use crate::control::protocol::status::{PeerStatus, RouteStatus};
use crate::control::protocol::{self, Refusal, Request, Response, Until};
use crate::control::server::{Call, Reply};
use crate::daemon::peer::Peer;
use crate::daemon::report;
use crate::telemetry::Listening;

/// Callers who wait until these peers are gone.
pub(super) struct Farewell {
    reply: Reply,
    names: Vec<String>,
}

/// A caller who has brought a peer, or a hub's several, and stays with it.
pub(super) struct Sponsor {
    pub(super) reply: Reply,
    pub(super) until: Until,
    _listening: Listening,
}

impl Supervisor {
    pub(super) async fn on_call(&mut self, call: Call) {
        let Call { request, reply } = call;
        match request {
            Request::Status { name } => reply.send(match self.named(name.as_deref()) {
                Ok(ids) => Response::Status {
                    peers: self.report(&ids),
                    routes: self.routes_of(&ids),
                    drops: self.drops(),
                },
                Err(refusal) => Response::Refused(refusal),
            }),
            Request::Down { name } => match self.named(name.as_deref()) {
                Ok(ids) => self.take_down(ids, reply).await,
                Err(refusal) => reply.send(Response::Refused(refusal)),
            },
            Request::Up {
                file,
                until,
                test_rekey,
            } => {
                if let Err(refusal) = self.take_over(&file, until, test_rekey, &reply).await {
                    reply.send(Response::Refused(refusal));
                }
            }
            Request::Rekey { name, sa } => self.rekey(&name, sa, reply).await,
        }
    }

    async fn take_down(&mut self, ids: Vec<PeerId>, reply: Reply) {
        let names = ids.iter().filter_map(|id| self.peers.get(id));
        let names = names.map(|served| served.name().to_owned()).collect();
        self.farewells.push(Farewell { reply, names });
        for id in ids {
            self.stop(id).await;
        }
        self.bid_farewell();
    }

    /// Serves the peers of a file that an `up` has handed over.
    async fn take_over(
        &mut self,
        file: &std::path::Path,
        until: Until,
        test_rekey: bool,
        reply: &Reply,
    ) -> Result<(), Refusal> {
        if self.life == Life::Ending {
            return Err(Refusal::ShuttingDown);
        }
        if !file.is_absolute() {
            let problem = format!("{} is not an absolute path", file.display());
            return Err(Refusal::BadRequest { problem });
        }
        let Loaded { peers, .. } = config::load(file).map_err(|report| Refusal::BadFile {
            report: report.render(Style::Plain),
        })?;
        let (name, all) = (common_name(&peers), peers.len());
        let peers = self.not_yet_served(peers);
        let (more, kept) = (peers.len(), all - peers.len());
        let names = peers.iter().map(|peer| peer.name.clone());
        let listening: Vec<_> = names.map(|name| self.listen(&name, reply)).collect();
        let added = self.add_all(peers, test_rekey).await;
        drop(listening);
        let added = added.map_err(|error| Refusal::NotServed {
            problem: error.to_string(),
        })?;
        if kept > 0 {
            self.join_hub(&added);
        } else if !self.only_waits(&added, until) {
            for id in added {
                self.sponsor(id, reply.clone(), until);
            }
            self.drain().await;
            return Ok(());
        }
        reply.send(Response::Served { name, more, kept });
        self.drain().await;
        Ok(())
    }

    /// Whoever waits at the other end hears what is said of the peer called `name`.
    fn listen(&self, name: &str, reply: &Reply) -> Listening {
        let ear = reply.clone();
        self.listeners.listen(name, move |level, text| {
            let (level, text) = (protocol_level(level), text.to_owned());
            ear.send(Response::Said { level, text });
        })
    }

    /// The peer is there for the caller, and no longer than it.
    pub(super) fn sponsor(&mut self, id: PeerId, reply: Reply, until: Until) {
        let Some(served) = self.peers.get(&id) else {
            return;
        };
        let _listening = self.listen(served.name(), &reply);
        let hang_ups = self.hang_up_sender.clone();
        let caller = reply.clone();
        tokio::spawn(async move {
            caller.closed().await;
            // The loop is gone, and everything with it.
            let _ = hang_ups.send(id).await;
        });
        let sponsor = Sponsor {
            reply,
            until,
            _listening,
        };
        self.sponsors.insert(id, sponsor);
    }

    /// Whoever brought the peer is gone: so is the peer. (Who has had the last answer is no sponsor
    /// any more.)
    pub(super) async fn on_hang_up(&mut self, peer: PeerId) {
        if self.sponsors.contains_key(&peer) {
            self.stop(peer).await;
        }
    }

    /// Whether someone waits for the peer's tunnel to carry packets, for whom a failure is the end.
    pub(super) fn is_waited_for(&self, peer: PeerId) -> bool {
        self.sponsors
            .get(&peer)
            .is_some_and(|sponsor| sponsor.until == Until::Carries)
    }

    /// The peer's tunnel carries packets.
    pub(super) fn carries(&mut self, peer: PeerId) {
        if !self.is_waited_for(peer) {
            return;
        }
        if let (Some(sponsor), Some(served)) = (self.sponsors.remove(&peer), self.peers.get(&peer))
        {
            let name = served.name().to_owned();
            sponsor.reply.send(Response::Up { name });
        }
    }

    /// The peer called `name` is gone: whoever brought it hears so, and of the problem if that was
    /// the reason; and so do those whose `down` is done with it.
    pub(super) fn tell_gone(
        &mut self,
        peer: PeerId,
        (hub, name): (Option<&str>, &str),
        problem: Option<String>,
    ) {
        self.drop_awaited(peer);
        let sponsor = self.sponsors.remove(&peer);
        if let Some(sponsor) = sponsor.filter(|one| !self.has_more_to_sponsor(hub, one)) {
            let names = vec![hub.unwrap_or(name).to_owned()];
            sponsor.reply.send(match problem {
                Some(problem) => Response::Failed { problem },
                None => Response::Down { names },
            });
        }
        self.bid_farewell();
    }

    fn bid_farewell(&mut self) {
        let served: Vec<_> = self.peers.values().map(|t| t.name().to_owned()).collect();
        self.farewells.retain(|farewell| {
            let waits = farewell.names.iter().any(|name| served.contains(name));
            if !waits {
                let names = farewell.names.clone();
                farewell.reply.send(Response::Down { names });
            }
            waits
        });
    }

    /// The peers, for a person.
    pub(in crate::daemon) fn served(&self) -> String {
        let names: Vec<_> = self.peers.values().map(|t| t.name()).collect();
        if names.is_empty() {
            "nobody yet".to_owned()
        } else {
            names.join(", ")
        }
    }

    pub(super) fn named(&self, name: Option<&str>) -> Result<Vec<PeerId>, Refusal> {
        let Some(name) = name else {
            return Ok(self.peers.keys().copied().collect());
        };
        let ids: Vec<_> = self
            .peers
            .iter()
            .filter(|(_, served)| {
                served.name() == name || served.config().hub.as_deref() == Some(name)
            })
            .map(|(id, _)| *id)
            .collect();
        if ids.is_empty() {
            let known = self
                .peers
                .values()
                .map(|served| served.name().to_owned())
                .collect();
            return Err(Refusal::UnknownPeer {
                name: name.to_owned(),
                known,
            });
        }
        Ok(ids)
    }

    /// Datagrams that changed nothing, by the reason.
    fn drops(&self) -> BTreeMap<String, u64> {
        let drops = self.endpoint.drops();
        let drops = drops.map(|(reason, count)| (reason.name(), count));
        let discards = self.discards.iter().map(|(name, count)| (*name, *count));
        let all = drops.chain(discards).filter(|(_, count)| *count > 0);
        all.map(|(name, count)| (name.to_owned(), count)).collect()
    }

    /// The prefixes that lead to these peers, with the paths by others that they have.
    pub(super) fn routes_of(&self, ids: &[PeerId]) -> Vec<RouteStatus> {
        let names = ids.iter().filter_map(|id| self.peers.get(id));
        let names: BTreeSet<_> = names.map(Peer::name).collect();
        let mut routes = report::routes(self.peers.values());
        routes.retain(|route| {
            let mut paths = route.paths.iter();
            paths.any(|path| names.contains(path.peer.as_str()))
        });
        routes
    }

    fn report(&self, ids: &[PeerId]) -> Vec<PeerStatus> {
        let now = Instant::now();
        let snapshots = self.endpoint.snapshot().into_iter();
        let wanted = snapshots.filter(|snapshot| ids.contains(&snapshot.peer));
        wanted
            .filter_map(|snapshot| {
                let served = self.peers.get(&snapshot.peer)?;
                Some(report::peer(now, &snapshot, served))
            })
            .collect()
    }
}

const fn protocol_level(level: Level) -> protocol::Level {
    match level {
        Level::ERROR => protocol::Level::Error,
        Level::WARN => protocol::Level::Warning,
        _ => protocol::Level::Info,
    }
}
