//! What the WebRTC library does not report of SRTP: which received packets passed their integrity check, and which
//! packet an RTX packet repeats. Ciphers that wrap those of the library's crypto provider observe it.
//!
//! The provider's factories are `'static`, so the observations are kept by thread. They are read right after the call
//! into the library that made them, on the same thread.

use std::cell::Cell;
use str0m::crypto::{
    AeadAes128GcmCipher, AeadAes256GcmCipher, Aes128CmSha1_80Cipher, CryptoError, CryptoProvider, SrtpProvider,
    SupportedAeadAes128Gcm, SupportedAeadAes256Gcm, SupportedAes128CmSha1_80,
};

thread_local! {
    static VERIFIED: Cell<u64> = const { Cell::new(0) };
    static FIRST_BYTES: Cell<[u8; 2]> = const { Cell::new([0; 2]) };
}

/// Number of SRTP and SRTCP packets received on this thread that passed the integrity check.
pub(super) fn verified() -> u64 {
    VERIFIED.get()
}

/// The first two bytes of the payload that was encrypted last on this thread. In an RTX packet they are the sequence
/// number of the packet that it repeats (RFC 4588, section 4).
pub(super) fn original_sequence_number() -> u16 {
    u16::from_be_bytes(FIRST_BYTES.get())
}

/// The library's crypto provider with observed SRTP ciphers.
pub(crate) fn crypto_provider() -> CryptoProvider {
    CryptoProvider { srtp_provider: &Observed, ..str0m::crypto::from_feature_flags() }
}

/// The provider whose ciphers are wrapped.
fn inner() -> &'static dyn SrtpProvider {
    str0m::crypto::from_feature_flags().srtp_provider
}

fn encrypting(input: &[u8]) {
    FIRST_BYTES.set(input.first_chunk().copied().unwrap_or_default());
}

/// Counts a packet that was decrypted. Authenticated encryption (GCM) verifies it in the same step; AES-CM packets are
/// only decrypted after their HMAC was verified.
fn decrypted<T>(outcome: Result<T, CryptoError>) -> Result<T, CryptoError> {
    if outcome.is_ok() {
        VERIFIED.set(VERIFIED.get() + 1);
    }
    outcome
}

#[derive(Debug)]
struct Observed;

impl SrtpProvider for Observed {
    fn aes_128_cm_sha1_80(&self) -> &'static dyn SupportedAes128CmSha1_80 {
        &Observed
    }

    fn aead_aes_128_gcm(&self) -> &'static dyn SupportedAeadAes128Gcm {
        &Observed
    }

    fn aead_aes_256_gcm(&self) -> &'static dyn SupportedAeadAes256Gcm {
        &Observed
    }

    fn srtp_aes_128_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        inner().srtp_aes_128_ecb_round(key, input, output);
    }

    fn srtp_aes_256_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        inner().srtp_aes_256_ecb_round(key, input, output);
    }
}

impl SupportedAes128CmSha1_80 for Observed {
    fn create_cipher(&self, key: [u8; 16], encrypt: bool) -> Box<dyn Aes128CmSha1_80Cipher> {
        Box::new(Cipher(inner().aes_128_cm_sha1_80().create_cipher(key, encrypt)))
    }
}

impl SupportedAeadAes128Gcm for Observed {
    fn create_cipher(&self, key: [u8; 16], encrypt: bool) -> Box<dyn AeadAes128GcmCipher> {
        Box::new(Cipher(inner().aead_aes_128_gcm().create_cipher(key, encrypt)))
    }
}

impl SupportedAeadAes256Gcm for Observed {
    fn create_cipher(&self, key: [u8; 32], encrypt: bool) -> Box<dyn AeadAes256GcmCipher> {
        Box::new(Cipher(inner().aead_aes_256_gcm().create_cipher(key, encrypt)))
    }
}

#[derive(Debug)]
struct Cipher<T: ?Sized>(Box<T>);

impl Aes128CmSha1_80Cipher for Cipher<dyn Aes128CmSha1_80Cipher> {
    fn encrypt(&mut self, iv: &[u8; 16], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        encrypting(input);
        self.0.encrypt(iv, input, output)
    }

    fn decrypt(&mut self, iv: &[u8; 16], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        decrypted(self.0.decrypt(iv, input, output))
    }
}

impl AeadAes128GcmCipher for Cipher<dyn AeadAes128GcmCipher> {
    fn encrypt(&mut self, iv: &[u8; 12], aad: &[u8], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        encrypting(input);
        self.0.encrypt(iv, aad, input, output)
    }

    fn decrypt(
        &mut self,
        iv: &[u8; 12],
        aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        decrypted(self.0.decrypt(iv, aads, input, output))
    }
}

impl AeadAes256GcmCipher for Cipher<dyn AeadAes256GcmCipher> {
    fn encrypt(&mut self, iv: &[u8; 12], aad: &[u8], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        encrypting(input);
        self.0.encrypt(iv, aad, input, output)
    }

    fn decrypt(
        &mut self,
        iv: &[u8; 12],
        aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        decrypted(self.0.decrypt(iv, aads, input, output))
    }
}
