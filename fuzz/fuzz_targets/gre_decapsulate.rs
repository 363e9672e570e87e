#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| secure_gre_fuzz::gre_decapsulate::run(data));
