//! Page tokens: only what was stamped for the same question is opened, and places survive their bytes.
#![no_main]

use greenroom::model::page::Position;
use greenroom::secret::MasterKey;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let key = MasterKey::new(&[7; 32]);
    if let Some(place) = Position::from_bytes(bytes) {
        assert_eq!(place.to_bytes(), bytes);
    }
    assert_eq!(key.verify(b"question", &key.sign(b"question", bytes)).as_deref(), Some(bytes));
    assert_eq!(key.verify(b"other", &key.sign(b"question", bytes)), None);
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert_eq!(key.verify(b"question", text), None, "no signature is guessed");
    }
});
