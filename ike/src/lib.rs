#![forbid(unsafe_code)]
//! IKEv2 (RFC 7296) with a pre-shared key, for transport-mode ESP that protects GRE; without I/O.
//!
//! An [`Endpoint`] holds every IKE SA of a host. It reads no clock, no randomness and no network:
//! its driver passes time, entropy and datagrams in and performs what comes out.
//!
//! 1. Call one of `handle_datagram`, `handle_timeout`, `handle_command`.
//! 2. Call `poll_output` until it says [`Output::Idle`](event::Output), performing each output
//!    before the next is asked for. Their order means something: an inbound SA comes before the
//!    datagram that lets the peer use it.
//! 3. Sleep until something happens or the deadline of `Idle` has come.
//!
//! The network cannot make it panic or return an error: a datagram leads to outputs, or to one
//! counted [`Drop`](error::Drop). The same inputs and seed give the same outputs, so a day of two
//! peers' life is a test of a second.
//!
//! Where to look: [`wire`] for a message's octets, `sa` for an exchange (one file each), `endpoint` for
//! what happens between SAs, [`algorithm`] and [`proposal`] for suites, `select` and `ts` for what is
//! agreed on, `roster` for who may call from anywhere, `keys` for what is derived, [`limits`] for every
//! bound.

pub mod algorithm;
pub mod config;
mod cookie;
pub mod crypto;
mod endpoint;
pub mod error;
pub mod event;
pub mod identity;
mod keys;
pub mod limits;
mod nat;
pub mod proposal;
mod retransmit;
mod roster;
mod sa;
pub mod secret;
mod select;
mod ts;
pub mod wire;

pub use endpoint::Endpoint;

#[cfg(test)]
mod tests {
    //! What the tests of several modules read vectors with.

    use std::convert::Infallible;

    use rand_core::{TryCryptoRng, TryRng};
    use serde_json::Value;

    /// The cases of a file of vectors.
    pub(crate) fn vectors(file: &str) -> Vec<Value> {
        let file: Value = serde_json::from_str(file).unwrap();
        file["cases"].as_array().unwrap().clone()
    }

    /// Gives the octets of a private key.
    pub(crate) struct Fixed(pub(crate) Vec<u8>);

    impl TryRng for Fixed {
        type Error = Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            unreachable!("keys are drawn as octets")
        }

        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            unreachable!("keys are drawn as octets")
        }

        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
            // A shorter key is a number with leading zeros.
            let (zeros, key) = out.split_at_mut(out.len() - self.0.len());
            zeros.fill(0);
            key.copy_from_slice(&self.0);
            Ok(())
        }
    }

    impl TryCryptoRng for Fixed {}

    /// The octets of a field.
    pub(crate) fn hex(field: &Value) -> Vec<u8> {
        let digits = field.as_str().unwrap();
        let octet = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        (0..digits.len()).step_by(2).map(octet).collect()
    }
}
