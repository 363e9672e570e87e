//! `daemon.workers`: how many threads carry each device's packets to the wire, and whether one of them
//! does all.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use secure_gre_gre::{df, ttl};
use toml::Spanned;

use super::super::super::Tunnel;
use super::super::super::diagnostic::Diagnostic;
use super::super::super::document::WordOrNumber;
use super::super::bounded;

/// As many as are asked for, or help on this machine.
pub(super) fn wanted(
    typed: Option<&Spanned<WordOrNumber>>,
    findings: &mut Vec<Diagnostic>,
) -> NonZeroUsize {
    let automatic = || helpful(available_parallelism().unwrap_or(NonZeroUsize::MIN));
    let Some(typed) = typed else {
        return automatic();
    };
    match typed.get_ref() {
        WordOrNumber::Number(number) => {
            let bounds = (1, MOST);
            bounded("daemon.workers", *number, typed.span(), bounds, findings)
                .and_then(|number| NonZeroUsize::new(number.into()))
                .unwrap_or_else(automatic)
        }
        WordOrNumber::Word(word) => {
            if word != "auto" {
                findings.push(
                    Diagnostic::error("`daemon.workers` must be \"auto\" or from 1 to 64")
                        .at(typed.span())
                        .help("a number is written without quotes"),
                );
            }
            automatic()
        }
    }
}

/// Whether one thread per peer carries packets both ways under load, too, where nobody has asked for a
/// number.
pub(super) fn one_thread(typed: Option<&Spanned<WordOrNumber>>) -> bool {
    let asked = typed.is_some_and(|typed| matches!(typed.get_ref(), WordOrNumber::Number(_)));
    !asked && is_enough(available_parallelism().unwrap_or(NonZeroUsize::MIN))
}

/// With so many cores: two threads would only take turns. On more, a second one helps under load.
const fn is_enough(cores: NonZeroUsize) -> bool {
    cores.get() == 1
}

/// Of so many cores. Beside each worker there are the other direction, the kernel's own part and
/// whoever makes the traffic; with fewer cores more workers have nowhere to run and only reorder.
fn helpful(cores: NonZeroUsize) -> NonZeroUsize {
    NonZeroUsize::new(cores.get() / 4).unwrap_or(NonZeroUsize::MIN)
}

/// Says how many each of a peer's tunnels gets. One that numbers its packets has to keep their order, and
/// one with a limit has it for all of them.
/// The tunnels share a socket, whose options say what TTL and DF the outer headers have: workers use
/// it at once while their packets want the same, and one after the other where they do not. With these
/// settings that is only where the path does not take a packet whole (RFC 7676 §3).
pub(super) fn share_out(mut tunnels: Vec<Tunnel>, wanted: NonZeroUsize) -> Vec<Tunnel> {
    let first = tunnels.first().map(|tunnel| tunnel.ttl);
    let alike = |tunnel: &Tunnel| {
        matches!(tunnel.ttl, ttl::Policy::Fixed(_))
            && Some(tunnel.ttl) == first
            && tunnel.df == df::Policy::Set
    };
    if tunnels.iter().all(alike) {
        for tunnel in tunnels
            .iter_mut()
            .filter(|tunnel| !tunnel.gre.sequence && tunnel.limit.is_none())
        {
            tunnel.workers = wanted;
        }
    }
    for tunnel in &mut tunnels {
        tunnel.queues = tunnel.workers.saturating_mul(LANES).min(MOST_QUEUES);
    }
    tunnels
}

/// Queues of a device for each worker, which gives each of them a turn: a flow has one without another
/// one seven times of eight.
const LANES: NonZeroUsize = NonZeroUsize::new(8).expect("not 0");

/// The kernel's limit (`MAX_TAP_QUEUES`).
const MOST_QUEUES: NonZeroUsize = NonZeroUsize::new(256).expect("not 0");

/// A device can have some more queues, but nobody so many cores to spare.
const MOST: u8 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_cores_have_one_worker() {
        for (cores, workers) in [(1, 1), (2, 1), (4, 1), (7, 1), (8, 2), (64, 16)] {
            let cores = NonZeroUsize::new(cores).unwrap();
            assert_eq!(helpful(cores).get(), workers, "{cores} cores");
            assert_eq!(is_enough(cores), cores.get() < 2, "{cores} cores");
        }
    }
}
