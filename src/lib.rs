//! secure-gre: a GRE-over-IPsec tunnel endpoint.

pub mod control;
pub mod net;
