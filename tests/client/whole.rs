//! The client against the whole server, and what the API says of it afterwards.

use super::{DEADLINE, Joined, Lines, plays};
use clap::Parser as _;
use greenroom::app::{OperationContext, participants, sessions, stages, tokens};
use greenroom::cli::args::LoadArgs;
use greenroom::clock::{self, Clock};
use greenroom::config::{ServeArgs, Url};
use greenroom::ids::Ids;
use greenroom::model::arn::Scope;
use greenroom::server::Server;
use greenroom_client::ClientError;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;

/// A running server with a stage.
pub struct TestServer {
    pub call: OperationContext,
    url: String,
    pub stage: String,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// Calls an operation with JSON, as the API does.
macro_rules! call_api {
    ($server:expr, $operation:path, $input:tt) => {{
        let input = serde_json::from_value(json!($input)).unwrap();
        serde_json::to_value($operation($server.call.clone(), input).await.unwrap()).unwrap()
    }};
}

impl TestServer {
    pub async fn start(more: &[&str]) -> TestServer {
        TestServer::start_at("127.0.0.1:0", more).await
    }

    async fn start_at(listen: &str, more: &[&str]) -> TestServer {
        TestServer::start_on(listen, Url::Memory, more).await
    }

    pub async fn start_on(listen: &str, store: Url, more: &[&str]) -> TestServer {
        let fixed = ["greenroom", "--listen", listen];
        let mut args = ServeArgs::parse_from(fixed.into_iter().chain(more.iter().copied()));
        args.store.database_url = store;
        let server = Server::start(args, Clock::System, Ids::Random).await.unwrap();
        let scope = Scope { account: "000000000000".into(), region: "us-east-1".into() };
        let (call, url) = (OperationContext::new(server.app.clone(), scope), server.endpoint());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.run(async move { drop(stopped.await) }));
        let mut server = TestServer { call, url, stage: String::new(), stop: Some(stop), task };
        let made = call_api!(server, stages::create, {"name": "client"});
        server.stage = made["stage"]["arn"].as_str().unwrap().to_owned();
        server
    }

    /// A participant's id and token.
    pub async fn token(&self, capabilities: &[&str]) -> (String, String) {
        let made = call_api!(self, tokens::create, {"stageArn": self.stage, "capabilities": capabilities});
        let text = |name: &str| made["participantToken"][name].as_str().unwrap().to_owned();
        (text("participantId"), text("token"))
    }

    pub async fn session(&self) -> String {
        let all = call_api!(self, sessions::list, {"stageArn": self.stage});
        all["stageSessions"][0]["sessionId"].as_str().unwrap().to_owned()
    }

    /// Names of a participant's events, in order.
    async fn events(&self, participant: &str) -> Vec<String> {
        let session = self.session().await;
        let all = call_api!(self, participants::events, {
            "stageArn": self.stage, "sessionId": session, "participantId": participant,
        });
        let events = all["events"].as_array().unwrap().iter();
        events.map(|event| event["name"].as_str().unwrap().to_owned()).collect()
    }

    pub async fn participant(&self, participant: &str) -> Value {
        let session = self.session().await;
        let found = call_api!(self, participants::get, {
            "stageArn": self.stage, "sessionId": session, "participantId": participant,
        });
        found["participant"].clone()
    }

    pub async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        tokio::time::timeout(DEADLINE, self.task).await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_reports_what_participants_did() {
    let server = TestServer::start(&[]).await;
    let (alice, publishes) = server.token(&["PUBLISH"]).await;
    let (bob, subscribes) = server.token(&["SUBSCRIBE"]).await;
    let (_, watches) = server.token(&["SUBSCRIBE"]).await;
    let carol = Joined::start(&watches, &["--subscribe", "all"]);
    carol.line("joined", |line| line["type"] == "joined").await;
    let publisher = Joined::start(&publishes, &["--publish", "test-pattern"]);
    carol.figures("subscribe", Some(&alice), plays).await;
    let subscriber = Joined::start(&subscribes, &["--subscribe", &alice]);
    subscriber.figures("subscribe", Some(&alice), plays).await;
    let seen = server.participant(&alice).await;
    assert_eq!((&seen["state"], &seen["published"]), (&json!("CONNECTED"), &json!(true)), "{seen}");
    assert_eq!(seen["sdkVersion"], env!("CARGO_PKG_VERSION"), "{seen}");
    subscriber.stop().await.0.unwrap();
    publisher.stop().await.0.unwrap();
    carol.line("the end", |line| line["type"] == "ended" && line["remote"] == alice.as_str()).await;
    carol.stop().await.0.unwrap();
    assert_eq!(server.events(&alice).await, ["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT"]);
    assert_eq!(server.events(&bob).await, ["JOINED", "SUBSCRIBE_STARTED", "SUBSCRIBE_STOPPED", "LEFT"]);
    assert_eq!(server.participant(&bob).await["state"], "DISCONNECTED");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_is_closed_once_the_leaving_of_its_participant_is_recorded() {
    let server = TestServer::start(&[]).await;
    let (bob, token) = server.token(&["SUBSCRIBE"]).await;
    let subscriber = Joined::start(&token, &[]);
    subscriber.line("the state of the stage", |line| line["type"] == "stage").await;
    // Until the transaction ends, nothing else can be written.
    let transaction = server.call.app.db().write().await.unwrap();
    let mut stopped = std::pin::pin!(subscriber.stop());
    let early = tokio::time::timeout(Duration::from_millis(500), &mut stopped).await;
    assert!(early.is_err(), "closed before the leaving was recorded");
    drop(transaction);
    stopped.await.0.unwrap();
    assert_eq!(server.events(&bob).await, ["JOINED", "LEFT"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disconnected_participant_gets_the_reason_and_cannot_rejoin() {
    let server = TestServer::start(&[]).await;
    let (alice, token) = server.token(&["PUBLISH", "SUBSCRIBE"]).await;
    let publisher = Joined::start(&token, &["--publish", "test-pattern"]);
    publisher.figures("publish", None, |figures| figures["sent"]["frames"].as_u64() >= Some(5)).await;
    call_api!(server, participants::disconnect, {"stageArn": server.stage, "participantId": alice});
    let error = publisher.done().await.unwrap_err();
    assert!(error.to_string().starts_with("PARTICIPANT_DISCONNECTED"), "{error}");
    let error = Joined::start(&token, &[]).done().await.unwrap_err();
    assert!(error.to_string().starts_with("PARTICIPANT_DISCONNECTED"), "{error}");
    let (_, listens) = server.token(&["SUBSCRIBE"]).await;
    let error = Joined::start(&listens, &["--publish", "test-pattern"]).done().await.unwrap_err();
    assert!(error.to_string().starts_with("INSUFFICIENT_CAPABILITIES"), "{error}");
    server.stop().await;
}

/// Runs `greenroom load`: its result and report.
async fn load(server: &TestServer, more: &[&str]) -> (Result<(), ClientError>, Value) {
    load_until(server, more, Heard::default(), std::future::pending()).await
}

/// Notifies of progress output.
#[derive(Clone, Default)]
struct Heard(Arc<Notify>);

impl std::io::Write for Heard {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.notify_one();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn load_until(
    server: &TestServer,
    more: &[&str],
    mut progress: Heard,
    stop: impl Future<Output = ()>,
) -> (Result<(), ClientError>, Value) {
    let fixed = ["load", "--stage", &server.stage, "--endpoint", &server.url, "--output", "json"];
    let args = LoadArgs::parse_from(fixed.into_iter().chain(more.iter().copied()));
    let (sender, lines) = watch::channel(Vec::new());
    let mut lines_out = Lines(sender);
    let run = greenroom_client::load::run(args.into(), clock::system_time, &mut lines_out, &mut progress, stop);
    let done = tokio::time::timeout(DEADLINE, run).await.unwrap();
    let report = lines.borrow().first().unwrap().clone();
    (done, report)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_reports_what_its_participants_received() {
    let server = TestServer::start(&[]).await;
    let pid = std::process::id().to_string();
    let (done, report) = load(
        &server,
        &["--publishers", "2", "--subscribers", "20", "--ramp", "20", "--duration", "4", "--server-pid", &pid],
    )
    .await;
    done.unwrap_or_else(|error| panic!("{error}: {report:#}"));
    assert_eq!(report["publishers"], json!({"asked": 2, "joined": 2, "dropped": 0}), "{report:#}");
    assert_eq!(report["subscriptions"], json!({"connected": 20, "dropped": 0}), "{report:#}");
    assert_eq!(report["failures"], json!({}));
    assert_eq!(report["keyFrameWaitMs"]["count"], 20, "every subscriber receives a key frame: {report:#}");
    let received = &report["received"];
    let number = |name: &str| received[name].as_u64().unwrap_or_default();
    assert!(number("frames") > 20 * 60 && number("audioFrames") > 20 * 100, "{report:#}");
    assert!(number("bits") > 0 && number("lost") * 100 <= number("packets"), "{report:#}");
    assert!(report["server"]["residentBytes"].as_u64() > Some(1_000_000), "{report:#}");
    for participant in
        call_api!(server, participants::list, {"stageArn": server.stage, "sessionId": server.session().await})["participants"]
            .as_array()
            .unwrap()
    {
        assert_eq!(participant["state"], "DISCONNECTED", "{participant}");
    }
    server.stop().await;
}

/// HTTP, WebSockets and media, without an IPv4 address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn participants_join_over_ipv6_only() {
    let server = TestServer::start_at("[::1]:0", &[]).await;
    assert!(server.url.starts_with("http://[::1]:"), "{}", server.url);
    let (done, report) = load(&server, &["--publishers", "1", "--subscribers", "2", "--duration", "1"]).await;
    done.unwrap_or_else(|error| panic!("{error}: {report:#}"));
    assert_eq!(report["subscriptions"], json!({"connected": 2, "dropped": 0}), "{report:#}");
    assert_eq!(report["failures"], json!({}));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_that_is_stopped_early_reports_and_succeeds() {
    let server = TestServer::start(&[]).await;
    let progress = Heard::default();
    let received = progress.0.clone();
    let more = ["--subscribers", "1000", "--ramp", "1", "--duration", "1000"];
    let (done, report) = load_until(&server, &more, progress, async move { received.notified().await }).await;
    done.unwrap();
    assert!(report["subscribers"]["joined"].as_u64() < Some(1000), "{report:#}");
    assert_eq!(report["received"]["bitsPerSecond"], 0.0, "the load was not held: {report:#}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_counts_rejected_participants() {
    let server = TestServer::start(&["--quotas", "subscribers=2"]).await;
    let (done, report) = load(&server, &["--subscribers", "5", "--ramp", "50", "--duration", "1", "--no-events"]).await;
    let error = done.unwrap_err();
    assert_eq!(error.to_string(), "3 of 6 did not join");
    assert_eq!(report["failures"], json!({"QUOTA_EXCEEDED": 3}), "{report:#}");
    assert_eq!(report["subscribers"], json!({"asked": 5, "joined": 2}));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_with_a_wrong_key_reports_the_error() {
    let server = TestServer::start(&[]).await;
    let (done, report) =
        load(&server, &["--secret-access-key", "wrong", "--subscribers", "1", "--duration", "1"]).await;
    assert!(done.is_err());
    assert_eq!(report["failures"]["InvalidSignatureException"], 2, "{report:#}");
    server.stop().await;
}

/// A temporary folder, removed on drop.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("greenroom-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn https_and_wss_require_a_trusted_certificate() {
    let folder = Folder::new("tls");
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).unwrap();
    let certificate = folder.file("certificate.pem", made.cert.pem().as_bytes());
    let key = folder.file("key.pem", made.signing_key.serialize_pem().as_bytes());
    let server = TestServer::start(&["--tls-cert", &certificate, "--tls-key", &key]).await;
    let (_, token) = server.token(&["PUBLISH"]).await;
    let publisher = Joined::start(&token, &["--publish", "test-pattern", "--ca", &certificate]);
    publisher.figures("publish", None, |figures| figures["sent"]["frames"].as_u64() >= Some(5)).await;
    publisher.stop().await.0.unwrap();
    let error = Joined::start(&token, &[]).done().await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    server.stop().await;
}

/// An IVF file with the frame headers of VP8 (RFC 6386, 9.1): 64x48, every tenth frame a key frame.
fn vp8() -> Vec<u8> {
    let head = [&b"DKIF\0\0\x20\0VP80\x40\0\x30\0"[..], &30_u32.to_le_bytes(), &1_u32.to_le_bytes(), &[0; 8]].concat();
    let frame = |n: u64| {
        let start: &[u8] = if n.is_multiple_of(10) {
            &[0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0, 0x30, 0]
        } else {
            &[0x11, 0, 0, 1, 2, 3, 4, 5, 6, 7]
        };
        let data = [start, &[0x55; 1500]].concat();
        [&u32::try_from(data.len()).unwrap().to_le_bytes()[..], &n.to_le_bytes(), &data].concat()
    };
    head.into_iter().chain((0..60).flat_map(frame)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_published_completely() {
    let folder = Folder::new("files");
    let clip = |name: &str| format!("{}/crates/greenroom-client/src/clip/{name}", env!("CARGO_MANIFEST_DIR"));
    let ivf = folder.file("vp8.ivf", &vp8());
    let server = TestServer::start(&[]).await;
    for files in [[clip("pattern.h264"), clip("pattern.ogg")], [clip("pattern.ogg"), ivf]] {
        let (alice, token) = server.token(&["PUBLISH"]).await;
        let publisher = Joined::start(&token, &["--publish", &files[0], &files[1]]);
        let (_, token) = server.token(&["SUBSCRIBE"]).await;
        let subscriber = Joined::start(&token, &["--subscribe", "all"]);
        let figures = subscriber.figures("subscribe", Some(&alice), plays).await;
        assert_eq!(figures["received"]["lost"], 0, "{figures}");
        subscriber.stop().await.0.unwrap();
        publisher.stop().await.0.unwrap();
    }
    // Audio only.
    let (alice, token) = server.token(&["PUBLISH"]).await;
    let publisher = Joined::start(&token, &["--publish", &clip("pattern.ogg")]);
    let (_, token) = server.token(&["SUBSCRIBE"]).await;
    let subscriber = Joined::start(&token, &["--subscribe", "all"]);
    let received = |figures: &Value| figures["received"]["audioFrames"].as_u64() >= Some(50);
    let figures = subscriber.figures("subscribe", Some(&alice), received).await;
    assert_eq!(figures["received"]["frames"], 0);
    subscriber.stop().await.0.unwrap();
    publisher.stop().await.0.unwrap();
    server.stop().await;
}

/// Runs the program: its exit code, its output, its errors.
async fn program(args: &[&str], input: &str) -> (Option<i32>, String, String) {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let input = input.to_owned();
    let run = tokio::task::spawn_blocking(move || {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_greenroom"))
            .args(args)
            .env_remove("GREENROOM_TOKEN")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // Fails if the program does not read its input.
        let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes());
        child.wait_with_output().unwrap()
    });
    let output = tokio::time::timeout(DEADLINE, run).await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exit_code_tells_the_result() {
    let server = TestServer::start(&[]).await;
    let (alice, token) = server.token(&["PUBLISH"]).await;
    let join = ["join", "--token", "-", "--publish", "test-pattern", "--duration", "2"];
    let (code, said, wrong) = program(&join, &format!("{token}\n")).await;
    assert_eq!(code, Some(0), "{wrong}");
    assert!(said.contains(&format!("{alice} joins the stage")) && said.contains("publish: closed"), "{said}");
    let (code, _, wrong) = program(&["join", "--token", &token, "--subscribe", "all", "--whip-url", "no"], "").await;
    assert_eq!((code, wrong.lines().count()), (Some(2), 1), "{wrong}");
    let (code, _, wrong) = program(&["join", "--token", &token, "--subscribe", "unknown"], "").await;
    assert_eq!(code, Some(1), "{wrong}");
    assert!(wrong.starts_with("greenroom: INSUFFICIENT_CAPABILITIES: "), "{wrong}");
    let (code, said, wrong) = program(
        &["load", "--stage", &server.stage, "--endpoint", &server.url, "--subscribers", "2", "--duration", "1"],
        "",
    )
    .await;
    assert_eq!(code, Some(0), "{wrong}");
    assert!(said.contains("2 of 2 joined") && wrong.contains("subscriptions"), "{said}{wrong}");
    server.stop().await;
}
