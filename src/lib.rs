//! secure-gre: a GRE-over-IPsec tunnel endpoint.

pub mod config;
pub mod control;
pub mod net;
