//! Public keys: shapes, requests and answers.

use super::common::PaginationToken;
use super::declare::{integer_shapes, list_shapes, string_shapes, structures};
use super::tag::Tags;

string_shapes! {
    /// ARN of a public key.
    PublicKeyArn { length: 1..=128, pattern: r"arn:aws:ivs:[a-z0-9-]+:[0-9]+:public-key/[a-zA-Z0-9-]+" }
    /// Name of a public key.
    PublicKeyName { length: 0..=128, pattern: r"[a-zA-Z0-9-_]*" }
    /// A public key as PEM. Errors do not repeat it, since a client may have sent a private key by mistake.
    PublicKeyMaterial { pattern: r".*-----BEGIN PUBLIC KEY-----\r?\n([a-zA-Z0-9+/=\r\n]+)\r?\n-----END PUBLIC KEY-----(\r?\n)?.*" sensitive: true }
    /// MD5 of the DER, as colon-separated hex.
    PublicKeyFingerprint {  }
}

integer_shapes! {
    /// Maximum number of items per page.
    MaxPublicKeyResults { min: 1, max: 100 }
}

list_shapes! {
    /// Public keys of a page.
    PublicKeyList [PublicKeySummary]
}

structures! {
    /// A public key to verify self-signed participant tokens.
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
    /// Summary of a public key.
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
    /// Output of `ImportPublicKey`.
    ImportPublicKeyResponse {
        /// The public key.
        public_key: Option<PublicKey>,
    }
    /// Input of `GetPublicKey`.
    GetPublicKeyRequest {
        /// ARN of the resource.
        arn: PublicKeyArn,
    }
    /// Output of `GetPublicKey`.
    GetPublicKeyResponse {
        /// The public key.
        public_key: Option<PublicKey>,
    }
    /// Input of `ListPublicKeys`.
    ListPublicKeysRequest {
        /// Token of the next page; absent on the last page.
        next_token: Option<PaginationToken>,
        /// Maximum number of items per page.
        max_results: Option<MaxPublicKeyResults>,
    }
    /// Output of `ListPublicKeys`.
    ListPublicKeysResponse {
        /// Public keys in the order of their import.
        public_keys: PublicKeyList,
        /// Token of the next page; absent on the last page.
        next_token: Option<PaginationToken>,
    }
    /// Input of `DeletePublicKey`.
    DeletePublicKeyRequest {
        /// ARN of the resource.
        arn: PublicKeyArn,
    }
    /// Output of `DeletePublicKey`.
    DeletePublicKeyResponse {}
}
