//! Storage in S3, against a server in this process.

use super::fake_s3::{FakeS3, Mode, open, short};
use super::settings::S3Settings;
use super::*;
use crate::config::Encryption;

const HEADERS: Headers<'_> = Headers { content_type: "video/mp4", cache_control: "no-cache" };

async fn put(storage: &Storage, key: &str) -> Result<(), StorageError> {
    storage.put("bucket", key, HEADERS, Contents::Bytes(Bytes::from_static(b"segment"))).await
}

#[tokio::test]
async fn a_put_is_signed_and_has_the_headers_of_aws() {
    let server = FakeS3::start().await;
    put(&server.storage().await, "a/0.mp4").await.unwrap();
    let requests = server.requests();
    let [request] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!(request.target.split('?').next(), Some("/bucket/a/0.mp4"));
    let authorization = request.header("authorization").unwrap();
    assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"), "{authorization}");
    assert!(authorization.contains("/eu-test-1/s3/aws4_request"), "{authorization}");
    // The signature covers the body, by its SHA-256.
    let hash = "03e71c6d7dc6bd4e89ceaf32f6488ca0aa69b0de784b706cac5818d680e9d97f";
    assert_eq!(request.header("x-amz-content-sha256"), Some(hash));
    assert_eq!(request.header("x-amz-acl"), Some("bucket-owner-full-control"));
    assert_eq!(request.header("content-type"), Some("video/mp4"));
    assert_eq!(request.header("cache-control"), Some("no-cache"));
    assert_eq!(request.header("x-amz-server-side-encryption"), None, "the bucket's default");
    assert_eq!(request.header("content-encoding"), None, "other stores do not know aws-chunked");
    assert_eq!(server.objects()["/bucket/a/0.mp4"], b"segment");
}

#[tokio::test]
async fn encryption_is_requested_and_the_access_control_list_can_be_off() {
    let server = FakeS3::start().await;
    let aes = S3Settings { encryption: Encryption::Aes256, acl: false, ..server.settings() };
    put(&open(aes, Timeouts::default()).await, "a").await.unwrap();
    let key = Some("alias/recordings".to_owned());
    let bucket = Some("other-name".to_owned());
    let kms = S3Settings { encryption: Encryption::Kms, kms_key_id: key, bucket, ..server.settings() };
    put(&open(kms, Timeouts::default()).await, "b").await.unwrap();
    let requests = server.requests();
    let [aes, kms] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!(aes.header("x-amz-server-side-encryption"), Some("AES256"));
    assert_eq!(aes.header("x-amz-acl"), None);
    assert_eq!(kms.header("x-amz-server-side-encryption"), Some("aws:kms"));
    assert_eq!(kms.header("x-amz-server-side-encryption-aws-kms-key-id"), Some("alias/recordings"));
    assert!(kms.target.starts_with("/other-name/b"), "{}", kms.target);
}

#[tokio::test]
async fn objects_are_read_and_listed_over_pages() {
    let server = FakeS3::start().await;
    let storage = server.storage().await;
    for key in ["a/0.mp4", "a/1.mp4", "a/2.mp4", "a/3.mp4", "a/4.mp4", "b/0.mp4"] {
        put(&storage, key).await.unwrap();
    }
    assert_eq!(storage.get("bucket", "a/3.mp4").await.unwrap(), "segment");
    let missing = storage.get("bucket", "a/9.mp4").await.unwrap_err();
    assert!(missing.is_not_found() && !missing.retryable, "{missing:?}");
    let listed = storage.list("bucket", "a/").await.unwrap();
    let keys: Vec<_> = listed.iter().map(|object| (&*object.key, object.bytes)).collect();
    assert_eq!(keys, [("a/0.mp4", 7), ("a/1.mp4", 7), ("a/2.mp4", 7), ("a/3.mp4", 7), ("a/4.mp4", 7)]);
}

#[tokio::test]
async fn refusals_have_the_code_of_the_store_and_are_not_retried_by_the_library() {
    let server = FakeS3::start().await;
    let storage = server.storage().await;
    for (n, (status, code, expected, retryable)) in [
        (404, "NoSuchBucket", "NoSuchBucket", false),
        (403, "AccessDenied", "AccessDenied", false),
        (400, "KMS.DisabledException", "KMS.DisabledException", false),
        (503, "SlowDown", "SlowDown", true),
        (500, "InternalError", "InternalError", true),
        (507, "XMinioStorageFull", "XMinioStorageFull", true),
        (301, "PermanentRedirect", "PermanentRedirect", false),
    ]
    .into_iter()
    .enumerate()
    {
        server.set("", Mode::Fails(status, code));
        let error = put(&storage, "a").await.unwrap_err();
        assert_eq!((&*error.code, error.retryable), (expected, retryable), "{error:?}");
        assert_eq!(error.detail, "of the store", "the message of the store is for the log");
        assert_eq!(server.requests().len(), n + 1, "one request");
    }
}

#[tokio::test]
async fn a_store_that_is_gone_or_hangs_is_a_retryable_error() {
    let server = FakeS3::start().await;
    let storage = open(server.settings(), short()).await;
    server.set("", Mode::IsGone);
    let error = put(&storage, "a").await.unwrap_err();
    assert_eq!((&*error.code, error.retryable), ("ConnectionError", true), "{error:?}");
    server.set("", Mode::Hangs);
    let error = put(&storage, "a").await.unwrap_err();
    assert_eq!((&*error.code, error.retryable), ("RequestTimeout", true), "{error:?}");
    server.set("", Mode::Works);
    put(&storage, "a").await.unwrap();
}

#[tokio::test]
async fn a_check_finds_a_missing_bucket_and_does_not_need_the_right_to_ask() {
    let server = FakeS3::start().await;
    let storage = server.storage().await;
    assert_eq!(storage.check("bucket").await, Ok(BucketCheck::Known));
    server.set("", Mode::Fails(403, ""));
    assert_eq!(storage.check("bucket").await, Ok(BucketCheck::NotAllowed));
    server.set("", Mode::Fails(404, ""));
    assert_eq!(storage.check("bucket").await.unwrap_err().code, "NoSuchBucket");
}

#[tokio::test]
async fn names_that_are_not_ours_do_not_reach_the_store() {
    let server = FakeS3::start().await;
    let storage = server.storage().await;
    for (bucket, key, code) in
        [("..", "a", "InvalidBucketName"), ("bucket", "../a", "InvalidArgument"), ("bucket", "a//b", "InvalidArgument")]
    {
        let contents = Contents::Bytes(Bytes::new());
        assert_eq!(storage.put(bucket, key, HEADERS, contents).await.unwrap_err().code, code);
        assert_eq!(storage.get(bucket, key).await.unwrap_err().code, code);
    }
    assert!(server.requests().is_empty());
}
