//! Signatures: any headers at all; the first line is the path, each other one a header.
#![no_main]

use axum::http::Request;
use greenroom::api::sigv4::SigV4Authorization;
use greenroom::app::credentials::SecretAccessKey;
use greenroom::clock::Timestamp;
use libfuzzer_sys::fuzz_target;
use std::time::Duration;

fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let mut request = Request::builder().method("POST").uri(lines.next().unwrap_or("/"));
    for line in lines {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        request = request.header(name, value);
    }
    let Ok(request) = request.body(()) else { return };
    let parts = request.into_parts().0;
    match SigV4Authorization::parse(&parts) {
        Ok(authorization) => {
            let _ = authorization.check_head(&"us-east-1".parse().unwrap(), Timestamp(0), Duration::from_secs(300));
            let secret = SecretAccessKey::from("secret".to_owned());
            assert!(authorization.verify(&parts, b"{}", &secret).is_err(), "no signature is guessed");
        }
        Err(fault) => assert_eq!(fault.status(), 403, "{fault}"),
    }
});
