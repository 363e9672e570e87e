//! What two tunnels of one peer cannot both have: a key (RFC 2890 §2.1), which is all that tells their
//! packets apart, and in one network namespace a device or a subnet. Routes they share.

use std::ops::Range;

use toml::Spanned;

use super::super::super::Tunnel;
use super::super::super::diagnostic::Diagnostic;
use super::super::super::document::{Required, Text};
use super::super::super::schema::{KeyKeys, TunnelKeys};
use crate::net::netlink::MAIN_TABLE;
use crate::net::prefix::Prefix;

/// Reports what an earlier tunnel has too, where the later one has it. `keys` are those of `tunnels`.
pub(super) fn check(keys: &[TunnelKeys], tunnels: &[Tunnel], findings: &mut Vec<Diagnostic>) {
    for (place, (typed, tunnel)) in keys.iter().zip(tunnels).enumerate() {
        let mut earlier = tunnels.iter().take(place);
        findings.extend(earlier.find_map(|earlier| clash(earlier, tunnel, typed)));
    }
}

fn clash(earlier: &Tunnel, tunnel: &Tunnel, typed: &TunnelKeys) -> Option<Diagnostic> {
    let same_key = match (earlier.gre.key, tunnel.gre.key) {
        (Some(theirs), Some(ours)) => ours.overlaps(theirs),
        // One that was reported is not none.
        (None, None) => matches!(typed.key, KeyKeys::One(_)),
        _ => false,
    };
    if same_key {
        return Some(key_clash(tunnel, typed));
    }
    if earlier.netns != tunnel.netns {
        return None;
    }
    if let Some(device) = &tunnel.device
        && earlier.device.as_ref() == Some(device)
    {
        return Some(
            Diagnostic::error(format!("{device} is the device of another [[tunnel]] too"))
                .at_some(typed.device.as_ref().map(Spanned::span))
                .help("give each tunnel a device of its own, or leave `device` out"),
        );
    }
    tunnel.contested(earlier).map(|prefix| {
        Diagnostic::error(format!(
            "{prefix} leads into another [[tunnel]] too, and a subnet is on one device"
        ))
        .at_some(place_of(prefix, typed))
        .help(
            "give each a subnet of its own, or put them into network namespaces of their own \
             (`netns`); what two tunnels can share are routes",
        )
    })
}

fn key_clash(tunnel: &Tunnel, typed: &TunnelKeys) -> Diagnostic {
    const HELP: &str = "the key is what tells the tunnels of one peer apart: give each its own";
    let (message, span) = match tunnel.gre.key {
        Some(key) => (
            format!("{key} is the key of another [[tunnel]] too"),
            typed.key.span(),
        ),
        None => (
            "another [[tunnel]] has no key either".to_owned(),
            typed.key.span().or(typed.span.clone()),
        ),
    };
    Diagnostic::error(message).at_some(span).help(HELP)
}

/// What leads into a tunnel: its routes, each in their table, and the subnets of its addresses.
pub(in super::super) fn prefixes(tunnel: &Tunnel) -> impl Iterator<Item = (u32, Prefix)> + Clone {
    let routes = tunnel.routes.iter().map(|route| (tunnel.table, *route));
    let subnets = tunnel.addresses.iter();
    routes.chain(subnets.map(|address| (MAIN_TABLE, address.network())))
}

/// Where `prefix` was typed.
fn place_of(prefix: Prefix, typed: &TunnelKeys) -> Option<Range<usize>> {
    let addresses = match &typed.address {
        Required::Given(list) => list.get_ref().as_slice(),
        Required::Absent | Required::Wrong => &[],
    };
    let routes = typed.routes.as_ref().map(|list| list.get_ref().as_slice());
    let is_it = |text: &&Text| text.get_ref().parse().map(|p: Prefix| p.network()) == Ok(prefix);
    let mut texts = routes.unwrap_or_default().iter().chain(addresses);
    texts.find(is_it).map(Spanned::span)
}
