//! What holds of a peer with `address = "any"`: it calls, and is found by who it says it is.

use secure_gre_ike::config::RemoteId;
use toml::Spanned;

use super::super::diagnostic::Diagnostic;
use super::super::schema::PeerKeys;
use super::{Own, peer, unless_word};

/// Who it has to prove to be.
pub(super) fn remote_id(own: &Own<'_>, findings: &mut Vec<Diagnostic>) -> RemoteId {
    const MISSING: &str = "a peer that may call from anywhere is found by its identity, and `remote-id` \
                           names none";
    const HELP: &str = "write remote-id = \"paris.example\": what the peer has as its local-id";
    let named = own.remote_id.filter(|typed| typed.get_ref() != "any");
    let Some(typed) = unless_word(named, "auto") else {
        let place = own.remote_id.map(Spanned::span);
        let place = place.or_else(|| own.remote_id_place.clone());
        findings.push(Diagnostic::error(MISSING).at_some(place).help(HELP));
        return RemoteId::Any;
    };
    peer::identity(typed, findings).map_or(RemoteId::Any, RemoteId::Is)
}

/// Keys that make no sense where nobody knows where the peer is before it calls.
pub(super) fn check(keys: &PeerKeys, findings: &mut Vec<Diagnostic>) {
    if let Some(typed) = keys.initiate.as_ref().filter(|typed| *typed.get_ref()) {
        findings.push(
            Diagnostic::error("nobody knows where to call a peer that may be anywhere")
                .at(typed.span())
                .help("remove it, or write the peer's address"),
        );
    }
    let fwmark = keys.fwmark.as_ref();
    let bound = [
        (
            "local",
            unless_word(keys.local.as_ref(), "auto").map(Spanned::span),
        ),
        (
            "interface",
            unless_word(keys.interface.as_ref(), "any").map(Spanned::span),
        ),
        (
            "fwmark",
            fwmark
                .filter(|typed| !typed.get_ref().is_word("none"))
                .map(Spanned::span),
        ),
    ];
    for (key, span) in bound {
        if let Some(span) = span {
            let message = format!("`peer.{key}` beside address = \"any\" is not in this version");
            let help = "remove it: who calls is answered from the address that was called";
            findings.push(Diagnostic::error(message).at(span).help(help));
        }
    }
}
