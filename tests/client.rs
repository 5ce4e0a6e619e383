//! The client: `greenroom join` and `greenroom load`, against the media engine with a minimal signaling server, and
//! against the whole server.

#[path = "client/recording.rs"]
mod recording;
#[path = "client/service.rs"]
mod service;
#[path = "client/whole.rs"]
mod whole;

use clap::Parser as _;
use greenroom::cli::args::JoinArgs;
use greenroom_client::ClientError;
use serde_json::Value;
use service::Service;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// Timeout of every step, for a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// Collects the JSON lines that are written.
#[derive(Clone)]
struct Lines(watch::Sender<Vec<Value>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let text = std::str::from_utf8(bytes).unwrap();
        let values = text.lines().map(|line| serde_json::from_str(line).unwrap());
        self.0.send_modify(|all| all.extend(values));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A `greenroom join` in a task.
struct Joined {
    lines: watch::Receiver<Vec<Value>>,
    /// Lines to skip.
    past: usize,
    stop: Arc<Notify>,
    task: JoinHandle<Result<(), ClientError>>,
}

impl Joined {
    fn start(token: &str, more: &[&str]) -> Joined {
        let (sender, lines) = watch::channel(Vec::new());
        let stop = Arc::new(Notify::new());
        let (args, received) = (join_args(token, more), stop.clone());
        let task = tokio::spawn(async move {
            greenroom_client::join::run(
                args.into(),
                &mut Lines(sender),
                false,
                async move { received.notified().await },
            )
            .await
        });
        Joined { lines, past: 0, stop, task }
    }

    /// Waits for the first line that meets a condition.
    async fn line(&self, what: &str, wish: impl Fn(&Value) -> bool) -> Value {
        let mut lines = self.lines.clone();
        let past = self.past;
        let found = tokio::time::timeout(DEADLINE, lines.wait_for(|all| all[past..].iter().any(&wish))).await;
        match found {
            Ok(Ok(all)) => all[past..].iter().find(|line| wish(line)).unwrap().clone(),
            _ => panic!("{what}: {:#?}", self.lines.borrow().iter().rev().take(5).collect::<Vec<_>>()),
        }
    }

    /// Skips the lines so far.
    fn forget(&mut self) {
        self.past = self.lines.borrow().len();
    }

    /// Waits until the statistics of a connection meet a condition.
    async fn figures(&self, direction: &str, remote: Option<&str>, wish: impl Fn(&Value) -> bool) -> Value {
        let of = |line: &Value| {
            let all = line["connections"].as_array().cloned().unwrap_or_default();
            all.into_iter().find(|one| one["direction"] == direction && one["remote"].as_str() == remote)
        };
        let line = self.line(direction, |line| of(line).is_some_and(|one| wish(&one["figures"]))).await;
        of(&line).unwrap()["figures"].clone()
    }

    /// Stops it, as ctrl-c does.
    async fn stop(self) -> (Result<(), ClientError>, Vec<Value>) {
        self.stop.notify_one();
        let done = tokio::time::timeout(DEADLINE, self.task).await.unwrap().unwrap();
        (done, self.lines.borrow().clone())
    }

    /// Waits until it ends by itself.
    async fn done(self) -> Result<(), ClientError> {
        tokio::time::timeout(DEADLINE, self.task).await.unwrap().unwrap()
    }
}

fn join_args(token: &str, more: &[&str]) -> JoinArgs {
    let args = ["join", "--token", token, "--output", "json"].into_iter().chain(more.iter().copied());
    JoinArgs::parse_from(args)
}

/// Whether a subscriber has received decodable video, and audio.
fn plays(figures: &Value) -> bool {
    let received = &figures["received"];
    let at_least = |name: &str, least: u64| received[name].as_u64().unwrap() >= least;
    at_least("frames", 40) && at_least("keyFrames", 2) && at_least("audioFrames", 50)
}

#[tokio::test]
async fn a_publisher_is_received_by_named_and_by_all_subscriptions() {
    let service = Service::start().await;
    let publisher = Joined::start(&service.token("alice"), &["--publish", "test-pattern", "--subscribe", "all"]);
    service.until(|stage| stage.there.get("alice") == Some(&true)).await;
    let named = Joined::start(&service.token("bob"), &["--subscribe", "alice"]);
    let all = Joined::start(&service.token("carol"), &["--subscribe", "all"]);
    for subscriber in [&named, &all] {
        let figures = subscriber.figures("subscribe", Some("alice"), plays).await;
        assert_eq!(figures["received"]["lost"], 0, "{figures}");
        assert_eq!(figures["state"], "connected");
        assert!(figures["keyFrameWaitMs"].as_f64().unwrap() < 5000.0, "{figures}");
    }
    let sent = publisher.figures("publish", None, |figures| figures["sent"]["audioFrames"].as_u64() >= Some(60)).await;
    assert!(sent["sent"]["keyFrames"].as_u64() >= Some(2), "{sent}");
    assert!(sent["sent"]["keyFramesAsked"].as_u64() >= Some(1), "{sent}");
    let (done, lines) = publisher.stop().await;
    done.unwrap();
    assert!(lines.iter().all(|line| line["remote"].is_null()), "no participant receives itself");
    assert_eq!(lines.last().unwrap()["figures"]["state"], "closed");
    // Their publisher has left: they print that, and stay.
    for subscriber in [named, all] {
        subscriber.line("the end", |line| line["type"] == "ended" && line["remote"] == "alice").await;
        subscriber.stop().await.0.unwrap();
    }
}

#[tokio::test]
async fn new_publishers_and_returning_publishers_are_subscribed_to() {
    let service = Service::start().await;
    let mut watcher = Joined::start(&service.token("carol"), &["--subscribe", "all"]);
    watcher.line("joined", |line| line["type"] == "joined").await;
    for _ in 0..2 {
        watcher.forget();
        let publisher = Joined::start(&service.token("alice"), &["--publish", "test-pattern"]);
        watcher
            .figures("subscribe", Some("alice"), |figures| figures["received"]["keyFrames"].as_u64() >= Some(1))
            .await;
        publisher.stop().await.0.unwrap();
        watcher.line("the end", |line| line["type"] == "ended" && line["remote"] == "alice").await;
    }
    watcher.stop().await.0.unwrap();
}

#[tokio::test]
async fn requests_and_the_websocket_follow_redirects_with_the_token() {
    let (front, node) = (Service::start().await, Service::start().await);
    front.redirect(&node);
    let token = front.token("alice");
    let publisher = Joined::start(&token, &["--publish", "test-pattern"]);
    publisher.figures("publish", None, |figures| figures["sent"]["frames"].as_u64() >= Some(10)).await;
    publisher.stop().await.0.unwrap();
    assert!(node.asked(&token).contains(&"/whip/publish/alice".to_owned()), "{:?}", node.asked(&token));
    assert!(node.asked(&token).iter().any(|path| path.starts_with("/whip/resource/")), "{:?}", node.asked(&token));
}

#[tokio::test]
async fn redirect_loops_end() {
    let (one, other) = (Service::start().await, Service::start().await);
    one.redirect(&other);
    other.redirect(&one);
    let error = Joined::start(&one.token("alice"), &[]).done().await.unwrap_err();
    assert!(error.to_string().contains("redirects too often"), "{error}");
}

#[tokio::test]
async fn errors_and_closes_are_reported_by_their_codes() {
    let service = Service::start().await;
    let error = Joined::start(&service.token("bob"), &["--subscribe", "unknown"]).done().await.unwrap_err();
    assert_eq!(error.to_string(), "PUBLISHER_NOT_FOUND: no such publisher");
    let bob = Joined::start(&service.token("bob"), &[]);
    bob.line("joined", |line| line["type"] == "joined").await;
    service.close(4403, "PARTICIPANT_DISCONNECTED");
    let error = bob.done().await.unwrap_err();
    assert!(error.to_string().starts_with("PARTICIPANT_DISCONNECTED: "), "{error}");
    assert!(!error.is_usage());
}

#[tokio::test]
async fn a_subscription_to_a_publisher_that_is_announced_early_is_retried() {
    let service = Service::start().await;
    service.pretend("alice", true);
    let bob = Joined::start(&service.token("bob"), &["--subscribe", "all"]);
    bob.line("announced", |line| line["type"] == "stage" && line["participants"][0]["id"] == "alice").await;
    let alice = Joined::start(&service.token("alice"), &["--publish", "test-pattern"]);
    bob.figures("subscribe", Some("alice"), |figures| figures["received"]["frames"].as_u64() >= Some(1)).await;
    let (done, lines) = bob.stop().await;
    done.unwrap();
    assert!(lines.iter().all(|line| line["type"] != "refused"), "{lines:?}");
    alice.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_subscription_to_a_publisher_that_is_announced_late_is_kept() {
    let service = Service::start().await;
    let alice = Joined::start(&service.token("alice"), &["--publish", "test-pattern"]);
    service.until(|stage| stage.there.get("alice") == Some(&true)).await;
    service.pretend("alice", false);
    let token = service.token("bob");
    let bob = Joined::start(&token, &["--subscribe", "alice"]);
    let announced = |publishing: bool| {
        move |line: &Value| line["type"] == "stage" && line["participants"][0]["isPublishing"] == publishing
    };
    bob.line("the state without a publisher", announced(false)).await;
    service.pretend("alice", true);
    bob.line("the state with the publisher", announced(true)).await;
    bob.figures("subscribe", Some("alice"), |figures| figures["received"]["frames"].as_u64() >= Some(1)).await;
    bob.stop().await.0.unwrap();
    let asked = service.asked(&token);
    let count = |part: &str| asked.iter().filter(|path| path.contains(part)).count();
    assert_eq!((count("/subscribe/"), count("/resource/")), (1, 1), "{asked:?}");
    alice.stop().await.0.unwrap();
}

#[tokio::test]
async fn it_leaves_after_the_duration() {
    let service = Service::start().await;
    Joined::start(&service.token("bob"), &["--duration", "1"]).done().await.unwrap();
}

#[tokio::test]
async fn invalid_options_are_rejected_before_any_request() {
    let token = "e30.eyJqdGkiOiJhIn0.e30";
    for (token, more, part) in [
        ("nonsense", &[][..], "JSON Web Token"),
        (token, &["--events-url", "ws://127.0.0.1:1/e", "--whip-url", "x"], "token"),
        (token, &["--publish", "/nowhere.ivf"], "cannot read the token"),
    ] {
        let error = Joined::start(token, more).done().await.unwrap_err();
        assert!(error.is_usage() && error.to_string().contains(part), "{error}");
    }
}
