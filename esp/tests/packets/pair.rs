//! The two ends of one SA.

use secure_gre_esp::{
    DEFAULT_WINDOW_PACKETS, Drop, InboundSa, Keys, OutboundSa, Payload, Seq, Spi, Suite,
};

/// The protocol number of GRE.
pub(crate) const GRE: u8 = 47;

/// Every suite, with and without ESN.
pub(crate) fn kinds() -> Vec<(Suite, bool)> {
    Suite::all()
        .flat_map(|suite| [(suite, false), (suite, true)])
        .collect()
}

/// The SPI of every pair.
pub(crate) const SPI: u32 = 0x8899_aabb;

/// Key material that differs in every octet.
pub(crate) fn material(suite: Suite) -> Vec<u8> {
    (100..).take(suite.key_material_len()).collect()
}

fn keys(suite: Suite, esn: bool) -> Keys {
    Keys::new(suite, Spi::try_from(SPI).unwrap(), esn, &material(suite)).unwrap()
}

/// A sender and its receiver.
pub(crate) struct Pair {
    pub(crate) outbound: OutboundSa,
    pub(crate) inbound: InboundSa,
}

impl Pair {
    pub(crate) fn new(suite: Suite, esn: bool) -> Self {
        Self {
            outbound: OutboundSa::new(keys(suite, esn)),
            inbound: InboundSa::new(keys(suite, esn), DEFAULT_WINDOW_PACKETS),
        }
    }

    /// Spends sequence numbers.
    pub(crate) fn skip(&mut self, packets: u32) {
        drop(self.outbound.reserve(packets, 0).unwrap());
    }

    /// A packet with the next sequence number.
    pub(crate) fn seal(&mut self, next_header: u8, payload: &[u8]) -> Vec<u8> {
        let reservation = self.outbound.reserve(1, payload.len() as u64);
        let seq = reservation.unwrap().next().unwrap();
        self.seal_as(seq, next_header, payload)
    }

    /// A packet with the given sequence number, sealed in the middle of a larger buffer.
    fn seal_as(&self, seq: Seq, next_header: u8, payload: &[u8]) -> Vec<u8> {
        const BEFORE: usize = 5;
        const AFTER: usize = 3;
        let start = BEFORE + OutboundSa::HEADROOM;
        let end = start + payload.len();
        let mut buffer = vec![0xee; end + self.outbound.trailer_len(payload.len()) + AFTER];
        buffer[start..end].copy_from_slice(payload);
        let packet = self
            .outbound
            .seal(seq, next_header, &mut buffer, start..end)
            .unwrap();
        assert!(packet.start >= BEFORE);
        assert_eq!(packet.end, buffer.len() - AFTER);
        assert!(buffer[..packet.start].iter().all(|octet| *octet == 0xee));
        assert_eq!(buffer[packet.end..], [0xee; AFTER]);
        buffer[packet].to_vec()
    }

    /// All three steps.
    pub(crate) fn receive<'b>(&mut self, packet: &'b mut [u8]) -> Result<Payload<'b>, Drop> {
        let candidate = self.inbound.candidate(packet)?;
        let opened = self.inbound.open(candidate, packet)?;
        self.inbound.commit(opened)
    }
}
