//! H.264 access units: any bytes are decoded to a picture within the limits, or are an error.
#![no_main]

mod support;

use greenroom_codecs::h264::H264Decoder;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut decoder = H264Decoder::new();
    support::decode_units(data, |unit| decoder.decode(unit));
});
