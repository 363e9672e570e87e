#![forbid(unsafe_code)]
//! A virtual network for tests.
