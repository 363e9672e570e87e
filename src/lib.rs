//! secure-gre: a GRE-over-IPsec tunnel endpoint.
#![deny(unsafe_code)]

pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod dataplane;
pub mod demo;
pub mod metrics;
pub mod net;
pub mod telemetry;
