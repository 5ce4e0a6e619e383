//! Public keys: validation and fingerprints.

use super::ValidationErrors;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};

const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";

/// SubjectPublicKeyInfo of a P-384 key up to the point: the algorithm id-ecPublicKey with the curve secp384r1, and a
/// bit string of 97 bytes (RFC 5480).
const P384: [u8; 23] = [
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
    0x22, 0x03, 0x62, 0x00,
];

/// Algorithm identifiers of other keys, for error texts.
const OTHERS: [(&str, &[u8]); 8] = [
    ("an RSA key", &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01]),
    ("a P-256 key", &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]),
    ("a P-521 key", &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23]),
    ("a secp256k1 key", &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a]),
    ("an Ed25519 key", &[0x06, 0x03, 0x2b, 0x65, 0x70]),
    ("an Ed448 key", &[0x06, 0x03, 0x2b, 0x65, 0x71]),
    ("an X25519 key", &[0x06, 0x03, 0x2b, 0x65, 0x6e]),
    ("a P-384 key in another form than an uncompressed point", &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22]),
];

/// Reads a P-384 public key from PEM (LF or CRLF) and answers its fingerprint: the MD5 of the DER as colon-separated
/// hex. AWS does not say how it makes its own.
pub fn fingerprint(pem: &str) -> Result<String, ValidationErrors> {
    let der = der(pem)?;
    let hex = |byte: &u8| format!("{byte:02x}");
    Ok(Md5::digest(der).iter().map(hex).collect::<Vec<_>>().join(":"))
}

/// The uncompressed point of a P-384 public key in PEM.
pub fn point(pem: &str) -> Result<Vec<u8>, ValidationErrors> {
    Ok(der(pem)?.split_off(P384.len()))
}

/// The DER inside the PEM, if it is a P-384 public key.
pub fn der(pem: &str) -> Result<Vec<u8>, ValidationErrors> {
    let refuse = |found: &str| {
        Err(ValidationErrors(format!(
            "publicKeyMaterial: must be the PEM of a P-384 (secp384r1) public key as SubjectPublicKeyInfo; found {found}"
        )))
    };
    let body = pem.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END));
    let Some((body, _)) = body else { return refuse("no PUBLIC KEY block") };
    let base64: String = body.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let Ok(der) = STANDARD.decode(base64) else { return refuse("a block that is not base64") };
    let Some(point) = der.strip_prefix(&P384) else {
        let known = OTHERS.iter().find(|(_, id)| der.windows(id.len()).take(32).any(|window| window == *id));
        return refuse(known.map_or("something else", |(name, _)| name));
    };
    // The library checks that the point is on the curve.
    let key = aws_lc_rs::signature::ParsedPublicKey::new(&aws_lc_rs::signature::ECDSA_P384_SHA384_FIXED, point);
    if key.is_err() {
        return refuse("a point that is not on the curve");
    }
    Ok(der)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "-----BEGIN PUBLIC KEY-----\nMHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEKEY\n-----END PUBLIC KEY-----\n";

    fn pem(der: &[u8], newline: &str) -> String {
        format!("{BEGIN}{newline}{}{newline}{END}{newline}", STANDARD.encode(der))
    }

    fn p384() -> Vec<u8> {
        use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        [&P384[..], pair.public_key().as_ref()].concat()
    }

    #[test]
    fn a_p384_key_has_the_same_fingerprint_with_either_line_end() {
        let der = p384();
        let fingerprints = ["\n", "\r\n"].map(|newline| fingerprint(&pem(&der, newline)).unwrap());
        assert_eq!(fingerprints[0], fingerprints[1]);
        assert_eq!(fingerprints[0].len(), 16 * 3 - 1);
    }

    #[test]
    fn anything_else_is_named() {
        let mut off_curve = p384();
        *off_curve.last_mut().unwrap() ^= 1;
        let p256 = [&[0x30, 0x59, 0x30, 0x13][..], OTHERS[1].1, &[0; 68]].concat();
        for (pem, found) in [
            (KEY.to_owned(), "not base64"),
            (pem(b"hello", "\n"), "something else"),
            (pem(&p256, "\n"), "a P-256 key"),
            (pem(&off_curve, "\n"), "not on the curve"),
            (String::new(), "no PUBLIC KEY block"),
        ] {
            let ValidationErrors(text) = fingerprint(&pem).unwrap_err();
            assert!(text.contains(found), "{text}");
        }
    }
}
