//! The inputs of `fuzz/corpus`, run as ordinary tests: what a fuzzer once found is found by everybody.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::fs;
use std::path::Path;

#[path = "../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "a crate by itself for the fuzzer")]
mod fuzz;

#[test]
fn every_input_of_the_corpora() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (target, run) in fuzz::TARGETS {
        let inputs = fs::read_dir(corpora.join(target)).unwrap();
        let mut count = 0;
        for input in inputs {
            let input = input.unwrap().path();
            println!("{}", input.display());
            run(&fs::read(input).unwrap());
            count += 1;
        }
        assert!(count > 0, "no input for {target}");
    }
}
