//! The product in real namespaces against real peers: one behaviour per module.
//!
//! `lab` builds what the tests run in. A test starts with `lab::require()`, which says what is
//! missing where it cannot run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic, also outside the functions that carry #[test]"
)]

mod lab;

mod background;
mod binding;
mod black_hole;
mod cli;
mod daemon_folder;
mod demo;
mod documents;
mod ethernet;
mod examples;
mod fail_closed;
mod fallback;
mod following;
mod guest_boots;
mod hand_over;
mod hooks;
mod host_filter;
mod hub;
mod interop;
mod keepalive;
mod killed_test;
mod lifecycle;
mod limit;
mod mtu_edge;
mod names;
mod nat;
mod operations;
mod outer_headers;
mod path_news;
mod policy_tables;
mod probes;
mod rekeying;
mod routing;
mod strongswan;
mod surviving;
mod switches;
mod tenants;
mod two_daemons;
mod two_paths;
mod watching;
