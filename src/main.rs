//! The `secure-gre` command.
fn main() {}
