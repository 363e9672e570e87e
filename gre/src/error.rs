//! Why a packet was not carried: [`Drop`], the only error of this crate.

macro_rules! drops {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Why a packet was not carried. Each one is counted under its [`name`](Self::name).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Drop {
            $($(#[$doc])* $variant,)*
        }

        impl Drop {
            /// Every reason, for whoever shows counters.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The counter's name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

drops! {
    /// Inbound: a Destination Options header that ends early, is not followed by GRE, or holds an
    /// option that is not to be skipped (RFC 8200 §4.2, §4.6).
    DestinationOptions = "gre_destination_options",
    /// Inbound: shorter than the GRE header that its flags announce (RFC 2784 §2.1, RFC 2890 §2).
    HeaderTruncated = "gre_header_truncated",
    /// Inbound: one of the flag bits 1, 4 or 5 is set (RFC 2784 §2.3).
    ReservedBits = "gre_reserved_bits",
    /// Inbound: a version other than 0, such as PPTP's 1 (RFC 2784 §2.3.1).
    Version = "gre_version",
    /// Inbound: the checksum does not match (RFC 2784 §2.5).
    Checksum = "gre_checksum",
    /// Inbound: no key where every tunnel has one (RFC 2890 §2.1).
    KeyMissing = "gre_key_missing",
    /// Inbound: a key where no tunnel has one (RFC 2890 §2.1).
    KeyUnexpected = "gre_key_unexpected",
    /// Inbound: a key other than the tunnels' (RFC 2890 §2.1).
    KeyUnknown = "gre_key_unknown",
    /// Inbound: as old as the newest packet delivered, or older (RFC 2890 §2.2).
    SequenceOld = "gre_sequence_old",
    /// Inbound: protocol 0x0000 with something behind it, which is no keepalive (D60).
    ProtocolZero = "gre_protocol_zero",
    /// Inbound: the answer to a keepalive, where nobody has asked.
    KeepaliveUnasked = "gre_keepalive_unasked",
    /// Inbound: a keepalive that is neither for the peer nor from us (D60).
    KeepaliveStray = "gre_keepalive_stray",
    /// Inbound: more keepalives than are answered in so short a time.
    KeepaliveFlood = "gre_keepalive_flood",
    /// Inbound: a passenger of a type that the tunnel does not carry (RFC 2784 §2.4).
    ProtocolUnknown = "gre_protocol_unknown",
    /// Inbound: the passenger's version is not the one that the protocol type names.
    PassengerVersion = "gre_passenger_version",
    /// Inbound: an IP header length or total length that contradicts itself.
    PassengerHeader = "gre_passenger_header",
    /// Inbound: the passenger ends before its own length says.
    PassengerTruncated = "gre_passenger_truncated",
    /// Inbound: congestion was signalled to a passenger that cannot carry the signal
    /// (RFC 6040 §4.2).
    EcnCongestion = "gre_ecn_congestion",
    /// Inbound: a VLAN tag inside NVGRE (RFC 7637 §3.2).
    VlanTag = "gre_vlan_tag",
    /// Outbound: the device handed over less than an Ethernet header.
    PassengerNotEthernet = "gre_passenger_not_ethernet",
    /// Outbound: the device handed over something that is neither IPv4 nor IPv6.
    PassengerNotIp = "gre_passenger_not_ip",
    /// Outbound: the buffer leaves no room for the header before the passenger.
    NoHeadroom = "gre_no_headroom",
}
