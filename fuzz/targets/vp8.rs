//! VP8 frames: any bytes are decoded to a picture within the limits, or are an error.
#![no_main]

use greenroom_codecs::picture::check_size;
use greenroom_codecs::vp8::Vp8Decoder;
use libfuzzer_sys::fuzz_target;

// Each frame is after its length in two bytes.
fuzz_target!(|data: &[u8]| {
    let mut decoder = Vp8Decoder::new();
    let mut rest = data;
    while let [high, low, tail @ ..] = rest {
        let (unit, after) = tail.split_at(usize::from(u16::from_be_bytes([*high, *low])).min(tail.len()));
        rest = after;
        if let Ok(Some(picture)) = decoder.decode(unit) {
            assert!(check_size(picture.width(), picture.height()).is_ok());
            assert_eq!(picture.y().len(), picture.width() * picture.height());
        }
    }
});
