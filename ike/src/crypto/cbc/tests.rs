//! AES-CBC by the numbers of RFC 3602 §4, and the HMACs by those of RFC 4868 §2.7.2.

use hex_literal::hex;

use super::*;

/// Key, IV, plaintext, ciphertext.
type Case<'a> = (&'a [u8], Block, &'a [u8], &'a [u8]);

/// RFC 3602 §4, cases 1 to 3.
#[test]
fn aes_128_cbc() {
    let cases: [Case<'_>; 3] = [
        (
            &hex!("06a9214036b8a15b512e03d534120006"),
            hex!("3dafba429d9eb430b422da802c9fac41"),
            b"Single block msg",
            &hex!("e353779c1079aeb82708942dbe77181a"),
        ),
        (
            &hex!("c286696d887c9aa0611bbb3e2025a45a"),
            hex!("562e17996d093d28ddb3ba695a2e6f58"),
            &hex!("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"),
            &hex!("d296cd94c2cccf8a3a863028b5e1dc0a7586602d253cfff91b8266bea6d61ab1"),
        ),
        (
            &hex!("6c3ea0477630ce21a2ce334aa746c2cd"),
            hex!("c782dc4c098c66cbd9cd27d825682c81"),
            b"This is a 48-byte message (exactly 3 AES blocks)",
            &hex!(
                "d0a02b3836451753d493665d33f0e8862dea54cdb293abc7506939276772f8d5"
                "021c19216bad525c8579695d83ba2684"
            ),
        ),
    ];
    for (key, iv, plain, sealed) in cases {
        both_ways(Cbc::Aes128, key, iv, plain, sealed);
    }
}

/// SP 800-38A §F.2.3 and §F.2.5: the other sizes of key.
#[test]
fn aes_192_and_256_cbc() {
    let iv = hex!("000102030405060708090a0b0c0d0e0f");
    let plain = hex!("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
    both_ways(
        Cbc::Aes192,
        &hex!("8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b"),
        iv,
        &plain,
        &hex!("4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a"),
    );
    both_ways(
        Cbc::Aes256,
        &hex!("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"),
        iv,
        &plain,
        &hex!("f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d"),
    );
}

#[track_caller]
fn both_ways(cbc: Cbc, key: &[u8], iv: Block, plain: &[u8], sealed: &[u8]) {
    let key = cbc.constructor()(key).unwrap();
    let mut octets = plain.to_vec();
    key.encrypt(iv, octets.as_chunks_mut().0);
    assert_eq!(octets, sealed);
    key.decrypt(iv, octets.as_chunks_mut().0);
    assert_eq!(octets, plain);
}

/// RFC 4868 §2.7.2.1 to §2.7.2.3, test case AUTH-1 of each; RFC 2202 §3 case 1, cut to 96 bits.
#[test]
fn icvs() {
    let cases: [(Integrity, usize, &[u8]); 4] = [
        (
            Integrity::HmacSha256,
            32,
            &hex!("198a607eb44bfbc69903a0f1cf2bbdc5"),
        ),
        (
            Integrity::HmacSha384,
            48,
            &hex!("b6a8d5636f5c6a7224f9977dcf7ee6c7fb6d0c48cbdee973"),
        ),
        (
            Integrity::HmacSha512,
            64,
            &hex!("637edc6e01dce7e6742a99451aae82df23da3e92439e590e43e761b33e910fb8"),
        ),
        (Integrity::HmacSha1, 20, &hex!("b617318655057264e28bc0b6")),
    ];
    for (integrity, key_octets, icv) in cases {
        let material = [vec![0; 16], vec![0x0b; key_octets]].concat();
        let keys = CbcHmac::new(Cbc::Aes128, integrity, &material).unwrap();
        let mac = hmac::sign(&keys.mac, b"Hi There");
        assert_eq!(&mac.as_ref()[..keys.icv_octets()], icv, "{integrity}");
    }
}
