#![forbid(unsafe_code)]
//! GRE (RFC 2784, RFC 2890), without I/O.
