//! What a message or an alarm makes of an IKE SA ([`Step`]), and what of that concerns others: [`News`] for
//! the endpoint, and a [`Succession`] where the SA was rekeyed.

use super::pairs::Pairs;
use super::{Core, IkeSa, State};
use crate::error::{Drop, Failure};
use crate::event::GoneReason;
use crate::wire::IkeSpi;

/// What has become of an SA; `news` is for the endpoint, which weighs SAs against each other.
pub(crate) struct Step {
    pub(crate) sa: Option<IkeSa>,
    pub(crate) news: Option<News>,
    pub(crate) succession: Option<Succession>,
}

/// What rekeying an IKE SA means for others: both rekey it at once, or one has an heir.
pub(crate) struct Succession {
    /// The heir that this step has made.
    pub(crate) born: Option<Box<IkeSa>>,
    /// What becomes of the one that the peer's exchange had made before, by our SPI.
    pub(crate) rival: Option<(IkeSpi, Verdict)>,
}

/// What the nonces, or the end of the SA that was rekeyed, say of an heir.
pub(crate) enum Verdict {
    /// It has these pairs.
    Inherits(Pairs),
    /// The other heir has them; whoever made it deletes it.
    Redundant,
}

impl Succession {
    pub(super) const fn of(born: Box<IkeSa>) -> Self {
        Self::of_instead(born, None)
    }

    /// `born` takes over in place of that rival.
    pub(super) const fn of_instead(born: Box<IkeSa>, rival: Option<IkeSpi>) -> Self {
        let rival = match rival {
            Some(rival) => Some((rival, Verdict::Redundant)),
            None => None,
        };
        Self {
            born: Some(born),
            rival,
        }
    }

    pub(super) const fn inherited_by(rival: IkeSpi, pairs: Pairs) -> Self {
        Self {
            born: None,
            rival: Some((rival, Verdict::Inherits(pairs))),
        }
    }
}

impl Step {
    pub(crate) const fn stay(core: Core, state: State) -> Self {
        Self {
            sa: Some(IkeSa { core, state }),
            news: None,
            succession: None,
        }
    }

    pub(crate) const fn with(core: Core, state: State, news: News) -> Self {
        Self {
            sa: Some(IkeSa { core, state }),
            news: Some(news),
            succession: None,
        }
    }

    /// The message has changed nothing; `None` if it was of use all the same, as part of one that is
    /// not complete or as a repetition of one that was answered.
    pub(crate) fn unchanged(core: Core, state: State, dropped: Option<Drop>) -> Self {
        Self {
            news: dropped.map(News::Dropped),
            ..Self::stay(core, state)
        }
    }

    pub(crate) const fn end(news: Option<News>) -> Self {
        Self {
            sa: None,
            news,
            succession: None,
        }
    }
}

/// What the endpoint has to know of a step.
pub(crate) enum News {
    /// The datagram changed nothing.
    Dropped(Drop),
    /// The peer is authenticated. `initial_contact`: it says that it has no other SA with us.
    Established { initial_contact: bool },
    /// Our attempt has failed.
    Failed(Failure),
    /// The peer's attempt has failed.
    Refused(Failure),
    /// An established SA is over, or over but for its DELETE exchange.
    Down(GoneReason),
    /// The peer answered a liveness check.
    Alive,
}
