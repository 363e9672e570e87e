//! IKE_INTERMEDIATE, both roles (RFC 9242), for one additional key exchange between IKE_SA_INIT and
//! IKE_AUTH (RFC 9370 §2.2.2): it may be fragmented, which IKE_SA_INIT may not, and the keys of
//! everything after it are made of both exchanges. Nothing here is authenticated before IKE_AUTH, which
//! covers its messages too ([`IntAuth`]).

use super::auth::{AuthSent, Responder};
use super::exchange::{Exchange, Repeat, Request};
use super::init::{Agreed, InitReceived};
use super::payloads::Payloads;
use super::protection::{Incoming, Protection};
use super::{Context, Core, News, State, Step};
use crate::algorithm::{Kem, Prf};
use crate::crypto::kem::{Encapsulated, KemKey};
use crate::error::{Failure, PeerFault};
use crate::event::Path;
use crate::secret::Secret;
use crate::wire::{Datagram, ExchangeType, Inner, Notify, NotifyType, Payload, WireError};

const EXCHANGE: ExchangeType = ExchangeType::IKE_INTERMEDIATE;
/// It follows IKE_SA_INIT's 0, and is the only one of its kind (RFC 9242 §3.2).
pub(crate) const MESSAGE_ID: u32 = 1;

/// What the messages of the exchange add to AUTH (D23, RFC 9242 §3.3.2): a PRF of each, by the SK_p
/// that its sender had before it.
pub(crate) struct IntAuth {
    initiator: Secret,
    responder: Secret,
}

impl IntAuth {
    /// Of the only exchange: IntAuth_i1 and IntAuth_r1, of the messages' `authenticated_octets`.
    fn new(agreed: &Agreed, request: &[u8], response: &[u8]) -> Self {
        let (prf, keys): (Prf, _) = (agreed.suite.prf, &agreed.keys);
        Self {
            initiator: prf.compute(keys.sk_pi.expose(), &[request]),
            responder: prf.compute(keys.sk_pr.expose(), &[response]),
        }
    }

    /// IntAuth_iN | IntAuth_rN | IKE_AUTH_MID.
    pub(crate) fn octets(&self, auth_message_id: u32) -> Vec<u8> {
        let message_id = auth_message_id.to_be_bytes();
        [
            self.initiator.expose(),
            self.responder.expose(),
            &message_id,
        ]
        .concat()
    }
}

impl Agreed {
    /// Everything that follows is protected by keys that are made of both exchanges (RFC 9370 §2.2.2).
    fn update(&mut self, core: &Core, shared: &Secret, int_auth: IntAuth) {
        let nonces = (&self.initiator_nonce[..], &self.responder_nonce[..]);
        let spis = (core.initiator_spi, core.responder_spi);
        self.keys = self.keys.update(self.suite, shared, nonces, spis);
        self.int_auth = Some(int_auth);
    }

    fn renewed(&self, protection: &Protection, initiated: bool) -> Protection {
        let (ours, peers) = self.keys.directions(initiated);
        protection.renewed(self.suite.cipher, &ours, &peers)
    }
}

/// We are the initiator and wait for the response.
pub(crate) struct IntermediateSent {
    agreed: Agreed,
    protection: Protection,
    key: Box<dyn KemKey>,
    /// Our request, as AUTH covers it.
    covered: Vec<u8>,
    pub(crate) request: Request,
}

impl IntermediateSent {
    /// Sends `KE`.
    pub(crate) fn start(core: Core, ctx: &mut Context<'_>, agreed: Agreed, kem: Kem) -> Step {
        let mut protection = agreed.protection(true);
        let key = kem.generate(ctx.rng);
        let payloads = vec![Payload::key_exchange(kem.transform_id(), key.public())];
        let inner = Inner::of(&payloads);
        let request =
            Request::send_sealed(&core, ctx, &mut protection, EXCHANGE, MESSAGE_ID, payloads);
        let Some(covered) = covered(request.octets(), &inner) else {
            return Step::end(None);
        };
        let state = Self {
            agreed,
            protection,
            key,
            covered,
            request,
        };
        Step::stay(core, State::IntermediateSent(Box::new(state)))
    }

    pub(crate) fn on_message(
        mut self: Box<Self>,
        core: Core,
        ctx: &mut Context<'_>,
        datagram: &Datagram<'_>,
    ) -> Step {
        let Self {
            request,
            protection,
            ..
        } = &mut *self;
        let incoming = match request.open_answer(&core, ctx, protection, datagram) {
            Ok(incoming) => incoming,
            Err(dropped) => return Step::unchanged(core, State::IntermediateSent(self), dropped),
        };
        let Self {
            mut agreed,
            protection,
            key,
            covered,
            ..
        } = *self;
        match accept(&agreed, key, &covered, incoming) {
            Ok((shared, int_auth)) => {
                agreed.update(&core, &shared, int_auth);
                let protection = agreed.renewed(&protection, true);
                AuthSent::start(core, ctx, agreed, protection)
            }
            // Nobody has proven anything: there is no SA that the peer would have to be told about.
            Err(failure) => Step::end(Some(News::Failed(failure))),
        }
    }

    pub(crate) fn on_timeout(mut self: Box<Self>, core: Core, ctx: &mut Context<'_>) -> Step {
        let Self {
            request,
            protection,
            ..
        } = &mut *self;
        match request.repeat_sealed(&core, ctx, protection) {
            Repeat::Waiting => Step::stay(core, State::IntermediateSent(self)),
            Repeat::Exhausted => {
                Step::end(Some(News::Failed(self.request.no_answer(&core, ctx.now))))
            }
        }
    }
}

/// What the response to our request leads to.
fn accept(
    agreed: &Agreed,
    key: Box<dyn KemKey>,
    request: &[u8],
    incoming: Incoming,
) -> Result<(Secret, IntAuth), Failure> {
    let response = received(&incoming);
    let payloads = incoming.payloads.map_err(PeerFault::Malformed);
    let payloads = Payloads::new(payloads.map_err(in_intermediate)?);
    if let Some(notify) = payloads.error() {
        return Err(Failure::Notified {
            exchange: EXCHANGE,
            notify: notify.kind,
        });
    }
    let check = || {
        let ciphertext = payloads.key_exchange_of(key.kem().transform_id())?;
        let shared = key.decapsulate(ciphertext);
        shared.map_err(|_| PeerFault::PublicValue)
    };
    let shared = check().map_err(in_intermediate)?;
    Ok((shared, IntAuth::new(agreed, request, &response)))
}

/// What a responder keeps of the exchange: its reply, and the keys under which the request may come
/// again.
pub(crate) struct Answered {
    last: Exchange,
    protection: Protection,
}

impl Answered {
    /// See [`Exchange::repeat_sealed`].
    pub(crate) fn repeat(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        path: Path,
        datagram: &Datagram<'_>,
    ) -> bool {
        let protection = &mut self.protection;
        self.last
            .repeat_sealed(core, ctx, protection, path, datagram)
    }
}

impl InitReceived {
    /// As the responder: `KE`, and new keys for what follows.
    pub(crate) fn answer_intermediate(
        mut self: Box<Self>,
        core: Core,
        ctx: &mut Context<'_>,
        path: Path,
        kem: Kem,
        incoming: Incoming,
    ) -> Step {
        let request = received(&incoming);
        let Encapsulated { ciphertext, secret } = match encapsulate(ctx, kem, incoming.payloads) {
            Ok(encapsulated) => encapsulated,
            Err((notify, fault)) => {
                let Self {
                    agreed, protection, ..
                } = *self;
                let responder = Responder {
                    agreed,
                    protection,
                    request: incoming.datagram,
                    header: core.header(EXCHANGE, MESSAGE_ID, true),
                    path,
                };
                return responder.reject(core, ctx, notify, in_intermediate(fault));
            }
        };
        let payloads = vec![Payload::key_exchange(kem.transform_id(), &ciphertext)];
        let inner = Inner::of(&payloads);
        let header = core.header(EXCHANGE, MESSAGE_ID, true);
        let reply = self.protection.seal(&core, ctx, &header, payloads);
        let Some(response) = covered(reply.octets(), &inner) else {
            return Step::end(None);
        };
        let last = Exchange::new(incoming.datagram, reply);
        last.answer(ctx, path);

        let int_auth = IntAuth::new(&self.agreed, &request, &response);
        self.agreed.update(&core, &secret, int_auth);
        let renewed = self.agreed.renewed(&self.protection, false);
        let protection = std::mem::replace(&mut self.protection, renewed);
        self.answered = Some(Answered { last, protection });
        Step::stay(core, State::InitReceived(self))
    }
}

/// What the request leads to, or what its sender has to hear.
fn encapsulate(
    ctx: &mut Context<'_>,
    kem: Kem,
    payloads: Result<Vec<Payload>, WireError>,
) -> Result<Encapsulated, (Notify, PeerFault)> {
    let payloads =
        payloads.map_err(|error| (Notify::for_wire_error(&error), PeerFault::Malformed(error)))?;
    let payloads = Payloads::new(payloads);
    let public = payloads.key_exchange_of(kem.transform_id());
    public
        .and_then(|public| {
            let encapsulated = kem.encapsulate(ctx.rng, public);
            encapsulated.map_err(|_| PeerFault::PublicValue)
        })
        .map_err(|fault| (Notify::status(NotifyType::INVALID_SYNTAX), fault))
}

/// A message of ours as AUTH covers it. There is one: what was sealed has SK or SKF.
fn covered(octets: &[u8], inner: &Inner) -> Option<Vec<u8>> {
    let datagram = Datagram::parse(octets).ok()?;
    datagram.authenticated_octets(inner)
}

/// A message of the peer's as AUTH covers it.
fn received(incoming: &Incoming) -> Vec<u8> {
    let datagram = Datagram::parse(&incoming.datagram).ok();
    let octets = datagram.and_then(|datagram| datagram.authenticated_octets(&incoming.inner));
    // Not where it was opened.
    octets.unwrap_or_default()
}

fn in_intermediate(fault: PeerFault) -> Failure {
    Failure::Fault {
        exchange: EXCHANGE,
        fault,
    }
}
