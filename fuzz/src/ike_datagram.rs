//! An IKE message from the network, and what may be inside an encrypted one.

use secure_gre_ike::algorithm::{Aead, Cipher};
use secure_gre_ike::crypto::cipher::OpeningCipher;
use secure_gre_ike::secret::Secret;
use secure_gre_ike::wire::{self, Datagram, ExchangeType, Header, IkeSpi, PayloadType};

const CIPHER: Cipher = Cipher::Aead(Aead::Aes256Gcm16);

/// The octets are a datagram; then, but for the first one, the payloads inside SK.
pub fn run(data: &[u8]) {
    let key = Secret::new(vec![7; CIPHER.key_material_octets()]);
    let cipher = OpeningCipher::new(CIPHER, &key);
    if let Ok(datagram) = Datagram::parse(data) {
        assert_eq!(datagram.octets(), data);
        let _ = datagram.clear_payloads();
        assert!(datagram.open(&cipher).is_err(), "nobody has the key");
        assert!(
            datagram.open_fragment(&cipher).is_err(),
            "nobody has the key"
        );
    }
    if let Some((first, inner)) = data.split_first() {
        written_as_read(PayloadType(*first), inner);
    }
}

/// What was understood and written is understood again, and written as the same octets. (Attributes
/// that we do not know are not written, so the first reading may say more.)
fn written_as_read(first: PayloadType, inner: &[u8]) {
    let header = Header {
        initiator: IkeSpi(1),
        responder: IkeSpi(2),
        exchange: ExchangeType::INFORMATIONAL,
        from_initiator: true,
        response: false,
        message_id: 3,
    };
    let Ok(payloads) = wire::parse_inner(first, inner) else {
        return;
    };
    let message = wire::display::Message {
        header: &header,
        payloads: &payloads,
    };
    assert!(message.to_string().starts_with("INFORMATIONAL request 3:"));
    let octets = wire::encode(&header, &payloads);
    let again = Datagram::parse(&octets).map(|datagram| datagram.clear_payloads());
    if let Ok(Ok(again)) = again {
        assert_eq!(wire::encode(&header, &again), octets);
    }
}
