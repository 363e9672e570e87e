//! What libFuzzer's octets are taken for: one module for each target, with the properties that have to
//! hold whatever they are. The inputs in `corpus/` are also run by an ordinary test of the product,
//! `tests/corpora.rs`.

pub mod esp_open;
pub mod gre_decapsulate;
pub mod ike_datagram;
pub mod ike_endpoint;

/// The body of a target.
pub type Target = fn(&[u8]);

/// Every target by its name, which is that of its folder in `corpus/` too.
pub const TARGETS: [(&str, Target); 4] = [
    ("ike_datagram", ike_datagram::run),
    ("ike_endpoint", ike_endpoint::run),
    ("esp_open", esp_open::run),
    ("gre_decapsulate", gre_decapsulate::run),
];
