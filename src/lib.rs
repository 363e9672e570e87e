//! secure-gre: a GRE-over-IPsec tunnel endpoint.
#![deny(unsafe_code)]

pub mod config;
pub mod control;
pub mod net;
