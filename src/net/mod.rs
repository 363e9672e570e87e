//! Everything Linux.

pub mod prefix;
