//! What went wrong, in three families that never mix: [`Drop`] is what we did with a datagram,
//! [`PeerFault`] what an authenticated peer did wrong, [`Failure`] why a negotiation ended, told
//! so that a person can mend it.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::algorithm::Group;
use crate::event::Path;
use crate::identity::Identity;
use crate::nat::NAT_TRAVERSAL_PORT;
use crate::proposal::IkeSuite;
use crate::wire::{ExchangeType, NotifyType, WireError};

/// Why a datagram changed nothing. Each one is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Drop {
    /// Not an IKE message: too short, or its length field is wrong (RFC 7296 §3.1); or an IKE_SA_INIT
    /// that is longer than any honest one.
    Header,
    /// A higher major version; answered with INVALID_MAJOR_VERSION (RFC 7296 §2.5).
    MajorVersion,
    /// No IKE SA has these SPIs (RFC 7296 §2.21.4).
    UnknownSpi,
    /// IKE_SA_INIT from an address that no peer of the configuration has, or IKE_AUTH from elsewhere
    /// than its IKE_SA_INIT, or still on port 500 where ESP travels in UDP.
    UnknownPeer,
    /// IKE_SA_INIT without a valid cookie while cookies are asked for (RFC 7296 §2.6).
    Cookie,
    /// IKE_SA_INIT that is malformed, or that nothing could be agreed on with.
    Refused,
    /// The payloads do not parse, and nothing authenticates them.
    Malformed,
    /// The integrity check failed, or nothing was encrypted where it had to be.
    Unauthenticated,
    /// A fragment (RFC 7383) that is there already, or of an earlier division of its message, or beyond
    /// the bounds of a message.
    Fragment,
    /// Neither the next request nor a repetition of the last one (RFC 7296 §2.3).
    MessageId,
    /// A response to nothing that is under way.
    UnexpectedResponse,
    /// A request that this state does not take, such as CREATE_CHILD_SA before IKE_AUTH.
    UnexpectedExchange,
}

impl Drop {
    /// Every reason, for whoever shows counters.
    pub const ALL: &'static [Self] = &[
        Self::Header,
        Self::MajorVersion,
        Self::UnknownSpi,
        Self::UnknownPeer,
        Self::Cookie,
        Self::Refused,
        Self::Malformed,
        Self::Unauthenticated,
        Self::Fragment,
        Self::MessageId,
        Self::UnexpectedResponse,
        Self::UnexpectedExchange,
    ];

    /// The counter's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Header => "ike_header",
            Self::MajorVersion => "ike_major_version",
            Self::UnknownSpi => "ike_unknown_spi",
            Self::UnknownPeer => "ike_unknown_peer",
            Self::Cookie => "ike_cookie",
            Self::Refused => "ike_refused",
            Self::Malformed => "ike_malformed",
            Self::Unauthenticated => "ike_unauthenticated",
            Self::Fragment => "ike_fragment",
            Self::MessageId => "ike_message_id",
            Self::UnexpectedResponse => "ike_unexpected_response",
            Self::UnexpectedExchange => "ike_unexpected_exchange",
        }
    }
}

/// A rule that the peer broke in a message that it protected, or in one that we had to believe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerFault {
    /// A payload that does not parse.
    #[error("a malformed message ({0})")]
    Malformed(WireError),
    /// A payload that the exchange cannot do without.
    #[error("no {0} payload")]
    Missing(&'static str),
    /// The same payload twice where only one may be.
    #[error("more than one {0} payload")]
    Repeated(&'static str),
    /// An answer that is not a subset of what we offered (RFC 7296 §3.3).
    #[error("an answer that we had not offered ({0})")]
    NotOffered(String),
    /// A public value that is malformed or weak (RFC 6989).
    #[error("an unusable public value for the key exchange")]
    PublicValue,
    /// A nonce outside 16 to 256 octets, or shorter than half the PRF's key (RFC 7296 §2.10).
    #[error("a nonce of {0} octets")]
    Nonce(usize),
    /// INVALID_KE_PAYLOAD for a group that we had not offered or that was tried (RFC 7296 §1.2).
    #[error("INVALID_KE_PAYLOAD asking for group {0}, which is no help")]
    UselessGroup(u16),
    /// Traffic selectors wider than, or other than, protocol 47 between the two endpoints.
    #[error("traffic selectors other than protocol 47 between the two endpoints")]
    Selectors,
    /// An ESP SPI from 0 to 255 (RFC 4303 §2.1).
    #[error("a reserved ESP SPI")]
    ReservedSpi,
}

/// Which of the two negotiations a [`Failure`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Negotiation {
    /// The IKE SA's algorithms (`[peer.ike] proposals`).
    Ike,
    /// The CHILD_SA's algorithms (`[peer.esp] proposals`).
    Esp,
}

impl Negotiation {
    /// The keys of the file that have made `ours`, which is our list.
    fn keys(self, ours: &str) -> &'static str {
        let either = |proposal: &str| proposal.contains("-esn") && proposal.contains("-noesn");
        match self {
            Self::Ike => "peer.ike.proposals",
            Self::Esp if ours.split(", ").any(either) => "peer.esp.proposals",
            Self::Esp => "peer.esp.proposals or peer.esp.esn",
        }
    }

    /// The key of strongSwan's `swanctl.conf` that holds such a list, in the same notation.
    const fn swanctl_key(self) -> &'static str {
        match self {
            Self::Ike => "proposals",
            Self::Esp => "esp_proposals",
        }
    }
}

/// Why a negotiation ended without an SA. `Display` is one line that begins with the field of the file
/// to look at, where one is to blame; [`Failure::advice`] is what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Nothing came back.
    NoAnswer {
        /// The exchange that stayed unanswered.
        exchange: ExchangeType,
        /// Where we sent it.
        remote: SocketAddr,
        /// For how long.
        waited: Duration,
    },
    /// The peer found nothing in our list.
    NoProposalChosen {
        /// Which list.
        what: Negotiation,
        /// Our list, in the file's syntax.
        offered: String,
    },
    /// The peer has the pair that our list led to, and refuses another one by the same list: what
    /// differs is what the first one does not have, the key exchange of its own (D38).
    RekeyRefused {
        /// Our list, in the file's syntax.
        offered: String,
        /// The group that we would have used.
        group: Option<Group>,
    },
    /// We found nothing in the peer's list.
    NothingAcceptable {
        /// Which list.
        what: Negotiation,
        /// The peer's list, decoded.
        offered: String,
        /// Ours, in the file's syntax.
        ours: String,
    },
    /// The peer answered AUTHENTICATION_FAILED: it holds another key, or knows us by another name.
    AuthenticationRefused {
        /// Who we said we are.
        local_id: Identity,
        /// Whom we asked for, if we did.
        remote_id: Option<Identity>,
        /// The PPK that we used, if there was one.
        ppk: Option<String>,
    },
    /// The peer's AUTH value was not made with our key.
    PskMismatch {
        /// Who the peer said it is.
        remote_id: Identity,
        /// The PPK that went into it, if there was one.
        ppk: Option<String>,
    },
    /// The peer does without the PPK that we require (RFC 8784).
    PpkUnused {
        /// What we call it.
        id: String,
    },
    /// The peer requires a PPK that we do not have, or one of us does.
    PpkUnknown {
        /// What the peer calls it.
        received: String,
        /// What ours is called, if we have one.
        ours: Option<String>,
    },
    /// The peer's PPK of the same name is another; the pre-shared key is the same.
    PpkMismatch {
        /// What both ends call it.
        id: String,
    },
    /// The peer is not who it has to be.
    IdentityMismatch {
        /// `remote-id`.
        expected: Identity,
        /// Who the peer said it is.
        received: Identity,
    },
    /// Nobody of those who may call from anywhere has this identity.
    UnknownIdentity {
        /// Who the caller said it is.
        received: Identity,
    },
    /// What IKE_SA_INIT had agreed on, before the peer said who it is, is nothing that its file accepts.
    OtherTerms {
        /// What was agreed on.
        agreed: IkeSuite,
        /// What the file accepts, in its syntax.
        ours: String,
    },
    /// The peer signs with a certificate, or by another method.
    AuthenticationMethod {
        /// The number of the method (RFC 7296 §3.8).
        method: u8,
    },
    /// The peer left USE_TRANSPORT_MODE out (RFC 7296 §1.3.1).
    TunnelMode,
    /// The peer refused our traffic selectors.
    SelectorsRefused {
        /// Whether it has to substitute what a NAT has made of the addresses (RFC 7296 §2.23.1).
        translated: bool,
    },
    /// The peer's traffic selectors leave protocol 47 between the endpoints out.
    SelectorsUnacceptable {
        /// The peer's selectors, decoded.
        offered: String,
    },
    /// A NAT stands between the two; native ESP does not pass it, and UDP is forbidden.
    Nat {
        /// The NAT is on our side.
        ours: bool,
        /// The NAT is on the peer's side.
        theirs: bool,
        /// The path on which it was seen.
        path: Path,
    },
    /// Another error notification.
    Notified {
        /// The exchange that it answered.
        exchange: ExchangeType,
        /// Its type.
        notify: NotifyType,
    },
    /// The peer broke the protocol.
    Fault {
        /// In which exchange.
        exchange: ExchangeType,
        /// How.
        fault: PeerFault,
    },
}

impl Failure {
    /// What a person can do about it: the smallest change, ours or the peer's.
    pub fn advice(&self) -> String {
        match self {
            Self::NoAnswer {
                exchange, remote, ..
            } if *exchange == ExchangeType::IKE_SA_INIT => format!(
                "is {} the peer's address, is its IKE daemon running, and does every firewall \
                 between pass UDP port {}?",
                remote.ip(),
                remote.port()
            ),
            Self::NoAnswer { remote, .. } if remote.port() == NAT_TRAVERSAL_PORT => format!(
                "the peer answered on another port before: does every firewall between pass UDP port \
                 {NAT_TRAVERSAL_PORT}, also in datagrams of 1280 octets?"
            ),
            Self::NoAnswer { .. } => "the peer answered before and is silent now: a firewall may \
                drop large datagrams or IP fragments, or the peer was restarted"
                .to_owned(),
            Self::NoProposalChosen { what, offered } => format!(
                "let the peer accept ours (strongSwan: {} = {offered}), or let {} name what the peer \
                 accepts",
                what.swanctl_key(),
                what.keys(offered)
            ),
            Self::NothingAcceptable { what, ours, .. } => format!(
                "let the peer offer ours (strongSwan: {} = {ours}), or let {} name what the peer offers",
                what.swanctl_key(),
                what.keys(ours)
            ),
            Self::AuthenticationRefused {
                local_id,
                remote_id,
                ppk,
            } => {
                let ppk = ppk.as_ref().map_or_else(String::new, |id| {
                    format!(", and the keys of peer.ike.ppk (strongSwan: secrets.ppk with id = {id}) too")
                });
                let asked = remote_id.as_ref().map_or_else(String::new, |id| {
                    format!(", and local {{ id = {id} }} or set peer.remote-id to what it has")
                });
                format!(
                    "make peer.psk-file and the peer's secret (strongSwan: secrets.ike.secret) equal{ppk}; if \
                     they are, let the peer know us by this name (strongSwan: remote {{ id = {local_id} }}) \
                     or set peer.local-id to the one that it expects{asked}"
                )
            }
            Self::RekeyRefused { offered, .. } => format!(
                "give both ends the same group for rekeying: let the peer accept ours (strongSwan: \
                 esp_proposals = {offered}), or let peer.esp.proposals name the peer's, with -modpnone if \
                 a rekey without one is acceptable"
            ),
            Self::PskMismatch { remote_id, ppk } => {
                let ppk = ppk.as_ref().map_or_else(String::new, |id| {
                    format!(", and the keys of peer.ike.ppk (strongSwan: secrets.ppk with id = {id}) too")
                });
                format!(
                    "make peer.psk-file and the peer's secret for this pair (strongSwan: secrets.ike.secret, \
                     with id = {remote_id} or no id) equal{ppk}"
                )
            }
            Self::PpkUnused { id } => format!(
                "give the peer the same PPK (strongSwan: ppk_id = {id}, secrets {{ ppk {{ id = {id} }} }}), or \
                 write required = false in peer.ike.ppk"
            ),
            Self::PpkUnknown { received, .. } => format!(
                "let both ends name the same PPK: id = \"{received}\" in peer.ike.ppk, or ours at the peer \
                 (strongSwan: ppk_id)"
            ),
            Self::PpkMismatch { id } => format!(
                "make the file of peer.ike.ppk and the peer's PPK (strongSwan: secrets.ppk with id = {id}) \
                 equal"
            ),
            Self::IdentityMismatch { expected, received } => format!(
                "set peer.remote-id = \"{received}\" if that is the right peer, or change the peer's \
                 local identity (strongSwan: local {{ id = {expected} }})"
            ),
            Self::UnknownIdentity { received } => format!(
                "if it belongs here, give it a file with peer.address = \"any\", or a [[spoke]] of the \
                 hub's, with remote-id = \"{received}\" and its key"
            ),
            Self::OtherTerms { agreed, .. } => format!(
                "let peer.ike.proposals be the same in all files with peer.address = \"any\", or let this \
                 one name {agreed} too"
            ),
            Self::AuthenticationMethod { .. } => {
                "set the peer to authenticate with a pre-shared key (strongSwan: local { auth = psk })"
                    .to_owned()
            }
            Self::TunnelMode => "set the peer's child to transport mode (strongSwan: children { … { mode = \
                transport } })"
                .to_owned(),
            Self::SelectorsRefused { translated: true } => {
                "let the peer be one that takes transport mode through a NAT (strongSwan and secure-gre \
                 do, libreswan does not), or give both ends addresses that nothing translates; if it is \
                 one, let it take protocol 47 between the addresses that it sees (strongSwan: local_ts = \
                 dynamic[gre], remote_ts = dynamic[gre])"
                    .to_owned()
            }
            Self::SelectorsRefused { translated: false }
            | Self::SelectorsUnacceptable { .. }
            | Self::Fault {
                fault: PeerFault::Malformed(WireError::NoTrafficSelector),
                ..
            } => "set the peer's \
                selectors to protocol 47 between the two outer addresses (strongSwan: local_ts = \
                dynamic[gre], remote_ts = dynamic[gre])"
                .to_owned(),
            Self::Nat { .. } => {
                "set peer.encapsulation = \"auto\", so that ESP travels in UDP; or \
                give both ends addresses that nothing translates (strongSwan: encap = no)"
                    .to_owned()
            }
            Self::Notified { .. } | Self::Fault { .. } => {
                "the peer's log has its side of this".to_owned()
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer {
                exchange,
                remote,
                waited,
            } => {
                write!(f, "peer.address: no answer from {remote} to {exchange} ")?;
                write!(f, "for {:.0} s", waited.as_secs_f64())
            }
            Self::NoProposalChosen { what, offered } => write!(
                f,
                "{}: the peer accepts nothing of what we offered ({offered}): NO_PROPOSAL_CHOSEN",
                what.keys(offered)
            ),
            Self::RekeyRefused { offered, group } => {
                write!(
                    f,
                    "peer.esp.proposals: the peer has refused to rekey with what we offered "
                )?;
                write!(f, "({offered}): NO_PROPOSAL_CHOSEN")?;
                match group {
                    Some(group) => write!(f, "; its group is not {group}, or it wants none"),
                    None => f.write_str("; it wants a group (PFS), and we offer none"),
                }
            }
            Self::NothingAcceptable {
                what,
                offered,
                ours,
            } => {
                write!(
                    f,
                    "{}: no common proposal: the peer offers {offered}; ",
                    what.keys(ours)
                )?;
                write!(f, "we accept {ours}")
            }
            Self::AuthenticationRefused {
                local_id,
                remote_id,
                ppk,
            } => {
                f.write_str("peer.psk-file")?;
                if ppk.is_some() {
                    f.write_str(", peer.ike.ppk")?;
                }
                f.write_str(match remote_id {
                    Some(_) => ", peer.local-id or peer.remote-id",
                    None => " or peer.local-id",
                })?;
                f.write_str(": the peer refused our key or identity ")?;
                write!(f, "(AUTHENTICATION_FAILED): we said we are {local_id}")?;
                match remote_id {
                    Some(id) => write!(f, " and asked for {id}"),
                    None => Ok(()),
                }
            }
            Self::PskMismatch { remote_id, ppk } => {
                let ppk = ppk.as_ref().map_or("", |_| " or peer.ike.ppk");
                write!(
                    f,
                    "peer.psk-file{ppk}: the pre-shared keys differ: {remote_id} proved itself "
                )?;
                write!(f, "with another key than ours")
            }
            Self::IdentityMismatch { expected, received } => {
                write!(
                    f,
                    "peer.remote-id: the peer says it is {received}, not {expected}"
                )
            }
            Self::UnknownIdentity { received } => {
                write!(f, "peer.remote-id: the caller says it is {received}, ")?;
                f.write_str("which nobody who may call from anywhere is")
            }
            Self::OtherTerms { agreed, ours } => {
                write!(f, "peer.ike.proposals: {agreed} was agreed on before the peer ")?;
                write!(f, "said who it is, and its file accepts {ours}")
            }
            Self::PpkUnused { id } => write!(
                f,
                "peer.ike.ppk: the peer does without our PPK {id}, and it is required"
            ),
            Self::PpkUnknown { received, ours } => {
                write!(f, "peer.ike.ppk: the peer uses the PPK {received}, ")?;
                match ours {
                    Some(ours) => write!(f, "and ours is {ours}"),
                    None => f.write_str("and we have none"),
                }
            }
            Self::PpkMismatch { id } => {
                write!(f, "peer.ike.ppk: the PPKs named {id} differ, the pre-shared keys do not")
            }
            Self::AuthenticationMethod { method } => write!(
                f,
                "peer.psk-file: the peer authenticates by method {method}, not by a pre-shared key"
            ),
            Self::TunnelMode => f.write_str(
                "the peer's mode: it wants tunnel mode (no USE_TRANSPORT_MODE came); secure-gre protects \
                 GRE in transport mode",
            ),
            Self::SelectorsRefused { translated } => {
                f.write_str(
                    "the peer's traffic selectors: it refused ours, protocol 47 between the two \
                     addresses (TS_UNACCEPTABLE)",
                )?;
                match translated {
                    true => f.write_str(", which a NAT on the path translates"),
                    false => Ok(()),
                }
            }
            Self::SelectorsUnacceptable { offered } => write!(
                f,
                "the peer's traffic selectors: it offers {offered}, which leave out protocol 47 between the two \
                 addresses"
            ),
            Self::Nat { ours, theirs, path } => {
                let side = match (ours, theirs) {
                    (true, true) => "on both sides",
                    (true, false) => "on our side",
                    _ => "on the peer's side",
                };
                write!(
                    f,
                    "peer.encapsulation is \"never\", but a NAT {side} translates the path "
                )?;
                write!(f, "{} to {}", path.local, path.remote)
            }
            Self::Fault {
                fault: PeerFault::Malformed(WireError::NoTrafficSelector),
                ..
            } => f.write_str(
                "the peer's traffic selectors: it sent none, so that they leave out protocol 47 between \
                 the two addresses",
            ),
            Self::Notified { exchange, notify } => {
                write!(f, "the peer answered {exchange} with {notify}")
            }
            Self::Fault { exchange, fault } => write!(f, "the peer sent {fault} in {exchange}"),
        }
    }
}
