//! Observes SRTP, as the WebRTC library does not report which received packets passed their integrity check, nor which
//! packet an RTX packet repeats: wraps the ciphers of the library's crypto provider.
//!
//! The provider's factories are `'static`, so the observations are thread-local. They are read right after the library
//! call that made them, on the same thread.

use std::cell::{Cell, RefCell};
use str0m::crypto::{
    AeadAes128GcmCipher, AeadAes256GcmCipher, Aes128CmSha1_80Cipher, CryptoError, CryptoProvider, SrtpProvider,
    SupportedAeadAes128Gcm, SupportedAeadAes256Gcm, SupportedAes128CmSha1_80,
};

thread_local! {
    static DECRYPTED_PACKETS: Cell<u64> = const { Cell::new(0) };
    static CAPTURED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
    static LAST_PAYLOAD_START: Cell<[u8; 2]> = const { Cell::new([0; 2]) };
}

/// Number of SRTP and SRTCP packets received on this thread that passed their integrity check.
pub(super) fn authenticated_packets() -> u64 {
    DECRYPTED_PACKETS.get()
}

/// The first two bytes of the payload encrypted last on this thread: in an RTX packet, the original sequence number
/// (RFC 4588, section 4).
pub(super) fn original_sequence_number() -> u16 {
    u16::from_be_bytes(LAST_PAYLOAD_START.get())
}

/// Starts to capture the plaintext of the next packet that is decrypted on this thread, without its header.
pub(super) fn capture_next() {
    CAPTURED.set(Some(Vec::new()));
}

/// The plaintext captured since [`capture_next`]; empty if no packet was decrypted.
pub(super) fn take_captured() -> Vec<u8> {
    CAPTURED.take().unwrap_or_default()
}

/// The library's crypto provider with observed SRTP ciphers.
pub(crate) fn crypto_provider() -> CryptoProvider {
    CryptoProvider { srtp_provider: &ObservedProvider, ..str0m::crypto::from_feature_flags() }
}

fn inner() -> &'static dyn SrtpProvider {
    str0m::crypto::from_feature_flags().srtp_provider
}

fn observe_encryption(input: &[u8]) {
    LAST_PAYLOAD_START.set(input.first_chunk().copied().unwrap_or_default());
}

/// Counts a decrypted packet, and captures its plaintext if that was asked for. GCM authenticates while decrypting; AES-CM packets are decrypted only after their HMAC
/// was verified.
fn observe_decryption(plaintext: &[u8]) {
    DECRYPTED_PACKETS.set(DECRYPTED_PACKETS.get() + 1);
    CAPTURED.with_borrow_mut(|captured| {
        if let Some(captured) = captured.as_mut().filter(|captured| captured.is_empty()) {
            captured.extend_from_slice(plaintext);
        }
    });
}

#[derive(Debug)]
struct ObservedProvider;

impl SrtpProvider for ObservedProvider {
    fn aes_128_cm_sha1_80(&self) -> &'static dyn SupportedAes128CmSha1_80 {
        &ObservedProvider
    }

    fn aead_aes_128_gcm(&self) -> &'static dyn SupportedAeadAes128Gcm {
        &ObservedProvider
    }

    fn aead_aes_256_gcm(&self) -> &'static dyn SupportedAeadAes256Gcm {
        &ObservedProvider
    }

    fn srtp_aes_128_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        inner().srtp_aes_128_ecb_round(key, input, output);
    }

    fn srtp_aes_256_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        inner().srtp_aes_256_ecb_round(key, input, output);
    }
}

impl SupportedAes128CmSha1_80 for ObservedProvider {
    fn create_cipher(&self, key: [u8; 16], encrypt: bool) -> Box<dyn Aes128CmSha1_80Cipher> {
        Box::new(ObservedCipher(inner().aes_128_cm_sha1_80().create_cipher(key, encrypt)))
    }
}

impl SupportedAeadAes128Gcm for ObservedProvider {
    fn create_cipher(&self, key: [u8; 16], encrypt: bool) -> Box<dyn AeadAes128GcmCipher> {
        Box::new(ObservedCipher(inner().aead_aes_128_gcm().create_cipher(key, encrypt)))
    }
}

impl SupportedAeadAes256Gcm for ObservedProvider {
    fn create_cipher(&self, key: [u8; 32], encrypt: bool) -> Box<dyn AeadAes256GcmCipher> {
        Box::new(ObservedCipher(inner().aead_aes_256_gcm().create_cipher(key, encrypt)))
    }
}

#[derive(Debug)]
struct ObservedCipher<T: ?Sized>(Box<T>);

impl Aes128CmSha1_80Cipher for ObservedCipher<dyn Aes128CmSha1_80Cipher> {
    fn encrypt(&mut self, iv: &[u8; 16], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        observe_encryption(input);
        self.0.encrypt(iv, input, output)
    }

    fn decrypt(&mut self, iv: &[u8; 16], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        self.0.decrypt(iv, input, output)?;
        observe_decryption(output.get(..input.len()).unwrap_or_default());
        Ok(())
    }
}

impl AeadAes128GcmCipher for ObservedCipher<dyn AeadAes128GcmCipher> {
    fn encrypt(&mut self, iv: &[u8; 12], aad: &[u8], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        observe_encryption(input);
        self.0.encrypt(iv, aad, input, output)
    }

    fn decrypt(
        &mut self,
        iv: &[u8; 12],
        aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        let length = self.0.decrypt(iv, aads, input, output)?;
        observe_decryption(output.get(..length).unwrap_or_default());
        Ok(length)
    }
}

impl AeadAes256GcmCipher for ObservedCipher<dyn AeadAes256GcmCipher> {
    fn encrypt(&mut self, iv: &[u8; 12], aad: &[u8], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        observe_encryption(input);
        self.0.encrypt(iv, aad, input, output)
    }

    fn decrypt(
        &mut self,
        iv: &[u8; 12],
        aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        let length = self.0.decrypt(iv, aads, input, output)?;
        observe_decryption(output.get(..length).unwrap_or_default());
        Ok(length)
    }
}
