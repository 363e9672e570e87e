//! secure-gre: a GRE-over-IPsec tunnel endpoint.
