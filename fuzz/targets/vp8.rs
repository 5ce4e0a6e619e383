//! VP8 frames: any bytes are decoded to a picture within the limits, or are an error.
#![no_main]

mod support;

use greenroom_codecs::vp8::Vp8Decoder;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut decoder = Vp8Decoder::new();
    support::decode_units(data, |unit| decoder.decode(unit));
});
