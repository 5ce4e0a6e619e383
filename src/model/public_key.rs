//! Public keys: shapes, requests and answers.

use super::common::PaginationToken;
use super::declare::{integer_shapes, list_shapes, string_shapes, structures};
use super::tag::Tags;

string_shapes! {
    /// ARN of a public key.
    PublicKeyArn { length: 1..=128, pattern: r"arn:aws:ivs:[a-z0-9-]+:[0-9]+:public-key/[a-zA-Z0-9-]+" }
    /// Name of a public key.
    PublicKeyName { length: 0..=128, pattern: r"[a-zA-Z0-9-_]*" }
    /// A public key as PEM. What is sent in its place may be a private one, so that refusals do not repeat it.
    PublicKeyMaterial { pattern: r".*-----BEGIN PUBLIC KEY-----\r?\n([a-zA-Z0-9+/=\r\n]+)\r?\n-----END PUBLIC KEY-----(\r?\n)?.*" sensitive: true }
    /// MD5 of the DER, as colon-separated hex.
    PublicKeyFingerprint {  }
}

integer_shapes! {
    /// Most items of a page.
    MaxPublicKeyResults { min: 1, max: 100 }
}

list_shapes! {
    /// Public keys of a page.
    PublicKeyList [PublicKeySummary]
}

structures! {
    /// A key that self-signed participant tokens are checked with.
    PublicKey {
        /// ARN of the resource.
        arn: Option<PublicKeyArn>,
        /// Name; not unique, `""` when unset.
        name: Option<PublicKeyName>,
        /// SubjectPublicKeyInfo of a P-384 key, as PEM.
        public_key_material: Option<PublicKeyMaterial>,
        /// MD5 of the DER, as colon-separated hex.
        fingerprint: Option<PublicKeyFingerprint>,
        /// Tags of the resource.
        tags: Option<Tags>,
    }
    /// A public key in short.
    PublicKeySummary {
        /// ARN of the resource.
        arn: Option<PublicKeyArn>,
        /// Name; not unique, `""` when unset.
        name: Option<PublicKeyName>,
        /// Tags of the resource.
        tags: Option<Tags>,
    }
    /// Input of `ImportPublicKey`.
    ImportPublicKeyRequest {
        /// SubjectPublicKeyInfo of a P-384 key, as PEM.
        public_key_material: PublicKeyMaterial,
        /// Name; not unique, `""` when unset.
        name: Option<PublicKeyName>,
        /// Tags of the resource.
        tags: Option<Tags>,
    }
    /// Answer of `ImportPublicKey`.
    ImportPublicKeyResponse {
        /// The public key.
        public_key: Option<PublicKey>,
    }
    /// Input of `GetPublicKey`.
    GetPublicKeyRequest {
        /// ARN of the resource.
        arn: PublicKeyArn,
    }
    /// Answer of `GetPublicKey`.
    GetPublicKeyResponse {
        /// The public key.
        public_key: Option<PublicKey>,
    }
    /// Input of `ListPublicKeys`.
    ListPublicKeysRequest {
        /// Where the next page begins; absent on the last page.
        next_token: Option<PaginationToken>,
        /// Most items a page may hold.
        max_results: Option<MaxPublicKeyResults>,
    }
    /// Answer of `ListPublicKeys`.
    ListPublicKeysResponse {
        /// Public keys in the order of their import.
        public_keys: PublicKeyList,
        /// Where the next page begins; absent on the last page.
        next_token: Option<PaginationToken>,
    }
    /// Input of `DeletePublicKey`.
    DeletePublicKeyRequest {
        /// ARN of the resource.
        arn: PublicKeyArn,
    }
    /// Answer of `DeletePublicKey`.
    DeletePublicKeyResponse {}
}
