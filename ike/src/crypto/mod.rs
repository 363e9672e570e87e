//! Primitives behind the rows of [`algorithm`](crate::algorithm).

pub mod kex;
pub mod prf;
