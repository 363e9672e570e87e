#![forbid(unsafe_code)]
//! IKEv2 (RFC 7296) with a pre-shared key, without I/O.
