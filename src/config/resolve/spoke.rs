//! What a hub's file means: `[peer]` and `[tunnel]` are the template, each `[[spoke]]` says who one peer
//! is, what its key is, and what of the tunnel differs. `%n` in the template is the spoke's number,
//! counted from 1.

use std::ops::Range;

use toml::Spanned;

use super::super::diagnostic::Diagnostic;
use super::super::document::{Required, Text};
use super::super::schema::{File, KeyKeys, PeerKeys, SpokeKeys, TunnelKeys};
use super::super::value;
use super::super::{Peer, Tunnel};
use super::{Context, tunnel};
use secure_gre_ike::config::RemoteId;
use secure_gre_ike::identity::Identity;

/// What stands for the spoke's number.
const NUMBER: &str = "%n";

/// The peers of a hub's file. What is wrong with the template is told once.
pub(super) fn resolve_all(
    context: &Context<'_>,
    typed: &File,
    findings: &mut Vec<Diagnostic>,
) -> Option<Vec<Peer>> {
    refuse_in_template(&typed.peer, findings);
    refuse_second_template(&typed.tunnels, findings);
    let hub = context.name(findings);
    let mut peers: Vec<(Peer, &SpokeKeys)> = Vec::with_capacity(typed.spokes.len());
    for (place, spoke) in typed.spokes.iter().enumerate() {
        let mut found = Vec::new();
        let peer = resolve(context, typed, &hub, (spoke, place + 1), &mut found);
        found.retain(|one| !findings.contains(one));
        findings.extend(found);
        if let Some(peer) = peer {
            let clash = peers
                .iter()
                .find_map(|(other, _)| clash(other, &peer, spoke));
            findings.extend(clash);
            peers.push((peer, spoke));
        }
    }
    let complete = peers.len() == typed.spokes.len();
    complete.then(|| peers.into_iter().map(|(peer, _)| peer).collect())
}

fn refuse_second_template(tunnels: &[TunnelKeys], findings: &mut Vec<Diagnostic>) {
    if let Some(second) = tunnels.get(1) {
        let problem = Diagnostic::error("a hub has one [tunnel] for a template");
        findings.push(problem.at_some(second.span.clone()).help(
            "leave one; spokes with several tunnels are files of their own, with address = \"any\"",
        ));
    }
}

/// Keys that are each spoke's own.
fn refuse_in_template(keys: &PeerKeys, findings: &mut Vec<Diagnostic>) {
    let spans = [
        ("psk", given_at(&keys.psk.text)),
        ("psk-file", given_at(&keys.psk.file)),
        ("remote-id", keys.remote_id.as_ref().map(Spanned::span)),
    ];
    for (key, span) in spans {
        if let Some(span) = span {
            let problem = Diagnostic::error(format!("`peer.{key}` is each spoke's own"));
            let help = format!("write {key} = \"…\" under each [[spoke]] instead");
            findings.push(problem.at(span).help(help));
        }
    }
}

fn given_at<T>(key: &Required<T>) -> Option<Range<usize>> {
    match key {
        Required::Given(typed) => Some(typed.span()),
        Required::Absent | Required::Wrong => None,
    }
}

fn resolve(
    context: &Context<'_>,
    typed: &File,
    hub: &str,
    (spoke, number): (&SpokeKeys, usize),
    findings: &mut Vec<Diagnostic>,
) -> Option<Peer> {
    let template = typed.tunnels.first()?;
    let tunnel = of_spoke(template, spoke, number);
    let no_address = matches!(tunnel.address, Required::Absent);
    if no_address {
        findings.push(
            Diagnostic::error("this spoke has no address")
                .at(spoke.span.clone())
                .help("write address = [\"10.255.1.0/31\"] here, ours in its tunnel; or one with %n under [tunnel]"),
        );
        return None;
    }
    let own = super::Own {
        psk: &spoke.psk,
        psk_place: (Some(spoke.span.clone()), "[[spoke]]"),
        remote_id: spoke.remote_id.as_ref(),
        remote_id_place: Some(spoke.span.clone()),
        tunnels: std::slice::from_ref(&tunnel),
    };
    let peer = super::complete(context, typed, &own, findings)?;
    let name = match &spoke.name {
        Some(name) => {
            super::check_name(name, findings);
            name.get_ref().clone()
        }
        None => name_of(&peer.remote_id, hub, number),
    };
    let hub = Some(hub.to_owned());
    let tunnels = peer.tunnels.into_iter().map(with_few_queues).collect();
    Some(Peer {
        name,
        hub,
        tunnels,
        ..peer
    })
}

/// Each queue is an open file and some memory of the kernel, and a hub may have many spokes.
fn with_few_queues(tunnel: Tunnel) -> Tunnel {
    Tunnel {
        queues: tunnel.workers,
        ..tunnel
    }
}

/// A spoke that has no name is called by its domain name, or by its number.
fn name_of(identity: &RemoteId, hub: &str, number: usize) -> String {
    match identity {
        RemoteId::Is(Identity::Fqdn(name)) if value::peer_name(name) => name.clone(),
        _ => format!("{hub}-{number}"),
    }
}

/// The template with what the spoke says instead, and its number.
fn of_spoke(template: &TunnelKeys, spoke: &SpokeKeys, number: usize) -> TunnelKeys {
    let mut tunnel = template.clone();
    if !matches!(spoke.address, Required::Absent) {
        tunnel.address = spoke.address.clone();
    }
    let instead = |own: &Option<Text>, template| own.clone().or(template);
    tunnel.device = instead(&spoke.device, tunnel.device);
    tunnel.peer_address = instead(&spoke.peer_address, tunnel.peer_address);
    tunnel.routes = spoke.routes.clone().or(tunnel.routes);
    if let Some(key) = &spoke.key {
        tunnel.key = KeyKeys::One(Some(key.clone()));
    }
    tunnel.netns = instead(&spoke.netns, tunnel.netns);

    let number = number.to_string();
    let numbered = |text: &mut Text| {
        let own = text.get_ref().replace(NUMBER, &number);
        *text.get_mut() = own;
    };
    let single = [
        &mut tunnel.device,
        &mut tunnel.peer_address,
        &mut tunnel.netns,
    ];
    single.into_iter().flatten().for_each(numbered);
    let routes = tunnel.routes.iter_mut().flat_map(Spanned::get_mut);
    routes.for_each(numbered);
    if let Required::Given(addresses) = &mut tunnel.address {
        addresses.get_mut().iter_mut().for_each(numbered);
    }
    tunnel
}

/// What two spokes cannot both have, told where the later one has it.
fn clash(earlier: &Peer, later: &Peer, spoke: &SpokeKeys) -> Option<Diagnostic> {
    let at = |span: Option<Range<usize>>| span.unwrap_or(spoke.span.clone());
    let span = |text: &Option<Text>| text.as_ref().map(Spanned::span);
    let report = |message: String, place: Range<usize>, help: &str| {
        Some(Diagnostic::error(message).at(place).help(help))
    };
    if earlier.remote_id == later.remote_id {
        return report(
            "another [[spoke]] has this identity too".to_owned(),
            at(span(&spoke.remote_id)),
            "an identity is one spoke's: it is what a caller is found by",
        );
    }
    if earlier.name == later.name {
        return report(
            format!("another [[spoke]] is called {} too", later.name),
            at(span(&spoke.name)),
            "write another name = \"…\" here",
        );
    }
    let (theirs, ours) = (earlier.tunnels.first()?, later.tunnels.first()?);
    if theirs.netns != ours.netns {
        return None;
    }
    if let Some(device) = ours
        .device
        .as_ref()
        .filter(|_| ours.device == theirs.device)
    {
        return report(
            format!("{device} is the device of another [[spoke]] too"),
            at(span(&spoke.device)),
            "let the template count: device = \"sgre%n\"; or leave `device` out",
        );
    }
    let taken = tunnel::prefixes(theirs);
    let mut wanted = tunnel::prefixes(ours);
    let shared = wanted.find(|wanted| taken.clone().any(|taken| taken == *wanted));
    shared.and_then(|(_, prefix)| {
        let own = match ours.routes.contains(&prefix) {
            true => spoke.routes.as_ref().map(Spanned::span),
            false => given_at(&spoke.address),
        };
        report(
            format!("{prefix} leads to another [[spoke]] too"),
            at(own),
            "give each spoke networks of its own, which no other shares: address = [\"10.255.1.0/31\"] and \
             routes = […] under [[spoke]], or with %n in the template",
        )
    })
}
