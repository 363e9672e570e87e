//! AES-CBC with an HMAC over what was encrypted (RFC 3602, RFC 4868; RFC 7296 §3.14), and the IVs of
//! it. Padding is the caller's business: texts are whole blocks.
//!
//! AES key schedules and the HMAC key are wiped when they are dropped; what the library copies to the
//! stack is not (docs/decisions/010-aead-provider.md).

use aes::Aes128;
use aes::cipher::array::Array;
use aes::cipher::consts::U16;
use aes::cipher::{
    BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, BlockSizeUser,
    InnerIvInit, KeyInit,
};
use aws_lc_rs::hmac;
use subtle::ConstantTimeEq;

use crate::algorithm::{Cbc, Integrity};

/// Octets of a block of AES, and of an IV (RFC 3602 §2.4, §3).
pub(super) const BLOCK_OCTETS: usize = 16;

type Block = [u8; BLOCK_OCTETS];

/// One AES key, of whichever size, in CBC mode.
pub(crate) trait CbcKey: Send + Sync {
    /// Encrypts whole blocks in place.
    fn encrypt(&self, iv: Block, blocks: &mut [Block]);

    /// Decrypts whole blocks in place.
    fn decrypt(&self, iv: Block, blocks: &mut [Block]);
}

/// How a row of the table makes a key; `None` where the octets are not as many as it takes.
pub(crate) type NewCbc = fn(&[u8]) -> Option<Box<dyn CbcKey>>;

struct Keyed<C>(C);

pub(crate) fn new<C>(key: &[u8]) -> Option<Box<dyn CbcKey>>
where
    C: KeyInit + BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16>,
    C: Send + Sync + 'static,
{
    Some(Box::new(Keyed(C::new_from_slice(key).ok()?)))
}

impl<C> CbcKey for Keyed<C>
where
    C: BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16> + Send + Sync,
{
    fn encrypt(&self, iv: Block, blocks: &mut [Block]) {
        cbc::Encryptor::inner_iv_init(&self.0, &iv.into())
            .encrypt_blocks(Array::cast_slice_from_core_mut(blocks));
    }

    fn decrypt(&self, iv: Block, blocks: &mut [Block]) {
        cbc::Decryptor::inner_iv_init(&self.0, &iv.into())
            .decrypt_blocks(Array::cast_slice_from_core_mut(blocks));
    }
}

/// The keys of one direction.
pub(super) struct CbcHmac {
    cbc: Box<dyn CbcKey>,
    mac: hmac::Key,
    icv_octets: usize,
    ivs: Aes128,
}

impl CbcHmac {
    /// `None` where the material, SK_e and then SK_a, is not as long as this takes.
    pub(super) fn new(cbc: Cbc, integrity: Integrity, material: &[u8]) -> Option<Self> {
        let (encryption, authentication) = material.split_at_checked(cbc.key_octets())?;
        if authentication.len() != integrity.key_octets() {
            return None;
        }
        let mac = hmac::Key::new(integrity.prf().hmac(), authentication);
        let of_ivs = hmac::sign(&mac, IV_LABEL);
        let of_ivs = of_ivs.as_ref().first_chunk::<BLOCK_OCTETS>()?;
        Some(Self {
            cbc: cbc.constructor()(encryption)?,
            ivs: Aes128::new(&(*of_ivs).into()),
            mac,
            icv_octets: integrity.icv_octets(),
        })
    }

    /// Octets of the ICV.
    pub(super) fn icv_octets(&self) -> usize {
        self.icv_octets
    }

    /// The IV of message `number`: the number, encrypted. Nobody without the key can predict it
    /// (D48, RFC 3602 §3), and none comes twice with its key. It is the first method of SP 800-38A
    /// appendix C, but with a key of its own: under the text's, an IV would be worth a block of
    /// the cipher to whoever chooses texts.
    pub(super) fn iv(&self, number: u64) -> Block {
        let mut block = [0; BLOCK_OCTETS];
        if let Some(low) = block.last_chunk_mut() {
            *low = number.to_be_bytes();
        }
        let mut block = Array::from(block);
        self.ivs.encrypt_block(&mut block);
        block.into()
    }

    /// Appends IV, ciphertext and ICV to a message that is complete up to there. The ICV covers all
    /// of the message (RFC 7296 §3.14).
    pub(super) fn seal(&self, message: &mut Vec<u8>, iv: Block, mut text: Vec<u8>) {
        let (blocks, rest) = text.as_chunks_mut();
        debug_assert!(rest.is_empty(), "the caller pads");
        self.cbc.encrypt(iv, blocks);
        message.extend_from_slice(&iv);
        message.extend_from_slice(&text);
        let icv = hmac::sign(&self.mac, message);
        message.extend(icv.as_ref().iter().take(self.icv_octets));
    }

    /// The text of IV, ciphertext and ICV; `None` where the ICV is wrong. It is looked at before
    /// anything else, and compared in constant time.
    pub(super) fn open(&self, associated: &[u8], protected: &[u8]) -> Option<Vec<u8>> {
        let covered = protected.len().checked_sub(self.icv_octets)?;
        let (covered, icv) = protected.split_at_checked(covered)?;
        let mut mac = hmac::Context::with_key(&self.mac);
        mac.update(associated);
        mac.update(covered);
        let mac = mac.sign();
        if !bool::from(mac.as_ref().get(..self.icv_octets)?.ct_eq(icv)) {
            return None;
        }
        let (iv, text) = covered.split_first_chunk::<BLOCK_OCTETS>()?;
        let mut text = text.to_vec();
        let (blocks, rest) = text.as_chunks_mut();
        if !rest.is_empty() {
            return None;
        }
        self.cbc.decrypt(*iv, blocks);
        Some(text)
    }
}

/// What the key of the IVs is derived from. Shorter than any message, so that no ICV is that key.
const IV_LABEL: &[u8] = b"IV";

#[cfg(test)]
mod tests;
