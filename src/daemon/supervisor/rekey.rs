//! Rekeys that somebody has asked for, and waits for.

use std::time::Instant;

use secure_gre_ike::config::PeerId;
use secure_gre_ike::event::{ChildId, ChildPhase, Command, Event};

use super::Supervisor;
use crate::control::protocol::{Refusal, Response, SaKind};
use crate::control::server::Reply;

/// A caller who waits for the outcome.
pub(super) struct AwaitedRekey {
    reply: Reply,
    peer: PeerId,
    name: String,
    target: Target,
}

/// What gets fresh keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    Ike,
    Child(ChildId),
}

impl Supervisor {
    /// Rekeys an SA of the peer called `name`; the answer follows its outcome.
    pub(super) async fn rekey(&mut self, name: &str, kind: SaKind, reply: Reply) {
        let (peer, target) = match self.rekey_target(name, kind) {
            Ok(found) => found,
            Err(refusal) => return reply.send(Response::Refused(refusal)),
        };
        self.awaited.push(AwaitedRekey {
            reply,
            peer,
            name: name.to_owned(),
            target,
        });
        let command = match target {
            Target::Ike => Command::RekeyIke { peer },
            Target::Child(child) => Command::RekeyChild { child },
        };
        self.command(Instant::now(), command).await;
    }

    fn rekey_target(&self, name: &str, kind: SaKind) -> Result<(PeerId, Target), Refusal> {
        let ids = self.named(Some(name))?;
        if ids.len() > 1 {
            let problem = format!("{name} is a hub: rekey one of its spokes");
            return Err(Refusal::NotServed { problem });
        }
        let snapshots = self.endpoint.snapshot().into_iter();
        let mut snapshots = snapshots.filter(|snapshot| ids.contains(&snapshot.peer));
        let found = snapshots.next().and_then(|snapshot| {
            let (_, children) = snapshot.established.last()?;
            let mut children = children.iter().rev();
            let current = children.find(|child| child.phase == ChildPhase::Current);
            let target = match kind {
                SaKind::Ike => Target::Ike,
                SaKind::Child => Target::Child(current?.child),
            };
            Some((snapshot.peer, target))
        });
        found.ok_or_else(|| Refusal::NotUp {
            name: name.to_owned(),
        })
    }

    /// Answers those for whom the event is what they wait for.
    pub(super) fn tell_rekeyed(&mut self, event: &Event) {
        self.awaited.retain(|awaited| {
            let outcome = awaited.outcome(event);
            let waits = outcome.is_none();
            if let Some(outcome) = outcome {
                awaited.reply.send(outcome);
            }
            waits
        });
    }

    /// Nobody waits any more for what concerns this peer; their callers hear that it is gone.
    pub(super) fn drop_awaited(&mut self, peer: PeerId) {
        self.awaited.retain(|awaited| {
            if awaited.peer == peer {
                awaited
                    .reply
                    .send(awaited.failed("the peer was taken down"));
            }
            awaited.peer != peer
        });
    }
}

impl AwaitedRekey {
    fn outcome(&self, event: &Event) -> Option<Response> {
        if event.peer() != Some(self.peer) {
            return None;
        }
        match (self.target, event) {
            (Target::Ike, Event::IkeRekeyed { details, .. }) => {
                Some(self.done(details.suite.to_string()))
            }
            (Target::Child(old), Event::ChildOutbound { child, keys, .. }) if *child != old => {
                Some(self.done(keys.suite.to_string()))
            }
            (target, Event::RekeyFailed { child, failure, .. }) => {
                let failed = child.map_or(Target::Ike, Target::Child);
                let problem = format!("{failure}\nto mend it: {}", failure.advice());
                (target == failed).then(|| self.failed(&problem))
            }
            (_, Event::IkeDown { last: true, .. }) => {
                Some(self.failed("the IKE SA has ended meanwhile"))
            }
            _ => None,
        }
    }

    fn done(&self, suite: String) -> Response {
        let name = self.name.clone();
        Response::Rekeyed { name, suite }
    }

    fn failed(&self, problem: &str) -> Response {
        Response::Failed {
            problem: format!("{}: not rekeyed: {problem}", self.name),
        }
    }
}
