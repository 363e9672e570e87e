#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| secure_gre_fuzz::esp_open::run(data));
