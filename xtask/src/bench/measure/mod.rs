//! The measurements, one file each. Each takes a scene whose tunnel carries packets.

mod datagrams;
pub(super) mod ping;
pub(super) mod search;
pub(super) mod system_calls;
pub(super) mod tcp;
pub(super) mod usage;
