//! ESP between two SAs, through the crate's public face.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a panic in a test is a failed test"
)]

mod hostile;
mod pair;
mod replay;
mod round_trip;
mod second_opinion;
