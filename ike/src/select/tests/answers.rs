//! Answers that an initiator takes, and those that break a rule (D16).

use super::*;

/// D16: the initiator takes its own proposal back with one transform of each type, and no other.
#[test]
fn odd_answers_for_ike() {
    let ours = ike("aes256gcm16-prfsha256-x25519,aes128gcm16-prfsha256-prfsha384-ecp256");
    let verify = |answer: &[Proposal]| verify_ike(&ours, answer);
    let good = for_ike(2, &[AES128, SHA384, ECP256]);
    assert_eq!(
        verify(std::slice::from_ref(&good)).unwrap().to_string(),
        "aes128gcm16-prfsha384-ecp256"
    );

    let not_offered = AnswerError::NotOffered;
    let cases: &[(&[Transform], AnswerError)] = &[
        (&[AES256, SHA384, ECP256], not_offered(AES256)),
        (
            &[AES128, Transform::new(PRF, 7), ECP256],
            not_offered(Transform::new(PRF, 7)),
        ),
        (&[AES128, SHA256, X25519], not_offered(X25519)),
        (
            &[Transform::new(ENCR, 20), SHA256, ECP256],
            not_offered(Transform::new(ENCR, 20)),
        ),
        (
            &[with_unknown_attribute(AES128), SHA256, ECP256],
            not_offered(with_unknown_attribute(AES128)),
        ),
        (
            &[AES128, SHA256, ECP256, HMAC_SHA256],
            not_offered(HMAC_SHA256),
        ),
        (&[AES128, SHA256, ECP256, SHORT], not_offered(SHORT)),
        (
            &[AES128, AES128, SHA256, ECP256],
            AnswerError::Several(ENCR),
        ),
        (
            &[AES128, AES256, SHA256, ECP256],
            AnswerError::Several(ENCR),
        ),
        (&[AES128, SHA256, SHA384, ECP256], AnswerError::Several(PRF)),
        (
            &[AES128, SHA256, ECP256, MODP2048],
            AnswerError::Several(KE),
        ),
        (&[SHA256, ECP256], AnswerError::Missing(ENCR)),
        (&[AES128, ECP256], AnswerError::Missing(PRF)),
        (&[AES128, SHA256], AnswerError::Missing(KE)),
    ];
    for (transforms, error) in cases {
        assert_eq!(
            verify(&[for_ike(2, transforms)]),
            Err(*error),
            "{transforms:?}"
        );
    }
    assert_eq!(verify(&[]), Err(AnswerError::Proposals(0)));
    assert_eq!(
        verify(&[good.clone(), good.clone()]),
        Err(AnswerError::Proposals(2))
    );
    for number in [0, 3, 255] {
        let answer = Proposal {
            number,
            ..good.clone()
        };
        assert_eq!(verify(&[answer]), Err(AnswerError::Number(number)));
    }
    let protocol = ProtocolId::ESP;
    let answer = Proposal {
        protocol,
        ..good.clone()
    };
    assert_eq!(verify(&[answer]), Err(AnswerError::Protocol(protocol)));
    let answer = Proposal {
        spi: vec![1; 8],
        ..good
    };
    assert_eq!(verify(&[answer]), Err(AnswerError::SpiLength(8)));
}

#[test]
fn odd_answers_for_esp() {
    let ours = esp("aes256gcm16-x25519-esn");
    let verify = |answer: Proposal| {
        verify_esp(&ours, &[answer], Pfs::Impossible)
            .map(|choice| (choice.suite.esn, choice.outbound))
    };
    assert_eq!(verify(for_esp(1, &[AES256, LONG])), Ok((true, OUTBOUND)));
    let not_offered = |transform| Err(AnswerError::NotOffered(transform));
    assert_eq!(verify(for_esp(1, &[AES256, SHORT])), not_offered(SHORT));
    assert_eq!(
        verify(for_esp(1, &[AES256, LONG, X25519])),
        not_offered(X25519),
        "D38"
    );
    assert_eq!(
        verify(for_esp(1, &[AES256, LONG, SHORT])),
        Err(AnswerError::Several(ESN))
    );
    assert_eq!(
        verify(for_esp(1, &[AES256])),
        Err(AnswerError::Missing(ESN))
    );
    for octets in [0, 3, 8] {
        let answer = Proposal {
            spi: vec![9; octets],
            ..for_esp(1, &[AES256, LONG])
        };
        assert_eq!(verify(answer), Err(AnswerError::SpiLength(octets)));
    }
}

/// D15, D16: AES-CBC comes with exactly one integrity algorithm, and an AEAD with none.
#[test]
fn odd_answers_for_aes_cbc() {
    let ours = ike("aes256-sha256-sha1-x25519,aes256gcm16-prfsha256-x25519");
    let verify = |number, transforms: &[Transform]| {
        verify_ike(&ours, &[for_ike(number, transforms)]).map(|suite| suite.to_string())
    };
    let good = [AES_CBC, HMAC_SHA256, SHA256, X25519];
    assert_eq!(verify(1, &good), Ok("aes256-sha256-x25519".to_owned()));
    let sha1 = Transform::new(INTEG, 2);
    let sha384 = Transform::new(INTEG, 13);
    for (number, transforms, error) in [
        (
            1,
            vec![AES_CBC, SHA256, X25519],
            AnswerError::Missing(INTEG),
        ),
        (
            1,
            vec![AES_CBC, NO_INTEG, SHA256, X25519],
            AnswerError::NotOffered(NO_INTEG),
        ),
        (
            1,
            vec![AES_CBC, sha384, SHA256, X25519],
            AnswerError::NotOffered(sha384),
        ),
        (
            1,
            [&good[..], &[sha1]].concat(),
            AnswerError::Several(INTEG),
        ),
        (
            1,
            vec![AES256, SHA256, X25519],
            AnswerError::NotOffered(AES256),
        ),
        (2, good.to_vec(), AnswerError::NotOffered(AES_CBC)),
        (
            2,
            vec![AES256, NO_INTEG, SHA256, X25519],
            AnswerError::NotOffered(NO_INTEG),
        ),
    ] {
        assert_eq!(verify(number, &transforms), Err(error), "{transforms:?}");
    }
}

#[test]
fn errors_name_what_is_wrong() {
    for (error, text) in [
        (
            AnswerError::NotOffered(AES_CBC),
            "AES_CBC-256, which was not offered",
        ),
        (AnswerError::Several(KE), "more than one KE"),
        (AnswerError::Missing(PRF), "no PRF"),
        (AnswerError::Protocol(ProtocolId::ESP), "a proposal for ESP"),
    ] {
        assert_eq!(error.to_string(), text);
    }
}
