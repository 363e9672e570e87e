//! IKE_FOLLOWUP_KE, both roles (RFC 9370 §2.2.4): the additional key exchange that follows
//! CREATE_CHILD_SA before what was agreed there has keys. The responder's answer to CREATE_CHILD_SA
//! has a link, an opaque name for what it remembers; the initiator's next request returns it.
//!
//! # Both ends at once
//! After CREATE_CHILD_SA nothing is made yet, so the exchange with the lowest nonce is not undone but
//! stopped: whoever began it does not follow it up. What it has agreed on is forgotten by the other
//! end, which either goes on itself or, in the end, runs out of patience.

use std::time::Instant;

use super::{Refusal, heir, pair};
use crate::algorithm::Kem;
use crate::crypto::kem::{Encapsulated, KemKey};
use crate::error::PeerFault;
use crate::event::ChildId;
use crate::limits;
use crate::sa::live::{Duty, Live, Task};
use crate::sa::payloads::Payloads;
use crate::sa::reply::Reply;
use crate::sa::{Context, Core};
use crate::secret::Secret;
use crate::wire::{ExchangeType, Notify, NotifyType, Payload};

pub(super) const EXCHANGE: ExchangeType = ExchangeType::IKE_FOLLOWUP_KE;

/// Our half of an additional key exchange, while our request is under way.
pub(super) struct Half(Box<dyn KemKey>);

impl Half {
    /// What follows an answer with a link: `KE N(ADDITIONAL_KEY_EXCHANGE)`.
    pub(super) fn new(
        ctx: &mut Context<'_>,
        kem: Kem,
        answer: &Payloads,
    ) -> Result<(Self, Vec<Payload>), PeerFault> {
        let link = answer.notify(NotifyType::ADDITIONAL_KEY_EXCHANGE);
        let link = link.filter(|link| !link.data.is_empty());
        let link = link.ok_or(PeerFault::Missing("N(ADDITIONAL_KEY_EXCHANGE)"))?;
        let key = kem.generate(ctx.rng);
        let payloads = vec![
            Payload::key_exchange(kem.transform_id(), key.public()),
            link_payload(&link.data),
        ];
        Ok((Self(key), payloads))
    }

    /// The shared secret, of what the peer answers.
    pub(super) fn finish(self, payloads: &Payloads) -> Result<Secret, PeerFault> {
        let Self(key) = self;
        let ciphertext = payloads.key_exchange_of(key.kem().transform_id())?;
        let secret = key.decapsulate(ciphertext);
        secret.map_err(|_| PeerFault::PublicValue)
    }
}

/// What a CREATE_CHILD_SA exchange of the peer's is to make once it is followed up.
pub(crate) struct Awaited {
    link: Vec<u8>,
    kem: Kem,
    /// When it is forgotten.
    pub(crate) until: Instant,
    what: Prospect,
}

pub(super) enum Prospect {
    Heir(Box<heir::Agreed>),
    Pair(Box<pair::Prospect>),
}

impl Awaited {
    /// Whether it is to be a pair.
    pub(crate) const fn is_pair(&self) -> bool {
        matches!(self.what, Prospect::Pair(_))
    }

    /// The lower nonce of the exchange, if it is to make an heir.
    fn rival_of_heir(&self) -> Option<&[u8]> {
        match &self.what {
            Prospect::Heir(agreed) => Some(agreed.lower_nonce()),
            Prospect::Pair(_) => None,
        }
    }

    /// The lower nonce of the exchange, if it is to replace this pair.
    fn rival_of_pair(&self, replaces: Option<ChildId>) -> Option<&[u8]> {
        match &self.what {
            Prospect::Pair(pair) if pair.replaces == replaces => Some(pair.lower_nonce()),
            _ => None,
        }
    }
}

impl Live {
    /// As the responder of CREATE_CHILD_SA: remembers what was agreed on. What goes into the answer.
    pub(super) fn await_follow_up(
        &mut self,
        ctx: &mut Context<'_>,
        kem: Kem,
        what: Prospect,
    ) -> Payload {
        let link = ctx.random(limits::LINK_OCTETS);
        let payload = link_payload(&link);
        self.awaited = Some(Awaited {
            link,
            kem,
            until: ctx.now + limits::FOLLOW_UP_WAIT,
            what,
        });
        payload
    }

    /// Nothing becomes of it any more: the peer has begun something else, is too late, or was in vain.
    pub(in crate::sa) fn forget_awaited(&mut self, ctx: &mut Context<'_>) {
        if let Some(Awaited {
            what: Prospect::Pair(pair),
            ..
        }) = self.awaited.take()
        {
            pair.release(ctx);
        }
    }

    /// Whether our exchange for an heir, which has this lower nonce, goes on. If so, the peer's does not.
    pub(super) fn outlives_awaited_heir(&mut self, ctx: &mut Context<'_>, ours: &[u8]) -> bool {
        self.outlives(ctx, ours, Awaited::rival_of_heir)
    }

    /// The same of our exchange to replace this pair.
    pub(super) fn outlives_awaited_pair(
        &mut self,
        ctx: &mut Context<'_>,
        replaces: Option<ChildId>,
        ours: &[u8],
    ) -> bool {
        self.outlives(ctx, ours, |awaited| awaited.rival_of_pair(replaces))
    }

    /// `rival`: the lower nonce of what we await, where that is for the same purpose.
    fn outlives(
        &mut self,
        ctx: &mut Context<'_>,
        ours: &[u8],
        rival: impl FnOnce(&Awaited) -> Option<&[u8]>,
    ) -> bool {
        let Some(theirs) = self.awaited.as_ref().and_then(rival) else {
            return true;
        };
        let goes_on = ours >= theirs;
        if goes_on {
            self.forget_awaited(ctx);
        }
        goes_on
    }

    /// Whether our own additional key exchange is under way: a request that crosses it is too late to be
    /// weighed against it (RFC 9370 §2.2.4).
    pub(super) fn follows_up(&self) -> bool {
        let task = self.window.task();
        matches!(task, Some(Task::PairFollowUp(_) | Task::HeirFollowUp(_)))
    }

    /// As the responder: `KE`, and what was agreed on is made.
    pub(in crate::sa) fn answer_follow_up(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        payloads: &Payloads,
    ) -> Reply {
        let link = payloads.notify(NotifyType::ADDITIONAL_KEY_EXCHANGE);
        let named = |awaited: &mut Awaited| link.is_some_and(|link| link.data == awaited.link);
        let awaited = match self.duty {
            Duty::Serve => self.awaited.take_if(named),
            _ => None,
        };
        let Some(Awaited { kem, what, .. }) = awaited else {
            let notify = Notify::status(NotifyType::STATE_NOT_FOUND);
            return Reply::refusal(Refusal::quiet(notify));
        };
        let public = payloads.key_exchange_of(kem.transform_id());
        let encapsulated = public.and_then(|public| {
            let encapsulated = kem.encapsulate(ctx.rng, public);
            encapsulated.map_err(|_| PeerFault::PublicValue)
        });
        match (encapsulated, what) {
            (Ok(Encapsulated { ciphertext, secret }), what) => Reply {
                payloads: vec![Payload::key_exchange(kem.transform_id(), &ciphertext)],
                effect: match what {
                    Prospect::Heir(agreed) => self.make_heir(core, ctx, &agreed, &secret),
                    Prospect::Pair(pair) => self.make_pair(core, ctx, &pair, Some(&secret)),
                },
            },
            (Err(fault), what) => {
                if let Prospect::Pair(pair) = what {
                    pair.release(ctx);
                }
                Reply::refusal(Refusal::fault(EXCHANGE, fault))
            }
        }
    }
}

fn link_payload(link: &[u8]) -> Payload {
    let kind = NotifyType::ADDITIONAL_KEY_EXCHANGE;
    Payload::Notify(Notify::with_data(kind, link.to_vec()))
}
