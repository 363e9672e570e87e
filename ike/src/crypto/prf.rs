//! prf and prf+ (RFC 7296 §2.13) over HMAC (RFC 2104, RFC 4868). What is fed into them is in
//! [`keys`](crate::keys).

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::algorithm::Prf;
use crate::secret::Secret;

impl Prf {
    /// prf(key, parts…): the parts are taken one after the other, as if they were one string.
    pub fn compute(self, key: &[u8], parts: &[&[u8]]) -> Secret {
        Secret::new(
            sign(&hmac::Key::new(self.hmac(), key), parts)
                .as_ref()
                .to_vec(),
        )
    }

    /// The first octets of prf+(key, seed…), cut into consecutive keys of these lengths.
    ///
    /// # Panics
    /// Where the lengths together exceed the 255 blocks for which prf+ is defined. They come from
    /// the tables of algorithms, never from a peer.
    pub fn expand<const KEYS: usize>(
        self,
        key: &[u8],
        seed: &[&[u8]],
        octets: [usize; KEYS],
    ) -> [Secret; KEYS] {
        let mut stream = PrfPlus::new(self, key, seed);
        octets.map(|octets| stream.take(octets))
    }
}

/// T1 | T2 | … (RFC 7296 §2.13), read from the front.
struct PrfPlus<'a> {
    key: hmac::Key,
    seed: &'a [&'a [u8]],
    block: Zeroizing<Vec<u8>>,
    /// Octets of `block` that were given out.
    used: usize,
    /// The number of `block`; 0 before the first.
    number: u8,
}

impl<'a> PrfPlus<'a> {
    fn new(prf: Prf, key: &[u8], seed: &'a [&'a [u8]]) -> Self {
        let key = hmac::Key::new(prf.hmac(), key);
        Self {
            key,
            seed,
            block: Zeroizing::default(),
            used: 0,
            number: 0,
        }
    }

    fn take(&mut self, octets: usize) -> Secret {
        // Never grows, so no copy stays behind in freed memory.
        let mut key = Vec::with_capacity(octets);
        while key.len() < octets {
            if self.used == self.block.len() {
                self.advance();
            }
            let fresh = self.block.iter().skip(self.used);
            let before = key.len();
            key.extend(fresh.take(octets - before));
            self.used += key.len() - before;
        }
        Secret::new(key)
    }

    /// T(n+1) = prf(K, T(n) | S | n+1).
    fn advance(&mut self) {
        assert!(
            self.number < u8::MAX,
            "prf+ is defined for 255 blocks (RFC 7296 §2.13)"
        );
        self.number += 1;
        let number = [self.number];
        let parts: Vec<&[u8]> = std::iter::once(self.block.as_slice())
            .chain(self.seed.iter().copied())
            .chain(std::iter::once(number.as_slice()))
            .collect();
        let block = sign(&self.key, &parts);
        self.block = Zeroizing::new(block.as_ref().to_vec());
        self.used = 0;
    }
}

fn sign(key: &hmac::Key, parts: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    parts.iter().for_each(|part| context.update(part));
    context.sign()
}

#[cfg(test)]
mod tests;
