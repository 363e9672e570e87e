//! The SK payload against forgeries, and against authentic nonsense.

use super::*;
use crate::algorithm::{Aead, Cipher};
use crate::crypto::cipher::{OpeningCipher, SealingCipher};
use crate::secret::Secret;

fn ciphers() -> (SealingCipher, OpeningCipher) {
    let key = Secret::new(vec![
        0x42;
        Cipher::Aead(Aead::Aes128Gcm16).key_material_octets()
    ]);
    (
        SealingCipher::new(Cipher::Aead(Aead::Aes128Gcm16), &key),
        OpeningCipher::new(Cipher::Aead(Aead::Aes128Gcm16), &key),
    )
}

/// A message whose SK payload holds exactly these octets before encryption, after other payloads in
/// the clear.
fn sealed(in_clear: &[RawPayload<'_>], first_inside: PayloadType, plaintext: &[u8]) -> Vec<u8> {
    let (mut sealing, _) = ciphers();
    let placeholder = vec![0; sealing.sealed_octets(plaintext.len())];
    let mut payloads = in_clear.to_vec();
    payloads.push((PayloadType::ENCRYPTED, 0, &placeholder));
    let mut message = message(&payloads);
    let body = message.len() - placeholder.len();
    message[body - 4] = first_inside.0;
    message.truncate(body);
    sealing.seal(&mut message, plaintext.to_vec());
    message
}

fn open(message: &[u8]) -> Result<Vec<Payload>, OpenError> {
    Datagram::parse(message).unwrap().open(&ciphers().1)
}

/// An SPI's worth of Notify, as it is inside SK.
const NOTIFY: &[u8] = &[0, 0, 0, 8, 0, 0, 0x40, 0];

fn notify() -> Payload {
    Payload::Notify(Notify::status(NotifyType::INITIAL_CONTACT))
}

/// D20: the pad length octet is always there, with or without padding, whatever the padding holds.
#[test]
fn padding_of_any_content_is_stripped() {
    for padding in [&[0][..], &[9, 1], &[1, 2, 3, 3], &[7; 8]] {
        let message = sealed(&[], PayloadType::NOTIFY, &[NOTIFY, padding].concat());
        assert_eq!(open(&message), Ok(vec![notify()]), "{padding:?}");
    }
    let longest = [NOTIFY, &[0; 255], &[255]].concat();
    assert_eq!(
        open(&sealed(&[], PayloadType::NOTIFY, &longest)),
        Ok(vec![notify()])
    );
    assert_eq!(open(&sealed(&[], PayloadType::NONE, &[0])), Ok(vec![]));
}

#[test]
fn authentic_nonsense_is_malformed() {
    use WireError as E;
    let nested = [PayloadType::NONE.0, 0, 0, 4, 0];
    let cases: &[(&str, PayloadType, &[u8], WireError)] = &[
        ("no pad length", PayloadType::NONE, &[], E::Padding),
        (
            "more padding than octets",
            PayloadType::NONE,
            &[0, 0, 3],
            E::Padding,
        ),
        (
            "payload cut by padding",
            PayloadType::NOTIFY,
            &[NOTIFY, &[1]].concat(),
            E::Truncated,
        ),
        (
            "payloads without a first",
            PayloadType::NONE,
            &[NOTIFY, &[0]].concat(),
            E::TrailingOctets,
        ),
        (
            "a first without payloads",
            PayloadType::NOTIFY,
            &[0],
            E::Truncated,
        ),
        (
            "SK inside SK",
            PayloadType::ENCRYPTED,
            &nested,
            E::MisplacedEncrypted,
        ),
        (
            "unknown critical inside",
            PayloadType(200),
            &[0, 0x80, 0, 4, 0],
            E::UnsupportedCritical(200),
        ),
    ];
    for (name, first, plaintext, error) in cases {
        let opened = open(&sealed(&[], *first, plaintext));
        assert_eq!(opened, Err(OpenError::Malformed(*error)), "{name}");
    }
}

/// RFC 5282 §5.1: payloads before SK are authenticated with it; D6 holds for them too.
#[test]
fn payloads_in_the_clear_before_sk_are_covered_and_not_returned() {
    let plaintext = [NOTIFY, &[0]].concat();
    let vendor = (PayloadType::VENDOR_ID, 0, [1, 2].as_slice());
    let mut before = sealed(&[vendor], PayloadType::NOTIFY, &plaintext);
    assert_eq!(open(&before), Ok(vec![notify()]));
    before[32] ^= 1;
    assert_eq!(open(&before), Err(OpenError::Icv));

    let unknown = (PayloadType(200), 0, [1, 2].as_slice());
    let skipped = sealed(&[unknown], PayloadType::NOTIFY, &plaintext);
    assert_eq!(open(&skipped), Ok(vec![notify()]));
    let critical = (PayloadType(200), 0x80, [1, 2].as_slice());
    let mut critical = sealed(&[critical], PayloadType::NOTIFY, &plaintext);
    let error = OpenError::Malformed(WireError::UnsupportedCritical(200));
    assert_eq!(open(&critical), Err(error));
    let last = critical.len() - 1;
    critical[last] ^= 1;
    assert_eq!(
        open(&critical),
        Err(OpenError::Icv),
        "not before it is authentic"
    );
}

/// D20: nothing inside is looked at before the ICV is right, so nothing forged is ever `Malformed`.
#[test]
fn a_changed_bit_anywhere_is_never_believed() {
    let message = sealed(&[], PayloadType::NOTIFY, &[NOTIFY, &[0]].concat());
    for bit in 0..message.len() * 8 {
        let mut forged = message.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        let Ok(datagram) = Datagram::parse(&forged) else {
            assert!((16..28).contains(&(bit / 8)), "bit {bit}");
            continue;
        };
        let opened = datagram.open(&ciphers().1);
        assert!(
            matches!(opened, Err(OpenError::Icv | OpenError::NotEncrypted)),
            "bit {bit}"
        );
    }
}

#[test]
fn sk_without_room_for_iv_and_icv_is_not_authentic() {
    for octets in 0..24 {
        let body = vec![0; octets];
        let short = message(&[(PayloadType::ENCRYPTED, 0, &body)]);
        assert!(Datagram::parse(&short).unwrap().is_encrypted());
        assert_eq!(open(&short), Err(OpenError::Icv), "{octets} octets");
    }
}

/// RFC 7296 §3.14: SK is the last payload.
#[test]
fn octets_after_sk_are_refused() {
    let mut message = sealed(&[], PayloadType::NOTIFY, &[NOTIFY, &[0]].concat());
    message.extend_from_slice(NOTIFY);
    fix_length(&mut message);
    let datagram = Datagram::parse(&message).unwrap();
    assert!(!datagram.is_encrypted());
    assert_eq!(datagram.open(&ciphers().1), Err(OpenError::NotEncrypted));
    assert_eq!(
        datagram.clear_payloads(),
        Err(WireError::MisplacedEncrypted)
    );
}

/// Next Payload of SK is the type of the first payload inside, not of one behind it (D20).
#[test]
fn the_chain_ends_with_sk() {
    let sk = [PayloadType::NOTIFY.0, 0, 0, 4];
    let chain = payload::Chain::new(PayloadType::ENCRYPTED, reader::Reader::new(&sk));
    let kinds: Result<Vec<_>, _> = chain
        .map(|raw| raw.map(|raw| (raw.kind, raw.next)))
        .collect();
    assert_eq!(
        kinds,
        Ok(vec![(PayloadType::ENCRYPTED, PayloadType::NOTIFY)])
    );
}

#[test]
fn a_message_in_the_clear_is_not_opened() {
    let datagram = message(&[(PayloadType::NOTIFY, 0, &NOTIFY[4..])]);
    assert_eq!(open(&datagram), Err(OpenError::NotEncrypted));
    assert_eq!(open(&message(&[])), Err(OpenError::NotEncrypted));
}

/// D25, RFC 7383 §2.6: a fragment has a number from 1 to the number of all.
#[test]
fn impossible_fragment_numbers_are_no_fragment() {
    for (number, total) in [(0u16, 0u16), (0, 1), (1, 0), (2, 1), (u16::MAX, 3)] {
        let mut body = [number.to_be_bytes(), total.to_be_bytes()].concat();
        body.extend([0; 40]);
        let message = message(&[(PayloadType::ENCRYPTED_FRAGMENT, 0, &body)]);
        let datagram = Datagram::parse(&message).unwrap();
        assert_eq!(datagram.place(), None, "{number} of {total}");
        assert_eq!(
            datagram.open_fragment(&ciphers().1),
            Err(OpenError::NotEncrypted)
        );
    }
    for octets in 0..28 {
        let body = [&[0, 1, 0, 1][..], &[0; 24]].concat();
        let body = &body[..octets];
        let message = message(&[(PayloadType::ENCRYPTED_FRAGMENT, 0, body)]);
        let datagram = Datagram::parse(&message).unwrap();
        assert!(datagram.open_fragment(&ciphers().1).is_err());
    }
}

/// RFC 7383 §2.5: no datagram is longer than it may be, and together they say the same.
#[test]
fn divided_messages_are_within_their_bound() {
    let payloads = vec![Payload::VendorId((0..=255).collect()); 8];
    let inner = payload::write(&payloads);
    for octets_max in (65..2_300).step_by(7) {
        let fragments = seal_within(&header(), &payloads, octets_max, &mut ciphers().0);
        let mut together = Vec::new();
        for (fragment, number) in fragments.iter().zip(1..) {
            assert!(fragment.len() <= octets_max);
            let datagram = Datagram::parse(fragment).unwrap();
            if fragments.len() == 1 {
                assert_eq!(datagram.open(&ciphers().1), Ok(payloads.clone()));
                continue;
            }
            let total = u16::try_from(fragments.len()).unwrap();
            assert_eq!(datagram.place(), Place::new(number, total));
            together.extend(datagram.open_fragment(&ciphers().1).unwrap().octets);
        }
        assert!(fragments.len() == 1 || together == inner);
    }
}

/// D23, RFC 9242 §3.3.2: what AUTH covers of a message does not depend on its division or its padding,
/// and its length fields count nothing of the cipher's.
#[test]
fn what_auth_covers_is_the_message_in_one_piece() {
    let header = Header {
        exchange: ExchangeType::IKE_INTERMEDIATE,
        ..header()
    };
    let payloads = vec![
        Payload::KeyExchange(KeyExchange {
            group: 36,
            data: (0..=255).cycle().take(1184).collect(),
        }),
        notify(),
    ];
    let (mut sealing, opening) = ciphers();
    let whole = seal(&header, &payloads, &mut sealing);
    let datagram = Datagram::parse(&whole).unwrap();
    let inner = datagram.open_inner(&opening).unwrap();
    assert_eq!(inner, Inner::of(&payloads));
    let covered = datagram.authenticated_octets(&inner).unwrap();

    let length = u32::from_be_bytes(covered[24..28].try_into().unwrap());
    assert_eq!(length as usize, covered.len());
    assert_eq!(covered.len(), 28 + 4 + inner.octets.len());
    assert_eq!(covered[16], PayloadType::ENCRYPTED.0);
    assert_eq!(covered[28..30], [PayloadType::KEY_EXCHANGE.0, 0]);
    let sk = u16::from_be_bytes(covered[30..32].try_into().unwrap());
    assert_eq!(usize::from(sk), 4 + inner.octets.len());
    assert_eq!(covered[32..], inner.octets);

    for octets_max in [1252, 548, 200] {
        let fragments = seal_within(&header, &payloads, octets_max, &mut sealing);
        assert!(fragments.len() > 1);
        let first = Datagram::parse(&fragments[0]).unwrap();
        assert_eq!(first.authenticated_octets(&inner).as_ref(), Some(&covered));
    }
    let clear = encode(&header, &payloads);
    let clear = Datagram::parse(&clear).unwrap();
    assert_eq!(clear.authenticated_octets(&inner), None);
}
