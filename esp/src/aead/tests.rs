use super::*;
use crate::keys::Spi;
use crate::suite::Suite;

/// draft-mcgrew-gcm-test-01 §4, a case a line: key, salt and IV, associated data, plaintext,
/// ciphertext, ICV.
const CASES: &str = include_str!("../../tests/vectors/gcm-esp.txt");

fn hex(digits: &str) -> Vec<u8> {
    let digit = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(digit).collect()
}

fn associated(octets: &[u8]) -> Associated {
    match octets.len() {
        8 => Associated::Short(octets.try_into().unwrap()),
        12 => Associated::Extended(octets.try_into().unwrap()),
        length => panic!("{length} octets of associated data"),
    }
}

/// D47, RFC 4106 §4 and §5
#[test]
fn published_vectors() {
    let mut cases = 0;
    for line in CASES.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<Vec<u8>> = line.split_whitespace().map(hex).collect();
        let [key, nonce, aad, plaintext, ciphertext, icv] = &*fields else {
            panic!("{line}")
        };
        let suite = match key.len() {
            16 => Suite::Aes128Gcm16,
            24 => Suite::Aes192Gcm16,
            32 => Suite::Aes256Gcm16,
            length => panic!("a key of {length} octets"),
        };
        cases += 1;
        let (salt, iv) = nonce.split_at(SALT_LEN);
        let iv = iv.try_into().unwrap();
        let material = [&**key, salt].concat();
        let cipher = SaltedKey::new(suite.aead().unwrap(), &material).unwrap();
        let mut octets = plaintext.clone();

        let tag = cipher.encrypt(iv, &associated(aad), &mut octets).unwrap();
        assert_eq!((&octets, &tag[..]), (ciphertext, &**icv), "{line}");
        octets.extend(icv);
        let opened = cipher
            .decrypt(iv, &associated(aad), &mut octets)
            .map(|octets| &*octets);
        assert_eq!(opened, Some(&**plaintext), "{line}");
    }
    assert_eq!(cases, 14);
}

/// D47, RFC 4106 §5: the high half comes first, and only with ESN.
#[test]
fn associated_data() {
    let spi = Spi::try_from(0xaabb_ccdd).unwrap();
    let seq = 0x0102_0304_0506_0708;
    let of = |esn| Associated::of(PacketId { spi, seq, esn });
    let (short, extended) = (of(false), of(true));
    assert_eq!(short.as_ref(), [0xaa, 0xbb, 0xcc, 0xdd, 5, 6, 7, 8]);
    assert_eq!(
        extended.as_ref(),
        [0xaa, 0xbb, 0xcc, 0xdd, 1, 2, 3, 4, 5, 6, 7, 8]
    );
}
