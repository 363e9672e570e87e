//! Primitives behind the rows of [`algorithm`](crate::algorithm).

pub mod cipher;
pub mod kex;
pub mod prf;
