//! The product in real namespaces against real peers.
