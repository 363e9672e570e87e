//! AES-CBC with an HMAC over what was encrypted (RFC 3602, RFC 4868, RFC 2404; RFC 4303 §3.3.2).
//!
//! Owns: the keys, the IVs, and what the ICV covers. Not here: padding to whole blocks (`trailer`).
//!
//! AES key schedules and the HMAC key are wiped when they are dropped; what the library copies to the
//! stack is not (docs/decisions/010-aead-provider.md).

use aes::cipher::array::Array;
use aes::cipher::consts::U16;
use aes::cipher::{
    BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, BlockSizeUser,
    InnerIvInit, KeyInit,
};
use aes::{Aes128, Aes192, Aes256};
use aws_lc_rs::hmac;
use subtle::ConstantTimeEq;

use crate::cipher::PacketId;
use crate::suite::{AesKey, Hmac};

/// Octets of a block of AES, and of an IV (RFC 3602 §2.4, §3).
pub(crate) const BLOCK_LEN: usize = 16;

type Block = [u8; BLOCK_LEN];

/// The keys of one SA.
pub(crate) struct CbcHmac {
    cbc: Box<dyn Cbc>,
    mac: hmac::Key,
    icv_len: usize,
    ivs: Aes128,
}

impl CbcHmac {
    /// `None` if `material`, the encryption key and then the authentication key, has the wrong
    /// length.
    pub(crate) fn new(key: AesKey, hmac: Hmac, material: &[u8]) -> Option<Self> {
        let (encryption, authentication) = material.split_at_checked(key.len())?;
        if authentication.len() != hmac.key_len() {
            return None;
        }
        let mac = hmac::Key::new(*hmac.algorithm(), authentication);
        let of_ivs = hmac::sign(&mac, IV_LABEL);
        let of_ivs = of_ivs.as_ref().first_chunk::<BLOCK_LEN>()?;
        Some(Self {
            cbc: cbc(key, encryption)?,
            ivs: Aes128::new(&(*of_ivs).into()),
            mac,
            icv_len: hmac.icv_len(),
        })
    }

    pub(crate) fn seal(&self, packet: PacketId, body: &mut [u8]) -> Option<()> {
        let (covered, icv) = body.split_at_mut_checked(body.len().checked_sub(self.icv_len)?)?;
        let (iv, text) = covered.split_first_chunk_mut()?;
        *iv = self.iv(packet.seq);
        self.cbc.encrypt(*iv, whole_blocks(text)?);
        let mac = self.mac(packet, covered);
        icv.copy_from_slice(mac.as_ref().get(..self.icv_len)?);
        Some(())
    }

    /// The ICV comes first, and is compared in constant time.
    pub(crate) fn open<'b>(&self, packet: PacketId, body: &'b mut [u8]) -> Option<&'b mut [u8]> {
        let (covered, icv) = body.split_at_mut_checked(body.len().checked_sub(self.icv_len)?)?;
        let mac = self.mac(packet, covered);
        let expected = mac.as_ref().get(..self.icv_len)?;
        if !bool::from(expected.ct_eq(icv)) {
            return None;
        }
        let (iv, text) = covered.split_first_chunk_mut()?;
        self.cbc.decrypt(*iv, whole_blocks(text)?);
        Some(text)
    }

    /// D47, RFC 4303 §2.2.1: SPI, sequence number, IV and ciphertext, and behind them with ESN the
    /// half of the sequence number that is not sent.
    fn mac(&self, packet: PacketId, covered: &[u8]) -> hmac::Tag {
        let mut mac = hmac::Context::with_key(&self.mac);
        mac.update(&packet.header());
        mac.update(covered);
        if let Some(high) = packet.high() {
            mac.update(&high);
        }
        mac.sign()
    }

    /// The IV of the packet with this sequence number: the number, encrypted. Nobody without the key
    /// can predict it (D48, RFC 3602 §3), none comes twice with its key, and it costs one block. It
    /// is the first method of SP 800-38A appendix C, but with a key of its own: under the text's, an
    /// IV would be worth a block of the cipher to whoever chooses texts.
    fn iv(&self, seq: u64) -> Block {
        let mut block = Array::from(u128::from(seq).to_be_bytes());
        self.ivs.encrypt_block(&mut block);
        block.into()
    }
}

/// What the key of the IVs is derived from. Shorter than anything an ICV covers, so that no ICV is
/// that key.
const IV_LABEL: &[u8] = b"IV";

/// One AES key, of whichever size, in CBC mode.
trait Cbc: Send + Sync {
    /// Encrypts whole blocks in place.
    fn encrypt(&self, iv: Block, blocks: &mut [Block]);

    /// Decrypts whole blocks in place.
    fn decrypt(&self, iv: Block, blocks: &mut [Block]);
}

struct Keyed<C>(C);

impl<C> Cbc for Keyed<C>
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

fn cbc(size: AesKey, key: &[u8]) -> Option<Box<dyn Cbc>> {
    Some(match size {
        AesKey::Bits128 => Box::new(Keyed(Aes128::new_from_slice(key).ok()?)),
        AesKey::Bits192 => Box::new(Keyed(Aes192::new_from_slice(key).ok()?)),
        AesKey::Bits256 => Box::new(Keyed(Aes256::new_from_slice(key).ok()?)),
    })
}

/// `None` if there is a part of a block over.
fn whole_blocks(text: &mut [u8]) -> Option<&mut [Block]> {
    match text.as_chunks_mut() {
        (blocks, []) => Some(blocks),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
