//! Everything Linux: devices, sockets, netlink, namespaces, capabilities.
//!
//! This room moves bytes and changes the host; it knows neither IKE messages nor SAs nor GRE. Each
//! file owns one kernel interface, but for the vocabulary in `prefix` and `outer` and for `tool`, which
//! runs other programs; all `unsafe` of the package is in `sys`.

pub mod capture;
pub mod echo;
pub mod esp;
pub mod ike;
pub mod isolation;
pub mod netlink;
pub mod netns;
pub mod news;
pub mod outer;
pub mod poll;
pub mod prefix;
pub mod privilege;
pub mod signals;
mod sys;
pub mod tool;
pub mod tun;

#[cfg(test)]
pub(crate) mod sandbox;
