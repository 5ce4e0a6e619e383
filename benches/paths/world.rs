//! A server without a socket, with stages, a stopped clock, and the same ids in every run.

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{Request, StatusCode};
use clap::Parser as _;
use greenroom::app::{App, OperationContext, credentials, stages};
use greenroom::clock::{Clock, Timestamp};
use greenroom::config::{MetricsMode, ServeArgs, Url};
use greenroom::domain::policy::Policy;
use greenroom::http::{ClientAddress, HttpService};
use greenroom::ids::Ids;
use greenroom::model::arn::Scope;
use greenroom::model::stage::{CreateStageRequest, GetStageRequest, StageArn};
use greenroom::server::Server;
use http_body_util::BodyExt as _;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::{Duration, SystemTime};
use tokio::runtime::Runtime;

/// 2026-11-22T00:00:00Z.
pub const NOW: Timestamp = Timestamp(1_795_305_600_000);
const ACCOUNT: &str = "000000000000";
const REGION: &str = "us-east-1";

/// An access key.
pub struct Key {
    id: String,
    secret: String,
}

impl Key {
    /// The development key.
    pub fn development() -> Key {
        Key { id: credentials::DEVELOPMENT.into(), secret: credentials::DEVELOPMENT.into() }
    }
}

/// A signed request, as parts and a body.
pub struct Signed(pub Parts, pub Bytes);

/// The server and its content.
pub struct World {
    runtime: Runtime,
    server: Server,
    service: HttpService,
    /// For calls of operations without the API layer.
    pub call: OperationContext,
    /// The id of a stage, and its ARN.
    pub stage: String,
    pub arn: StageArn,
}

impl World {
    /// A server on the store at `url`, with a hundred stages.
    pub fn open(runtime: Runtime, url: Url, metrics: MetricsMode) -> Rc<World> {
        // With a quota, each creation would count the stages.
        let args =
            ["greenroom", "--listen", "127.0.0.1:0", "--media-addr", "127.0.0.1:0", "--quotas", "stages=unlimited"];
        let mut args = ServeArgs::parse_from(args);
        args.store.master_key = Some(greenroom::config::Secret(greenroom::secret::MasterKey::text(&[7; 32])));
        args.store.database_url = url;
        args.telemetry.metrics = metrics;
        let scope = Scope { account: ACCOUNT.into(), region: REGION.into() };
        let (server, call, arn) = runtime.block_on(async {
            let server = Server::start(args, Clock::manual(NOW), Ids::seeded(1)).await.expect("the server starts");
            let call = OperationContext::new(server.app.clone(), scope);
            let mut arn = None;
            for _ in 0..100 {
                let create: CreateStageRequest = serde_json::from_str("{}").expect("an empty request");
                let made = stages::create(call.clone(), create).await.expect("a stage").stage.expect("is shown");
                arn.get_or_insert(made.arn);
            }
            (server, call, arn.expect("a stage"))
        });
        let stage = arn.rsplit('/').next().unwrap_or_default().to_owned();
        Rc::new(World { service: server.service(), runtime, server, call, stage, arn })
    }

    /// The service.
    pub fn app(&self) -> &App {
        &self.server.app
    }

    /// Blocks on a future.
    pub fn wait<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime.block_on(what)
    }

    /// Gets the stage without the API layer.
    pub fn get_stage(&self) {
        let input = GetStageRequest { arn: self.arn.clone() };
        self.wait(stages::get(self.call.clone(), input)).expect("the stage");
    }

    /// Stores an access key with a policy.
    pub fn stored_key(&self, policy: &str) -> Key {
        let new = credentials::NewKey {
            account: ACCOUNT.into(),
            name: "alice".into(),
            policy: Some(Policy::parse(policy).expect("a policy")),
            session_token: false,
            expires_at: None,
        };
        let app = self.app();
        let made = self.wait(credentials::create(app.db(), app.secret(), app.ids(), NOW, new)).expect("a key");
        Key { id: made.row.id, secret: made.secret }
    }

    /// A request as an SDK sends it.
    pub fn signed(&self, path: &str, body: &[u8], key: &Key) -> Signed {
        signed(path, body, key)
    }

    /// Sends a request, and reads the response.
    pub fn ask(&self, Signed(parts, body): &Signed) {
        self.wait(async {
            let request = Request::from_parts(parts.clone(), Body::from(body.clone()));
            let response = self.service.respond(request).await;
            assert_eq!(response.status(), StatusCode::OK);
            response.into_body().collect().await.expect("a body");
        });
    }
}

/// A request as an SDK sends it.
pub fn signed(path: &str, body: &[u8], key: &Key) -> Signed {
    let identity = Credentials::new(&key.id, &key.secret, None, None, "bench").into();
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW.unix_seconds().unsigned_abs());
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name("ivs")
        .time(at)
        .settings(SigningSettings::default())
        .build()
        .expect("every parameter is set")
        .into();
    let headers = [
        ("host", "localhost:4600"),
        ("content-type", "application/json"),
        ("user-agent", "aws-sdk-rust/1.3.10 ua/2.1 api/ivsrealtime#1.133.0 os/linux lang/rust#1.95.0"),
        ("amz-sdk-invocation-id", "6a1c1f9e-94b4-4bd6-a33b-6a2a3a4a6c11"),
        ("amz-sdk-request", "attempt=1; max=3"),
    ];
    let uri = format!("http://localhost:4600{path}");
    let request = SignableRequest::new("POST", uri, headers.into_iter(), SignableBody::Bytes(body)).expect("a request");
    let (instructions, _) = sign(request, &params).expect("a signature").into_parts();
    let mut signed = Request::builder().method("POST").uri(path);
    for (name, value) in headers {
        signed = signed.header(name, value);
    }
    let mut signed = signed.body(()).expect("a request");
    instructions.apply_to_request_http1x(&mut signed);
    // As the listener adds it.
    signed.extensions_mut().insert(ClientAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    Signed(signed.into_parts().0, Bytes::copy_from_slice(body))
}
