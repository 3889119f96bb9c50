//! See `orbit_fuzz::check`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| orbit_fuzz::check::link(bytes));
