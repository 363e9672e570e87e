//! The keys of `peer.toml` and the type of each: what was typed, before anyone asks what it means.
//! A field is `None` where the key is absent or was reported.

use std::ops::Range;

use toml::Spanned;
use toml::de::DeTable;
use zeroize::Zeroizing;

use super::diagnostic::Diagnostic;
use super::document::{Later, Required, Section, Text, WordOrNumber};

/// The whole file.
pub(super) struct File {
    pub(super) name: Option<Text>,
    pub(super) peer: PeerKeys,
    /// At least one.
    pub(super) tunnels: Vec<TunnelKeys>,
    pub(super) hooks: HooksKeys,
    pub(super) daemon: DaemonKeys,
    pub(super) spokes: Vec<SpokeKeys>,
}

/// `[peer]`, with `[peer.ike]` and `[peer.esp]`.
pub(super) struct PeerKeys {
    pub(super) span: Option<Range<usize>>,
    pub(super) address: Required<String>,
    pub(super) psk: PskKeys,
    pub(super) local: Option<Text>,
    pub(super) local_id: Option<Text>,
    pub(super) remote_id: Option<Text>,
    pub(super) initiate: Option<Spanned<bool>>,
    pub(super) interface: Option<Text>,
    pub(super) fwmark: Option<Spanned<WordOrNumber>>,
    pub(super) encapsulation: Option<Text>,
    pub(super) ike: IkeKeys,
    pub(super) esp: EspKeys,
}

/// The key itself, or the file that has it.
pub(super) struct PskKeys {
    pub(super) text: Required<Zeroizing<String>>,
    pub(super) file: Required<String>,
}

/// `[peer.ike]`.
pub(super) struct IkeKeys {
    pub(super) proposals: Option<Spanned<Vec<Text>>>,
    pub(super) retransmit: RetransmitKeys,
    pub(super) fragmentation: Option<Spanned<bool>>,
    pub(super) on_failure: Option<Text>,
    pub(super) half_open: HalfOpenKeys,
    pub(super) lifetime: Option<Text>,
    pub(super) dpd: Option<Text>,
    pub(super) ppk: PpkKeys,
}

/// `peer.ike.ppk`.
pub(super) struct PpkKeys {
    /// Where it is a table.
    pub(super) span: Option<Range<usize>>,
    pub(super) id: Option<Text>,
    pub(super) file: Option<Text>,
    pub(super) required: Option<Spanned<bool>>,
}

/// `peer.ike.retransmit`.
pub(super) struct RetransmitKeys {
    pub(super) span: Option<Range<usize>>,
    pub(super) first: Option<Text>,
    pub(super) factor: Option<Spanned<f64>>,
    pub(super) tries: Option<Spanned<i128>>,
}

/// `peer.ike.half-open`.
pub(super) struct HalfOpenKeys {
    pub(super) cookies_from: Option<Spanned<i128>>,
    pub(super) limit: Option<Spanned<i128>>,
}

/// `[peer.esp]`.
pub(super) struct EspKeys {
    pub(super) proposals: Option<Spanned<Vec<Text>>>,
    pub(super) esn: Option<Text>,
    pub(super) replay_window: Option<Spanned<i128>>,
    pub(super) lifetime: Option<Text>,
    pub(super) lifetime_bytes: Option<Text>,
    pub(super) lifetime_packets: Option<Spanned<WordOrNumber>>,
}

/// One `[[spoke]]`.
pub(super) struct SpokeKeys {
    pub(super) span: Range<usize>,
    pub(super) name: Option<Text>,
    pub(super) remote_id: Option<Text>,
    pub(super) psk: PskKeys,
    pub(super) device: Option<Text>,
    pub(super) address: Required<Vec<Text>>,
    pub(super) peer_address: Option<Text>,
    pub(super) routes: Option<Spanned<Vec<Text>>>,
    pub(super) key: Option<Spanned<WordOrNumber>>,
    pub(super) netns: Option<Text>,
}

/// `[tunnel]`, or one `[[tunnel]]`.
#[derive(Clone)]
pub(super) struct TunnelKeys {
    pub(super) span: Option<Range<usize>>,
    pub(super) device: Option<Text>,
    pub(super) address: Required<Vec<Text>>,
    pub(super) peer_address: Option<Text>,
    pub(super) routes: Option<Spanned<Vec<Text>>>,
    pub(super) table: Option<Spanned<WordOrNumber>>,
    pub(super) metric: Option<Spanned<i128>>,
    pub(super) kind: Option<Text>,
    pub(super) key: KeyKeys,
    pub(super) checksum: Option<Spanned<bool>>,
    pub(super) sequence: Option<Spanned<bool>>,
    pub(super) ttl: Option<Spanned<WordOrNumber>>,
    pub(super) tos: Option<Spanned<WordOrNumber>>,
    pub(super) df: Option<Text>,
    pub(super) mtu: Option<Spanned<WordOrNumber>>,
    pub(super) mss_clamp: Option<Spanned<bool>>,
    pub(super) netns: Option<Text>,
    pub(super) keepalive: KeepaliveKeys,
    pub(super) liveness: Option<Text>,
    pub(super) limit: Option<Text>,
}

/// `tunnel.key`.
#[derive(Clone)]
pub(super) enum KeyKeys {
    /// A number or a word, or nothing.
    One(Option<Spanned<WordOrNumber>>),
    /// NVGRE's.
    Subnet {
        span: Option<Range<usize>>,
        vsid: Option<Spanned<i128>>,
        flow_id: Option<Spanned<WordOrNumber>>,
    },
}

/// `tunnel.keepalive`.
#[derive(Clone)]
pub(super) struct KeepaliveKeys {
    /// Where it is a table.
    pub(super) span: Option<Range<usize>>,
    pub(super) every: Option<Text>,
    pub(super) tries: Option<Spanned<i128>>,
}

/// `[hooks]`.
pub(super) struct HooksKeys {
    pub(super) up: Option<Spanned<Vec<Text>>>,
    pub(super) down: Option<Spanned<Vec<Text>>>,
}

/// `[daemon]`.
pub(super) struct DaemonKeys {
    pub(super) offload: Option<Spanned<bool>>,
    pub(super) workers: Option<Spanned<WordOrNumber>>,
}

const PEER_LATER: &[Later] = &[Later {
    key: "ports",
    does: &["[500, 4500]"],
}];

impl File {
    /// Reads every key, and reports unknown keys, wrong types and keys of later versions.
    pub(super) fn read(document: &Spanned<DeTable<'_>>, findings: &mut Vec<Diagnostic>) -> Self {
        let mut root = Section::root(document);
        let name = root.take("name", findings);
        let peer = PeerKeys::read(&mut root, findings);
        let tunnels = TunnelKeys::read_all(&mut root, findings);
        let hooks = HooksKeys::read(&mut root, findings);
        let daemon = DaemonKeys::read(&mut root, findings);
        let spokes = SpokeKeys::read_all(&mut root, findings);
        root.finish(findings);
        Self {
            name,
            peer,
            tunnels,
            hooks,
            daemon,
            spokes,
        }
    }
}

impl DaemonKeys {
    fn read(root: &mut Section<'_, '_>, findings: &mut Vec<Diagnostic>) -> Self {
        let mut section = root.section("daemon", findings);
        let keys = Self {
            offload: section.take("offload", findings),
            workers: section.take("workers", findings),
        };
        section.finish(findings);
        keys
    }
}

impl PeerKeys {
    fn read(root: &mut Section<'_, '_>, findings: &mut Vec<Diagnostic>) -> Self {
        let mut section = root.section("peer", findings);
        let keys = Self {
            span: section.span(),
            address: section.require("address", findings),
            psk: PskKeys::read(&mut section, findings),
            local: section.take("local", findings),
            local_id: section.take("local-id", findings),
            remote_id: section.take("remote-id", findings),
            initiate: section.take("initiate", findings),
            interface: section.take("interface", findings),
            fwmark: section.take("fwmark", findings),
            encapsulation: section.take("encapsulation", findings),
            ike: IkeKeys::read(&mut section, findings),
            esp: EspKeys::read(&mut section, findings),
        };
        section.refuse_later(PEER_LATER, findings);
        section.finish(findings);
        keys
    }
}

impl PskKeys {
    fn read(section: &mut Section<'_, '_>, findings: &mut Vec<Diagnostic>) -> Self {
        Self {
            text: section.require("psk", findings),
            file: section.require("psk-file", findings),
        }
    }
}

impl SpokeKeys {
    fn read_all(root: &mut Section<'_, '_>, findings: &mut Vec<Diagnostic>) -> Vec<Self> {
        let sections = root.list("spoke", findings).into_iter();
        let spokes = sections.filter_map(|section| Self::read(section, findings));
        spokes.collect()
    }

    /// `None`: it is no table, which was reported.
    fn read(mut section: Section<'_, '_>, findings: &mut Vec<Diagnostic>) -> Option<Self> {
        let keys = Self {
            span: section.span()?,
            name: section.take("name", findings),
            remote_id: section.take("remote-id", findings),
            psk: PskKeys::read(&mut section, findings),
            device: section.take("device", findings),
            address: section.require("address", findings),
            peer_address: section.take("peer-address", findings),
            routes: section.take("routes", findings),
            key: section.take("key", findings),
            netns: section.take("netns", findings),
        };
        section.finish(findings);
        Some(keys)
    }
}

impl IkeKeys {
    fn read(peer: &mut Section<'_, '_>, findings: &mut Vec<Diagnostic>) -> Self {
        let mut section = peer.section("ike", findings);
        let keys = Self {
            proposals: section.take("proposals", findings),
            retransmit: RetransmitKeys::read(&mut section, findings),
            fragmentation: section.take("fragmentation", findings),
            on_failure: section.take("on-failure", findings),
            half_open: HalfOpenKeys::read(&mut section, findings),
            lifetime: section.take("lifetime", findings),
            dpd: section.take("dpd", findings),
            ppk: PpkKeys::read(&mut section, findings),
        };
        section.finish(findings);
        keys
    }
}

impl PpkKeys {
    fn read(ike: &mut Section<'_, '_>, findings: &mut Vec<Diagnostic>) -> Self {
        let mut section = ike.section_unless("off", "ppk", findings);
        let keys = Self {
            span: section.span(),
            id: section.take("id", findings),
            file: section.take("file", findings),
            required: section.take("required", findings),
        };
        section.finish(findings);
        keys
    }
}

impl RetransmitKeys {
    fn read(ike: &mut Section<'_, '_>, findings: &mut Vec<Diagnostic>) -> Self {
        let mut section = ike.section("retransmit", findings);
        let keys = Self {
            span: section.span(),
            first: section.take("first", findings),
            factor: section.take("factor", findings),
            tries: section.take("tries", findings),
        };
        section.finish(findings);
        keys
    }
}

impl HalfOpenKeys {
    fn read(ike: &mut Section<'_, '_>, findings: &mut Vec<Diagnostic>) -> Self {
        let mut section = ike.section("half-open", findings);
        let keys = Self {
            cookies_from: section.take("cookies-from", findings),
            limit: section.take("limit", findings),
        };
        section.finish(findings);
        keys
    }
}

impl EspKeys {
    fn read(peer: &mut Section<'_, '_>, findings: &mut Vec<Diagnostic>) -> Self {
        let mut section = peer.section("esp", findings);
        let keys = Self {
            proposals: section.take("proposals", findings),
            esn: section.take("esn", findings),
            replay_window: section.take("replay-window", findings),
            lifetime: section.take("lifetime", findings),
            lifetime_bytes: section.take("lifetime-bytes", findings),
            lifetime_packets: section.take("lifetime-packets", findings),
        };
        section.finish(findings);
        keys
    }
}

impl TunnelKeys {
    fn read_all(root: &mut Section<'_, '_>, findings: &mut Vec<Diagnostic>) -> Vec<Self> {
        let sections = root.sections("tunnel", findings);
        let tunnels = sections.into_iter();
        tunnels
            .map(|section| Self::read(section, findings))
            .collect()
    }

    fn read(mut section: Section<'_, '_>, findings: &mut Vec<Diagnostic>) -> Self {
        let keys = Self {
            span: section.span(),
            device: section.take("device", findings),
            address: section.require("address", findings),
            peer_address: section.take("peer-address", findings),
            routes: section.take("routes", findings),
            table: section.take("table", findings),
            metric: section.take("metric", findings),
            kind: section.take("kind", findings),
            key: KeyKeys::read(&mut section, findings),
            checksum: section.take("checksum", findings),
            sequence: section.take("sequence", findings),
            ttl: section.take("ttl", findings),
            tos: section.take("tos", findings),
            df: section.take("df", findings),
            mtu: section.take("mtu", findings),
            mss_clamp: section.take("mss-clamp", findings),
            netns: section.take("netns", findings),
            keepalive: KeepaliveKeys::read(&mut section, findings),
            liveness: section.take("liveness", findings),
            limit: section.take("limit", findings),
        };
        section.finish(findings);
        keys
    }
}

impl KeyKeys {
    fn read(tunnel: &mut Section<'_, '_>, findings: &mut Vec<Diagnostic>) -> Self {
        if !tunnel.is_table("key") {
            return Self::One(tunnel.take("key", findings));
        }
        let mut section = tunnel.section("key", findings);
        let keys = Self::Subnet {
            span: section.span(),
            vsid: section.take("vsid", findings),
            flow_id: section.take("flow-id", findings),
        };
        section.finish(findings);
        keys
    }

    /// Where it is written.
    pub(super) fn span(&self) -> Option<Range<usize>> {
        match self {
            Self::One(typed) => typed.as_ref().map(Spanned::span),
            Self::Subnet { span, .. } => span.clone(),
        }
    }
}

impl KeepaliveKeys {
    fn read(tunnel: &mut Section<'_, '_>, findings: &mut Vec<Diagnostic>) -> Self {
        let mut section = tunnel.section_unless("off", "keepalive", findings);
        let keys = Self {
            span: section.span(),
            every: section.take("every", findings),
            tries: section.take("tries", findings),
        };
        section.finish(findings);
        keys
    }
}

impl HooksKeys {
    fn read(root: &mut Section<'_, '_>, findings: &mut Vec<Diagnostic>) -> Self {
        let mut section = root.section("hooks", findings);
        let keys = Self {
            up: section.take("up", findings),
            down: section.take("down", findings),
        };
        section.finish(findings);
        keys
    }
}
