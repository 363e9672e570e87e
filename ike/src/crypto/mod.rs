//! Primitives behind the rows of [`algorithm`](crate::algorithm).

mod aead;
pub(crate) mod cbc;
pub mod cipher;
pub mod kem;
pub mod kex;
pub mod prf;
