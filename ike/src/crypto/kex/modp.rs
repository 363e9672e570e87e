//! Diffie-Hellman with powers of 2 modulo a safe prime (RFC 7296 appendix B, RFC 3526). The integers
//! are `crypto-bigint`'s, whose exponentiation takes the same time whatever the exponent is.

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, U512, Uint};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::{KexError, KeyExchange};
use crate::algorithm::Group;
use crate::secret::Secret;

pub(crate) fn modp1024(rng: &mut dyn CryptoRng) -> Box<dyn KeyExchange> {
    Box::new(Modp::<16>::generate(Group::Modp1024, PRIME_1024, rng))
}

pub(crate) fn modp1536(rng: &mut dyn CryptoRng) -> Box<dyn KeyExchange> {
    Box::new(Modp::<24>::generate(Group::Modp1536, PRIME_1536, rng))
}

pub(crate) fn modp2048(rng: &mut dyn CryptoRng) -> Box<dyn KeyExchange> {
    Box::new(Modp::<32>::generate(Group::Modp2048, PRIME_2048, rng))
}

pub(crate) fn modp3072(rng: &mut dyn CryptoRng) -> Box<dyn KeyExchange> {
    Box::new(Modp::<48>::generate(Group::Modp3072, PRIME_3072, rng))
}

pub(crate) fn modp4096(rng: &mut dyn CryptoRng) -> Box<dyn KeyExchange> {
    Box::new(Modp::<64>::generate(Group::Modp4096, PRIME_4096, rng))
}

/// A private key of a group whose public values are `LIMBS` words of 64 bits.
struct Modp<const LIMBS: usize> {
    group: Group,
    field: FixedMontyParams<LIMBS>,
    exponent: Zeroizing<U512>,
    public: Vec<u8>,
}

impl<const LIMBS: usize> Modp<LIMBS> {
    /// The exponent has 512 bits: twice the strength of the largest group by the higher estimate of
    /// RFC 3526 §8, and more than that for the others. In a group of a safe prime, no attack gets
    /// an advantage from an exponent that is shorter than the prime, but long enough.
    fn generate(group: Group, prime: &str, rng: &mut dyn CryptoRng) -> Self {
        let mut octets = Zeroizing::new([0; U512::BYTES]);
        rng.fill_bytes(&mut *octets);
        let exponent = Zeroizing::new(U512::from_be_slice(&*octets));
        let field = FixedMontyParams::new_vartime(Odd::from_be_hex(prime));
        let generator = FixedMontyForm::new(&Uint::from_u8(2), &field);
        let public = generator.pow(&*exponent).retrieve();
        Self {
            group,
            field,
            exponent,
            public: public.to_be_bytes().as_ref().to_vec(),
        }
    }
}

impl<const LIMBS: usize> KeyExchange for Modp<LIMBS> {
    fn group(&self) -> Group {
        self.group
    }

    fn public(&self) -> &[u8] {
        &self.public
    }

    /// D11, RFC 6989 §2.1: of a safe prime's group, only 0, 1 and p − 1 are bad, and what is p or
    /// more is no element. The secret is as long as the prime, leading zeros included (RFC 7296
    /// §2.14).
    fn agree(self: Box<Self>, peer_public: &[u8]) -> Result<Secret, KexError> {
        self.group.check_public(peer_public)?;
        let peer = Uint::<LIMBS>::from_be_slice(peer_public);
        let largest = self
            .field
            .modulus()
            .as_ref()
            .wrapping_sub(&Uint::from_u8(2));
        if peer < Uint::from_u8(2) || peer > largest {
            return Err(KexError::OutOfRange(self.group));
        }
        let power = FixedMontyForm::new(&peer, &self.field).pow(&*self.exponent);
        let shared = Zeroizing::new(power.retrieve());
        Ok(Secret::new(shared.to_be_bytes().as_ref().to_vec()))
    }
}

/// RFC 2409 §6.2.
const PRIME_1024: &str = "\
     ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22\
     514a08798e3404ddef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6\
     f44c42e9a637ed6b0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe649286651ece65381\
     ffffffffffffffff";

/// RFC 3526 §2.
const PRIME_1536: &str = "\
     ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22\
     514a08798e3404ddef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6\
     f44c42e9a637ed6b0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3d\
     c2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f83655d23dca3ad961c62f356208552bb\
     9ed529077096966d670c354e4abc9804f1746c08ca237327ffffffffffffffff";

/// RFC 3526 §3.
const PRIME_2048: &str = "\
     ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22\
     514a08798e3404ddef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6\
     f44c42e9a637ed6b0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3d\
     c2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f83655d23dca3ad961c62f356208552bb\
     9ed529077096966d670c354e4abc9804f1746c08ca18217c32905e462e36ce3be39e772c180e8603\
     9b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa0510\
     15728e5a8aacaa68ffffffffffffffff";

/// RFC 3526 §4.
const PRIME_3072: &str = "\
     ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22\
     514a08798e3404ddef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6\
     f44c42e9a637ed6b0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3d\
     c2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f83655d23dca3ad961c62f356208552bb\
     9ed529077096966d670c354e4abc9804f1746c08ca18217c32905e462e36ce3be39e772c180e8603\
     9b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa0510\
     15728e5a8aaac42dad33170d04507a33a85521abdf1cba64ecfb850458dbef0a8aea71575d060c7d\
     b3970f85a6e1e4c7abf5ae8cdb0933d71e8c94e04a25619dcee3d2261ad2ee6bf12ffa06d98a0864\
     d87602733ec86a64521f2b18177b200cbbe117577a615d6c770988c0bad946e208e24fa074e5ab31\
     43db5bfce0fd108e4b82d120a93ad2caffffffffffffffff";

/// RFC 3526 §5.
const PRIME_4096: &str = "\
     ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22\
     514a08798e3404ddef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6\
     f44c42e9a637ed6b0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3d\
     c2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f83655d23dca3ad961c62f356208552bb\
     9ed529077096966d670c354e4abc9804f1746c08ca18217c32905e462e36ce3be39e772c180e8603\
     9b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa0510\
     15728e5a8aaac42dad33170d04507a33a85521abdf1cba64ecfb850458dbef0a8aea71575d060c7d\
     b3970f85a6e1e4c7abf5ae8cdb0933d71e8c94e04a25619dcee3d2261ad2ee6bf12ffa06d98a0864\
     d87602733ec86a64521f2b18177b200cbbe117577a615d6c770988c0bad946e208e24fa074e5ab31\
     43db5bfce0fd108e4b82d120a92108011a723c12a787e6d788719a10bdba5b2699c327186af4e23c\
     1a946834b6150bda2583e9ca2ad44ce8dbbbc2db04de8ef92e8efc141fbecaa6287c59474e6bc05d\
     99b2964fa090c3a2233ba186515be7ed1f612970cee2d7afb81bdd762170481cd0069127d5b05aa9\
     93b4ea988d8fddc186ffb7dc90a6c08f4df435c934063199ffffffffffffffff";

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The modulus of a group, big-endian.
    pub(in crate::crypto::kex) fn prime(group: Group) -> Vec<u8> {
        let hex = match group {
            Group::Modp1024 => PRIME_1024,
            Group::Modp1536 => PRIME_1536,
            Group::Modp2048 => PRIME_2048,
            Group::Modp3072 => PRIME_3072,
            Group::Modp4096 => PRIME_4096,
            _ => panic!("{group} has no prime"),
        };
        crate::tests::hex(&hex.into())
    }

    /// RFC 3526 and RFC 2409 §6: p = 2^n - 2^(n-64) - 1 + 2^64 * (floor(2^(n-130) * pi) + c), of
    /// which the ones at both ends and the first 64 bits of pi behind them are easily seen.
    #[test]
    fn primes_are_made_of_pi() {
        for (group, octets) in [
            (Group::Modp1024, 128),
            (Group::Modp1536, 192),
            (Group::Modp2048, 256),
            (Group::Modp3072, 384),
            (Group::Modp4096, 512),
        ] {
            let prime = prime(group);
            assert_eq!(prime.len(), octets);
            assert_eq!(prime[..8], [0xff; 8]);
            assert_eq!(prime[8..16], 0xc90f_daa2_2168_c234_u64.to_be_bytes());
            assert_eq!(prime[octets - 8..], [0xff; 8]);
        }
    }

    /// Fermat: 2^(p-1) = 1. No other number of this form and size is a likely slip.
    #[test]
    fn primes_are_prime() {
        fn check<const LIMBS: usize>(hex: &str) {
            let prime: Odd<Uint<LIMBS>> = Odd::from_be_hex(hex);
            let field = FixedMontyParams::new_vartime(prime);
            let two = FixedMontyForm::new(&Uint::from_u8(2), &field);
            let exponent = prime.as_ref().wrapping_sub(&Uint::ONE);
            assert_eq!(two.pow_vartime(&exponent).retrieve(), Uint::ONE);
        }
        check::<16>(PRIME_1024);
        check::<24>(PRIME_1536);
        check::<32>(PRIME_2048);
        check::<48>(PRIME_3072);
        check::<64>(PRIME_4096);
    }
}
