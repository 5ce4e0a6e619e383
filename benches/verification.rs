//! What the signature check costs: of each request, and as a share of GetStage, in one run.
//!
//! `cargo bench --bench verification` prints the medians of interleaved rounds. Nothing is asserted: only ratios of one
//! run mean anything.

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use axum::body::Body;
use axum::http::Request;
use clap::Parser as _;
use greenroom::api::signature;
use greenroom::app::{Call, stages};
use greenroom::clock::{Clock, Timestamp};
use greenroom::config::{Cli, Url};
use greenroom::ids::Ids;
use greenroom::model::arn::Scope;
use greenroom::model::stage::{CreateStageRequest, GetStageRequest};
use greenroom::server::Server;
use http_body_util::BodyExt as _;
use std::time::{Duration, Instant, SystemTime};
use tower::ServiceExt as _;

const ROUNDS: usize = 31;
const REQUESTS: u32 = 200;
/// 2026-11-22T00:00:00Z.
const NOW: u64 = 1_795_305_600;

/// A signed request, as parts and a body.
fn signed(path: &str, body: &[u8]) -> Request<Vec<u8>> {
    let identity = Credentials::new("test", "test", None, None, "bench").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("ivs")
        .time(SystemTime::UNIX_EPOCH + Duration::from_secs(NOW))
        .settings(SigningSettings::default())
        .build()
        .expect("every parameter is set")
        .into();
    let headers = [("host", "localhost"), ("content-type", "application/json")];
    let uri = format!("http://localhost{path}");
    let request = SignableRequest::new("POST", uri, headers.into_iter(), SignableBody::Bytes(body)).expect("a request");
    let (instructions, _) = sign(request, &params).expect("a signature").into_parts();
    let mut signed = Request::builder().method("POST").uri(path);
    for (name, value) in headers {
        signed = signed.header(name, value);
    }
    let mut signed = signed.body(body.to_vec()).expect("a request");
    instructions.apply_to_request_http1x(&mut signed);
    signed
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2] / REQUESTS
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut args = Cli::parse_from(["greenroom", "--listen", "127.0.0.1:0"]).serve;
    args.store.database_url = Url::Memory;
    let clock = Clock::manual(Timestamp(NOW as i64 * 1000));
    let server = Server::start(args, clock, Ids::seeded(1)).await.expect("the server starts");
    let call =
        Call { app: server.app.clone(), scope: Scope { account: "000000000000".into(), region: "us-east-1".into() } };
    let create: CreateStageRequest = serde_json::from_str("{}").expect("an empty request");
    let stage = stages::create(call.clone(), create).await.expect("a stage").stage.expect("is shown");
    let body = serde_json::to_vec(&serde_json::json!({"arn": stage.arn})).expect("JSON");
    let (parts, body) = signed("/GetStage", &body).into_parts();

    let (mut whole, mut bare, mut check) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for _ in 0..REQUESTS {
            let request = Request::from_parts(parts.clone(), Body::from(body.clone()));
            let response = server.router().oneshot(request).await.expect("an answer");
            assert_eq!(response.status(), 200);
            response.into_body().collect().await.expect("a body");
        }
        whole.push(begun.elapsed());
        let begun = Instant::now();
        for _ in 0..REQUESTS {
            let get = GetStageRequest { arn: stage.arn.clone() };
            stages::get(call.clone(), get).await.expect("the stage");
        }
        bare.push(begun.elapsed());
        let begun = Instant::now();
        for _ in 0..REQUESTS {
            let claim = signature::claim(&parts).expect("a claim");
            claim.verify(&parts, &body, "test").expect("a right signature");
        }
        check.push(begun.elapsed());
    }
    let (whole, bare, check) = (median(whole), median(bare), median(check));
    let share = |part: Duration| 100.0 * part.as_secs_f64() / whole.as_secs_f64();
    println!("GetStage through the door, SQLite in memory   {:>8.1} us", whole.as_secs_f64() * 1e6);
    println!(
        "  of it the operation and the store           {:>8.1} us  {:>4.1} %",
        bare.as_secs_f64() * 1e6,
        share(bare)
    );
    println!(
        "  of it the signature                         {:>8.1} us  {:>4.1} %",
        check.as_secs_f64() * 1e6,
        share(check)
    );
}
