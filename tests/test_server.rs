//! The in-process server for tests in Rust, and the test API without a client library.

use greenroom::test_server::{TestServer, TestServerError};
use serde_json::json;

/// The example of docs/test/rust.md.
mod example {
    use greenroom::test_server::TestServer;
    use serde_json::json;
    use std::time::Duration;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_session_ends_a_minute_after_the_last_participant() {
        let server = TestServer::start().await.unwrap();
        // Point your code, or an AWS SDK, at server.endpoint(), with the access key test and the secret test.
        server.post("/seed", &json!({"stages": [{"name": "demo"}]})).await.unwrap();
        let alice = server.post("/participants", &json!({"stage": "demo"})).await.unwrap();
        let leave = format!("/participants/{}/leave", alice["participantId"].as_str().unwrap());
        server.post(&leave, &json!({})).await.unwrap();
        server.advance(Duration::from_secs(61)).await.unwrap();
        server.stop().await;
    }
}

fn without_indentation(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

#[test]
fn the_documentation_shows_the_example() {
    let page = include_str!("../docs/test/rust.md");
    let block = page.split("```rust").nth(1).unwrap().split("```").next().unwrap();
    let own = include_str!("test_server.rs").split("mod example {").nth(1).unwrap().split("\n}\n").next().unwrap();
    assert_eq!(without_indentation(block), without_indentation(own));
}

async fn refused(call: impl Future<Output = Result<serde_json::Value, TestServerError>>) -> (u16, String, String) {
    match call.await {
        Err(TestServerError::Refused { status, kind, message }) => (status, kind, message),
        other => panic!("refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_name_their_cause() {
    let server = TestServer::start().await.unwrap();
    let (status, kind, message) = refused(server.get("/nothing")).await;
    assert_eq!((status, &*kind), (404, "UnknownOperationException"), "{message}");
    for (path, words) in [
        ("/reset?account=1", "account: an account is 12 digits"),
        ("/reset?region=moon-1", "region: 'moon-1' is not one of --regions"),
        ("/reset?all=1", "all: '1' is neither true nor false"),
        ("/reset?all=true&region=us-east-1", "all: cannot be used with account or region"),
    ] {
        let (status, kind, message) = refused(server.post(path, &json!({}))).await;
        assert_eq!((status, &*kind, &*message), (400, "ValidationException", words), "{path}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_test_api_is_absent_without_its_flag_and_signed_when_it_is_public() {
    let server = TestServer::with_flags(&["--test-api=off"]).await.unwrap();
    let (status, kind, _) = refused(server.post("/reset", &json!({}))).await;
    // As any path that the API does not have, an unsigned request is refused before it is routed.
    assert!((status, &*kind) == (404, "UnknownOperationException") || status == 403, "{status} {kind}");
    server.stop().await;
    let server = TestServer::with_flags(&["--test-api=public"]).await.unwrap();
    let (status, kind, _) = refused(server.post("/reset", &json!({}))).await;
    assert_eq!((status, &*kind), (403, "MissingAuthenticationTokenException"));
    server.stop().await;
}

#[tokio::test]
async fn unsigned_access_is_for_this_machine_only() {
    for flags in [
        vec!["--listen=0.0.0.0:0", "--dev-credentials=off"],
        vec!["--public-url=https://ivs.example.com"],
        vec!["--trusted-proxies=10.0.0.0/8"],
    ] {
        let error = TestServer::with_flags(&flags).await.unwrap_err().to_string();
        assert!(error.contains("--test-api=on is for a loopback address"), "{flags:?}: {error}");
    }
    let error = TestServer::with_flags(&["--test-api=public", "--trusted-proxies=10.0.0.0/8"]).await.unwrap_err();
    assert!(error.to_string().contains("needs --dev-credentials=off"), "{error}");
    let error = TestServer::with_flags(&["--nonsense"]).await.unwrap_err();
    assert!(matches!(error, TestServerError::Flags(_)), "{error}");
}
