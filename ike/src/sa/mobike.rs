//! MOBIKE (RFC 4555) between two endpoints of this crate: an IKE SA and its pairs go on when an address
//! of ours changes. RFC 4555 has it for tunnel mode, whose packets do not show where they end; in
//! transport mode their addresses are the selectors, and follow. So both ends have to be of one mind,
//! which they know of by the vendor ID of IKE_SA_INIT, and ESP has to be in UDP, which every path
//! carries.
//!
//! Who began the first IKE SA decides on the addresses: it asks with UPDATE_SA_ADDRESSES (§3.5). The
//! other one only says where it is (§3.6), and is asked then. Nobody's packets go to a new address before
//! a COOKIE2 has come back from there (§3.7); whoever keeps a route for them learns of it only then.
//!
//! What a NAT does under a live SA is still `rebinding`'s. §3.8 forbids that for IKE messages so that one
//! of them can merely try a path; none of ours does.

use std::net::IpAddr;

use super::live::{Live, Task};
use super::payloads::Payloads;
use super::{Context, Core, init};
use crate::event::{Encapsulation, Path};
use crate::nat::{self, Nat};
use crate::wire::{Notify, NotifyType, Payload};

/// Octets of a COOKIE2 of ours (RFC 4555 §4.2.5: 8 to 64).
const COOKIE2_OCTETS: usize = 16;

/// Which part in it is ours; it stays through rekeys of the IKE SA (RFC 4555 §1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// We began the first IKE SA.
    Decides,
    /// The peer did.
    Announces,
}

/// What an SA has to ask for it next. What is under way while an end moves again is asked once more:
/// its answer says nothing of the new path.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mobility {
    /// UPDATE_SA_ADDRESSES, or, as the one who announces, where we are.
    tell: bool,
    /// Whether the peer is where it says.
    check: bool,
}

/// A request of ours that is under way.
pub(super) enum Request {
    /// The addresses are those of this path.
    Update { path: Path, cookie: Vec<u8> },
    /// We are at another address.
    Announce,
    /// Is the peer where it says?
    Check { cookie: Vec<u8> },
}

/// The peer was asked something under an authenticated SA, and its answer is not one.
pub(super) struct Broken;

/// What IKE_AUTH says of it, if both ends may do it.
pub(super) fn supported(core: &Core) -> Option<Payload> {
    let in_udp = matches!(core.encapsulation, Encapsulation::Udp { .. });
    let notify = Notify::status(NotifyType::MOBIKE_SUPPORTED);
    (core.nat.both_faster && in_udp).then_some(Payload::Notify(notify))
}

impl Core {
    /// Takes the peer's word for it in IKE_AUTH (RFC 4555 §3.1).
    pub(super) fn agree_on_mobike(&mut self, payloads: &Payloads) {
        let both =
            supported(self).is_some() && payloads.notify(NotifyType::MOBIKE_SUPPORTED).is_some();
        let role = if self.initiated {
            Role::Decides
        } else {
            Role::Announces
        };
        self.mobike = both.then_some(role);
    }

    /// Whether the selectors for an end may name another address than we know it by, and mean ours: one
    /// that is behind a NAT, or that has moved since they were written.
    pub(super) const fn may_be_elsewhere(&self, behind_nat: bool) -> bool {
        behind_nat || self.mobike.is_some()
    }

    /// What the hashes of a message on `path` say; whether ESP is in UDP stays as it is.
    fn update_nat(&mut self, path: Path, payloads: &Payloads) {
        let (spi_i, spi_r) = (self.initiator_spi, self.responder_spi);
        let found = nat::detect(spi_i, spi_r, path.local, path.remote, payloads.notifies());
        self.nat = Nat {
            both_faster: self.nat.both_faster,
            ..found
        };
        self.encapsulation = Encapsulation::Udp {
            behind_nat: found.ours,
        };
    }
}

impl Live {
    /// Our address is this one from here on. `false`: this SA cannot follow.
    #[must_use]
    pub(super) fn relocate(
        &mut self,
        core: &mut Core,
        ctx: &mut Context<'_>,
        local: IpAddr,
    ) -> bool {
        if core.mobike.is_none() || local.is_ipv4() != core.path.remote.is_ipv4() {
            return false;
        }
        core.path.local.set_ip(local);
        self.mobility.tell = true;
        // Nothing leaves from the old address any more, so there is nothing to wait for.
        self.tell_path(core, ctx);
        self.send_next(core, ctx);
        true
    }

    /// What an heir has to ask in our place.
    pub(super) fn mobility_of_heir(&self) -> Mobility {
        let Mobility { tell, check } = self.mobility;
        let under_way = match self.window.task() {
            Some(Task::Move(request)) => Some(&**request),
            _ => None,
        };
        Mobility {
            tell: tell || matches!(under_way, Some(Request::Update { .. } | Request::Announce)),
            check: check || matches!(under_way, Some(Request::Check { .. })),
        }
    }

    /// What is to be asked.
    pub(super) fn next_move(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
    ) -> Option<(Task, Vec<Payload>)> {
        let role = core.mobike?;
        let path = core.path;
        let (request, payloads) = if std::mem::take(&mut self.mobility.tell) {
            match role {
                Role::Decides => {
                    let (cookie, cookie2) = cookie2(ctx);
                    let update = Notify::status(NotifyType::UPDATE_SA_ADDRESSES);
                    let mut payloads = vec![Payload::Notify(update), cookie2];
                    payloads.extend(init::nat_payloads(core, path));
                    (Request::Update { path, cookie }, payloads)
                }
                Role::Announces => {
                    // But for the one that this comes from (§4.2.4).
                    let others = Notify::status(NotifyType::NO_ADDITIONAL_ADDRESSES);
                    (Request::Announce, vec![Payload::Notify(others)])
                }
            }
        } else if std::mem::take(&mut self.mobility.check) {
            let (cookie, cookie2) = cookie2(ctx);
            (Request::Check { cookie }, vec![cookie2])
        } else {
            return None;
        };
        Some((Task::Move(Box::new(request)), payloads))
    }

    /// What follows from the answer.
    pub(super) fn on_move_answer(
        &mut self,
        core: &mut Core,
        ctx: &mut Context<'_>,
        request: Request,
        payloads: &Payloads,
    ) -> Result<(), Broken> {
        let returned = |cookie: &[u8]| {
            let cookie2 = payloads.notify(NotifyType::COOKIE2);
            cookie2.is_some_and(|cookie2| cookie2.data == cookie)
        };
        match request {
            Request::Update { path, cookie } => {
                if payloads.error().is_some() || !returned(&cookie) {
                    return Err(Broken);
                }
                if !self.mobility.tell {
                    core.update_nat(path, payloads);
                    self.tell_path(core, ctx);
                }
            }
            Request::Announce => {}
            Request::Check { cookie } => {
                if !returned(&cookie) {
                    return Err(Broken);
                }
                if !self.mobility.check {
                    self.tell_path(core, ctx);
                }
            }
        }
        Ok(())
    }

    /// What an INFORMATIONAL request on `path` says of addresses, and what the reply says to that.
    pub(super) fn on_move_request(
        &mut self,
        core: &mut Core,
        ctx: &mut Context<'_>,
        path: Path,
        payloads: &Payloads,
    ) -> Vec<Payload> {
        let says = |kind| payloads.notify(kind).is_some();
        let mut reply = Vec::new();
        match core.mobike {
            None => return reply,
            Some(Role::Announces) if says(NotifyType::UPDATE_SA_ADDRESSES) => {
                let settled = self.details.path.remote == path.remote;
                core.path.remote = path.remote;
                core.update_nat(path, payloads);
                reply.extend(init::nat_payloads(core, path));
                self.mobility.check = !settled;
                if settled {
                    self.tell_path(core, ctx);
                }
            }
            Some(Role::Decides) if says(NotifyType::NO_ADDITIONAL_ADDRESSES) => {
                core.path.remote = path.remote;
                self.mobility.tell = true;
            }
            Some(_) => {}
        }
        let cookie2 = payloads.notify(NotifyType::COOKIE2);
        reply.extend(cookie2.cloned().map(Payload::Notify));
        reply
    }
}

fn cookie2(ctx: &mut Context<'_>) -> (Vec<u8>, Payload) {
    let cookie = ctx.random(COOKIE2_OCTETS);
    let notify = Notify::with_data(NotifyType::COOKIE2, cookie.clone());
    (cookie, Payload::Notify(notify))
}
