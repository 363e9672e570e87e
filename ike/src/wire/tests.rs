//! The codec against broken input, real messages and itself.

mod bodies;
mod broken;
mod encrypted;
mod golden;
mod round_trip;

use super::*;

/// The header of an IKE_SA_INIT request.
fn header() -> Header {
    Header {
        initiator: IkeSpi(0x0102_0304_0506_0708),
        responder: IkeSpi(0),
        exchange: ExchangeType::IKE_SA_INIT,
        from_initiator: true,
        response: false,
        message_id: 0,
    }
}

/// A payload as octets: type, second octet of the generic header, body.
type RawPayload<'a> = (PayloadType, u8, &'a [u8]);

/// A message made of octets that the codec would not write.
fn message(payloads: &[RawPayload<'_>]) -> Vec<u8> {
    let first = payloads
        .first()
        .map_or(PayloadType::NONE, |payload| payload.0);
    let mut octets = encode(&header(), &[]);
    octets[16] = first.0;
    for (at, (_, flags, body)) in payloads.iter().enumerate() {
        let next = payloads
            .get(at + 1)
            .map_or(PayloadType::NONE, |payload| payload.0);
        octets.extend_from_slice(&[next.0, *flags]);
        octets.extend_from_slice(&u16::try_from(4 + body.len()).unwrap().to_be_bytes());
        octets.extend_from_slice(body);
    }
    fix_length(&mut octets);
    octets
}

/// Makes the header's Length field what it has to be.
fn fix_length(message: &mut [u8]) {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    message[24..28].copy_from_slice(&length);
}

/// The payloads of a message in the clear.
fn clear(message: &[u8]) -> Result<Vec<Payload>, WireError> {
    Datagram::parse(message).unwrap().clear_payloads()
}

/// The only payload of a message in the clear.
fn single(kind: PayloadType, body: &[u8]) -> Result<Payload, WireError> {
    clear(&message(&[(kind, 0, body)])).map(|mut payloads| payloads.pop().unwrap())
}
